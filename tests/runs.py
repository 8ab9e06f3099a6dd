"""Making and watching sessions in tests, through the services."""

from __future__ import annotations

from typing import Any

from tests.worker import wait_until

TOOLSET = {"type": "agent_toolset_20260401"}


def make_agent(workspace: Any, *, model: str = "simulated/tools", **definition: Any) -> Any:
    from agents.services.agents import create_agent

    values = {"name": "Tester", "model": model, "tools": [TOOLSET], **definition}
    return create_agent(workspace, definition=values)


def make_environment(workspace: Any, name: str = "cloud") -> Any:
    from agents.models import Environment
    from agents.services.environments import create_environment

    found = Environment.objects.filter(workspace=workspace, name=name).first()
    return found or create_environment(workspace, definition={"name": name})


def message(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def start_session(workspace: Any, text: str | None, *, agent: Any = None, **values: Any) -> Any:
    """A session with `text` as its first message (none when it is None)."""
    from agents.services.sessions import create_session

    agent = agent or make_agent(workspace)
    body = {"agent": agent.public_id, "environment_id": make_environment(workspace).public_id, **values}
    if text is not None:
        body["initial_events"] = [message(text)]
    return create_session(workspace, values=body)


def send(session: Any, *events: dict[str, Any]) -> list[Any]:
    from agents.services.events import send_events

    return send_events(session, events=list(events))


def wait_idle(session: Any, *, timeout_s: float = 30.0) -> Any:
    """Wait until the session has stopped, and return it as it is then."""

    def stopped() -> bool:
        session.refresh_from_db()
        return session.status in ("idle", "terminated")

    wait_until(stopped, timeout_s=timeout_s)
    return session


def log_of(session: Any, *, visible: bool = True) -> list[Any]:
    rows = session.events.order_by("seq").select_related("thread")
    return list(rows.filter(visible=True) if visible else rows)


def types_of(session: Any) -> list[str]:
    return [row.type for row in log_of(session)]


def texts_of(session: Any, type_: str) -> list[str]:
    """The text blocks of every event of this type, one string an event."""
    return [
        "".join(block.get("text", "") for block in row.data.get("content") or [])
        for row in log_of(session)
        if row.type == type_
    ]
