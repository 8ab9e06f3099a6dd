"""The status moves of threads and sessions, and the events that say so.

A session is running while any of its threads is; the session row is written before the event is published, so that
whoever sees `session.status_idle` finds the session idle.
"""

from __future__ import annotations

from typing import Any

from agents.models import Event, Session, Thread
from agents.services import log_sql
from agents.services.log import Log

WORKING = (Thread.Status.RUNNING, Thread.Status.RESCHEDULING)


def _start_clock(log: Log, owner: Session | Thread) -> None:
    owner.active_since = owner.active_since or log.now


def _stop_clock(log: Log, owner: Session | Thread) -> None:
    if owner.active_since is not None:
        owner.active_ms += round((log.now - owner.active_since).total_seconds() * 1000)
        owner.active_since = None


def _other_threads(log: Log, thread: Thread) -> list[str]:
    """Statuses of the session's other threads. Safe to read: the session row is locked."""
    rows = log_sql.execute(
        "SELECT status FROM agents_thread WHERE session_id = $1 AND id <> $2", [log.session.pk, thread.pk]
    )
    return [status for (status,) in rows]


def _primary(log: Log, thread: Thread) -> Thread:
    return log.own(thread if thread.parent is None else thread.parent)


def _thread_event(log: Log, thread: Thread, type_: str, payload: dict[str, Any], cause: Event | int | None) -> None:
    """A thread's status event: on its own stream and, for a child, on the session's."""
    body = {"session_thread_id": thread.public_id, "agent_name": thread.agent_name, **payload}
    event = log.append(thread, type_, body, cause=cause)
    if not thread.is_primary:
        log.append(_primary(log, thread), type_, body, cause=event)


def set_running(log: Log, thread: Thread, *, cause: Event | int | None = None) -> None:
    """The thread has work. Emits nothing that is already so."""
    session = log.session
    if session.status != Session.Status.RUNNING:
        session.status, session.stop_reason = Session.Status.RUNNING, None
        _start_clock(log, session)
        log.append(_primary(log, thread), "session.status_running", {}, cause=cause)
    if thread.status != Thread.Status.RUNNING:
        thread.status, thread.stop_reason = Thread.Status.RUNNING, None
        _start_clock(log, thread)
        log.touch(thread, "status", "stop_reason", "active_since")
        _thread_event(log, thread, "session.thread_status_running", {}, cause)


def set_rescheduling(log: Log, thread: Thread, *, cause: Event | int | None = None) -> None:
    """The thread waits before it tries again. Its clock stands still meanwhile."""
    session = log.session
    thread.status = Thread.Status.RESCHEDULING
    _stop_clock(log, thread)
    log.touch(thread, "status", "active_ms", "active_since")
    _thread_event(log, thread, "session.thread_status_rescheduled", {}, cause)
    if Thread.Status.RUNNING not in _other_threads(log, thread):
        session.status = Session.Status.RESCHEDULING
        _stop_clock(log, session)
        log.append(_primary(log, thread), "session.status_rescheduled", {}, cause=cause)


def set_idle(
    log: Log,
    thread: Thread,
    stop_reason: dict[str, Any],
    *,
    stop_details: dict[str, Any] | None = None,
    cause: Event | int | None = None,
) -> None:
    """The thread stops for `stop_reason`; the session goes idle with it when nothing else runs.

    Also used to repeat an idle state with a changed reason (part of the pending calls was answered).
    """
    session = log.session
    thread.status, thread.stop_reason = Thread.Status.IDLE, stop_reason
    _stop_clock(log, thread)
    log.touch(thread, "status", "stop_reason", "active_ms", "active_since")
    _thread_event(log, thread, "session.thread_status_idle", {"stop_reason": stop_reason}, cause)
    if any(status in WORKING for status in _other_threads(log, thread)):
        return
    session.status, session.stop_reason = Session.Status.IDLE, stop_reason
    _stop_clock(log, session)
    log.append(_primary(log, thread), "session.usage", usage_snapshot(log), cause=cause)
    log.append(
        _primary(log, thread),
        "session.status_idle",
        {"stop_reason": stop_reason, "stop_details": stop_details},
        cause=cause,
    )


def set_terminated(log: Log) -> None:
    """End a session for good: every thread with it, and whatever a worker may still have in hand is fenced off."""
    session = log.session
    session.status, session.stop_reason = Session.Status.TERMINATED, None
    session.terminated_at = log.now
    _stop_clock(log, session)
    log.touch_session("terminated_at")
    threads = [log.own(thread) for thread in session.threads.select_related("parent").order_by("-ordinal")]
    for thread in threads:
        if thread.status == Thread.Status.TERMINATED:
            continue
        thread.status, thread.phase, thread.runnable_at = Thread.Status.TERMINATED, Thread.Phase.IDLE, None
        thread.stop_reason = None
        thread.lease_epoch += 1
        thread.interrupts_handled_seq = thread.interrupt_seq
        _stop_clock(log, thread)
        log.touch(thread, "status", "phase", "runnable_at", "stop_reason", "active_ms", "active_since")
        log.touch(thread, "lease_epoch", "interrupts_handled_seq")
        _thread_event(log, thread, "session.thread_status_terminated", {}, None)
    primary = next(thread for thread in threads if thread.is_primary)
    log.append(primary, "session.status_terminated", {})


def money(nanousd: int) -> dict[str, str]:
    """Wire money: whole cents as an integer string, rounded half up."""
    return {"amount": str((nanousd + 5_000_000) // 10_000_000), "currency": "USD"}


def usage_wire(owner: Session | Thread, *, active_seconds: float) -> dict[str, Any]:
    """The cumulative usage object of a session or thread."""
    return {
        "active_seconds": round(active_seconds, 3),
        "cache_creation": {
            "ephemeral_1h_input_tokens": owner.cache_creation_1h_input_tokens,
            "ephemeral_5m_input_tokens": owner.cache_creation_5m_input_tokens,
        },
        "cache_read_input_tokens": owner.cache_read_input_tokens,
        "input_tokens": owner.input_tokens,
        "list_cost": money(owner.list_cost_nanousd),
        "output_tokens": owner.output_tokens,
    }


def session_usage_wire(session: Session, *, active_seconds: float) -> dict[str, Any]:
    return {
        **usage_wire(session, active_seconds=active_seconds),
        "server_tool_use": {"web_fetch_requests": 0, "web_search_requests": session.web_search_requests},
    }


def usage_snapshot(log: Log) -> dict[str, Any]:
    session = log.session
    return {"usage": session_usage_wire(session, active_seconds=session.active_seconds_at(log.now)), "budget": None}
