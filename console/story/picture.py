"""The picture of a session: its lanes with their names and words, and the payload that is drawn on the canvas."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.utils import timezone

from agents.models import Event, Session, Thread
from agents.services.mail import FAILURE, SENT
from agents.timeline import LightThread, Packed, pack
from agents.timeline.builder import Builder
from agents.timeline.kinds import KINDS, TOOL_USES
from agents.timeline.reading import Reading, timeline_of
from agents.timeline.window import MAX_ITEMS, Window, failures, gaps, tail, window
from console import formats
from console.status import Status, status_of_thread
from console.story.rows import Lane
from console.story.team import helpers_of
from console.text import visible

FOLD_ABOVE = 12  # lanes, from which ended agents share one unless somebody asks otherwise
MAX_ARROWS = 4_000
MAX_LISTED = 2_000  # errors and marks that are named one by one
FIRST_WIDTH = 1_200
NAMED = 4  # agents of a lane that have a link of their own
COUNTS = "SELECT thread_id, type, count(*), min(seq), max(seq) FROM agents_event WHERE session_id = %s GROUP BY 1, 2"


@dataclass(frozen=True)
class LaneThread:
    """An agent on a lane."""

    lane: Lane
    status: Status
    chosen: bool

    @property
    def name(self) -> str:
        return visible(self.lane.label)


@dataclass(frozen=True)
class PictureLane:
    """One line of the picture: the agents that are drawn on it, one after the other, and what they did in words."""

    threads: tuple[LaneThread, ...]
    summary: str
    folded: bool

    @property
    def first(self) -> LaneThread:
        return self.threads[0]

    @property
    def others(self) -> tuple[LaneThread, ...]:
        return self.threads[1:NAMED]

    @property
    def unnamed(self) -> int:
        return max(0, len(self.threads) - NAMED)

    @property
    def name(self) -> str:
        if self.folded:
            return formats.plural(len(self.threads), "ended agent")
        return self.first.name

    @property
    def chosen(self) -> bool:
        return any(thread.chosen for thread in self.threads)


@dataclass(frozen=True)
class PictureView:
    """What the page shows of the picture before anything is drawn. `can_fold`: some agents have ended."""

    lanes: tuple[PictureLane, ...]
    events: int
    by_order: bool
    folded: bool
    can_fold: bool
    summary: str
    sample: tuple[Status, ...]  # every status there is: the icons that later changes need

    @property
    def fold(self) -> str:
        return ("ended" if self.folded else "none") if self.can_fold else ""

    @property
    def query(self) -> str:
        """What the picture asks for first, whatever its width: so the page can ask before its scripts are there."""
        return urlencode({"width": FIRST_WIDTH, "draw": "order" if self.by_order else "time", "fold": self.fold})


@dataclass(frozen=True)
class Asked:
    """Which part of the picture, and how. `start` and `end` None: all of it; `after`: only what is new."""

    start: float | None = None
    end: float | None = None
    width: int = 1_000
    after: int | None = None
    by_order: bool = False
    fold: str = ""
    find: int | None = None


def view_of(
    session: Session, lanes: Mapping[int, Lane], *, by_order: bool, fold: str = "", chosen: int | None = None
) -> PictureView:
    """The lanes of a session as a list of agents. Two queries, without reading the log."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    alive: dict[int, tuple[int, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, [session.pk])
        for thread, type_, number, first, last in cursor.fetchall():
            counts[thread][type_] = number
            known = alive.get(thread, (first, last))
            alive[thread] = (min(known[0], first), max(known[1], last))
    packed, can_fold = _pack(session, lanes, alive, fold)
    shown = lanes_of_picture(session, lanes, packed, counts, chosen)
    events = sum(found.total() for found in counts.values())
    words = f"{formats.plural(len(lanes), 'agent')}, {formats.plural(events, 'event')}"
    by_order = by_order or not session.has_times
    statuses = {thread.status.kind: thread.status for lane in shown for thread in lane.threads}
    sample = tuple({**_EVERY_STATUS, **statuses}.values())
    return PictureView(tuple(shown), events, by_order, packed.folded is not None, can_fold, words, sample)


_EVERY_STATUS = {
    kind: Status(kind, kind, "")
    for kind in ("running", "retrying", "expecting", "waiting", "failed", "done", "idle", "archived")
}


def lanes_of_picture(
    session: Session,
    lanes: Mapping[int, Lane],
    packed: Packed,
    counts: Mapping[int, Counter[str]],
    chosen: int | None = None,
) -> list[PictureLane]:
    """The lanes in order, each with its agents, how they stand, and what they did in words."""
    failed = _failed_threads(session, lanes)
    found = []
    for number, keys in enumerate(packed.lanes):
        threads, types = [], Counter[str]()
        for key in keys:
            thread = lanes[key].thread
            status = status_of_thread(
                thread, imported=session.is_imported, helpers=helpers_of(thread, lanes), failed=key in failed
            )
            threads.append(LaneThread(lanes[key], status, key == chosen))
            types.update(counts.get(key, {}))
        found.append(PictureLane(tuple(threads), words_of(types), number == packed.folded))
    return found


