"""The part of a timeline that a picture shows: its items one by one, or, where there are too many, by pixel column."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from agents.timeline import kinds
from agents.timeline.builder import Builder

MAX_ITEMS = 20_000
MIN_COLUMNS, MAX_COLUMNS = 50, 4_000
MAX_PLACES = 400_000  # lanes times columns
_EMPTY = 255
_RANK = {kind: rank for rank, kind in enumerate(kinds.BY_STRENGTH)}


@dataclass
class Columns:
    """Items as columns of one length. `length` is -1 for what is still open; `count` is there in buckets only."""

    start: list[float] = field(default_factory=list)
    length: list[float] = field(default_factory=list)
    thread: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    seq: list[int] = field(default_factory=list)
    end_seq: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Window:
    """What is drawn between two times. `items` of `total` in the window are in `columns`, or in `buckets` columns."""

    columns: Columns
    total: int
    buckets: int = 0


def window(
    built: Builder, lane_of: Mapping[int, int], *, start: float, end: float, width: int, limit: int = MAX_ITEMS
) -> Window:
    """Everything that touches the time from `start` to `end`, in the order of the log.

    Args:
        width: of the picture in pixels. Beyond `limit` items each lane shows the strongest kind per pixel column.
    """
    shown = list(_touching(built, lane_of, start, end))
    if len(shown) <= limit:
        return Window(_columns(built, shown), len(shown))
    lanes = max(lane_of.values(), default=0) + 1
    columns = max(MIN_COLUMNS, min(width, MAX_COLUMNS, MAX_PLACES // lanes))
    while True:
        step = max(end - start, 1e-6) / columns
        bucketed = _Buckets(built, lane_of, start, step, columns, lanes).fill(shown)
        if len(bucketed) <= limit or columns == MIN_COLUMNS:
            return Window(bucketed, len(shown), columns)
        columns = max(MIN_COLUMNS, columns // 2)


def tail(built: Builder, lane_of: Mapping[int, int], after: int, limit: int) -> Window | None:
    """The items that are new, or other than they were, since the event `after`. None when there are too many."""
    changed = built.changed
    # Only what was open can change, so what is new stands at the end and the rest is few.
    shown = [n for n in range(len(changed)) if changed[n] > after and built.thread[n] in lane_of]
    return Window(_columns(built, shown), len(shown)) if len(shown) <= limit else None


def gaps(built: Builder, share: float = 0.05) -> list[tuple[float, float]]:
    """Times longer than this share of the whole in which nothing happened and nobody worked."""
    least = share * (built.last - built.first)
    if built.by_order or least <= 0:
        return []
    times = sorted(built.event_at)  # nearly in order as they are
    found = [(before, after) for before, after in pairwise(times) if after - before > least]
    if not found:
        return []
    long = [
        (built.start[n], built.end[n])
        for n, kind in enumerate(built.kind)
        if kind in kinds.BUSY and built.end[n] - built.start[n] > least
    ]
    return [gap for gap in found if not any(start <= gap[0] and end >= gap[1] for start, end in long)]


def failures(built: Builder) -> Iterator[int]:
    """The items that went wrong, in the order of the log."""
    for n, kind in enumerate(built.kind):
        if kind in kinds.FAILURES or built.flags[n] & kinds.FAILED:
            yield n


def _touching(built: Builder, lane_of: Mapping[int, int], start: float, end: float) -> Iterable[int]:
    begun, over, thread = built.start, built.end, built.thread
    if start <= built.first and end >= built.last:
        return (n for n in range(len(begun)) if thread[n] in lane_of)
    return (n for n in range(len(begun)) if begun[n] <= end and over[n] >= start and thread[n] in lane_of)


def _columns(built: Builder, shown: Iterable[int]) -> Columns:
    columns = Columns()
    for n in shown:
        start, end = built.start[n], built.end[n]
        columns.start.append(round(start, 1))
        columns.length.append(-1 if end == math.inf else round(end - start, 1))
        columns.thread.append(built.thread[n])
        columns.kind.append(built.kind[n])
        columns.seq.append(built.seq[n])
        columns.end_seq.append(built.end_seq[n])
        columns.flags.append(built.flags[n])
    return columns


class _Buckets:
    """A grid of lanes and pixel columns. The strongest paints first, and each place is painted once."""

    def __init__(
        self, built: Builder, lane_of: Mapping[int, int], start: float, step: float, columns: int, lanes: int
    ) -> None:
        self.built, self.lane_of = built, lane_of
        self.start, self.step, self.columns, self.lanes = start, step, columns, lanes
        places = columns * lanes
        self.kind = bytearray([_EMPTY]) * places
        self.item = array("q", bytes(8 * places))
        self.count = array("q", bytes(8 * places))
        # The next place of the lane that is not painted, as a chain that gets shorter by use.
        self.next = [list(range(columns + 1)) for _ in range(lanes)]

    def fill(self, shown: Iterable[int]) -> Columns:
        by_rank: list[list[tuple[int, int, int, int]]] = [[] for _ in kinds.BY_STRENGTH]
        built, step, begin, columns = self.built, self.step, self.start, self.columns
        starts, ends, kind_of, flags, thread = built.start, built.end, built.kind, built.flags, built.thread
        count, painted, most, failed = self.count, self.kind, columns - 1, by_rank[_RANK[kinds.FAILED_RESULT]]
        for n in shown:
            lane = self.lane_of[thread[n]]
            start, over = starts[n], ends[n]
            first = int((start - begin) / step) if start > begin else 0
            first = first if first < most else most
            if over == start:
                last = first
            else:
                last = most if over == math.inf else min(max(int((over - begin) / step), first), most)
            by_rank[_RANK[kind_of[n]]].append((lane, first, last, n))
            count[lane * columns + first] += 1
            if flags[n] & kinds.FAILED:
                failed.append((lane, last, last, n))
        for rank, kind in enumerate(kinds.BY_STRENGTH):
            for lane, first, last, n in by_rank[rank]:
                if first != last or painted[lane * columns + first] == _EMPTY:
                    self._paint(kind, lane, first, last, n)
        return self._runs()

    def _paint(self, kind: int, lane: int, first: int, last: int, n: int) -> None:
        chain, base = self.next[lane], lane * self.columns
        place = first
        while True:
            while chain[place] != place:  # find, halving the way
                chain[place] = chain[chain[place]]
                place = chain[place]
            if place > last:
                return
            self.kind[base + place], self.item[base + place] = kind, n
            chain[place] = place + 1

    def _runs(self) -> Columns:
        """Neighbours of one kind as one item, which leads to the first of them."""
        columns, built = Columns(), self.built
        for lane in range(self.lanes):
            base, before = lane * self.columns, _EMPTY
            for place in range(self.columns):
                kind = self.kind[base + place]
                if kind != _EMPTY and kind == before:
                    columns.length[-1] = round(columns.length[-1] + self.step, 3)
                    columns.count[-1] += self.count[base + place]
                elif kind != _EMPTY:
                    n = self.item[base + place]
                    columns.start.append(round(self.start + place * self.step, 1))
                    columns.length.append(round(self.step, 3))
                    columns.thread.append(built.thread[n])
                    columns.kind.append(kind)
                    columns.seq.append(built.end_seq[n] or built.seq[n] if kind in kinds.FAILURES else built.seq[n])
                    columns.end_seq.append(0)
                    columns.flags.append(kinds.BUCKET)
                    columns.count.append(self.count[base + place])
                before = kind
        return columns
