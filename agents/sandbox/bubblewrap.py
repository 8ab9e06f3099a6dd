"""How a sandbox is built with bubblewrap, and whether that works on this machine."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agents.sandbox import cgroups
from agents.sandbox.hosted_paths import FOLDERS
from agents.sandbox.spec import BUBBLEWRAP, FILES_ONLY, SandboxSpec

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
INSIDE = (
    "bash.py",
    "executor.py",
    "file_journal.py",
    "file_report.py",
    "file_states.py",
    "file_tool_process.py",
    "file_tools.py",
    "file_turns.py",
    "file_walk.py",
    "hosted_paths.py",
    "limits.py",
    "prctl.py",
    "sdk_tools.py",
    "stored_files.py",
    "text.py",
    "watchdog.py",
)
CODE = "/run/daybreak"
# Folders of the session beside the hosted ones. /dev/shm is on disk too, so that the disk limit covers it.
EXTRA_FOLDERS = {"/home/agent": "home", "/dev/shm": "shm", "/run/calls": "calls"}  # noqa: S108 (the sandbox's own)
READ_ONLY_FOLDERS = ("/mnt/session/uploads",)

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC: tuple[str, ...] = (
    "alternatives",
    "ca-certificates",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
)
_ETC += ("mime.types", "pki/ca-trust", "pki/tls/certs", "protocols", "services", "ssl/certs", "ssl/openssl.cnf")
_ETC += ("timezone",)
_ETC_NETWORK = ("gai.conf", "nsswitch.conf", "resolv.conf")

# Who the sandbox is, for the host's kernel, when the worker is real root. A user namespace would not do: its one user
# would still be root to the kernel, and could write what root owns, /proc/sys to begin with. No account has this
# number: systemd leaves 60706 to 61183 unused.
HOST_UID = 60989
_INSIDE_UID = 1000  # what an ordinary worker's own number is mapped to
_NEEDED_CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
# bubblewrap's own --proc hides parts of /proc from root, and then the kernel refuses the shells a /proc of their own.
_BECOME_NOBODY = (
    "mount -n -t proc -o nosuid,nodev,noexec proc /proc && exec setpriv "
    f"--reuid={HOST_UID} --regid={HOST_UID} --clear-groups --inh-caps=-all --bounding-set=-all "
    '"$@"'
)


@dataclass
class Plan:
    """Arguments for bubblewrap, the small files it reads from descriptors, and what goes before the command."""

    arguments: list[str] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)  # path inside: content
    entry: list[str] = field(default_factory=list)

    def add(self, *arguments: str | Path) -> None:
        self.arguments += [str(argument) for argument in arguments]

    def place(self, operation: str, *operands: str | Path) -> None:
        """An operation that creates its last operand. Folders above it that bubblewrap made would be root's alone."""
        for parent in reversed(Path(operands[-1]).parents[:-1]):
            if not any(parent.is_relative_to(made) for made in ("/usr", "/dev")):
                self.add("--dir", parent)
        self.add(operation, *operands)


def environment() -> dict[str, str]:
    """Everything a process inside finds in its environment."""
    path = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    python = f"{sys.base_prefix}/bin"  # last: the system's own Python goes first, if it has one
    if python not in path:
        path.append(python)
    return {
        "PATH": ":".join(path),
        "HOME": "/home/agent",
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TMPDIR": "/tmp",  # noqa: S108 (the sandbox's own)
    }


