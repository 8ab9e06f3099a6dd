"""Fixtures for tests that talk to a running server: the real ASGI application behind uvicorn, on committed rows.

A conftest takes them with `from tests.live import *`. Django's `live_server` speaks WSGI, where a stream is read to
its end before it is answered, so the server here is our own: one per test process, in a thread.

The server has connections of its own, so nothing is wrapped in a transaction. Instead `committed_db` empties every
table after the test: one `DELETE` per table in one transaction, some milliseconds, with none of the locks of a
`TRUNCATE`. Tests with pytest-django's `db` therefore still start from an empty database, in the same process.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

__all__ = [
    "client",
    "client_for",
    "committed_db",
    "live_url",
    "make_workspace",
    "other_workspace",
    "raw",
    "raw_for",
    "server",
    "workspace",
]

MANAGED_AGENTS = "managed-agents-2026-04-01"
QUIET_WITHIN_S = 2.0
_answers: list[set[Any]] = []  # under way in the server of this process, as uvicorn knows them
KEPT_TABLES = {"django_migrations", "django_content_type", "auth_permission"}


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database without a transaction around the test; every table is emptied afterwards."""
    with django_db_blocker.unblock():
        yield
        empty_tables()


def empty_tables() -> None:
    from django.db import connection, connections, transaction

    tables = [name for name in connection.introspection.table_names() if name not in KEPT_TABLES]
    with transaction.atomic(), connection.cursor() as cursor:
        # In any order: Django's foreign keys are checked when the transaction commits.
        for table in tables:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608 (our own table names)
    connections.close_all()


@pytest.fixture(scope="session")
def live_url(django_db_setup: None) -> Iterator[str]:
    """The address of the server of this test process. Use `server`, which also brings the database."""
    import uvicorn
    from django.conf import settings

    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns when it is missing
    from console.asgi import application

    # With the protocol named, asyncio turns Nagle's algorithm off; without, every answer takes 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, lifespan="off", log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=3
    )
    running = uvicorn.Server(config)
    _answers.append(running.server_state.tasks)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, name="live-server")
    thread.start()
    while not running.started:
        assert thread.is_alive(), "uvicorn did not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    _answers.clear()
    running.should_exit = True
    thread.join(timeout=20)
    listener.close()


@pytest.fixture
def server(live_url: str, committed_db: None) -> Iterator[str]:
    """The base URL of a running Daybreak on an empty database.

    What it still answers when a test ends, for a page that has just been closed, is over before the database is taken
    away: else such an answer could not give its connection back, and a dozen of them would leave none.
    """
    yield live_url
    deadline = time.monotonic() + QUIET_WITHIN_S
    while any(_answers) and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def make_workspace(committed_db: None) -> Callable[..., Any]:
    from agents.models import Workspace

    def make(name: str) -> Workspace:
        return Workspace.objects.create(name=name, slug=name.lower().replace(" ", "-"))

    return make


@pytest.fixture
def workspace(make_workspace: Callable[..., Any]) -> Any:
    return make_workspace("Home")


@pytest.fixture
def other_workspace(make_workspace: Callable[..., Any]) -> Any:
    return make_workspace("Elsewhere")


@pytest.fixture
def client_for(server: str) -> Iterator[Callable[..., Any]]:
    """`client_for(workspace, **options)`: an official SDK client with a fresh key of that workspace."""
    import anthropic

    from agents.services.keys import create_api_key

    made: list[anthropic.Anthropic] = []

    def make(workspace: Any, **options: Any) -> anthropic.Anthropic:
        _, key = create_api_key(workspace, name="tests")
        made.append(anthropic.Anthropic(**{"base_url": server, "api_key": key, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(client_for: Callable[..., Any], workspace: Any) -> Any:
    """The SDK as a user of `workspace` has it, with its default retries."""
    return client_for(workspace)


@pytest.fixture
def raw_for(server: str) -> Iterator[Callable[..., Any]]:
    """`raw_for(workspace, **headers)`: plain HTTP with a key of that workspace and the managed-agents beta header."""
    import httpx2

    from agents.services.keys import create_api_key

    made: list[httpx2.Client] = []

    def make(workspace: Any, **headers: str) -> httpx2.Client:
        _, key = create_api_key(workspace, name="tests")
        given = {"x-api-key": key, "anthropic-version": "2023-06-01", "anthropic-beta": MANAGED_AGENTS, **headers}
        made.append(httpx2.Client(base_url=server, headers=given, timeout=60))
        return made[-1]

    yield make
    for http in made:
        http.close()


@pytest.fixture
def raw(raw_for: Callable[..., Any], workspace: Any) -> Any:
    return raw_for(workspace)
