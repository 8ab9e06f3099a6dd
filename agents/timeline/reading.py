"""A session's log as light events: one query, no bodies. What was built is kept, and extended when events come."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import connection

from agents.models import Session
from agents.timeline import kinds
from agents.timeline.builder import Builder
from agents.timeline.model import LightEvent

MAX_EVENTS = 400_000  # of a longer log the last ones are drawn
CHUNK = 20_000
KEPT_CUTS = 8  # of one timeline
KEPT_BYTES = 96 * 1024 * 1024  # of all timelines in this process
# What the session's stream repeats of its agents' own (console.story.told says why it is left out).
COPIED = frozenset(
    {
        "agent.tool_use",
        "agent.mcp_tool_use",
        "agent.custom_tool_use",
        "session.thread_status_running",
        "session.thread_status_idle",
        "session.thread_status_rescheduled",
        "session.thread_status_terminated",
    }
)
COPIED_ANSWERS = frozenset({"user.tool_confirmation", "user.custom_tool_result", "user.tool_result"})

# Bodies are looked into by the database, and only where a flag or an id is known to be in them. The quotes of text
# inside JSON are escaped, so nothing an agent said can look like a field.
EVENTS = """
SELECT e.seq, e.thread_id, e.type, (extract(epoch FROM e.created_at) * 1000000)::bigint, e.cause_seq,
    CASE WHEN e.type = ANY(%(tools)s) THEN e.id END,
    CASE WHEN e.type = 'session.thread_status_idle' THEN position('"requires_action"' IN e.payload) > 0
         WHEN e.type = ANY(%(failing)s) THEN position('"is_error":true' IN e.payload) > 0
         ELSE false END,
    CASE WHEN e.type = ANY(%(messages)s) THEN substring(e.private FROM '"message_id":"([^"]*)"') END,
    CASE WHEN NOT %(imported)s THEN NULL
         WHEN e.type = ANY(%(uses)s) THEN e.public_id
         WHEN e.type = ANY(%(results)s)
         THEN substring(e.payload FROM '"(?:mcp_|custom_)?tool_use_id":"([^"]*)"') END
