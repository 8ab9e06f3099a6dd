"""The status moves of threads and sessions, and the events that say so.

A session is running while any of its threads is; the session row is written before the event is published, so that
whoever sees `session.status_idle` finds the session idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.models import Event, Session, Thread
from agents.services import log_sql
from agents.services.calls import answer_open_calls
from agents.services.log import Log
from agents.services.sandboxes import close_after_commit

WORKING = (Thread.Status.RUNNING, Thread.Status.RESCHEDULING)
THREAD_STATES = """
SELECT id, status, phase, runnable_at, interrupt_seq > interrupts_handled_seq FROM agents_thread WHERE session_id = $1
"""
WAITING_CALLS = """
SELECT own.public_id, crossposted.public_id
FROM agents_toolcall c
JOIN agents_event own ON own.id = c.use_event_id
LEFT JOIN agents_event crossposted ON crossposted.id = c.crosspost_event_id
WHERE c.session_id = $1 AND c.state = 'waiting' AND ($2::bigint IS NULL OR c.thread_id = $2::bigint)
ORDER BY own.seq
"""


def _start_clock(log: Log, owner: Session | Thread) -> None:
    owner.active_since = owner.active_since or log.now


def _stop_clock(log: Log, owner: Session | Thread) -> None:
    if owner.active_since is not None:
        owner.active_ms += round((log.now - owner.active_since).total_seconds() * 1000)
        owner.active_since = None


@dataclass(frozen=True)
class ThreadState:
    """What a session's status depends on, of one of its threads."""

    pk: int
    status: str
    phase: str
    runnable_at: datetime | None
    is_stopping: bool

    def works(self, now: datetime) -> bool:
        """Whether it keeps its session running. An agent that waits for others does not: they do, or nobody does.

        One that is about to stop does: what the session stands still for is known when the last has stopped.
        """
        return self.is_stopping or self.status in WORKING and not self.is_parked(now)

    def is_parked(self, now: datetime) -> bool:
        waits = self.phase == Thread.Phase.WAITING_AGENTS
        return waits and (self.runnable_at is None or self.runnable_at > now)


def thread_states(log: Log) -> list[ThreadState]:
    """Every thread of the session as this block leaves it. Safe to read: the session row is locked."""
    rows = log_sql.execute(THREAD_STATES, [log.session.pk])
    states = {row[0]: ThreadState(*row) for row in rows}
    for thread in log.known():
        if thread.pk in states:
            states[thread.pk] = ThreadState(
                thread.pk, thread.status, thread.phase, thread.runnable_at, thread.interrupt_pending
            )
    return list(states.values())


def _thread_event(
    log: Log,
    thread: Thread,
    type_: str,
    payload: dict[str, Any],
    cause: Event | int | None,
    *,
    crosspost: dict[str, Any] | None = None,
    private: dict[str, Any] | None = None,
) -> None:
    """A thread's status event: on its own stream and, for a child, on the session's, where some fields may differ."""
    body = {"session_thread_id": thread.public_id, "agent_name": thread.agent_name, **payload}
    event = log.append(thread, type_, body, private=private, cause=cause)
    if not thread.is_primary:
        log.append(log.primary(), type_, {**body, **(crosspost or {})}, private=private, cause=event)


def set_running(log: Log, thread: Thread, *, cause: Event | int | None = None) -> None:
    """The thread has work. Emits nothing that is already so."""
    session = log.session
    if session.status != Session.Status.RUNNING:
        session.status, session.stop_reason = Session.Status.RUNNING, None
        _start_clock(log, session)
        log.append(log.primary(), "session.status_running", {}, cause=cause)
    _set_thread_running(log, thread, cause)
    if not thread.is_primary and thread.status == Thread.Status.RUNNING:
        lead = log.primary()
        if lead.phase == Thread.Phase.WAITING_AGENTS:
            _set_thread_running(log, lead, cause)  # what it waited for goes on, and so does its turn


def _set_thread_running(log: Log, thread: Thread, cause: Event | int | None) -> None:
    if thread.status != Thread.Status.RUNNING:
        thread.status, thread.stop_reason = Thread.Status.RUNNING, None
        _start_clock(log, thread)
        log.touch(thread, "status", "stop_reason", "active_since")
        _thread_event(log, thread, "session.thread_status_running", {}, cause)


def set_rescheduling(
    log: Log, thread: Thread, *, private: dict[str, Any] | None = None, cause: Event | int | None = None
) -> None:
    """The thread waits before it tries again. Its clock stands still meanwhile."""
    thread.status = Thread.Status.RESCHEDULING
    _stop_clock(log, thread)
    log.touch(thread, "status", "active_ms", "active_since")
    _thread_event(log, thread, "session.thread_status_rescheduled", {}, cause, private=private)
    _reschedule_session(log, thread_states(log), cause)


