"""Finds a session's executor, or starts one. Safe between threads and between worker processes.

Everything that starts or ends an executor holds one file lock per data dir. Connecting needs no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.sandbox import bubblewrap, cgroups, processes
from agents.sandbox.executor import ExecutorSettings
from agents.sandbox.file_tool_process import python_command
from agents.sandbox.hosted_paths import FOLDERS, WORKDIR
from agents.sandbox.limits import Limits
from agents.sandbox.spec import BUBBLEWRAP, SandboxError, SandboxSpec
from agents.sandbox.wire import Connection

logger = logging.getLogger(__name__)

_PLACE_WAIT_S = 120.0  # for one of the other sessions' executors to become idle
_STARTS = 3


def connect(spec: SandboxSpec) -> Connection | None:
    """A connection to the session's executor, or None when none is running."""
    return _connect(spec.data_dir, spec.session_id)


def ensure(spec: SandboxSpec, *, give_up: threading.Event | None = None) -> Connection:
    """A connection to the session's executor, which is started when there is none.

    Raises SandboxError when it cannot be started, or when `give_up` is set while waiting for a place.
    """
    deadline = time.monotonic() + _PLACE_WAIT_S
    limits = Limits.from_environment()
    starts = 0
    while (connection := connect(spec)) is None:
        if starts == _STARTS:
            raise SandboxError(f"The sandbox of {spec.session_id} does not start. {last_words(spec)}")
        with _locked(spec.data_dir):
            connection = connect(spec)  # somebody else may have started it meanwhile
            if connection is not None:
                return connection
            if (stale := processes.find(spec.data_dir, spec.session_id)) is not None:
                _kill(spec.data_dir, stale)
            if _make_place(spec.data_dir, limits):
                _spawn(spec, limits)
                starts += 1
                continue
        if time.monotonic() > deadline or (give_up is not None and give_up.is_set()):
            raise SandboxError(f"All {limits.alive} sandboxes of this server are busy. Try again later.")
        time.sleep(0.1)
    return connection


def end(spec: SandboxSpec) -> bool:
    """End the session's executor; False when there was none."""
    with _locked(spec.data_dir):
        running = processes.find(spec.data_dir, spec.session_id)
        if running is not None:
            _kill(spec.data_dir, running)
        processes.forget(spec.data_dir, spec.session_id)
    return running is not None


def end_all(data_dir: Path) -> int:
    """End every executor of a data dir and return how many there were."""
    if not data_dir.is_dir():
        return 0
    with _locked(data_dir):
        found = list(processes.alive(data_dir))
        for running in found:
            _kill(data_dir, running)
        cgroups.remove_empty(data_dir)
    return len(found)


def remove_folder(spec: SandboxSpec) -> None:
    """Remove everything the session stored, whatever names, depth and permissions its commands left behind."""
    if not spec.root.exists():
        return
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        done = subprocess.run([*command, "--", str(spec.root)], capture_output=True, check=False)
        if not spec.root.exists():
            return
    problem = done.stderr.decode(errors="replace").strip()[:300]
    raise SandboxError(f"The folder {spec.root} could not be removed: {problem}")


def last_words(spec: SandboxSpec) -> str:
    """The end of what bubblewrap and the executor wrote to their log."""
    try:
        return processes.log_file(spec.data_dir, spec.session_id).read_text(errors="replace").strip()[-300:]
    except OSError:
        return ""