FROM agents_event e WHERE e.session_id = %(session)s AND e.seq > %(after)s ORDER BY e.seq LIMIT %(limit)s
"""
CALLS = """
SELECT result_event_id, use_event_id, (extract(epoch FROM started_at) * 1000000)::bigint
FROM agents_toolcall WHERE result_event_id = ANY(%s)
"""


T = TypeVar("T")


@dataclass
class Reading:
    """A timeline and what reading on takes."""

    session_pk: int
    primary: int
    imported: bool
    has_times: bool
    built: Builder
    after: int = 0
    left_out: int = 0  # events before the first that was read
    copied: dict[int, str] = field(default_factory=dict)  # types of what may be repeated, by `seq`
    repeated: set[int] = field(default_factory=set)
    uses: dict[Any, int] = field(default_factory=dict)  # `seq` of open uses by key, or by public id where imported
    cut: dict[Any, Any] = field(default_factory=dict)  # what was cut out of it as it is now
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read_on(self) -> None:
        """Bring it up to the end of the log."""
        self.cut.clear()
        while True:
            rows = self._rows()
            self.built.add(self._light(rows))
            if len(rows) < CHUNK:
                return

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gives, once for the log as it is: pages of one session ask for the same."""
        if key not in self.cut:
            if len(self.cut) >= KEPT_CUTS:
                self.cut.pop(next(iter(self.cut)))
            self.cut[key] = make()
        found: T = self.cut[key]
        return found

    @property
    def size_bytes(self) -> int:
        return self.built.size_bytes + sys.getsizeof(self.copied) + 32 * len(self.copied) + 100 * len(self.uses)

    def _rows(self) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(
                EVENTS,
                {
                    "tools": [*kinds.TOOL_USES, *kinds.TOOL_RESULTS],
                    "uses": list(kinds.TOOL_USES),
                    "results": list(kinds.TOOL_RESULTS),
                    "failing": [*kinds.TOOL_RESULTS, "span.model_request_end"],
                    "messages": [kinds.MESSAGE_SENT, kinds.MESSAGE_RECEIVED],
                    "imported": self.imported,
                    "session": self.session_pk,
                    "after": self.after,
                    "limit": CHUNK,
                },
            )
            rows = cursor.fetchall()
        if rows:
            self.after = rows[-1][0]
        return rows

    def _light(self, rows: list[tuple[Any, ...]]) -> Iterator[LightEvent]:
        calls = self._calls(rows)
        for seq, thread, type_, at, cause, pk, flag, message, reference in rows:
            if self._is_copy(seq, thread, type_, cause):
                continue
            ref = ran_at = None
            if pk is not None and type_ in kinds.TOOL_USES:
                self.uses[reference or pk] = seq
            elif pk is not None:
                use, ran_at = calls.get(pk, (reference, None))
                ref = self.uses.pop(use, None) if use is not None else None
            waits = flag and type_ == "session.thread_status_idle"
            when = at if self.has_times else None
            failed = flag and not waits
            yield LightEvent._make((seq, thread, type_, when, cause, ref, message or "", failed, waits, ran_at))

    def _calls(self, rows: list[tuple[Any, ...]]) -> dict[int, tuple[int, int | None]]:
        """The use that each result answers, and when the call was begun. An imported session has no calls."""
        pks = [] if self.imported else [row[5] for row in rows if row[5] is not None and row[2] in kinds.TOOL_RESULTS]
        if not pks:
            return {}
        with connection.cursor() as cursor:
            cursor.execute(CALLS, [pks])
            return {result: (use, began) for result, use, began in cursor.fetchall()}

    def _is_copy(self, seq: int, thread: int, type_: str, cause: int | None) -> bool:
        if thread != self.primary:
            if type_ in COPIED and not self.imported:
                self.copied[seq] = type_
            return False
        if cause is None:
            return False
        if type_ in COPIED and self.copied.get(cause) == type_:
            self.repeated.add(seq)
            return True
        return type_ in COPIED_ANSWERS and cause in self.repeated


class _Kept:
    """The timelines of this process, the least recently used ones given up first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.readings: OrderedDict[tuple[int, bool], Reading] = OrderedDict()

    def reading_of(self, session: Session, *, by_order: bool) -> Reading:
        key = (session.pk, by_order)
        with self.lock:
            found = self.readings.get(key)
            if found is None:
                found = self.readings[key] = _new_reading(session, by_order)
            self.readings.move_to_end(key)
        return found

    def make_room(self) -> None:
        with self.lock:
            total = sum(reading.size_bytes for reading in self.readings.values())
            while total > KEPT_BYTES and len(self.readings) > 1:
                _, oldest = self.readings.popitem(last=False)
                total -= oldest.size_bytes

    def clear(self) -> None:
        with self.lock:
            self.readings.clear()


kept = _Kept()


@contextmanager
def timeline_of(session: Session, *, by_order: bool = False) -> Iterator[Reading]:
    """The timeline of a session up to now, for as long as the block lasts: others who want it wait.

    Args:
        by_order: also where times are known. A session without times is never drawn otherwise.
    """
    reading = kept.reading_of(session, by_order=by_order or not session.has_times)
    with reading.lock:
        if reading.after < session.last_seq:
            reading.read_on()
        yield reading
    kept.make_room()


def _new_reading(session: Session, by_order: bool) -> Reading:
    primary = session.threads.filter(parent__isnull=True).values_list("pk", flat=True).first()
    built = Builder(by_order=by_order, pairs_in_turn=session.is_imported, queues=not session.is_imported)
    skipped = max(0, session.last_seq - MAX_EVENTS)
    return Reading(
        session_pk=session.pk,
        primary=primary or 0,
        imported=session.is_imported,
        has_times=session.has_times,
        built=built,
        after=skipped,
        left_out=skipped,
    )
