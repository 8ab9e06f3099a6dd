"""Putting a log in order: parents before children within a thread, causes before effects across threads."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from agents.ingestion.model import ImportedEvent

Item = TypeVar("Item")
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)


def parents_first(
    items: Sequence[Item],
    own_id: Callable[[Item], Hashable | None],
    parent_id: Callable[[Item], Hashable | None],
) -> list[Item]:
    """The items in their given order, except that one whose parent comes later waits for it.

    Unknown parents and circles are no obstacle: every item comes out exactly once.
    """
    position = {own_id(item): i for i, item in enumerate(items) if own_id(item) is not None}
    done = [False] * len(items)
    ordered: list[Item] = []
    for start in range(len(items)):
        chain = []
        seen = set()
        at: int | None = start
        while at is not None and not done[at] and at not in seen:
            seen.add(at)
            chain.append(at)
            at = position.get(parent_id(items[at]))
        for i in reversed(chain):
            done[i] = True
            ordered.append(items[i])
    return ordered


def with_inserted(events: Sequence[ImportedEvent], extra: Iterable[ImportedEvent]) -> list[ImportedEvent]:
    """The log of a thread with `extra` in it, each behind the events that were not later, as an effect of the last."""
    times = _running_times(events)
    behind: dict[int, list[ImportedEvent]] = defaultdict(list)
    for event in sorted(extra, key=lambda event: event.at or _END):
        position = bisect_right(times, event.at) if event.at else len(events)
        if event.cause is None and position > 0:
            event = replace(event, cause=events[position - 1].external_id)
        behind[position].append(event)
    log = list(behind[0])
    for position, event in enumerate(events, start=1):
        log.append(event)
        log.extend(behind.get(position, ()))
    return log


def with_unique_ids(events: Sequence[ImportedEvent]) -> list[ImportedEvent]:
    """The same events; of several with one external id, all but the first get a number."""
    counts: Counter[str] = Counter()
    taken = {event.external_id for event in events}
    unique = []
    for event in events:
        counts[event.external_id] += 1
        name = event.external_id
        if (number := counts[name]) > 1:
            while name in taken:
                name, number = f"{event.external_id}~{number}", number + 1
            taken.add(name)
            event = replace(event, external_id=name)
        unique.append(event)
    return unique


def merge_threads(threads: Sequence[Sequence[ImportedEvent]]) -> list[ImportedEvent]:
    """One log out of the logs of the threads, by time, each thread's own order kept.

    An event waits for its cause. When all wait for each other (a circle, or a cause that stands later in the same
    thread), the earliest goes first.
    """
    return _Merge(threads).run()


class _Merge:
    def __init__(self, threads: Sequence[Sequence[ImportedEvent]]) -> None:
        self.threads = threads
        self.times = [_running_times(thread) for thread in threads]
        self.next = [0] * len(threads)
        self.pending = {event.external_id for thread in threads for event in thread}
        self.ready: list[tuple[datetime, int]] = []
        self.parked: list[tuple[datetime, int]] = []
        self.waiting: dict[str, set[int]] = defaultdict(set)

    def run(self) -> list[ImportedEvent]:
        log: list[ImportedEvent] = []
        for thread in range(len(self.threads)):
            self._offer(thread)
        while self.ready or self._release_earliest():
            _, thread = heapq.heappop(self.ready)
            event = self.threads[thread][self.next[thread]]
            self.next[thread] += 1
            log.append(event)
            self.pending.discard(event.external_id)
            for waiting in self.waiting.pop(event.external_id, ()):
                heapq.heappush(self.ready, self._key(waiting))
            self._offer(thread)
        return log

    def _key(self, thread: int) -> tuple[datetime, int]:
        return (self.times[thread][self.next[thread]], thread)

    def _offer(self, thread: int) -> None:
        """Queue the thread's next event, or park the thread until the cause of that event is out."""
        if self.next[thread] >= len(self.threads[thread]):
            return
        event = self.threads[thread][self.next[thread]]
        if event.cause in self.pending and event.cause != event.external_id:
            self.waiting[event.cause].add(thread)
            heapq.heappush(self.parked, self._key(thread))
        else:
            heapq.heappush(self.ready, self._key(thread))

    def _release_earliest(self) -> bool:
        """Let the earliest of the threads go that still wait. False when none does."""
        while self.parked:
            key = heapq.heappop(self.parked)
            thread = key[1]
            if self.next[thread] < len(self.threads[thread]):
                cause = self.threads[thread][self.next[thread]].cause or ""
                if thread in self.waiting.get(cause, ()):
                    self.waiting[cause].discard(thread)
                    heapq.heappush(self.ready, key)
                    return True
        return False


def _running_times(events: Sequence[ImportedEvent]) -> list[datetime]:
    """For each event the latest time so far in its thread: never decreasing, whatever the clocks said."""
    times = []
    latest = _BEGINNING
    for event in events:
        latest = max(latest, event.at or latest)
        times.append(latest)
    return times