def _connect(data_dir: Path, session_id: str) -> Connection | None:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(processes.socket_path(data_dir, session_id))
    except OSError:
        client.close()
        return None
    return Connection(client)


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    descriptor = os.open(processes.run_folder(data_dir) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_place(data_dir: Path, limits: Limits) -> bool:
    """True when one more executor may start; the one that has been idle longest is ended for it."""
    alive = list(processes.alive(data_dir))
    if len(alive) < limits.alive:
        return True
    states = [(state["idle_s"], running) for running in alive if (state := _ask(data_dir, running, "status"))]
    for _, running in sorted(states, key=lambda pair: -pair[0]):
        if (_ask(data_dir, running, "end_if_idle") or {}).get("ending"):  # it knows best, and refuses work from then on
            _kill(data_dir, running)
            return True
    return False


def _kill(data_dir: Path, running: processes.Running) -> None:
    processes.kill(data_dir, running)
    cgroups.remove(data_dir, running.session_id)


def _ask(data_dir: Path, running: processes.Running, op: str) -> dict[str, Any] | None:
    connection = _connect(data_dir, running.session_id)
    if connection is None:
        return None
    with connection:
        return connection.ask({"op": op}, timeout_s=2.0)


def _spawn(spec: SandboxSpec, limits: Limits) -> None:
    bubblewrap.make_folders(spec)
    path = processes.socket_path(spec.data_dir, spec.session_id)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        Path(path).unlink(missing_ok=True)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(128)
        if spec.mode == BUBBLEWRAP:
            _spawn_in_bubblewrap(spec, limits, listener)
        else:
            _spawn_bare(spec, limits, listener)
    cgroups.remove_empty(spec.data_dir)


def _spawn_in_bubblewrap(spec: SandboxSpec, limits: Limits, listener: socket.socket) -> None:
    made = bubblewrap.plan(spec)
    settings = _settings_inside(limits, listener.fileno())
    with contextlib.ExitStack() as open_files:

        def keep(descriptor: int) -> int:
            open_files.callback(os.close, descriptor)
            return descriptor

        inherited = [listener.fileno()]
        files = ["--dir", "/etc"]
        for path, content in made.data.items():
            inherited.append(keep(_file_with(content)))
            files += ["--file", str(inherited[-1]), path]
        made.arguments[:0] = files  # first, as the last argument makes / read-only
        info_read, info_write = os.pipe()
        go_read, go_write = os.pipe()
        keep(info_read), keep(go_write)
        made.add("--info-fd", str(info_write), "--block-fd", str(go_read))
        arguments = keep(_file_with("\0".join(made.arguments)))
        # Through a descriptor, as the command line can be read inside and would tell the host's paths.
        command = [str(shutil.which("bwrap")), "--args", str(arguments)]
        command += [*made.entry, *python_command(bubblewrap.CODE, "agents.sandbox.executor"), settings.dump()]
        try:
            _popen(spec, command, [*inherited, arguments, info_write, go_read])
        finally:
            os.close(info_write)
            os.close(go_read)
        pid = _read_child_pid(spec, info_read)
        cgroups.put(cgroups.create(spec.data_dir, spec.session_id, limits), pid)
        processes.record(spec.data_dir, spec.session_id, pid)
        with contextlib.suppress(BrokenPipeError):  # it has failed: the next attempt to connect tells
            os.write(go_write, b".")


def _spawn_bare(spec: SandboxSpec, limits: Limits, listener: socket.socket) -> None:
    settings = _settings_files_only(spec, limits, listener.fileno())
    command = python_command(str(bubblewrap.REPOSITORY), "agents.sandbox.executor")
    pid = _popen(spec, [*command, settings.dump()], [listener.fileno()])
    processes.record(spec.data_dir, spec.session_id, pid)


def _popen(spec: SandboxSpec, command: list[str], inherited: list[int]) -> int:
    """Start it in a process session of its own and with an empty environment: process 1 inside can be read there."""
    try:
        with open(processes.log_file(spec.data_dir, spec.session_id), "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=inherited,
                env={},
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise SandboxError(f"The sandbox of {spec.session_id} could not be started: {error}") from error
    threading.Thread(target=process.wait, daemon=True, name="sandbox reaper").start()
    return process.pid


def _read_child_pid(spec: SandboxSpec, info: int) -> int:
    """The first process of the sandbox, by the host's number; ending it ends all of them."""
    with open(info, "rb", closefd=False) as told:
        raw = told.read()
    try:
        return int(json.loads(raw)["child-pid"])
    except (ValueError, KeyError) as error:
        raise SandboxError(f"bubblewrap could not build the sandbox. {last_words(spec)}") from error


def _settings_inside(limits: Limits, listener: int) -> ExecutorSettings:
    return ExecutorSettings(
        listener=listener,
        limits=limits,
        bash=True,
        process_rlimit=bubblewrap.rlimit_binds(),
        python_path=bubblewrap.CODE,
        environment=bubblewrap.environment(),
        file_tools={
            "workdir": WORKDIR,
            "allowed_roots": ["/mnt/session", "/mnt/memory", "/tmp"],  # noqa: S108 (the sandbox's own)
            "read_only_roots": list(bubblewrap.READ_ONLY_FOLDERS),
            "hosted_paths": [],
        },
        disk_folders=[
            path for path in (*FOLDERS, *bubblewrap.EXTRA_FOLDERS) if path not in bubblewrap.READ_ONLY_FOLDERS
        ],
        spill_folder="/tmp/tool-outputs",  # noqa: S108
        shown_spill_folder="/tmp/tool-outputs",  # noqa: S108
        shared_folders={path: path for path in (WORKDIR, "/mnt/session/outputs")},
    )


def _settings_files_only(spec: SandboxSpec, limits: Limits, listener: int) -> ExecutorSettings:
    root = spec.root.resolve()
    real = {hosted: str(root / folder) for hosted, folder in FOLDERS.items()}
    real.update({mount.mount_path: str(mount.host_path.resolve()) for mount in spec.memory_mounts})
    read_only = [real[path] for path in bubblewrap.READ_ONLY_FOLDERS]
    read_only += [str(mount.host_path.resolve()) for mount in spec.memory_mounts if mount.read_only]
    return ExecutorSettings(
        listener=listener,
        limits=limits,
        bash=False,
        process_rlimit=False,
        python_path=str(bubblewrap.REPOSITORY),
        environment={"PATH": os.defpath, "LANG": "C.UTF-8"},
        file_tools={
            "workdir": real[WORKDIR],
            "allowed_roots": [path for hosted, path in real.items() if hosted != WORKDIR],
            "read_only_roots": read_only,
            "hosted_paths": [list(pair) for pair in real.items()],
        },
        disk_folders=[path for path in real.values() if path not in read_only],
        spill_folder=f"{real['/tmp']}/tool-outputs",  # noqa: S108
        shown_spill_folder="/tmp/tool-outputs",  # noqa: S108
        shared_folders={},  # no command runs here
    )


def _file_with(content: str) -> int:
    """A descriptor at the beginning of an unnamed file."""
    with tempfile.TemporaryFile() as file:
        file.write(content.encode())
        file.flush()
        descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
