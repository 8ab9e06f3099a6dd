"""Writing to a session's log: the one gate through which every event goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from agents.errors import NotFound
from agents.ids import EVENT, new_id
from agents.models import Event, Session, Step, Thread
from agents.models.events import PROCESSED_MARK, QUEUED_POSITION

EVENT_CHANNEL = "daybreak_event"
INTERRUPT_CHANNEL = "daybreak_interrupt"

STATE_FIELDS = (
    "status",
    "stop_reason",
    "last_seq",
    "event_count",
    "thread_count",
    "tool_call_count",
    "error_count",
    "active_ms",
    "active_since",
    "updated_at",
)
COUNTED_AS_TOOL_CALL = frozenset({"agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use"})


def dump(value: Any) -> str:
    """Compact JSON text that any client can read: NUL and lone surrogates must be gone before (see `clean_text`)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def clean_text(text: str) -> str:
    """NUL and lone surrogates, which neither PostgreSQL nor UTF-8 can hold, become U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean(value: Any) -> Any:
    """`clean_text` over every string of a JSON value, keys included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


@dataclass
class Log:
    """A locked session and the events to append to it. Written in one go when the block ends.

    `now` is one moment for everything in the block. State fields changed on `session` and on threads given to
    `touch` are saved with it.
    """

    session: Session
    now: datetime
    step: Step | None = None
    _events: list[Event] = field(default_factory=list)
    _threads: dict[int, tuple[Thread, set[str]]] = field(default_factory=dict)
    _session_fields: set[str] = field(default_factory=set)
    _later: list[Callable[[], None]] = field(default_factory=list)

    def append(
        self,
        thread: Thread,
        type: str,  # noqa: A002 (the wire's word)
        payload: dict[str, Any] | None = None,
        *,
        private: dict[str, Any] | None = None,
        cause: Event | int | None = None,
        queued: bool = False,
        processed: bool = True,
        public_id: str | None = None,
        visible: bool = True,
    ) -> Event:
        """Add one event. Its `seq` is known at once, its `pk` after the block.

        Args:
            cause: the event, or its `seq`, that made this one happen.
            queued: the thread is busy; the event stands after everything else until it is processed.
            processed: False leaves `processed_at` null until `mark_processed`.
        """
        session = self.session
        session.last_seq += 1
        session.event_count += 1 if visible else 0
        if type in COUNTED_AS_TOOL_CALL:
            session.tool_call_count += 1
        elif type == "session.error":
            session.error_count += 1
        elif type == "session.thread_created":
            session.thread_count += 1
        event = Event(
            public_id=public_id or new_id(EVENT),
            session=session,
            seq=session.last_seq,
            thread=thread,
            type=type,
            payload=dump(payload or {}),
            private=dump(private) if private else None,
            cause_seq=cause.seq if isinstance(cause, Event) else cause,
            position=session.last_seq + (QUEUED_POSITION if queued else 0),
            visible=visible,
            created_at=self.now,
            processed_at=self.now if processed else None,
        )
        if self.step is not None:
            event.step, event.ordinal = self.step, len(self._events)
        if visible:
            thread.event_count += 1
            self.touch(thread, "event_count")
        self._events.append(event)
        return event

    def mark_processed(self, event: Event) -> None:
        """Record that a queued event was taken into a turn, at this place of the log."""
        mark = self.append(event.thread, PROCESSED_MARK, {"event_id": event.public_id}, cause=event, visible=False)
        event.processed_at = self.now
        if event.position >= QUEUED_POSITION:
            event.position = mark.seq
        if event.pk:
            Event.objects.filter(pk=event.pk).update(processed_at=event.processed_at, position=event.position)

    def touch(self, thread: Thread, *fields: str) -> None:
        """Save these fields of the thread when the block ends."""
        known = self._threads.setdefault(thread.pk, (thread, set()))
        known[1].update(fields)

    def touch_session(self, *fields: str) -> None:
        self._session_fields.update(fields)

    def later(self, write: Callable[[], None]) -> None:
        """Run `write` in the same transaction once the events are stored and have their keys."""
        self._later.append(write)

    def _write(self) -> None:
        if self._events:
            Event.objects.bulk_create(self._events)
            self._session_fields.update(STATE_FIELDS)
        for write in self._later:
            write()
        if self._session_fields:
            self.session.updated_at = self.now
            self.session.save(update_fields=[*self._session_fields, "updated_at"])
        for thread, fields in self._threads.values():
            thread.updated_at = self.now
            thread.save(update_fields=[*fields, "updated_at"])
        if self._events:
            notify(EVENT_CHANNEL, f"{self.session.pk}:{self.session.last_seq}")


def notify(channel: str, payload: str) -> None:
    """Wake listeners when the surrounding transaction commits. A hint: the rows are the truth."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


@contextmanager
def open_log(session_pk: int) -> Iterator[Log]:
    """Lock a session and yield its `Log`; everything in the block commits together or not at all.

    Raises NotFound when the session has been deleted.
    """
    with transaction.atomic():
        session = Session.objects.select_for_update().filter(pk=session_pk).first()
        if session is None:
            raise NotFound("This session was deleted.")
        log = Log(session=session, now=timezone.now())
        yield log
        log._write()
