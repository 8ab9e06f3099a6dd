"""The indexer: it fills `SearchText` and `SessionFacet` from the log, a little behind it and never in its way.

**Nothing is lost.** An event gets its key when it is inserted and becomes visible when its transaction commits, so a
long import may show thousands of events whose keys lie below others that have long been indexed. Whoever inserts an
event holds a lock on the table (`RowExclusiveLock`) from before its key is chosen until its transaction ends. So: read
the highest visible key, *then* the transactions that hold such a lock. Every event up to that key is either visible
already or belongs to one of those. When all of them have ended, and what is visible up to that key is indexed, nothing
below it can appear any more (`settled_pk`). What is visible beyond is indexed meanwhile (`ahead_pk`), and what turns
up between the two is looked for again and again until the gap is settled.

**Nothing is left over.** A batch runs under one lock in one transaction; `forget` takes the same lock until the
deletion commits, so a batch is either over before, and its rows are deleted, or sees no event of that session.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils import timezone

from agents.models import Event, SearchProgress
from agents.services import search_batch

logger = logging.getLogger(__name__)

INDEX_LOCK = 7_239_003
BATCH = 1_000  # events
SWEEP_S = 1.0
SMALL_GAP = 20_000  # keys between settled and ahead that are looked through at every sweep
LATE_EVERY_S = 10.0  # larger gaps: something long is being written
REST = 1.0  # pause after a batch, as a share of the time it took: the log goes first

_WRITERS = """
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'agents_event'::regclass AND mode = 'RowExclusiveLock' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND pid IS DISTINCT FROM pg_backend_pid()
"""


@dataclass
class Sweeper:
    """Keeps the index up to date; one object per process, called again and again by one loop."""

    last_late: float = 0.0

    def sweep(self, pause: Callable[[float], object] = time.sleep, stopped: Callable[[], bool] = lambda: False) -> int:
        """Index until there is nothing left to do, or somebody else is at it. Returns how many events were indexed."""
        done = 0
        while not stopped():
            began = time.monotonic()
            step = self._step()
            done += step.indexed
            if not step.more:
                break
            pause(REST * (time.monotonic() - began))
        return done

    def _step(self) -> Step:
        """One batch, in a transaction of its own."""
        with transaction.atomic():
            if not _try_lock():
                return Step(0, more=False)
            progress, _ = SearchProgress.objects.get_or_create(pk=1)
            step = _go_ahead(progress)
            if not step.more and self._late_is_due(progress):
                step = _go_late(progress, step)
            return step

    def _late_is_due(self, progress: SearchProgress) -> bool:
        """A wide gap is looked through now and then, a narrow one at once."""
        now = time.monotonic()
        if progress.ahead_pk - progress.settled_pk > SMALL_GAP and now - self.last_late < LATE_EVERY_S:
            return progress.target_pk is not None and not _still_writing(progress)
        self.last_late = now
        return True


@dataclass(frozen=True)
class Step:
    """What a batch did; `more` when another should follow at once."""

    indexed: int
    more: bool


def _go_ahead(progress: SearchProgress) -> Step:
    """Index the next events that nobody has looked at."""
    highest = _highest_visible()
    if highest <= progress.ahead_pk:
        return Step(0, more=False)
    batch = search_batch.find(above=progress.ahead_pk, up_to=highest, limit=BATCH)
    indexed = search_batch.index(batch.pks)
    progress.ahead_pk = batch.pks[-1] if batch.more else highest
    progress.save(update_fields=["ahead_pk"])
    return Step(indexed, batch.more)


def _go_late(progress: SearchProgress, ahead: Step) -> Step:
    """Index what has appeared behind `ahead_pk`, and settle what can be settled."""
    if progress.settled_pk >= progress.ahead_pk:
        return ahead
    if progress.target_pk is None:
        progress.target_pk = progress.ahead_pk  # visible, so its key was given out before now
        progress.writers = sorted(_writers())
    settles = not _still_writing(progress)  # before looking: then everything up to the target is visible
    batch = search_batch.find(above=progress.settled_pk, up_to=progress.ahead_pk, limit=BATCH)
    indexed = search_batch.index(batch.pks)
    if settles:
        _settle(progress, progress.target_pk, batch)
    progress.save()
    return Step(ahead.indexed + indexed, batch.more)


def _settle(progress: SearchProgress, target: int, batch: search_batch.Found) -> None:
    """Everything up to the target has been written; move up to it, or as far as this batch has come."""
    if batch.more and batch.pks[-1] < target:
        progress.settled_pk = batch.pks[-1]
        return
    progress.settled_pk, progress.target_pk, progress.writers = target, None, []
    if progress.settled_pk >= progress.ahead_pk:
        progress.indexed_at = timezone.now()


def _still_writing(progress: SearchProgress) -> bool:
    """Whether a transaction that may hold an event below the target has not ended."""
    return bool(progress.writers) and not _writers().isdisjoint(progress.writers)


def _writers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS)
        return {row[0] for row in cursor.fetchall()}


def _highest_visible() -> int:
    return Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _try_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [INDEX_LOCK])
        return bool(cursor.fetchone()[0])


def hold() -> None:
    """Let no batch run until this transaction ends. Call before deleting events."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [INDEX_LOCK])


@dataclass(frozen=True)
class Lag:
    """How far the index is behind the log."""

    events: int  # whose words may not be found yet, at most; keys are counted
    unsettled: int  # indexed as far as they are visible, but a transaction is still writing among them


def lag() -> Lag:
    progress = SearchProgress.objects.filter(pk=1).first() or SearchProgress()
    highest = _highest_visible()
    return Lag(max(0, highest - progress.ahead_pk), max(0, progress.ahead_pk - progress.settled_pk))
