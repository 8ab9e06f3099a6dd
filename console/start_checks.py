"""What has to be free or reachable before `manage.py up` starts a child, each with its own sentence."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from console import embedded_postgres
from console.embedded_postgres import EmbeddedPostgres

OLDEST_POSTGRES = 150000


class CannotStart(Exception):
    """Daybreak cannot run; the message says why and what to do."""


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the data dir for this process."""
    try:
        lock = (folder / "up.lock").open("a+")
    except OSError as exc:
        raise CannotStart(f"The file {folder / 'up.lock'} cannot be written ({exc.strerror}).") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            raise CannotStart(f"Daybreak is already running (pid {lock.read().strip()}).") from exc
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
        lock.truncate(0)


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """The listening socket is kept here, so a web process that starts again refuses nobody."""
    if not 0 <= port <= 65535:
        raise CannotStart(f"{host}:{port} is not an address to listen on (ports end at 65535).")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise CannotStart(f"{host}:{port} is not an address to listen on ({exc}).") from exc
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        try:
            listener.bind(address)
        except OSError as exc:
            reason = (
                "is in use by another program" if exc.errno == errno.EADDRINUSE else f"cannot be used ({exc.strerror})"
            )
            raise CannotStart(f"Port {port} on {host} {reason}. Choose another with --port.") from exc
        listener.listen(2048)
        yield listener


@contextlib.contextmanager
def database(folder: Path) -> Iterator[EmbeddedPostgres | None]:
    """The embedded server, not yet started, or None when `DATABASE_URL` names another."""
    external = os.environ.get("DATABASE_URL")
    if external:
        check_external(external)
        yield None
        return
    embedded_postgres.binaries()
    with contextlib.ExitStack() as ownership:
        try:
            ownership.enter_context(embedded_postgres.owned(folder))
        except BlockingIOError:
            sys.stderr.write("Waiting for another manage.py command that uses the database to end.\n")
            try:
                ownership.enter_context(embedded_postgres.owned(folder, patience=60.0))
            except BlockingIOError as exc:
                raise CannotStart("Another manage.py command still uses the database. End it and try again.") from exc
        yield EmbeddedPostgres(folder)


def check_external(url: str) -> None:
    """Connect once, so that a wrong address is one sentence and not five tracebacks."""
    import psycopg  # only here: with the embedded server this process stays small
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(url)
    except psycopg.Error as exc:
        raise CannotStart(  # the parser's own words would show the password
            "DATABASE_URL is not a PostgreSQL address. Write it like postgresql://user:password@host:5432/database."
        ) from exc
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            version = connection.info.server_version
    except psycopg.Error as exc:
        raise CannotStart(
            f"The database in DATABASE_URL cannot be reached: {one_line(exc)}. "
            "Check the address, or unset DATABASE_URL to use the embedded PostgreSQL."
        ) from exc
    if version < OLDEST_POSTGRES:
        raise CannotStart(f"The database in DATABASE_URL is PostgreSQL {version // 10000}. Daybreak needs 15 or newer.")


def one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
