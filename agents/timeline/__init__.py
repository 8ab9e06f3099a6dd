"""Who did what when in a session, and who asked whom: the lanes, spans, moments and arrows of its picture.

`builder` and `packing` are pure; `window` cuts out what a picture shows; `reading` is the only one that asks the
database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.timeline.builder import Builder
from agents.timeline.model import Arrow, Item, LightEvent, LightThread
from agents.timeline.packing import Packed, pack

__all__ = ["Arrow", "Builder", "Item", "LightEvent", "LightThread", "Packed", "Timeline", "build_timeline", "pack"]


@dataclass(frozen=True)
class Timeline:
    """A whole session, arranged. `lane_of` says on which lane a thread is drawn."""

    items: tuple[Item, ...]
    arrows: tuple[Arrow, ...]
    lanes: tuple[tuple[int, ...], ...]
    lane_of: Mapping[int, int]


def build_timeline(
    events: Iterable[LightEvent],
    threads: Sequence[LightThread],
    *,
    by_order: bool = False,
    pairs_in_turn: bool = False,
    fold: bool = False,
) -> Timeline:
    """Arrange one session's events (ascending `seq`; gaps are allowed). Never raises, whatever the log holds."""
    built = Builder(by_order=by_order, pairs_in_turn=pairs_in_turn)
    built.add(events)
    packed = pack(threads, built.alive, last_seq=built.last_seq, fold=fold)
    lanes = tuple(tuple(lane) for lane in packed.lanes)
    return Timeline(tuple(built.items()), tuple(built.arrows), lanes, packed.lane_of)
