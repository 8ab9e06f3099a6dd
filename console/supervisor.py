"""`manage.py up`: PostgreSQL, web and worker under one small parent that never loads Django.

Each child has a process session of its own and dies with this process, even when it is killed.
A child that ends is started again, with a growing pause; Ctrl-C stops all of them in order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from console import guard
from console.child_process import die_with_parent
from console.data_dir import ROOT, DataDirError, default_data_dir, ensure_data_dir, secret_key
from console.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from console.start_checks import CannotStart, database, listen, only_one

STOP_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
CLEAN_UP_TIMEOUT = 30.0
LONGEST_PAUSE = 30.0  # between two starts of a child that keeps ending
HEALTHY_AFTER = 60.0  # a child that lived this long starts again without a pause
STARTS_BEFORE_READY = 5
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass
class Child:
    """One process that is kept running."""

    name: str
    arguments: list[str]
    descriptors: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    failures: int = 0


def main(arguments: Sequence[str]) -> int:
    """Run until a signal ends it. The result is the exit code."""
    options = parse(arguments)
    os.umask(0o077)
    try:
        folder = ensure_data_dir(options.data_dir or default_data_dir())
        with contextlib.ExitStack() as held:
            held.enter_context(only_one(folder))
            listener = held.enter_context(listen(options.host, options.port))
            server = held.enter_context(database(folder))
            secret_key(folder)
            (folder / "static").mkdir(exist_ok=True)
            return Supervisor(folder, listener, server, options.host, demo=not options.no_demo).run()
    except (CannotStart, DataDirError, EmbeddedPostgresError) as exc:
        print(exc, file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py up", description="Run all of Daybreak.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000; 0 picks one)")
    parser.add_argument("--data-dir", help="where everything is kept (DAYBREAK_DATA_DIR or var/)")
    parser.add_argument("--no-demo", action="store_true", help="start empty, without demo sessions")
    return parser.parse_args(arguments)


@dataclass
class Supervisor:
    folder: Path
    listener: socket.socket
    server: EmbeddedPostgres | None
    host: str
    demo: bool
    children: list[Child] = field(default_factory=list)
    stop_requests: int = 0
    first_start: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = self.listener.getsockname()[1]
        self.environment = self._environment()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_out, False)
        os.set_blocking(self._wake_in, False)
        self._guard: subprocess.Popen[bytes] | None = None
        self._guard_pipe: IO[str] | None = None
        self._told: dict[str, int] = {}

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def run(self) -> int:
        self._listen_for_signals()
        self._start_guard()
        try:
            self._start_everything()
            while not self.stop_requests:
                self._sleep(self._until_next_start())
                self._restart_what_ended()
        finally:
            self._stop_everything()
        return 0

    # Start

    def _start_everything(self) -> None:
        left_over = self._end_left_overs()
        if self.server:
            self.server.start()
            self._tell_guard(guard.POSTGRES, self.server.process.pid if self.server.process else 0)
            self.environment["DAYBREAK_EMBEDDED_DSN"] = self.server.dsn
        self._prepare()
        if self.stop_requests:
            return
        if left_over:
            left_over.wait()
        for child in self._wanted():
            self.children.append(child)
            self._start(child)
        if self._wait_for_first_page():
            self._say([f"Daybreak is ready on {self.url}", *self._news()])

    def _prepare(self) -> None:
        """Migrations and what the first start makes, which is shown once the console answers."""
        arguments = [sys.executable, str(ROOT / "manage.py"), "prepare", "--json"]
        if self.demo:
            arguments.append("--demo")
        with tempfile.TemporaryFile() as output:
            preparation = Child("prepare", arguments)
            self.children.append(preparation)
            process = self._start(preparation, output=output)
            while process.poll() is None and not self.stop_requests:
                self._sleep(1.0)
            if self.stop_requests:
                return
            self.children.remove(preparation)
            self._tell_guard(preparation.name, 0)
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if process.returncode != 0:
            print(said, file=sys.stderr)
            raise CannotStart("The database could not be prepared; the reason is above.")
        with contextlib.suppress(ValueError):
            self.first_start = json.loads(said.splitlines()[-1]) if said else {}

    def _news(self) -> list[str]:
        """The sign-in link and the key of a first start, once: only their hashes are kept."""
        news, self.first_start = self.first_start, {}
        lines = []
        if path := news.get("sign_in_path"):
            lines.append(f"Sign in (this link works once): {self.url}{path}")
        if key := news.get("api_key"):
            lines.append(f"API key (shown once): {key}")
        return lines

    def _say(self, lines: list[str]) -> None:
        if lines:
            print("\n".join(lines), flush=True)

    def _wanted(self) -> list[Child]:
        descriptor = self.listener.fileno()
        web = [sys.executable, "-m", "uvicorn", "console.asgi:application", "--fd", str(descriptor)]
        web += ["--lifespan", "off", "--timeout-graceful-shutdown", "3"]
        web += ["--no-access-log", "--log-level", "warning"]
        worker = [sys.executable, "-W", "ignore:You're running the worker with superuser"]
        worker += ["-m", "celery", "-q", "-A", "console", "worker", "-P", "threads", "-c", "32"]
        worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [Child("web", web, (descriptor,)), Child("worker", worker)]

    def _start(self, child: Child, output: IO[bytes] | int | None = None) -> subprocess.Popen[bytes]:
        child.started_at = time.monotonic()
        child.start_again_at = 0.0
        child.process = subprocess.Popen(
            child.arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            env=self.environment,
            cwd=ROOT,
            pass_fds=child.descriptors,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )
        self._tell_guard(child.name, child.process.pid)
        return child.process

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment["DJANGO_SETTINGS_MODULE"] = environment.get("DJANGO_SETTINGS_MODULE") or "console.settings"
        environment["DAYBREAK_DATA_DIR"] = str(self.folder)
        environment["DAYBREAK_BASE_URL"] = self.url
        environment["PYTHONUNBUFFERED"] = "1"
        environment.setdefault("DAYBREAK_DRAIN_S", f"{STOP_GRACE - 3:g}")  # so that leases are given back before
        if not environment.get("ALLOWED_HOSTS"):
            names = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}  # noqa: S104
            own = names.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
            environment["ALLOWED_HOSTS"] = ",".join(dict.fromkeys([*LOOPBACK, own]))
        return environment

    def _wait_for_first_page(self) -> bool:
        """Ask for /healthz. The socket already listens: the answer comes when the web process is up."""
        any_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        address = (any_host.get(self.host, self.host), self.port)
        while not self.stop_requests:
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=5) as asking:
                asking.sendall(self._health_request())
                while not self.stop_requests:
                    self._sleep(min(1.0, self._until_next_start()), asking)
                    self._restart_what_ended()
                    self._give_up_if_hopeless()
                    if select.select([asking], [], [], 0)[0]:
                        status = asking.recv(64).split(b" ")[1:2]
                        if status and status[0] < b"500":
                            return True
                        break
            self._sleep(0.2)
        return False

    def _health_request(self) -> bytes:
        host = self.environment["ALLOWED_HOSTS"].split(",")[0].strip().lstrip(".")
        return f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

    # Keep running

    def _restart_what_ended(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, now)
            if child.process is None and now >= child.start_again_at and not self.stop_requests:
                self._start(child)
        if self.server and self.server.has_died() and not self.stop_requests:
            print("PostgreSQL has ended by itself and is started again.", file=sys.stderr, flush=True)
            self.server.start()
            self._tell_guard(guard.POSTGRES, self.server.process.pid if self.server.process else 0)
        if self._guard and self._guard.poll() is not None and not self.stop_requests:
            self._start_guard()

    def _note_end(self, child: Child, now: float) -> None:
        assert child.process is not None  # noqa: S101
        kill_group(child.process.pid)  # what it may have left behind
        child.failures = 1 if now - child.started_at > HEALTHY_AFTER else child.failures + 1
        pause = min(LONGEST_PAUSE, 0.5 * 2 ** (child.failures - 1))
        child.start_again_at = now + pause
        print(
            f"The {child.name} process ended (code {child.process.returncode}); it starts again in {pause:g} s.",
            file=sys.stderr,
            flush=True,
        )
        child.process = None
        self._tell_guard(child.name, 0)

    def _give_up_if_hopeless(self) -> None:
        for child in self.children:
            if child.failures >= STARTS_BEFORE_READY:
                raise CannotStart(
                    f"The {child.name} process ended {child.failures} times while starting; the reason is above."
                )

    def _until_next_start(self) -> float:
        waiting = [child.start_again_at for child in self.children if child.process is None]
        return max(0.0, min([*waiting, time.monotonic() + 3600.0]) - time.monotonic())

    # Stop

    def _stop_everything(self) -> None:
        if self.stop_requests and self.children:
            print("Daybreak is stopping. Press Ctrl-C again to end it at once.", flush=True)
        earlier = self.stop_requests
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + STOP_GRACE
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline or self.stop_requests > max(1, earlier):
                break
            self._sleep(min(0.5, max(0.0, deadline - time.monotonic())))
        for process in running:
            kill_group(process.pid)
            process.wait()
        self._clean_up()
        if self.server:
            self.server.stop()
        self._say(self._news())  # made, but not shown yet: nobody could ever read it again
        self._dismiss_guard()

    def _end_left_overs(self) -> subprocess.Popen[bytes] | None:
        """Sandboxes of a run that was killed together with its guard end while the database starts."""
        if not self._had_sandboxes():
            return None
        return self._start(Child("clean-up", self._clean_up_command()), output=subprocess.DEVNULL)

    def _clean_up(self) -> None:
        """End sandboxes: they outlive a worker on purpose, and nothing may outlive us."""
        if self._had_sandboxes():
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    self._clean_up_command(),
                    cwd=ROOT,
                    timeout=CLEAN_UP_TIMEOUT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                    check=False,
                )

    def _had_sandboxes(self) -> bool:
        return (self.folder / "sandboxes").is_dir()

    def _clean_up_command(self) -> list[str]:
        return [sys.executable, "-m", "agents.sandbox.cleanup", str(self.folder)]

    # Guard, signals, sleep

    def _start_guard(self) -> None:
        if self._guard_pipe:
            with contextlib.suppress(OSError):
                self._guard_pipe.close()
        reading, writing = os.pipe()
        program = [sys.executable, "-I", "-S", guard.__file__, str(reading), *self._clean_up_command()]
        self._guard = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            env=self.environment,
            cwd=ROOT,
            pass_fds=[reading],
            start_new_session=True,
        )
        os.close(reading)
        self._guard_pipe = os.fdopen(writing, "w", buffering=1)
        for name, pid in list(self._told.items()):
            self._tell_guard(name, pid)

    def _tell_guard(self, name: str, pid: int) -> None:
        self._told[name] = pid
        with contextlib.suppress(OSError, ValueError):
            if self._guard_pipe:
                self._guard_pipe.write(f"{name} {pid}\n")

    def _dismiss_guard(self) -> None:
        self._tell_guard("bye", 0)
        with contextlib.suppress(OSError):
            if self._guard_pipe:
                self._guard_pipe.close()
        if self._guard:
            self._guard.wait()

    def _listen_for_signals(self) -> None:
        def ask_to_stop(number: int, frame: FrameType | None) -> None:
            self.stop_requests += 1

        def wake_up(number: int, frame: FrameType | None) -> None:
            """A child ended: the byte in the pipe is all that is needed."""

        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, ask_to_stop)
        signal.signal(signal.SIGCHLD, wake_up)

    def _sleep(self, seconds: float, *also: socket.socket) -> None:
        """Until a signal arrives, one of `also` can be read, or the time is over."""
        waiting: list[int] = [self._wake_out, *(one.fileno() for one in also)]
        readable, _, _ = select.select(waiting, [], [], seconds)
        if self._wake_out in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_out, 4096)


def kill_group(leader: int) -> None:
    """Kill whatever is left of a child's process session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
