"""Which executors run for a data dir: one small file each, and the means to end exactly those."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.sandbox.spec import SandboxError

_SOCKET_PATH_BYTES = 100  # sun_path has 108 on Linux and 104 on macOS, with the final NUL
_DEATH_S = 5.0
_HAS_PROC = Path("/proc/self/stat").exists()
MARK = "agents.sandbox.executor"


@dataclass(frozen=True)
class Running:
    """What is known of a started executor. `identity` tells it from a later process with the same number."""

    session_id: str
    pid: int
    identity: str
    started_at: float


def run_folder(data_dir: Path) -> Path:
    folder = data_dir / "run" / "executors"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def pid_file(data_dir: Path, session_id: str) -> Path:
    return run_folder(data_dir) / f"{session_id}.json"


def log_file(data_dir: Path, session_id: str) -> Path:
    return run_folder(data_dir) / f"{session_id}.log"


def socket_path(data_dir: Path, session_id: str) -> str:
    """In the data dir, or in a private folder with a short name when that path is too long for a socket."""
    path = str(run_folder(data_dir).absolute() / f"{session_id}.sock")
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
    return str(_short_folder() / digest)


def _short_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"daybreak-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise SandboxError(f"{folder} must be a folder that only this user can enter. Remove it and try again.")
    return folder


def identity(pid: int) -> str:
    """When an executor with this number started; "" when there is no such process or it is something else."""
    command = _command_line(pid)
    # Everything that the process executes on its way to being the executor has the name on its command line. In the
    # middle of an exec, and when it is dying, it has none.
    return start_time(pid) if MARK in command or not command else ""


def start_time(pid: int) -> str:
    """When a process started, "" when it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "" if _HAS_PROC else _ask_ps(pid, "lstart")
    return "" if fields[0] in "ZX" else fields[19]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return "" if _HAS_PROC else _ask_ps(pid, "command")


def _ask_ps(pid: int, column: str) -> str:
    command = ["ps", "-o", f"{column}=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip()


def record(data_dir: Path, session_id: str, pid: int) -> Running:
    """Write the pid file of an executor that has just been started."""
    running = Running(session_id, pid, start_time(pid), time.time())
    path = pid_file(data_dir, session_id)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(running)))
    draft.replace(path)
    return running


def find(data_dir: Path, session_id: str) -> Running | None:
    """The executor of a session, when it is alive and really ours."""
    try:
        running = Running(**json.loads(pid_file(data_dir, session_id).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if running.identity and identity(running.pid) == running.identity else None


def alive(data_dir: Path) -> Iterator[Running]:
    """Every live executor of the data dir. Files of dead ones are removed on the way."""
    for path in sorted(run_folder(data_dir).glob("*.json")):
        running = find(data_dir, path.stem)
        if running is None:
            forget(data_dir, path.stem)
        else:
            yield running


def kill(data_dir: Path, running: Running) -> None:
    """End an executor and everything in its sandbox, and wait until it is gone.

    The recorded process is process 1 of the sandbox's own process namespace, or leads a process group in files_only.
    """
    deadline = time.monotonic() + _DEATH_S
    while start_time(running.pid) == running.identity:
        for send in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                send(running.pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise SandboxError(f"The sandbox of {running.session_id} (process {running.pid}) does not end.")
        time.sleep(0.01)
    forget(data_dir, running.session_id)


def forget(data_dir: Path, session_id: str) -> None:
    """Remove what a dead executor left: its pid file and its socket."""
    for path in (pid_file(data_dir, session_id), Path(socket_path(data_dir, session_id))):
        path.unlink(missing_ok=True)
