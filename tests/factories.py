"""Things for tests to look at, made through the services, so that nothing impossible comes into being.

Plain functions with keyword defaults. Whatever happens in a session is written through its log, as the engine does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model

from agents.ids import EXEC, new_id
from agents.ingestion.model import (
    CHAT,
    ImportedAnnotation,
    ImportedEvent,
    ImportedSession,
    ImportedThread,
)
from agents.models import Agent, Environment, Event, Membership, Session, Thread, ToolCall, Workspace
from agents.models.people import Role
from agents.services import agents, environments, sessions, status
from agents.services.ingestion import import_session
from agents.services.log import open_log

PASSWORD = "a long enough password"
TOOLSET = {"type": "agent_toolset_20260401"}
_numbers = itertools.count(1)


def make_workspace(name: str = "Lab") -> Workspace:
    return Workspace.objects.create(name=name, slug=f"{name.lower()}-{next(_numbers)}")


def make_member(workspace: Workspace, *roles: str, name: str = "") -> Any:
    """A person with a password who is a member with these roles; all of them when none is named."""
    name = name or f"person{next(_numbers)}"
    user = get_user_model().objects.filter(username=name).first()
    user = user or get_user_model().objects.create_user(name, password=PASSWORD)
    Membership.objects.create(user=user, workspace=workspace, roles=list(roles) or [role.value for role in Role])
    return user


def make_agent(workspace: Workspace, *, name: str = "Scout", model: str = "simulated/default", **more: Any) -> Agent:
    return agents.create_agent(workspace, definition={"name": name, "model": model, "tools": [TOOLSET], **more})


def make_environment(workspace: Workspace, *, name: str = "Sandbox", **more: Any) -> Environment:
    found = Environment.objects.in_workspace(workspace).filter(name=name).first()
    return found or environments.create_environment(workspace, definition={"name": name, **more})


def make_session(
    workspace: Workspace, *, agent: Agent | None = None, title: str | None = "A session", says: str | None = None
) -> Session:
    """A session that nobody has asked anything yet; running when `says` is its first message."""
    agent = agent or Agent.objects.in_workspace(workspace).filter(imported=False).first() or make_agent(workspace)
    values: dict[str, Any] = {"agent": agent.public_id, "environment_id": make_environment(workspace).public_id}
    if title is not None:
        values["title"] = title
    if says is not None:
        values["initial_events"] = [{"type": "user.message", "content": text(says)}]
    return sessions.create_session(workspace, values=values, sender="Ana")


def text(said: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": said}]


def write(session: Session, *events: tuple[str, dict[str, Any]], thread: Thread | None = None) -> list[Event]:
    """Append events to the session's log, on the primary thread unless another is given."""
    with open_log(session.pk) as log:
        return [log.append(thread or log.session.primary_thread, type_, payload) for type_, payload in events]


def write_one(session: Session, type_: str, payload: dict[str, Any] | None = None, **how: Any) -> Event:
    """Append one event, with the options of `Log.append`."""
    thread = how.pop("thread", None)
    with open_log(session.pk) as log:
        return log.append(thread or log.session.primary_thread, type_, payload or {}, **how)


def take_up(session: Session) -> None:
    """The agent begins to work on the messages that wait."""
    with open_log(session.pk) as log:
        for event in Event.objects.filter(session=session, processed_at=None).select_related("thread"):
            log.mark_processed(event)


def turn(
    session: Session, answer: str = "All done.", *, pass_time: Callable[[float], Any] = lambda seconds: None
) -> list[Event]:
    """A model request with thought, message, a tool call and its result, as the engine writes them.

    `pass_time(seconds)` is called where time would go by.
    """
    start = write_one(session, "span.model_request_start")
    pass_time(2.4)
    write_one(session, "agent.thinking", private={"thinking": "I should look first."}, cause=start)
    said = write_one(session, "agent.message", {"content": text(answer)}, cause=start)
    use = write_one(
        session,
        "agent.tool_use",
        {"name": "grep", "input": {"pattern": "ERROR"}, "evaluated_permission": "allow"},
        cause=start,
    )
    usage = {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_input_tokens": 300,
        "cache_creation_input_tokens": 0,
    }
    ended = {"model_request_start_id": start.public_id, "model_usage": usage, "is_error": False}
    end = write_one(session, "span.model_request_end", ended, cause=start)
    pass_time(1.1)
    found = {"tool_use_id": use.public_id, "content": text("12 lines"), "is_error": False}
    result = write_one(session, "agent.tool_result", found, cause=use)
    return [start, said, use, end, result]


