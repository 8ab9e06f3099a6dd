"""Sessions with a lead and agents that work for it, through the official SDK."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.api.sdk import Watcher, make_agent, make_session, of_type, said
from tests.api.strict import EVENTS, check

ASK = {"type": "always_ask"}
STATUSES = ("running", "idle", "rescheduling", "terminated")


def make_lead(client: Any, *members: Any, **values: Any) -> Any:
    """An agent that may start these agents (ids, references or agents)."""
    roster = [member if isinstance(member, dict | str) else member.id for member in members]
    team = {"type": "coordinator", "agents": roster}
    return make_agent(client, **{"name": "Lead", "multiagent": team, **values})


def start_team(client: Any, say: str | None, *members: Any, lead: dict[str, Any] | None = None, **values: Any) -> Any:
    """A session of a lead that is told `say` and may start `members`: one named Worker unless given."""
    members = members or (make_agent(client, name="Worker"),)
    return make_session(client, say, agent=make_lead(client, *members, **(lead or {})), **values)


def parallel(*lines: str) -> str:
    """A script whose instructions are one answer."""
    return "\n".join(["parallel:", *(f"  {line}" for line in lines)])


def threads_of(client: Any, session: Any, **query: Any) -> list[Any]:
    return list(client.beta.sessions.threads.list(session.id, **query))


def children_of(client: Any, session: Any) -> list[Any]:
    return [thread for thread in threads_of(client, session) if thread.parent_thread_id is not None]


def retrieve(client: Any, session: Any, thread: Any) -> Any:
    return client.beta.sessions.threads.retrieve(thread.id, session_id=session.id)


def archive(client: Any, session: Any, thread: Any) -> Any:
    return client.beta.sessions.threads.archive(thread.id, session_id=session.id)


def thread_history(client: Any, session: Any, thread: Any, **query: Any) -> list[Any]:
    return list(client.beta.sessions.threads.events.list(thread.id, session_id=session.id, **query))


def raw_history(raw: Any, session: Any, thread: Any = None) -> list[dict[str, Any]]:
    """Every event of a stream as raw JSON, each checked against the SDK's types."""
    path = f"/v1/sessions/{session.id}" + (f"/threads/{thread.id}" if thread else "")
    events = raw.get(f"{path}/events", params={"limit": 1000}).json()["data"]
    for event in events:
        check(EVENTS, event)
    return events


def wait_for_thread(
    client: Any, session: Any, number: int, condition: Callable[[Any], Any], *, timeout_s: float = 20.0
) -> Any:
    """Poll until the child with this number (from 1) is as `condition` says; returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = children_of(client, session)
        if len(found) >= number and condition(found[number - 1]):
            return found[number - 1]
        assert time.monotonic() < deadline, [thread.status for thread in found]
        time.sleep(0.03)


def wait_for_event(
    client: Any, session: Any, thread: Any, type_: str, *, count: int = 1, timeout_s: float = 20.0
) -> list[Any]:
    """Poll a thread's own history until it holds `count` events of this type."""
    deadline = time.monotonic() + timeout_s
    while True:
        events = thread_history(client, session, thread)
        found = of_type(events, type_)
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, [event.type for event in events]
        time.sleep(0.03)


@contextmanager
def watching_thread(client: Any, session: Any, thread: Any, **options: Any) -> Iterator[Watcher]:
    """A live stream of one thread for the length of the block."""
    stream = client.beta.sessions.threads.events.stream
    watcher = Watcher(lambda: stream(thread.id, session_id=session.id, **options))
    try:
        yield watcher
    finally:
        watcher.close()


def interrupt(client: Any, session: Any, thread: Any = None) -> Any:
    event = {"type": "user.interrupt", **({"session_thread_id": thread.id} if thread else {})}
    return client.beta.sessions.events.send(session.id, events=[event])


def confirm(call: Any, result: str = "allow", **extra: Any) -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": call.id, "result": result, **extra}


def last_said(events: list[Any]) -> str:
    """The text of the newest message in these events."""
    return said(of_type(events, "agent.message")[-1])


def reports(events: list[Any]) -> list[Any]:
    return of_type(events, "agent.thread_message_received")