def plan(spec: SandboxSpec) -> Plan:
    """The sandbox of one session. Nothing of the host is writable but the session's own folders."""
    made = Plan()
    made.add("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if not spec.network:
        made.add("--unshare-net")
    # The executor is process 1 itself: bubblewrap's own would be left to the host's process 1 when it ends.
    made.add("--as-pid-1", "--hostname", "sandbox", "--new-session", "--clearenv", "--cap-drop", "ALL")
    _add_system(made, network=spec.network)
    _add_user(made)
    made.add("--dev", "/dev")
    for inside, folder in {**FOLDERS, **EXTRA_FOLDERS}.items():
        made.place("--ro-bind" if inside in READ_ONLY_FOLDERS else "--bind", spec.root.resolve() / folder, inside)
    # After the folders: Python may be installed below one of them, in a checkout under /tmp say.
    _add_python(made, hidden=(REPOSITORY, spec.data_dir.resolve()))
    made.place("--dir", "/mnt/memory")
    for mount in spec.memory_mounts:
        made.place("--ro-bind" if mount.read_only else "--bind", mount.host_path, mount.mount_path)
    for name in INSIDE:
        made.place("--ro-bind", HERE / name, f"{CODE}/agents/sandbox/{name}")
    made.add("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/")
    return made


def _add_system(made: Plan, *, network: bool) -> None:
    made.add("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM:
        host = Path("/") / name
        if host.is_symlink():
            made.add("--symlink", os.readlink(host), host)
        elif host.is_dir():
            made.add("--ro-bind", host, host)
    for name in _ETC + (_ETC_NETWORK if network else ()):
        made.place("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    made.place("--symlink", "../tmp", "/var/tmp")  # noqa: S108


def _add_user(made: Plan) -> None:
    """Become somebody without any rights on the host, and get a /proc of our own processes."""
    uid = HOST_UID if is_real_root() else _INSIDE_UID
    if is_real_root():
        for capability in _NEEDED_CAPABILITIES:  # for the entry only, which gives them up
            made.add("--cap-add", capability)
        made.add("--dir", "/proc")
        made.entry = ["/bin/sh", "-c", _BECOME_NOBODY, "sh"]
    else:
        made.add("--unshare-user", "--uid", str(uid), "--gid", str(uid), "--proc", "/proc")
    made.data = {
        "/etc/passwd": f"root:x:0:0:root:/root:/bin/bash\nagent:x:{uid}:{uid}:agent:/home/agent:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "/etc/group": f"root:x:0:\nagent:x:{uid}:\nnogroup:x:65534:\n",
        "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
        "/etc/hostname": "sandbox\n",
    }


def _add_python(made: Plan, *, hidden: tuple[Path, ...]) -> None:
    """The interpreter and its packages at their own paths, but never the repository or the data dir with them."""
    usr = Path("/usr")
    named = [Path(sys.base_prefix), Path(sys.prefix)]
    prefixes = list(dict.fromkeys(named + [prefix.resolve() for prefix in named]))
    masks = [secret for secret in hidden if any(_holds(folder, secret) for folder in (usr, *prefixes))]
    for secret in masks:
        made.place("--tmpfs", secret)
    for prefix in prefixes:
        if prefix == usr or (_holds(usr, prefix) and not any(_holds(secret, prefix) for secret in hidden)):
            continue
        holds_secrets = any(prefix == secret or _holds(prefix, secret) for secret in hidden)
        for part in _parts(prefix) if holds_secrets else [prefix]:
            made.place("--ro-bind", part, part)
    for secret in masks:
        made.add("--remount-ro", secret)


def _holds(folder: Path, path: Path) -> bool:
    return folder != path and path.is_relative_to(folder)


def _parts(prefix: Path) -> Iterator[Path]:
    """What Python needs of a prefix that also holds things to hide."""
    for name in ("bin", "lib", "lib64", "include", "pyvenv.cfg"):
        if (prefix / name).exists():
            yield prefix / name


@functools.cache
def is_real_root() -> bool:
    """Root of the machine, not of some user namespace (a rootless container), where other rules hold."""
    try:
        return os.getuid() == 0 and Path("/proc/self/uid_map").read_text().split()[:2] == ["0", "0"]
    except OSError:
        return os.getuid() == 0


@functools.cache
def verdict() -> tuple[str, str]:
    """(mode, reason): the mode that works here, and why it is not bubblewrap, or how it was found to work.

    Tried once per process, with a whole sandbox and an isolated shell in it.
    """
    if platform.system() != "Linux":
        return FILES_ONLY, f"bubblewrap needs Linux; this is {platform.system()}."
    for program in ("bwrap", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return FILES_ONLY, f"The program {program} is not installed (Debian: bubblewrap, util-linux)."
    with tempfile.TemporaryDirectory(prefix="daybreak-probe-") as folder:
        problem = _try(Path(folder))
    if problem:
        return FILES_ONLY, f"bubblewrap cannot build a sandbox here: {problem}"
    return BUBBLEWRAP, "bubblewrap and an isolated shell in it work."


def _try(data_dir: Path) -> str:
    spec = SandboxSpec("probe", data_dir / "sandboxes" / "probe", BUBBLEWRAP)
    make_folders(spec)
    python = shlex.join([sys.executable, "-I", "-S", "-c", "print('works')"])
    shell = ["unshare", "--user", "--pid", "--fork", "--kill-child=KILL", "/bin/bash", "-c", python]
    made = plan(spec)
    made.add("--setenv", "PATH", environment()["PATH"])
    bwrap = [str(shutil.which("bwrap")), *made.arguments, *made.entry, *shell]
    try:
        done = subprocess.run(bwrap, capture_output=True, timeout=20, check=False, env={}, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.stdout.strip() == "works":
        return ""
    return done.stderr.strip()[-300:] or f"exit code {done.returncode}"


def make_folders(spec: SandboxSpec) -> None:
    """The session's folders, owned by whoever the sandbox runs as. Uploads must be readable by everybody."""
    spec.root.mkdir(parents=True, exist_ok=True)
    spec.root.chmod(0o700)
    for inside, folder in {**FOLDERS, **EXTRA_FOLDERS}.items():
        (spec.root / folder).mkdir(exist_ok=True)
        if spec.mode == BUBBLEWRAP and is_real_root() and inside not in READ_ONLY_FOLDERS:
            os.chown(spec.root / folder, HOST_UID, HOST_UID, follow_symlinks=False)


@functools.cache
def process_limit_mode() -> str:
    """What stops a session at 256 processes: `cgroup` or `ulimit` (the kernel), or `watchdog` (the executor)."""
    if cgroups.binds_processes():
        return "cgroup"
    return "ulimit" if rlimit_binds() else "watchdog"


def rlimit_binds() -> bool:
    """`ulimit -u` counts per user namespace, so per shell, only since Linux 5.14."""
    release = platform.release().split(".")
    try:
        return (int(release[0]), int(release[1])) >= (5, 14)
    except (ValueError, IndexError):
        return False