def words_of(types: Mapping[str, int]) -> str:
    """What somebody did: 12 model requests, 3 tool calls, 1 error."""
    numbers = {
        "model request": types.get("span.model_request_start", 0),
        "tool call": sum(types.get(use, 0) for use in TOOL_USES if use.startswith("agent.")),
        "message": types.get("agent.message", 0),
        "error": types.get("session.error", 0),
    }
    parts = [formats.plural(number, name) for name, number in numbers.items() if number]
    return ", ".join(parts) or formats.plural(sum(types.values()), "event")


def payload(session: Session, lanes: Mapping[int, Lane], asked: Asked) -> dict[str, Any]:
    """What the canvas draws: columns of numbers, and text for lanes and agents only."""
    with timeline_of(session, by_order=asked.by_order) as reading:
        built = reading.built
        packed, _ = _pack(session, lanes, built.alive, asked.fold)
        shown = lanes_of_picture(session, lanes, packed, built.counts)
        start, end = _range(built, asked)
        cut = tail(built, packed.lane_of, asked.after, MAX_ITEMS) if asked.after is not None else None
        is_tail = cut is not None
        if cut is None:
            kept_as = (start, end, asked.width, MAX_ITEMS, tuple(packed.lane_of.items()))
            cut = reading.keep(
                kept_as,
                lambda: window(built, packed.lane_of, start=start, end=end, width=asked.width, limit=MAX_ITEMS),
            )
        after = asked.after if is_tail and asked.after is not None else 0
        keys = list(lanes)
        arrows, more_arrows = _arrows(built, keys, after)
        wrong, more_wrong = _failures(built, keys)
        return {
            "last_seq": built.last_seq,
            "after": asked.after if is_tail else None,
            "by_order": built.by_order,
            "has_times": session.has_times,
            "origin": built.origin / 1000 if built.origin is not None else None,
            "extent": [round(built.first, 1), round(built.last + (1 if built.by_order else 0), 1)],
            "range": [round(start, 1), round(end, 1)],
            "now": _now(session, built),
            "kinds": KINDS,
            "lanes": [_lane(lane) for lane in shown],
            "threads": _threads(lanes, packed),
            "items": _items(cut, keys),
            "buckets": cut.buckets,
            "arrows": arrows,
            "errors": wrong,
            "marks": _marks(session, built, keys),
            "gaps": reading.keep("gaps", lambda: [[round(a, 1), round(b, 1)] for a, b in gaps(built)]),
            "found": _found(built, keys, asked.find),
            "notices": _notices(reading, cut, asked.width, more_arrows, more_wrong),
        }


def _pack(
    session: Session, lanes: Mapping[int, Lane], alive: Mapping[int, tuple[int, int]], fold: str
) -> tuple[Packed, bool]:
    over = session.is_imported or session.is_terminated
    threads = []
    for key, lane in lanes.items():
        thread = lane.thread
        gone = thread.archived_at is not None or (thread.status == Thread.Status.TERMINATED and not over)
        threads.append(LightThread(key, thread.parent_id, thread.agent_name, thread.ordinal, over or gone, gone))
    can_fold = sum(thread.archived and thread.parent is not None for thread in threads) > 1
    wanted = fold == "ended" or (fold != "none" and len(threads) > FOLD_ABOVE)
    last_seq = max((last for _, last in alive.values()), default=0)
    return pack(threads, alive, last_seq=last_seq, fold=can_fold and wanted), can_fold


def _failed_threads(session: Session, lanes: Mapping[int, Lane]) -> Collection[int]:
    """The agents that have ended with the word that they could not go on."""
    ended = [key for key, lane in lanes.items() if lane.thread.status == Thread.Status.TERMINATED]
    if not ended or session.is_imported:
        return ()
    sent = Event.objects.filter(session=session, thread__in=ended, type=SENT).order_by("thread", "-seq")
    last = sent.distinct("thread").only("thread_id", "private")
    return {event.thread_id for event in last if event.private_data.get("kind") == FAILURE}


def _range(built: Builder, asked: Asked) -> tuple[float, float]:
    start = built.first if asked.start is None else asked.start
    end = built.last + (1 if built.by_order else 0) if asked.end is None else asked.end
    return (start, end) if end > start else (start, start + 1)


def _now(session: Session, built: Builder) -> float | None:
    """How far what is open has come; None where nothing goes on."""
    reason = (session.stop_reason or {}).get("type")
    goes_on = session.status != Session.Status.IDLE or reason == "requires_action"
    if built.by_order or built.origin is None or session.is_imported or session.is_terminated or not goes_on:
        return None
    return round(max(timezone.now().timestamp() * 1000 - built.origin / 1000, built.last), 1)


