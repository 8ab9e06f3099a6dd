"""The picture above the event list: a track per thread with what it was busy with, drawn by time or by order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from django.db.models import Count, F, FloatField, IntegerField, Min
from django.db.models.functions import Cast, Extract, Floor

from agents.models import Event, Session
from console import formats
from console.story.rows import Lane
from console.story.told import without_copies

WIDTH, HEIGHT = 1000, 20  # of a track, in its own units
CELLS = 400  # at most this many shapes on one track
MAX_SHAPES = 2_000  # on the whole picture: with many lanes each gets fewer
MAX_LIGHT_ROWS = 20_000  # longer logs are counted by the database instead of read
MIN_SPAN = 2.0
MARK_WIDTH = 4.0
OPEN_END = 0.06  # of the length: room at the end for what is still going on
MOSTLY_EMPTY = 0.9  # share of the time without any event from which drawing by order is offered
_STRENGTH = {"model": 1, "said": 1, "tool": 2, "waiting": 3, "error": 4, "marked": 5}
_HEIGHTS = {"error": 18, "marked": 20, "message": 14, "model": 6, "said": 8}
_TOOL_USES = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use")
_TOOL_RESULTS = ("agent.tool_result", "agent.mcp_tool_result", "user.custom_tool_result", "user.tool_result")
_KIND_OF_POINT = {
    "user.message": "message",
    "agent.message": "message",
    "agent.thread_message_sent": "message",
    "agent.thread_message_received": "message",
    "user.interrupt": "error",
    "session.error": "error",
}
_KIND_BY_ORDER = {
    **{type_: "said" if kind == "message" else kind for type_, kind in _KIND_OF_POINT.items()},
    **dict.fromkeys(_TOOL_USES + _TOOL_RESULTS, "tool"),
    "agent.thinking": "model",
    "span.model_request_start": "model",
    "span.model_request_end": "model",
}


@dataclass(frozen=True)
class Light:
    """An event without its body."""

    seq: int
    thread: int
    type: str
    at: datetime


@dataclass(frozen=True)
class Shape:
    """A rectangle on a track. `seq` is the event it leads to."""

    kind: str
    x: float
    width: float
    seq: int

    @property
    def height(self) -> int:
        return _HEIGHTS.get(self.kind, 12)

    @property
    def y(self) -> int:
        return (HEIGHT - self.height) // 2


@dataclass(frozen=True)
class Track:
    lane: Lane
    shapes: tuple[Shape, ...]
    summary: str


@dataclass(frozen=True)
class Picture:
    """`ticks` label the axis at equal distances. `by_order`: places mean order only, widths nothing.

    `mostly_empty`: by time, most of the picture is a gap in which nothing happened.
    """

    tracks: tuple[Track, ...]
    ticks: tuple[str, ...]
    by_order: bool
    bucketed: bool
    mostly_empty: bool = False

    @property
    def folds(self) -> bool:
        return len(self.tracks) > 8


@dataclass
class _Scale:
    """From an event to its place between 0 and WIDTH."""

    by_order: bool
    start: float
    end: float

    def place(self, event: Light) -> float:
        value = float(event.seq) if self.by_order else event.at.timestamp()
        return WIDTH * (value - self.start) / max(self.end - self.start, 1e-9)


def draw(
    session: Session, lanes: Mapping[int, Lane], *, by_order: bool = False, marked: frozenset[int] = frozenset()
) -> Picture:
    """The picture of a whole session. One query for short logs, three for long ones.

    Args:
        by_order: also where times are known. A session without times is never drawn otherwise.
        marked: `seq`s of events that somebody marked as a failure.
    """
    by_order = by_order or not session.has_times
    if session.last_seq > MAX_LIGHT_ROWS:
        return _draw_counted(session, lanes, by_order)
    rows = without_copies(Event.objects.filter(session=session, visible=True)).order_by("seq")
    events = [Light(*row) for row in rows.values_list("seq", "thread_id", "type", "created_at")]
    going_on = session.status != Session.Status.IDLE or (session.stop_reason or {}).get("type") == "requires_action"
    return build_picture(
        events, lanes, by_order=by_order, marked=marked, open_ended=going_on and not session.is_terminated
    )


def build_picture(
    events: list[Light],
    lanes: Mapping[int, Lane],
    *,
    by_order: bool,
    marked: frozenset[int] = frozenset(),
    open_ended: bool = False,
) -> Picture:
    """Arrange events (ascending `seq`) on tracks. Pure; never raises, whatever order the log has.

    `open_ended`: what has begun and not ended is still going on, and is drawn beyond the last event.
    """
    if not events:
        return Picture((), (), by_order, bucketed=False)
    scale = _scale(events, by_order)
    if open_ended and not by_order:
        scale.end += max(OPEN_END * (scale.end - scale.start), 0.1)
    per_thread: dict[int, list[Light]] = defaultdict(list)
    for event in events:
        per_thread[event.thread].append(event)
    limit = max(20, min(CELLS, MAX_SHAPES // max(1, len(lanes))))
    tracks, bucketed = [], False
    for pk, lane in lanes.items():
        own = per_thread.get(pk, [])
        shapes = _by_order(own, scale) if by_order else _Walk(scale, open_ended).walk(own)
        if len(shapes) > limit:
            shapes, bucketed = merge(shapes, limit), True
        shapes += [_mark(event, scale) for event in own if event.seq in marked]
        tracks.append(Track(lane, tuple(shapes), _summary(own)))
    empty = not by_order and _is_mostly_empty(events, scale)
    return Picture(tuple(tracks), _ticks(events[0], events[-1], scale), by_order, bucketed, empty)


def _mark(event: Light, scale: _Scale) -> Shape:
    return Shape("marked", scale.place(event) - MARK_WIDTH / 2, MARK_WIDTH, event.seq)


def _is_mostly_empty(events: list[Light], scale: _Scale) -> bool:
    times = sorted(event.at.timestamp() for event in events)
    longest = max((after - before for before, after in pairwise(times)), default=0.0)
    return scale.end - scale.start > 60 and longest > MOSTLY_EMPTY * (scale.end - scale.start)


def _scale(events: list[Light], by_order: bool) -> _Scale:
    if by_order:
        return _Scale(True, events[0].seq - 0.5, events[-1].seq + 0.5)
    times = [event.at.timestamp() for event in events]
    return _Scale(False, min(times), max(times))


def _ticks(first: Light, last: Light, scale: _Scale) -> tuple[str, ...]:
    if scale.by_order:
        return (f"event {formats.count(first.seq)}", f"event {formats.count(last.seq)}")
    length = scale.end - scale.start
    return tuple("0" if part == 0 else formats.duration(length * part / 4) for part in range(5))


def _by_order(events: list[Light], scale: _Scale) -> list[Shape]:
    """Every event as wide as its place; neighbours of one kind become one shape."""
    unit = WIDTH / max(scale.end - scale.start, 1)
    shapes: list[Shape] = []
    for event in events:
        kind, x = _KIND_BY_ORDER.get(event.type, ""), scale.place(event) - unit / 2
        if not kind:
            continue
        last = shapes[-1] if shapes else None
        if last and last.kind == kind and kind != "said" and abs(last.x + last.width - x) < unit / 100:
            shapes[-1] = Shape(kind, last.x, last.width + unit, last.seq)
        else:
            shapes.append(Shape(kind, x, max(unit * 0.9, MIN_SPAN / 2), event.seq))
    return shapes


@dataclass
class _Walk:
    """One thread's events in order: what starts, what ends, and what is only a moment."""

    scale: _Scale
    open_ended: bool
    shapes: list[Shape] = field(default_factory=list)
    request: Light | None = None
    tools: Light | None = None
    open_tools: int = 0
    waiting: Light | None = None

    def walk(self, events: Iterable[Light]) -> list[Shape]:
        last: Light | None = None
        for event in events:
            self._take(event)
            last = event
        for kind, start in (("model", self.request), ("tool", self.tools), ("waiting", self.waiting)):
            if start is not None and last is not None:
                self._span(kind, start, WIDTH if self.open_ended else self.scale.place(last))
        return sorted(self.shapes, key=lambda shape: shape.x)

    def _take(self, event: Light) -> None:
        if event.type in _TOOL_USES:
            self.tools = self.tools or event
            self.open_tools += 1
        elif event.type in _TOOL_RESULTS:
            self._tool_result(event)
        elif event.type == "span.model_request_start":
            self.request = event
        elif event.type == "span.model_request_end":
            self._close("model", self.request, event)
            self.request = None
        elif event.type == "session.thread_status_idle" and self.open_tools:
            self._close("tool", self.tools, event)
            self.tools, self.waiting = None, event
        elif event.type in ("session.thread_status_running", "user.tool_confirmation"):
            self._close("waiting", self.waiting, event)
            self.tools = event if self.waiting else self.tools
            self.waiting = None
        elif event.type in _KIND_OF_POINT:
            self.shapes.append(Shape(_KIND_OF_POINT[event.type], self.scale.place(event), MIN_SPAN, event.seq))

    def _tool_result(self, event: Light) -> None:
        self.open_tools = max(0, self.open_tools - 1)
        if self.waiting is not None:
            self._close("waiting", self.waiting, event)
            self.waiting = None
        if self.open_tools == 0:
            self._close("tool", self.tools, event)
            self.tools = None

    def _close(self, kind: str, start: Light | None, end: Light) -> None:
        if start is not None:
            self._span(kind, start, self.scale.place(end))

    def _span(self, kind: str, start: Light, end: float) -> None:
        x = self.scale.place(start)
        self.shapes.append(Shape(kind, x, max(end - x, MIN_SPAN), start.seq))


