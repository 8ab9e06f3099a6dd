"""What every test gets: its database, no network but loopback, and honest skips."""

from __future__ import annotations

import functools
import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import database

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_configure(config: pytest.Config) -> None:
    _block_network()
    spreads_out = bool(getattr(config.option, "tx", None))
    if spreads_out:
        database.start_server()  # before the workers exist: it belongs to the process that outlives them


def pytest_unconfigure(config: pytest.Config) -> None:
    database.end_run()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The engine and the API have to work on any PostgreSQL: `make test-external` runs them again."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "agents") or item.path.is_relative_to(ROOT / "tests" / "api"):
            item.add_marker("external")


# Database


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """A copy of the migrated template for this process (replaces pytest-django's own fixture)."""
    from django.db import connection

    database.start_server()
    with django_db_blocker.unblock():
        database.create_copy(connection)
    yield
    with django_db_blocker.unblock():
        database.drop_copy(connection)


@pytest.fixture(scope="session")
def database_dsn(django_db_setup: None) -> str:
    """How psycopg, or a process that a test starts, connects to this test process's database."""
    return os.environ.get("DATABASE_URL") or os.environ["DAYBREAK_EMBEDDED_DSN"]


# What the machine has. DAYBREAK_REQUIRE=chromium,bwrap turns a skip for lack of one into a failure.


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, find in (("chromium", chromium_path), ("bwrap", bubblewrap_works)):
        if item.get_closest_marker(name) and not find():
            missing(name, f"{name} is not available on this machine")


def missing(name: str, reason: str) -> None:
    """Skip the running test, or fail it where `DAYBREAK_REQUIRE` names what is missing."""
    required = {part.strip() for part in os.environ.get("DAYBREAK_REQUIRE", "").split(",")}
    if name in required:
        pytest.fail(f"DAYBREAK_REQUIRE names {name}, but {reason}.", pytrace=False)
    pytest.skip(f"{reason}.")


@functools.cache
def chromium_path() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@functools.cache
def bubblewrap_works() -> bool:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return False
    probe = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    return subprocess.run(probe, capture_output=True, timeout=20, check=False).returncode == 0


@pytest.fixture(scope="session")
def chromium_executable() -> str:
    """The path of the system's Chromium, for Playwright's `executable_path`."""
    found = chromium_path()
    if found is None:
        missing("chromium", "chromium is not available on this machine")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real traces written by others, which lie beside the repository where it is developed."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("The shared data set (../shared/data) is not on this machine.")
    return folder


# Network


class NetworkBlocked(RuntimeError):
    """A test tried to leave this machine."""


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket's path
    host = str(address[0]).partition("%")[0]
    if host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _block_network() -> None:
    """Only loopback and Unix sockets connect. Patched once, for threads and event loops alike."""
    if getattr(socket.socket.connect, "guarded", False):
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    sendto, getaddrinfo = socket.socket.sendto, socket.getaddrinfo

    def check(address: Any) -> None:
        if not _is_local(address):
            raise NetworkBlocked(f"A test tried to reach {address!r}. Tests use loopback only.")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        check(rest[-1])
        return sendto(self, data, *rest)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in {None, "", "0.0.0.0", "::"} and name != socket.gethostname():  # noqa: S104
            check((name,))
        return getaddrinfo(host, *args, **kwargs)

    guarded_connect.guarded = True  # type: ignore[attr-defined]
    socket.socket.connect = guarded_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign]
    socket.socket.sendto = guarded_sendto  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = guarded_getaddrinfo