def _lane(lane: PictureLane) -> dict[str, Any]:
    return {
        "name": lane.name,
        "summary": lane.summary,
        "folded": lane.folded,
        "agents": [
            {
                "id": thread.lane.public_id,
                "name": thread.name,
                "hue": thread.lane.hue,
                "status": thread.status.kind,
                "word": thread.status.word,
            }
            for thread in lane.threads[:NAMED]
        ],
        "unnamed": lane.unnamed,
    }


def _threads(lanes: Mapping[int, Lane], packed: Packed) -> dict[str, list[Any]]:
    return {
        "lane": [packed.lane_of[key] for key in lanes],
        "hue": [lane.hue for lane in lanes.values()],
        "name": [visible(lane.label) for lane in lanes.values()],
    }


def _items(cut: Window, keys: Sequence[int]) -> dict[str, list[Any]]:
    columns = cut.columns
    place = {key: n for n, key in enumerate(keys)}
    # How many events after its beginning an item ended: small numbers travel lighter than large ones.
    ended = [end - seq if end else 0 for seq, end in zip(columns.seq, columns.end_seq, strict=True)]
    return {
        "start": columns.start,
        "length": columns.length,
        "thread": [place[key] for key in columns.thread],
        "kind": columns.kind,
        "seq": columns.seq,
        "ended": ended,
        "flags": columns.flags,
        "count": columns.count,
    }


def _arrows(built: Builder, keys: Sequence[int], after: int) -> tuple[dict[str, list[Any]], int]:
    """The messages, newest last: of very many only the newest."""
    place = {key: n for n, key in enumerate(keys)}
    shown = [
        arrow
        for arrow, changed in zip(built.arrows, built.arrow_changed, strict=True)
        if changed > after and arrow.sent_thread in place and arrow.received_thread in place
    ]
    more = max(0, len(shown) - MAX_ARROWS)
    shown = shown[more:]
    columns: dict[str, list[Any]] = {
        "sent_seq": [arrow.sent_seq for arrow in shown],
        "sent": [round(arrow.sent, 1) for arrow in shown],
        "sender": [place[arrow.sent_thread] for arrow in shown],
        "received_seq": [arrow.received_seq for arrow in shown],
        "received": [round(arrow.received, 1) for arrow in shown],
        "receiver": [place[arrow.received_thread] for arrow in shown],
        "taken": [None if arrow.taken is None else round(arrow.taken, 1) for arrow in shown],
    }
    return columns, more


def _failures(built: Builder, keys: Sequence[int]) -> tuple[dict[str, list[Any]], int]:
    place = {key: n for n, key in enumerate(keys)}
    wrong = [n for n in failures(built) if built.thread[n] in place]
    shown = wrong[:MAX_LISTED]
    columns: dict[str, list[Any]] = {
        "seq": [built.end_seq[n] or built.seq[n] for n in shown],
        "at": [round(built.start[n] if built.end_seq[n] == 0 else built.end[n], 1) for n in shown],
        "thread": [place[built.thread[n]] for n in shown],
    }
    return columns, len(wrong) - len(shown)


def _marks(session: Session, built: Builder, keys: Sequence[int]) -> dict[str, list[Any]]:
    """What people said of events. Not kept with the timeline: it changes without the log."""
    place = {key: n for n, key in enumerate(keys)}
    marks: dict[str, list[Any]] = {"seq": [], "at": [], "thread": [], "kind": []}
    rows = session.annotations.order_by("event__seq", "pk").values_list("event__seq", "kind")
    for seq, kind in rows[:MAX_LISTED]:
        found = built.find(seq)
        if found is not None and found[1] in place:
            for name, value in zip(marks, (seq, round(found[0], 1), place[found[1]], kind), strict=True):
                marks[name].append(value)
    return marks


def _found(built: Builder, keys: Sequence[int], seq: int | None) -> dict[str, Any] | None:
    found = built.find(seq) if seq is not None else None
    if found is None or found[1] not in keys:
        return None
    return {"seq": seq, "at": round(found[0], 1), "thread": keys.index(found[1])}


def _notices(reading: Reading, cut: Window, width: int, more_arrows: int, more_wrong: int) -> list[str]:
    """Every cut, with its numbers."""
    notices = []
    if reading.left_out:
        drawn = formats.count(reading.built.last_seq - reading.left_out)
        notices.append(f"Only the last {drawn} of {formats.count(reading.built.last_seq)} events are drawn.")
    if cut.buckets:
        events = formats.count(cut.total)
        notices.append(
            f"Bucketed: {events} steps in {formats.count(cut.buckets)} columns, the most telling on top; "
            "zoom in to see each."
        )
    if more_arrows:
        notices.append(f"{formats.count(more_arrows)} older messages have no arrow here.")
    if more_wrong:
        notices.append(f"The first {formats.count(MAX_LISTED)} errors are listed; {formats.count(more_wrong)} are not.")
    return notices