def merge(shapes: list[Shape], cells: int) -> list[Shape]:
    """At most `cells` shapes: each cell of the track shows the strongest thing in it."""
    strongest: dict[int, Shape] = {}
    size = WIDTH / cells
    for shape in shapes:
        first = min(max(int(shape.x / size), 0), cells - 1)
        last = min(int((shape.x + shape.width) / size), cells - 1)
        for cell in range(first, max(first, last) + 1):
            held = strongest.get(cell)
            if held is None or _STRENGTH.get(shape.kind, 0) > _STRENGTH.get(held.kind, 0):
                strongest[cell] = shape
    merged: list[Shape] = []
    for cell in sorted(strongest):
        shape, last_shape = strongest[cell], merged[-1] if merged else None
        x = cell * size
        if last_shape and last_shape.kind == shape.kind and abs(last_shape.x + last_shape.width - x) < size / 2:
            merged[-1] = Shape(shape.kind, last_shape.x, last_shape.width + size, last_shape.seq)
        else:
            merged.append(Shape(shape.kind, x, size, shape.seq))
    return merged


def _summary(events: list[Light]) -> str:
    types = Counter(event.type for event in events)
    return _sentence(
        len(events),
        requests=types["span.model_request_start"],
        tools=sum(types[use] for use in _TOOL_USES),
        messages=types["agent.message"],
        errors=types["session.error"],
    )


