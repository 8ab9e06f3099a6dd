"""The executor's side of `file_tools.py`: starts the process, hands calls to it, ends calls."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from agents.sandbox.file_turns import Turn
from agents.sandbox.text import failure


class FileToolProcess:
    """One process for all calls of a session. It imports the SDK while the first calls may already be waiting."""

    def __init__(self, settings: str, *, python_path: str, environment: dict[str, str]) -> None:
        self._settings, self._python_path, self._environment = settings, python_path, environment
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._lock:
            self._ensure()

    def connect(self) -> socket.socket:
        """A socket on which one call is asked and answered."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            socket.send_fds(self._ensure(), [b"."], [theirs.fileno()])
        return ours

    def _ensure(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*python_command(self._python_path, "agents.sandbox.file_tools"), self._settings],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        return self._control


class FileCall:
    """One call of a file tool. `kill` may come from any thread, at any time."""

    def __init__(self, process: FileToolProcess) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._killed = ""
        self._death = "the file tools could not start; see the server's log"

    def kill(self, reason: str = "interrupted") -> None:
        with self._lock:
            self._killed = self._killed or reason
            self._kill_group()

    def run(
        self, tool: str, tool_input: dict[str, Any], *, timeout_s: float, turn: Turn | None = None
    ) -> dict[str, Any]:
        """The outcome. With `turn` the tool waits until it is alone with its file."""
        deadline = time.monotonic() + timeout_s
        with self._process.connect() as connection, connection.makefile("rwb") as lines:

            def say(message: dict[str, Any]) -> None:
                lines.write(json.dumps(message).encode() + b"\n")
                lines.flush()

            def hear() -> dict[str, Any]:
                self._wait(connection, deadline)
                heard: dict[str, Any] = json.loads(lines.readline())
                return heard

            try:
                self._started(hear())
                say({"tool": tool, "input": tool_input, "alone": turn is not None})
                heard = hear()
                while turn is not None and (
                    reply := turn.answer(heard, until=deadline, given_up=lambda: bool(self._killed))
                ):
                    say(reply)
                    heard = hear()
                return heard
            except TimeoutError:
                self.kill(f"timed out after {timeout_s:g} s")
            except (OSError, ValueError):  # it died: told below
                pass
            finally:
                with self._lock:
                    self._pid = None  # from here on the number may be somebody else's
        return failure(f"{tool}: {self._killed or self._death}")

    @staticmethod
    def _wait(connection: socket.socket, deadline: float) -> None:
        """Until the answer begins; the rest of it follows at once."""
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.recv(1, socket.MSG_PEEK)
        connection.settimeout(None)

    def _started(self, hello: dict[str, int]) -> None:
        with self._lock:
            self._pid = hello["pid"]
            self._death = "the tool's process died, probably out of memory or CPU time"
            if self._killed:
                self._kill_group()

    def _kill_group(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(OSError):
                os.killpg(self._pid, signal.SIGKILL)


def python_command(python_path: str, module: str) -> list[str]:
    """Start `module.main` in isolated mode: no user site, no `PYTHON*`, nothing from the current directory."""
    code = f"import sys; sys.path.insert(0, {python_path!r}); from {module} import main; main()"
    return [sys.executable, "-I", "-B", "-c", code]
