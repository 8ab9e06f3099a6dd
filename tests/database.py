"""The PostgreSQL of a test run: one server, a migrated template, and a copy of it per process.

The process that starts pytest owns the server; xdist workers inherit its address through the
environment. With `DATABASE_URL` set, databases are made on that server instead, and dropped again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from console.embedded_postgres import TEST_OPTIONS, EmbeddedPostgres

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

RUN_DIR = "DAYBREAK_TEST_RUN_DIR"
SERVER = "DAYBREAK_TEST_SERVER"
PREFIX = "daybreak-tests-"
NOT_INHERITED = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CELERY_BROKER_URL",
    "DAYBREAK_ADMIN_PASSWORD",
    "DAYBREAK_API_KEY",
    "DAYBREAK_MODELS",
    "DAYBREAK_SANDBOX",
    "DAYBREAK_SANDBOX_NETWORK",
)
_owned: list[EmbeddedPostgres] = []  # the run's server, in the process that made the run


def choose() -> None:
    """Point the environment at this process's own database and data dir, before Django loads."""
    for name in NOT_INHERITED:
        os.environ.pop(name, None)
    if RUN_DIR not in os.environ:
        _remove_abandoned_runs()
        run = Path(tempfile.mkdtemp(prefix=PREFIX))
        alive = os.open(run / "alive", os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(alive, fcntl.LOCK_EX)  # held until this process ends, however it ends
        _owned.append(EmbeddedPostgres(run / "server", TEST_OPTIONS))
        os.environ[RUN_DIR] = str(run)
        external = os.environ.get("DATABASE_URL")
        os.environ[SERVER] = external or _owned[0].dsn_for("postgres")
    dsn = make_conninfo(os.environ[SERVER], dbname=database_name(_worker()))
    os.environ["DATABASE_URL" if is_external() else "DAYBREAK_EMBEDDED_DSN"] = dsn
    os.environ["DAYBREAK_DATA_DIR"] = str(run_dir() / f"data-{_worker()}")


def run_dir() -> Path:
    return Path(os.environ[RUN_DIR])


def is_external() -> bool:
    return bool(os.environ.get("DATABASE_URL"))


def database_name(part: str) -> str:
    token = run_dir().name.removeprefix(PREFIX).lower()
    return f"test_daybreak_{token}_{part}"


def start_server() -> None:
    """Start the embedded server, in the process that made the run; it ends with that process."""
    if _owned and not is_external() and not _owned[0].is_running():
        _owned[0].start()


def end_run() -> None:
    """Stop the server and remove the run's folder, in the process that made the run."""
    while _owned:
        server = _owned.pop()
        if is_external():
            with contextlib.suppress(psycopg.Error):
                drop(database_name("template"))
        server.stop()
        shutil.rmtree(run_dir(), ignore_errors=True)


def create_copy(connection: BaseDatabaseWrapper) -> None:
    """Make this process's database from the template, which the first process migrates."""
    with _locked("template.lock"):
        ready = run_dir() / "template.ready"
        if not ready.exists():
            _migrate_template(connection)
            ready.touch()
        _execute("CREATE DATABASE {} TEMPLATE {}", database_name(_worker()), database_name("template"))


def drop_copy(connection: BaseDatabaseWrapper) -> None:
    _close(connection)
    drop(database_name(_worker()))


@contextlib.contextmanager
def empty() -> Iterator[str]:
    """The address of one more database without tables, for processes that migrate it themselves."""
    name = database_name(f"{_worker()}_empty_{time.monotonic_ns()}")
    _execute("CREATE DATABASE {}", name)
    try:
        yield make_conninfo(os.environ[SERVER], dbname=name)
    finally:
        drop(name)


def drop(name: str) -> None:
    _execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _migrate_template(connection: BaseDatabaseWrapper) -> None:
    from django.core.management import call_command

    template = database_name("template")
    drop(template)
    _execute("CREATE DATABASE {}", template)
    own = connection.settings_dict["NAME"]
    _close(connection)
    connection.settings_dict["NAME"] = template
    try:
        call_command("migrate", verbosity=0, interactive=False)
    finally:
        _close(connection)
        connection.settings_dict["NAME"] = own


def _close(connection: BaseDatabaseWrapper) -> None:
    connection.close()
    if hasattr(connection, "close_pool"):
        connection.close_pool()


def _execute(statement: str, *names: str) -> None:
    server = os.environ[SERVER]
    if not conninfo_to_dict(server).get("dbname"):
        server = make_conninfo(server, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    with (run_dir() / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_abandoned_runs() -> None:
    """Folders of runs that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < 60 or folder.stat().st_uid != os.geteuid():
                continue
            with (folder / "alive").open() as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