def _sentence(events: int, **counts: int) -> str:
    names = {"requests": "model request", "tools": "tool call", "messages": "message", "errors": "error"}
    parts = [formats.plural(number, names[key]) for key, number in counts.items() if number]
    return ", ".join(parts) or formats.plural(events, "event")


def _draw_counted(session: Session, lanes: Mapping[int, Lane], by_order: bool) -> Picture:
    """A long log: the database counts kinds per cell of the track."""
    events = without_copies(Event.objects.filter(session=session, visible=True))
    ends = list(events.order_by("seq").values_list("seq", "created_at")[:1])
    ends += list(events.order_by("-seq").values_list("seq", "created_at")[:1])
    if not ends:
        return Picture((), (), by_order, bucketed=False)
    first, last = (Light(seq, 0, "", at) for seq, at in ends)
    scale = _scale([first, last], by_order)
    limit = max(20, min(CELLS, MAX_SHAPES // max(1, len(lanes))))
    value = Cast(F("seq"), FloatField()) if by_order else Extract("created_at", "epoch")
    step = max(scale.end - scale.start, 1e-9) / limit
    cell = Cast(Floor((Cast(value, FloatField()) - scale.start) / step), IntegerField())
    rows = events.annotate(cell=cell).values("thread_id", "cell", "type").annotate(n=Count("pk"), seq=Min("seq"))
    shapes: dict[int, list[Shape]] = defaultdict(list)
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    size = WIDTH / limit
    for row in rows.order_by("cell"):
        totals[row["thread_id"]][row["type"]] += row["n"]
        if kind := _KIND_BY_ORDER.get(row["type"]):
            place = min(max(row["cell"], 0), limit - 1) * size
            shapes[row["thread_id"]].append(Shape(kind, place, size * 0.98, row["seq"]))
    tracks = []
    for pk, lane in lanes.items():
        types = totals[pk]
        tools = sum(types[use] for use in _TOOL_USES)
        said = _sentence(
            types.total(),
            requests=types["span.model_request_start"],
            tools=tools,
            messages=types["agent.message"],
            errors=types["session.error"],
        )
        tracks.append(Track(lane, tuple(merge(shapes[pk], limit)), said))
    return Picture(tuple(tracks), _ticks(first, last, scale), by_order, bucketed=True)
