"""The log as the API gives it: every event of the wire in the server's order, by type and thread, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, QuerySet
from django.db.models.functions import Length

from agents.models import Event
from console import formats
from console.story.detail import MAX_PART, raw_of
from console.story.inspector.asked import Asked
from console.story.rows import Lane
from console.text import one_line

PAGE_SIZE = 50
MOST_TYPES = 60


@dataclass(frozen=True)
class WireEvent:
    """One event without its body. `size` is the length of its own fields in characters."""

    seq: int
    public_id: str
    type: str
    lane: Lane
    at: datetime | None
    clock: str
    size: int
    is_chosen: bool


@dataclass(frozen=True)
class TypeCount:
    type: str
    count: int
    is_chosen: bool


@dataclass(frozen=True)
class EventsBody:
    rows: tuple[WireEvent, ...]
    types: tuple[TypeCount, ...]
    threads: tuple[tuple[Lane, bool], ...]
    type: str
    thread: str
    total: int
    before: int  # the first `seq` of the page; 0 when nothing stands before it
    after: int  # the last; 0 when nothing follows

    @property
    def last_seq(self) -> int:
        return self.rows[-1].seq if self.rows else 0


@dataclass(frozen=True)
class OpenedEvent:
    """One event's JSON, as much of it as a page can hold."""

    event: Event
    text: str
    left_out: int


def read(asked: Asked) -> EventsBody:
    wire = Event.objects.filter(session=asked.session, visible=True)
    counts = list(wire.order_by().values_list("type").annotate(number=Count("pk")).order_by("-number", "type"))
    type_, lane = asked.text("type")[:64], asked.lane_of(asked.text("thread"))
    chosen = wire.filter(type=type_) if type_ else wire
    chosen = chosen.filter(thread=lane.thread) if lane else chosen
    page, has_before, has_after = _page(chosen, asked)
    rows = tuple(_row(asked, values) for values in page)
    return EventsBody(
        rows=rows,
        types=tuple(TypeCount(name, number, name == type_) for name, number in counts[:MOST_TYPES]),
        threads=tuple((own, own is lane) for own in asked.lanes.values()),
        type=one_line(type_, 64),
        thread=lane.public_id if lane else "",
        total=_total(asked, counts, type_, lane),
        before=rows[0].seq if rows and has_before else 0,
        after=rows[-1].seq if rows and has_after else 0,
    )


def opened(event: Event) -> OpenedEvent:
    raw = raw_of(event)
    return OpenedEvent(event, raw.text[:MAX_PART], raw.left_out)


def _total(asked: Asked, counts: list[tuple[str, int]], type_: str, lane: Lane | None) -> int:
    """How many events match; counted by the database only for one thread's, where no sum is at hand."""
    if lane is not None:
        own = Event.objects.filter(session=asked.session, visible=True, thread=lane.thread)
        return own.filter(type=type_).count() if type_ else own.count()
    return sum(number for name, number in counts if not type_ or name == type_)


def _page(events: QuerySet[Event], asked: Asked) -> tuple[list[tuple], bool, bool]:
    """A page from `after`, before `before`, around the selected event, or from the start."""
    fields = ("seq", "public_id", "type", "thread_id", "created_at")
    rows = events.annotate(size=Length("payload"))
    after, before = asked.number("after"), asked.number("before")
    if before is not None:
        found = list(rows.filter(seq__lt=before).order_by("-seq").values_list(*fields, "size")[: PAGE_SIZE + 1])
        return found[:PAGE_SIZE][::-1], len(found) > PAGE_SIZE, True
    start = after
    if start is None and asked.event is not None:
        start = max(0, asked.event.seq - PAGE_SIZE // 4)
    found = list(rows.filter(seq__gt=start or 0).order_by("seq").values_list(*fields, "size")[: PAGE_SIZE + 1])
    return found[:PAGE_SIZE], bool(start), len(found) > PAGE_SIZE


def _row(asked: Asked, values: tuple) -> WireEvent:
    seq, public_id, type_, thread, at, size = values
    moment = at if asked.session.has_times else None
    clock = formats.offset((moment - asked.session.created_at).total_seconds()) if moment else ""
    is_chosen = asked.event is not None and asked.event.seq == seq
    return WireEvent(seq, public_id, type_, asked.lanes[thread], moment, clock, size, is_chosen)