def stop(session: Session, reason: str = "end_turn", **more: Any) -> Session:
    """The session goes idle."""
    with open_log(session.pk) as log:
        thread = log.primary()
        thread.phase, thread.runnable_at = Thread.Phase.IDLE, None
        log.touch(thread, "phase", "runnable_at")
        status.set_idle(log, thread, {"type": reason, **more})
    session.refresh_from_db()
    return session


def run(session: Session) -> Session:
    """The session is at work."""
    with open_log(session.pk) as log:
        status.set_running(log, log.session.primary_thread)
    session.refresh_from_db()
    return session


def ask(session: Session, name: str = "bash", given: dict[str, Any] | None = None, *, kind: str = "agent") -> ToolCall:
    """The agent wants to use a tool and waits: for a confirmation, or for the result of a custom tool."""
    custom = kind == ToolCall.Kind.CUSTOM
    payload: dict[str, Any] = {"name": name, "input": given or {"command": "rm -r build"}}
    if not custom:
        payload |= {"evaluated_permission": "ask", "evaluation": {"type": "always_ask"}}
    use = write_one(session, "agent.custom_tool_use" if custom else "agent.tool_use", payload)
    with open_log(session.pk) as log:
        thread = log.session.primary_thread
        call = ToolCall.objects.create(
            session=session,
            thread=thread,
            use_event=use,
            kind=kind,
            name=name,
            state=ToolCall.State.WAITING,
            permission="allow" if custom else "ask",
            exec_id=new_id(EXEC),
            input_sha256="0" * 64,
        )
        thread.phase = Thread.Phase.WAITING_USER
        log.touch(thread, "phase")
        status.set_idle(log, thread, {"type": "requires_action", "event_ids": [use.public_id]})
    session.refresh_from_db()
    return call


def make_child(session: Session, name: str = "north") -> Thread:
    """Another agent's thread below the primary one."""
    primary = session.primary_thread
    thread = Thread.objects.create(
        session=session,
        parent=primary,
        agent_name=name,
        agent_snapshot=session.agent_snapshot,
        ordinal=session.threads.count(),
    )
    write_one(session, "session.thread_created", {"session_thread_id": thread.public_id, "agent_name": name})
    return thread


def make_imported(
    workspace: Workspace,
    *,
    title: str = "Imported work",
    has_times: bool = False,
    events: int = 6,
    failure: int | None = None,
    source_name: str = "Who&When",
) -> Session:
    """A chat of so many messages between two agents, imported; `failure` marks the message with this place (from 0)."""
    start = datetime(2025, 7, 14, 9, 0, tzinfo=UTC)
    keys = ("main", "north")
    created = {"session_thread_id": "north", "agent_name": "north"}
    lines = [
        ImportedEvent(
            external_id=f"e{n}",
            thread=keys[n % 2] if n else "main",
            type="agent.message" if n else "user.message",
            payload={"content": text(f"line {n}")},
            at=start + timedelta(seconds=10 * n) if has_times else None,
        )
        for n in range(events)
    ]
    lines.insert(1, ImportedEvent("north", "main", "session.thread_created", created, at=lines[0].at))
    imported = ImportedSession(
        external_id=f"external-{next(_numbers)}",
        format=CHAT,
        source_name=source_name,
        title=title,
        threads=[ImportedThread("main", "lead"), ImportedThread("north", "north", "main")],
        events=lines,
        annotations=[]
        if failure is None
        else [ImportedAnnotation(f"e{failure}", "failure", "Wrong tool", "It should have searched.", "annotators")],
        has_times=has_times,
        metadata={},
        notes=[],
    )
    import_session(workspace, imported)
    return Session.objects.get(workspace=workspace, external_id=imported.external_id)
