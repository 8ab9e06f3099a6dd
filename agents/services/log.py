"""Writing to a session's log: the one gate through which every event goes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db import transaction
from django.db.models import Model

from agents.errors import NotFound
from agents.ids import EVENT, new_id
from agents.models import Event, Session, Step, Thread
from agents.models.events import PROCESSED_MARK, QUEUED_POSITION
from agents.services import log_sql


class SessionGone(NotFound):
    """The session was deleted while somebody worked on it."""


EVENT_CHANNEL = "daybreak_event"
INTERRUPT_CHANNEL = "daybreak_interrupt"
DELETED = "This session was deleted."

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
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


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
    """A JSON value that can be stored: `clean_text` over every string, keys included, and no NaN or infinity."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such numbers
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


@dataclass
class Log:
    """A locked session and the events to append to it. Written in one go when the block ends.

    `now` is one moment for everything in the block, by the database's clock: workers' clocks may differ. State fields
    changed on `session` and on threads given to `touch` are saved with it, and so are the rows given to `add` and
    `change`.
    """

    session: Session
    now: datetime
    step: Step | None = None
    _events: list[Event] = field(default_factory=list)
    _threads: dict[int, tuple[Thread, set[str]]] = field(default_factory=dict)
    _known: dict[int, Thread] = field(default_factory=dict)
    _session_fields: set[str] = field(default_factory=set)
    _added: list[Model] = field(default_factory=list)
    _changed: dict[tuple[type[Model], int], tuple[Model, set[str]]] = field(default_factory=dict)
    _later: list[Callable[[], object]] = field(default_factory=list)
    _written: int = 0  # events stored by `flush`

    def own(self, thread: Thread) -> Thread:
        """The one instance of a thread that this block changes and saves: the first that was shown to it."""
        return self._known.setdefault(thread.pk, thread)

    def known(self) -> Iterable[Thread]:
        """The threads this block has been shown, as they are now."""
        return self._known.values()

    def primary(self) -> Thread:
        """The session's own thread: what is appended to it appears on the session's stream."""
        found = next((thread for thread in self._known.values() if thread.is_primary), None)
        if found is None:
            rows = log_sql.select(Thread, "r.session_id = $1 AND r.parent_id IS NULL", self.session.pk, light=True)
            found = self.own(rows[0])
        return found

    def find_thread(self, public_id: str) -> Thread | None:
        """A thread of this session by its id; None when there is none."""
        known = next((thread for thread in self._known.values() if thread.public_id == public_id), None)
        if known is not None:
            return known
        condition = "r.session_id = $1 AND r.public_id = $2"
        rows = log_sql.select(Thread, condition, self.session.pk, public_id, light=True)
        return self.own(rows[0]) if rows else None

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
        session, thread = self.session, self.own(thread)
        session.last_seq += 1
        session.event_count += 1 if visible else 0
        if type in COUNTED_AS_TOOL_CALL and "session_thread_id" not in (payload or {}):  # else a child's, shown again
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
            event.step, event.ordinal = self.step, self._written + len(self._events)
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
        self.change(event, "processed_at", "position")

    def touch(self, thread: Thread, *fields: str) -> None:
        """Save these fields of the thread when the block ends."""
        known = self._threads.setdefault(thread.pk, (self.own(thread), set()))
        known[1].update(fields)

    def touch_session(self, *fields: str) -> None:
        self._session_fields.update(fields)

    def add(self, row: Model) -> None:
        """Insert the row after the block's events, which it may refer to, as it is when the block ends."""
        self._added.append(row)

    def change(self, row: Model, *fields: str) -> None:
        """Save these fields of a row (not of the session or a thread) when the block ends."""
        if row.pk is not None:  # else it was added in this block, and is inserted as it is at the end
            self._changed.setdefault((type(row), row.pk), (row, set()))[1].update(fields)

    def flush(self) -> None:
        """Let queries in the rest of the block see the events and rows given to it so far."""
        log_sql.insert(self._events)
        self._written += len(self._events)
        self._events = []
        for _, rows in groupby(self._added, key=type):
            log_sql.insert(list(rows))
        self._added = []
        log_sql.update(self._changed.values())  # what changes on after this is saved again at the end

    def later(self, write: Callable[[], object]) -> None:
        """Run `write` in the same transaction once the events are stored and have their keys."""
        self._later.append(write)

    def _write(self) -> None:
        log_sql.insert(self._events)
        appended = bool(self._written or self._events)
        if appended:
            self._session_fields.update(STATE_FIELDS)
        for _, rows in groupby(self._added, key=type):
            log_sql.insert(list(rows))
        for write in self._later:
            write()
        changes: list[tuple[Model, set[str]]] = list(self._changed.values())
        if self._session_fields:
            self.session.updated_at = self.now
            changes.append((self.session, self._session_fields | {"updated_at"}))
        for thread, fields in self._threads.values():
            thread.updated_at = self.now
            changes.append((thread, fields | {"updated_at"}))
        news = (EVENT_CHANNEL, f"{self.session.pk}:{self.session.last_seq}") if appended else None
        log_sql.update(changes, notification=news)


def notify(channel: str, payload: str) -> None:
    """Wake listeners when the surrounding transaction commits. A hint: the rows are the truth."""
    log_sql.update([], notification=(channel, payload))


@contextmanager
def open_log(session_pk: int) -> Iterator[Log]:
    """Lock a session and yield its `Log`; everything in the block commits together or not at all.

    Raises SessionGone when the session has been deleted.
    """
    with transaction.atomic():
        found = log_sql.lock_session(session_pk)
        if found is None:
            raise SessionGone(DELETED)
        log = Log(session=found[0], now=found[1])
        yield log
        log._write()


@contextmanager
def open_thread_log(session_pk: int, thread_pk: int) -> Iterator[tuple[Log, Thread]]:
    """`open_log` for a worker: locks the session and this thread of it."""
    with transaction.atomic():
        found = log_sql.lock_session_and_thread(session_pk, thread_pk)
        if found is None:
            raise SessionGone(DELETED)
        log = Log(session=found[0], now=found[2])
        yield log, log.own(found[1])
        log._write()
