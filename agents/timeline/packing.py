"""Lanes: the primary thread's first, its children's packed so that there are as many as were ever alive at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from agents.timeline.model import LightThread


@dataclass
class Packed:
    """`lanes` hold the keys of their threads in order of appearance. `folded` is the lane of archived threads."""

    lanes: list[list[int]] = field(default_factory=list)
    lane_of: dict[int, int] = field(default_factory=dict)
    folded: int | None = None


def pack(
    threads: Sequence[LightThread], alive: Mapping[int, tuple[int, int]], *, last_seq: int, fold: bool = False
) -> Packed:
    """Give each thread its lane. A thread that has not ended keeps its lane: nothing that comes later moves it.

    Args:
        alive: first and last `seq` of each thread that has events. One without any is alive at the end of the log.
        fold: put all archived threads on one lane, the last.
    """
    packed = Packed()
    rest: list[LightThread] = []
    for thread in sorted(threads, key=lambda thread: (thread.parent is not None, thread.ordinal, thread.key)):
        if thread.parent is None:
            _open_lane(packed, thread)
        else:
            rest.append(thread)
    away = [thread for thread in rest if fold and thread.archived]
    _pack_children(packed, [thread for thread in rest if not (fold and thread.archived)], alive, last_seq)
    if away:
        packed.folded = len(packed.lanes)
        packed.lanes.append([thread.key for thread in away])
        packed.lane_of |= {thread.key: packed.folded for thread in away}
    return packed


def _pack_children(
    packed: Packed, children: list[LightThread], alive: Mapping[int, tuple[int, int]], last_seq: int
) -> None:
    """First come, first served: a new lane is opened only when a living thread is on every other."""
    spans = {thread.key: alive.get(thread.key, (last_seq + 1, last_seq + 1)) for thread in children}
    busy: list[tuple[float, int]] = []  # when a lane is free again
    free: list[int] = []
    names: dict[int, str] = {}  # whose lane it was last
    for thread in sorted(children, key=lambda thread: (spans[thread.key][0], thread.ordinal, thread.key)):
        first, last = spans[thread.key]
        while busy and busy[0][0] < first:
            heappush(free, heappop(busy)[1])
        lane = next((lane for lane in free if names[lane] == thread.name), free[0] if free else None)
        if lane is None:
            lane = _open_lane(packed, thread)
        else:
            free.remove(lane)
            heapify(free)
            packed.lanes[lane].append(thread.key)
            packed.lane_of[thread.key] = lane
        names[lane] = thread.name
        heappush(busy, (last if thread.ended else math.inf, lane))


def _open_lane(packed: Packed, thread: LightThread) -> int:
    packed.lane_of[thread.key] = len(packed.lanes)
    packed.lanes.append([thread.key])
    return packed.lane_of[thread.key]
