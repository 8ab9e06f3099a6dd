"""Who may drive a thread: claims with a fencing epoch. The database's clock decides, never the worker's."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from django.conf import settings
from django.db import connection

from agents.models import Event, Thread
from agents.providers.base import Cancellation
from agents.runtime import workspace
from agents.runtime.workspace import Workplace
from agents.services import log_sql
from agents.services.log import Log, open_thread_log

HOST = socket.gethostname()  # a sandbox lives on one host: its tool calls are claimed there only
WORKER_ID = f"{HOST}:{os.getpid()}:{secrets.token_hex(4)}"

CLAIM = """
UPDATE agents_thread SET
    lease_epoch = lease_epoch + 1,
    takeovers = CASE WHEN lease_owner <> '' THEN takeovers + 1 ELSE takeovers END,
    lease_owner = $1,
    lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE id = $3
  AND runnable_at <= clock_timestamp()
  AND (lease_until IS NULL OR lease_until < clock_timestamp())
  AND (phase <> 'tool_batch' OR (SELECT sandbox_host FROM agents_session WHERE id = session_id) IN ('', $4))
"""
# Renewed in one order everywhere, so that heartbeats and commits cannot wait for each other.
EXTEND = """
UPDATE agents_thread SET lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE id IN (SELECT id FROM agents_thread WHERE id = ANY(%s) AND lease_owner = %s ORDER BY id FOR UPDATE)
RETURNING id, lease_epoch
"""
RELEASE = """
UPDATE agents_thread SET lease_owner = '', lease_until = NULL
WHERE id = $1 AND lease_epoch = $2 AND lease_owner = $3
RETURNING runnable_at <= clock_timestamp()
"""
# One row per session first, so that a wide fan-out cannot starve a chat.
FIND_RUNNABLE = """
SELECT id FROM (
    SELECT id, runnable_at, row_number() OVER (PARTITION BY session_id ORDER BY runnable_at) AS turn
    FROM agents_thread
    WHERE runnable_at <= clock_timestamp() AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND (phase <> 'tool_batch' OR (SELECT sandbox_host FROM agents_session WHERE id = session_id) IN ('', %s))
) waiting ORDER BY turn, runnable_at LIMIT %s
"""
NEXT_RUNNABLE = """
SELECT EXTRACT(EPOCH FROM min(greatest(runnable_at, coalesce(lease_until, runnable_at))) - clock_timestamp())
FROM agents_thread WHERE runnable_at IS NOT NULL
"""


class Fenced(Exception):
    """Another worker has claimed the thread since: what this one did is discarded."""


@dataclass
class Run:
    """One worker's hold on one thread."""

    thread_pk: int
    session_pk: int
    epoch: int
    takeovers: int
    cancellation: Cancellation = field(default_factory=Cancellation)
    lost: bool = False
    thread: Thread | None = None  # as this run last wrote it
    place: Workplace | None = None  # see `workplace`
    context: list[Event] = field(default_factory=list)  # what the model is shown, kept between steps
    stored: set[str] = field(default_factory=set)  # blobs known to be there
    sandbox_started: bool = False

    @property
    def workplace(self) -> Workplace:
        """Where the session's tools run; read when it is first needed."""
        if self.place is None:
            self.place = workspace.workplace(self.session_pk)
        return self.place

    def lose(self) -> None:
        self.lost = True
        self.cancellation.cancel(lost=True)


class HeldRuns:
    """The runs of this process, so that one heartbeat and one watcher serve them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[int, Run] = {}
        self.draining = False  # the process is ending: steps are finished, none is begun

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Run) -> None:
        with self._lock:
            before = self._runs.get(run.thread_pk)
            self._runs[run.thread_pk] = run
        if before is not None:
            before.lose()  # its lease ran out, or this one could not have been claimed

    def remove(self, run: Run) -> None:
        with self._lock:
            if self._runs.get(run.thread_pk) is run:
                del self._runs[run.thread_pk]

    def get(self, thread_pk: int) -> Run | None:
        return self._runs.get(thread_pk)

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())


held_runs = HeldRuns()


def claim(thread_pk: int) -> Run | None:
    """Take the thread when it has work and nobody drives it; None for the loser of a race."""
    thread = log_sql.claim(CLAIM, WORKER_ID, settings.DAYBREAK_LEASE_TTL_S, thread_pk, HOST)
    if thread is None:
        return None
    run = Run(
        thread_pk=thread_pk,
        session_pk=thread.session_id,
        epoch=thread.lease_epoch,
        takeovers=thread.takeovers,
        thread=thread,
    )
    held_runs.add(run)
    return run


def release(run: Run) -> bool:
    """Give the thread back. True when it has more work right now."""
    held_runs.remove(run)
    rows = log_sql.execute(RELEASE, [run.thread_pk, run.epoch, WORKER_ID])
    return bool(rows and rows[0][0])


def extend(runs: Iterable[Run], heart: psycopg.Connection) -> None:
    """Renew the leases of these runs; a run whose lease is gone is told so.

    Args:
        heart: a connection of its own, not one of the pool, which may be busy.
    """
    by_pk = {run.thread_pk: run for run in runs}
    if not by_pk:
        return
    renewed = heart.execute(EXTEND, [settings.DAYBREAK_LEASE_TTL_S, list(by_pk), WORKER_ID])
    epochs: dict[int, int] = dict(renewed.fetchall())
    for pk, run in by_pk.items():
        if epochs.get(pk) != run.epoch and held_runs.get(pk) is run:
            run.lose()


def find_runnable(limit: int = 100) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(FIND_RUNNABLE, [HOST, limit])
        return [row[0] for row in cursor.fetchall()]


def seconds_until_runnable() -> float | None:
    """How long until some thread can be claimed; None when none has work."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT_RUNNABLE)
        row = cursor.fetchone()
    return None if row is None or row[0] is None else max(0.0, float(row[0]))


@contextmanager
def fenced_log(run: Run) -> Iterator[tuple[Log, Thread]]:
    """A log transaction that commits only while this run still holds the thread.

    Raises Fenced otherwise, and NotFound when the session is gone.
    """
    with open_thread_log(run.session_pk, run.thread_pk) as (log, thread):
        if thread.lease_epoch != run.epoch:
            raise Fenced
        run.thread = thread
        yield log, thread