def _reschedule_session(log: Log, states: list[ThreadState], cause: Event | int | None) -> None:
    """The session waits when all of its threads that have work wait before they try again."""
    session = log.session
    if session.status == Session.Status.RESCHEDULING:
        return
    if not any(state.works(log.now) and state.status == Thread.Status.RUNNING for state in states):
        session.status = Session.Status.RESCHEDULING
        _stop_clock(log, session)
        log.append(log.primary(), "session.status_rescheduled", {}, cause=cause)


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
    set_thread_idle(log, thread, stop_reason, cause=cause)
    settle_session(log, stop_details=stop_details, cause=cause)


def set_thread_idle(log: Log, thread: Thread, stop_reason: dict[str, Any], *, cause: Event | int | None = None) -> None:
    """The thread alone stops. `settle_session` must follow before the block ends."""
    thread.status, thread.stop_reason = Thread.Status.IDLE, stop_reason
    _stop_clock(log, thread)
    log.touch(thread, "status", "stop_reason", "active_ms", "active_since")
    crosspost = None
    if stop_reason["type"] == "requires_action" and not thread.is_primary:
        crosspost = {"stop_reason": {**stop_reason, "event_ids": waiting_ids(log, thread, on_session=True)}}
    _thread_event(log, thread, "session.thread_status_idle", {"stop_reason": stop_reason}, cause, crosspost=crosspost)


def settle_session(log: Log, *, stop_details: dict[str, Any] | None = None, cause: Event | int | None = None) -> None:
    """The session goes idle when none of its threads works any more, and waits when those that do all wait."""
    states = thread_states(log)
    if any(state.works(log.now) for state in states):
        _reschedule_session(log, states, cause)
        return
    session, primary = log.session, log.primary()
    reason = _session_reason(log, states, primary)
    if primary.status in WORKING:
        set_thread_idle(log, primary, reason, cause=cause)  # it waits for agents, and they wait for somebody
    session.status, session.stop_reason = Session.Status.IDLE, reason
    _stop_clock(log, session)
    log.append(primary, "session.usage", usage_snapshot(log), cause=cause)
    payload = {"stop_reason": reason, "stop_details": stop_details if reason["type"] == "refusal" else None}
    log.append(primary, "session.status_idle", payload, cause=cause)


def _session_reason(log: Log, states: list[ThreadState], primary: Thread) -> dict[str, Any]:
    """Why the session stands still: what a person can do about it first, else why its own thread stopped."""
    phases = {state.phase for state in states}
    if phases & {Thread.Phase.WAITING_USER, Thread.Phase.WAITING_AGENTS} and (ids := waiting_ids(log)):
        return {"type": "requires_action", "event_ids": ids}
    if Thread.Phase.PAUSED in phases:
        return {"type": "budget_reached"}
    return primary.stop_reason or {"type": "end_turn"}


def waiting_ids(log: Log, thread: Thread | None = None, *, on_session: bool = True) -> list[str]:
    """Event ids of the calls that wait for a person or a client, in the order they were made.

    Args:
        thread: only this thread's; None for the whole session's.
        on_session: as the session's stream names them; else as the thread's own stream does.
    """
    log.flush()
    rows = log_sql.execute(WAITING_CALLS, [log.session.pk, thread.pk if thread else None])
    return [(crossposted if on_session else None) or own for own, crossposted in rows]


def set_terminated(log: Log) -> None:
    """End a session for good: every thread with it, and whatever a worker may still have in hand is fenced off."""
    session = log.session
    session.status, session.stop_reason = Session.Status.TERMINATED, None
    session.terminated_at = log.now
    _stop_clock(log, session)
    log.touch_session("terminated_at")
    threads = [log.own(thread) for thread in session.threads.defer("agent_snapshot").order_by("-ordinal")]
    for thread in threads:
        if thread.status == Thread.Status.TERMINATED:
            continue
        thread.lease_epoch += 1
        log.touch(thread, "lease_epoch")
        answer_open_calls(log, thread, "The session ended before this call was carried out.", cause=None)
        set_thread_terminated(log, thread)
    unhandled = Event.objects.filter(session=session, type="user.interrupt", processed_at__isnull=True)
    for event in unhandled.select_related("thread").order_by("seq"):
        log.mark_processed(event)
    log.append(log.primary(), "session.status_terminated", {})


def set_thread_terminated(log: Log, thread: Thread, *, cause: Event | int | None = None) -> None:
    """A child ends for good; its place is free. `settle_session` must follow when it was working."""
    thread.status, thread.phase, thread.runnable_at = Thread.Status.TERMINATED, Thread.Phase.IDLE, None
    thread.stop_reason, thread.closing = None, False
    close_after_commit(log.session, thread)
    thread.interrupts_handled_seq = thread.interrupt_seq
    _stop_clock(log, thread)
    log.touch(thread, "status", "phase", "runnable_at", "stop_reason", "closing", "active_ms", "active_since")
    log.touch(thread, "interrupts_handled_seq")
    _thread_event(log, thread, "session.thread_status_terminated", {}, cause)


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
    usage = session_usage_wire(session, active_seconds=session.active_seconds_at(log.now))
    return {"usage": usage, "budget": budget_wire(session)}


def budget_wire(session: Session) -> dict[str, Any] | None:
    if session.budget_cents is None:
        return None
    return {"type": "limit", "max_list_cost": {"amount": str(session.budget_cents), "currency": "USD"}}
