"""Driving sessions with the official SDK, as a user of Daybreak does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TOOLSET = {"type": "agent_toolset_20260401"}
CUSTOM_TOOL = {
    "type": "custom",
    "name": "lookup",
    "description": "Look up an order.",
    "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}},
}


def toolset_asking_for(*names: str) -> dict[str, Any]:
    return {**TOOLSET, "configs": [{"name": name, "permission_policy": {"type": "always_ask"}} for name in names]}


def make_agent(client: Any, model: str = "simulated/tools", **values: Any) -> Any:
    return client.beta.agents.create(**{"name": "Tester", "model": model, "tools": [TOOLSET], **values})


def make_environment(client: Any) -> Any:
    found = next((env for env in client.beta.environments.list() if env.name == "cloud"), None)
    return found or client.beta.environments.create(name="cloud")


def text(value: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": value}]}


def make_session(client: Any, say: str | None = None, *, agent: Any = None, **values: Any) -> Any:
    agent = agent or make_agent(client)
    if say is not None:
        values["initial_events"] = [text(say)]
    reference = values.pop("agent_reference", agent.id)
    return client.beta.sessions.create(agent=reference, environment_id=make_environment(client).id, **values)


def send(client: Any, session: Any, *events: dict[str, Any]) -> Any:
    return client.beta.sessions.events.send(session.id, events=list(events))


def history(client: Any, session: Any, **query: Any) -> list[Any]:
    return list(client.beta.sessions.events.list(session.id, **query))


def types(client: Any, session: Any) -> list[str]:
    return [event.type for event in history(client, session)]


def of_type(events: list[Any], *wanted: str) -> list[Any]:
    return [event for event in events if event.type in wanted]


def said(event: Any) -> str:
    return "".join(block.text for block in event.content or [] if block.type == "text")


def wait_idle(client: Any, session: Any, *, timeout_s: float = 30.0) -> Any:
    """Poll until the session has stopped; returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = client.beta.sessions.retrieve(session.id)
        if found.status in ("idle", "terminated"):
            return found
        assert time.monotonic() < deadline, f"still {found.status}"
        time.sleep(0.03)


def wait_for(client: Any, session: Any, type_: str, *, count: int = 1, timeout_s: float = 20.0) -> list[Any]:
    """Poll history until it holds `count` events of this type."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = of_type(history(client, session), type_)
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, f"no {type_}: {types(client, session)}"
        time.sleep(0.03)


class Watcher:
    """Reads a stream in a thread and keeps what it hears."""

    def __init__(self, open_stream: Any) -> None:
        self.events: list[Any] = []
        self.error: BaseException | None = None
        self._opened = threading.Event()
        self._changed = threading.Condition()
        self._stream: Any = None
        self._closing = False
        self._thread = threading.Thread(target=self._read, args=(open_stream,), daemon=True)
        self._thread.start()
        assert self._opened.wait(20), "the stream did not open"

    def _read(self, open_stream: Any) -> None:
        try:
            self._stream = open_stream()
            self._opened.set()
            for event in self._stream:
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()
        except Exception as exc:  # noqa: BLE001 (whatever it was, the test shows it)
            if not self._closing:
                self.error = exc
        finally:
            self._opened.set()
            with self._changed:
                self._changed.notify_all()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def wait_for(self, type_: str, *, count: int = 1, timeout_s: float = 20.0) -> list[Any]:
        with self._changed:
            self._changed.wait_for(lambda: len(of_type(self.events, type_)) >= count or self.ended, timeout=timeout_s)
            found = of_type(list(self.events), type_)
        assert len(found) >= count, [event.type for event in self.events]
        return found

    def wait_end(self, timeout_s: float = 20.0) -> None:
        self._thread.join(timeout_s)
        assert self.ended, "the stream did not end"

    def close(self) -> None:
        self._closing = True
        if self._stream is not None:
            self._stream.close()
        self._thread.join(5)


@contextmanager
def watching(client: Any, session: Any, **options: Any) -> Iterator[Watcher]:
    """A live stream of the session for the length of the block."""
    watcher = Watcher(lambda: client.beta.sessions.events.stream(session.id, **options))
    try:
        yield watcher
    finally:
        watcher.close()
