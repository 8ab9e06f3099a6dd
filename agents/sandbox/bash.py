"""The bash tool: one shell per thread, whose directory, variables and jobs last from call to call.

Each shell is process 1 of its own process namespace, so ending it ends everything it ever started. A command goes in
through a file and comes out through a named pipe; the exit code comes back on a pipe of its own. So neither an open
quote nor a background process can be mistaken for the end of the output.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import select
import selectors
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

from agents.sandbox.limits import Limits
from agents.sandbox.text import Output, failure, text_block

_KILL_CHILD = ["--pid", "--fork", "--kill-child=KILL"]
# Tried in this order. A private /proc makes `ps` and `pkill` agree with `kill`; the kernel refuses it where parts of
# the sandbox's own /proc are hidden.
_UNSHARE = [
    ["unshare", "--user", "--map-current-user", *_KILL_CHILD, "--mount-proc"],
    ["unshare", "--user", "--map-current-user", *_KILL_CHILD],
    ["unshare", "--user", *_KILL_CHILD],
]
_READ_BYTES = 65_536
_READS = 32  # more than a pipe can hold, so what was written before the command ended is never missed
_DEATH_S = 1.5


@dataclass(frozen=True)
class ShellSettings:
    limits: Limits
    environment: dict[str, str]
    process_rlimit: bool  # whether `ulimit -u` binds here
    workdir: str = "/workspace"
    calls_folder: str = "/run/calls"
    prefix: list[str] = field(default_factory=list)  # put in front of unshare


@dataclass(frozen=True)
class Finished:
    """How a command ended. `code` is None unless it ran to its end; `note` says what went wrong otherwise."""

    code: int | None
    note: str = ""
    still_writing: bool = False


@functools.cache
def _unshare_command() -> list[str]:
    for command in _UNSHARE:
        done = subprocess.run([*command, "/bin/true"], capture_output=True, check=False)
        if done.returncode == 0:
            return command
    raise OSError(f"no shell can be isolated here: {done.stderr.decode(errors='replace').strip()}")


class Shell:
    """A running `/bin/bash`. Not safe for two calls at once; `kill` may come from any thread."""

    def __init__(self, settings: ShellSettings) -> None:
        self._settings = settings
        self._killed = ""
        status_read, status_write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*settings.prefix, *_unshare_command(), "/bin/bash", "--noprofile", "--norc"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[status_write],
                cwd=settings.workdir,
                env=settings.environment,
                start_new_session=True,
            )
        except OSError:
            os.close(status_read)
            raise
        finally:
            os.close(status_write)
        self._status = status_read
        self._status_name = status_write  # the number under which bash knows it
        self._send(self._set_limits())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def death(self) -> str:
        """Why it was ended, "" while it lives."""
        return self._killed

    @property
    def alive(self) -> bool:
        return not self._killed and self._process.poll() is None

    def kill(self, reason: str = "interrupted") -> None:
        """End the shell and everything it started. The command that is running ends with `reason` as its note."""
        self._killed = self._killed or reason
        inits = _children_of(self._process.pid)
        for pid in inits:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not inits:  # else unshare ends by itself, once the whole namespace is dead
            self._process.kill()

    def close(self) -> None:
        self.kill("closed")
        self._reap()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        if self._status >= 0:
            os.close(self._status)
            self._status = -1

    def run(self, command: str, *, timeout_s: float, output: Output, drains: Drains) -> Finished:
        """Run `command` to its end and put what it prints into `output`."""
        name = f"{self._settings.calls_folder}/{secrets.token_hex(8)}"
        with open(f"{name}.sh", "w", encoding="utf-8") as script:
            script.write(command)
        os.mkfifo(f"{name}.out", 0o600)
        reader = os.open(f"{name}.out", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._send(
                f'eval "$(<{name}.sh)" </dev/null >{name}.out 2>&1 {self._status_name}>&-; '
                f'printf "%d\\n" "$?" >&{self._status_name}\n'
            )
            finished = self._follow(reader, timeout_s=timeout_s, output=output)
        finally:
            for ending in ("sh", "out"):
                with contextlib.suppress(OSError):
                    os.unlink(f"{name}.{ending}")
        if _read_all(reader, output) or not self.alive:
            os.close(reader)
            return finished
        drains.add(reader, output)
        return Finished(finished.code, finished.note, still_writing=True)

    def _follow(self, reader: int, *, timeout_s: float, output: Output) -> Finished:
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        poll.register(self._status, select.POLLIN)
        status = b""
        while (left_s := deadline - time.monotonic()) > 0:
            ready = {number for number, _ in poll.poll(left_s * 1000)}
            if reader in ready and _read_all(reader, output):
                poll.unregister(reader)  # the command closed its output and goes on
            if self._status in ready:
                data = os.read(self._status, 64)
                status += data
                if status.strip().isdigit() and status.endswith(b"\n"):
                    return Finished(int(status))
                if not data:
                    return self._ended()
        self.kill("timed out")
        self._reap()
        return Finished(None, f"Timed out after {timeout_s:g} s.")

    def _ended(self) -> Finished:
        """The shell is gone without a status: `exit`, `exec`, `set -e`, or somebody killed it."""
        code = self._reap()
        if self._killed:
            return Finished(None, f"{self._killed[:1].upper()}{self._killed[1:]}.")
        self._killed = "exited"
        return Finished(128 - code if code < 0 else code, "The shell exited.")

    def _reap(self) -> int:
        """Wait until the whole tree is gone, which takes milliseconds; 137 when it refuses to."""
        try:
            return self._process.wait(timeout=_DEATH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return 137

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # it has ended: `_follow` sees that
            self._process.stdin.write(line.encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _set_limits(self) -> str:
        limits = self._settings.limits
        flags = (
            f"-c 0 -v {limits.address_space_bytes // 1024} -t {limits.cpu_s} "
            f"-f {limits.file_size_bytes // 1024} -n {limits.open_files}"
        )
        if self._settings.process_rlimit:
            flags += f" -u {limits.processes}"
        # Where memory runs out, the kernel shall choose what a command started, not the executor.
        return f"ulimit {flags}; echo 500 >/proc/self/oom_score_adj\n"


class Drains:
    """Goes on reading for background processes that outlive their call: writing neither blocks nor kills them."""

    def __init__(self) -> None:
        self._selector = selectors.EpollSelector()  # unlike poll, lets another thread register while it waits
        self._lock = threading.Lock()
        self._started = False

    def add(self, reader: int, output: Output) -> None:
        """Take over both: they are closed when the last writer is gone."""
        with self._lock:
            self._selector.register(reader, selectors.EVENT_READ, output)
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, daemon=True, name="drains").start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if _read_all(key.fd, key.data):
                    with self._lock:
                        self._selector.unregister(key.fd)
                    os.close(key.fd)
                    key.data.close()


def bash_outcome(finished: Finished, output: Output, *, before: str = "") -> dict[str, object]:
    """What the model reads: the output first, then what it must know about how the command ended.

    `before` says what became of the previous shell, when this one is new.
    """
    notes = [f"[{before}]"] if before else []
    if finished.still_writing and (path := output.keep_file()):
        notes.append(f"[Background processes go on; what they print goes to {path}]")
    if finished.code is None:
        notes.append(f"[{finished.note} Everything the shell had started was ended; the next call opens a new shell.]")
    elif finished.note:
        notes.append(f"[{finished.note} Exit code {finished.code}. The next call opens a new shell.]")
    elif finished.code:
        notes.append(f"[Exit code {finished.code}]")
    shown = output.shown().rstrip("\n")
    text = "\n".join(part for part in (shown, *notes) if part)
    if finished.code == 0:
        return {"content": [text_block(text or "(no output)")], "is_error": False}
    return failure(text)


def _read_all(reader: int, output: Output) -> bool:
    """Move what is in the pipe into `output`; True when the pipe has no writer any more."""
    for _ in range(_READS):
        try:
            data = os.read(reader, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return True
        output.append(data)
    return False


def _children_of(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:
            if int(stat.read().rpartition(b")")[2].split()[1]) == parent:
                found.append(int(name))
    return found


def remove_files(folder: str) -> None:
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.unlink(f"{folder}/{name}")
