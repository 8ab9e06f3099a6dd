"""Rebuilding a session's cached state from its log, which is the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agents.models import Event, Session, Thread
from agents.services.log import COUNTED_AS_TOOL_CALL, open_log

SESSION_STATUS = {
    "session.status_running": Session.Status.RUNNING,
    "session.status_rescheduled": Session.Status.RESCHEDULING,
    "session.status_idle": Session.Status.IDLE,
    "session.status_terminated": Session.Status.TERMINATED,
}
THREAD_STATUS = {
    "session.thread_status_running": Thread.Status.RUNNING,
    "session.thread_status_rescheduled": Thread.Status.RESCHEDULING,
    "session.thread_status_idle": Thread.Status.IDLE,
    "session.thread_status_terminated": Thread.Status.TERMINATED,
}
TOKENS = Session.TOKEN_FIELDS


@dataclass
class Clock:
    """Running time as the log tells it."""

    active_ms: int = 0
    since: datetime | None = None

    def move(self, *, running: bool, at: datetime) -> None:
        if running and self.since is None:
            self.since = at
        elif not running and self.since is not None:
            self.active_ms += round((at - self.since).total_seconds() * 1000)
            self.since = None


@dataclass
class State:
    """What the log adds up to, for a session or one of its threads."""

    status: str = Session.Status.IDLE
    stop_reason: dict[str, Any] | None = None
    event_count: int = 0
    clock: Clock = field(default_factory=Clock)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*TOKENS, "list_cost_nanousd"), 0))

    def add_usage(self, private: dict[str, Any]) -> None:
        for name, value in (private.get("usage") or {}).items():
            self.usage[name] += value

    def move(self, status: str, event: Event) -> None:
        self.status = status
        self.stop_reason = event.data.get("stop_reason") if status == Session.Status.IDLE else None
        self.clock.move(running=status == Session.Status.RUNNING, at=event.created_at)

    def fields(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "stop_reason": self.stop_reason,
            "event_count": self.event_count,
            "active_ms": self.clock.active_ms,
            "active_since": self.clock.since,
            **self.usage,
        }


def read_state(session: Session) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The cached fields of the session and of each thread (by key), computed from events alone."""
    whole = State()
    threads = {pk: State() for pk in session.threads.values_list("pk", flat=True)}
    ids = dict(session.threads.values_list("public_id", "pk"))
    totals = {"last_seq": 0, "thread_count": 1, "tool_call_count": 0, "error_count": 0}
    for event in session.events.order_by("seq").iterator(chunk_size=2000):
        totals["last_seq"] = event.seq
        if not event.visible:
            continue
        whole.event_count += 1
        own = threads[event.thread_id]
        own.event_count += 1
        if event.type in SESSION_STATUS:
            whole.move(SESSION_STATUS[event.type], event)
        elif event.type in THREAD_STATUS and ids.get(event.data["session_thread_id"]) == event.thread_id:
            own.move(THREAD_STATUS[event.type], event)
        elif event.type == "span.model_request_end":
            whole.add_usage(event.private_data)
            own.add_usage(event.private_data)
        if event.type in COUNTED_AS_TOOL_CALL:
            totals["tool_call_count"] += "session_thread_id" not in event.data
        totals["error_count"] += event.type == "session.error"
        totals["thread_count"] += event.type == "session.thread_created"
    return {**whole.fields(), **totals}, {pk: state.fields() for pk, state in threads.items()}


def rebuild_state(session: Session) -> list[str]:
    """Make the cached rows say what the log says. Returns a line for each field that did not."""
    with open_log(session.pk) as log:
        whole, threads = read_state(log.session)
        changes = list(_repair(log.session, whole, "session"))
        for thread in log.session.threads.order_by("ordinal", "pk"):
            changes += _repair(thread, threads[thread.pk], thread.public_id)
    session.refresh_from_db()
    return changes


def _repair(row: Session | Thread, wanted: dict[str, Any], label: str) -> Iterator[str]:
    wrong = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    for name, value in wrong.items():
        yield f"{label}: {name} was {getattr(row, name)!r}, the log says {value!r}"
        setattr(row, name, value)
    if wrong:
        row.save(update_fields=list(wrong))
