"""Who may drive a thread: claims with a fencing epoch. The database's clock decides, never the worker's."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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

SUSPECTS_LOCK = 7_239_003
# A step that has lost two workers may be what kills them, or may only have been beside it: from there on such steps are
# tried one at a time, so that nobody is stopped for a neighbour's fault.
CLAIM = """
UPDATE agents_thread SET
    lease_epoch = lease_epoch + 1,
    takeovers = CASE WHEN lease_owner <> '' THEN takeovers + 1 ELSE takeovers END,
    lease_owner = $1,
    lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE id = $3
  AND runnable_at <= clock_timestamp()
  AND (lease_until IS NULL OR lease_until < clock_timestamp())
  AND (phase NOT IN ('tool_batch', 'waiting_agents')
       OR (SELECT sandbox_host FROM agents_session WHERE id = session_id) IN ('', $4))
  AND CASE WHEN takeovers + (lease_owner <> '')::int < 2 THEN true
      ELSE pg_try_advisory_xact_lock($5) AND NOT EXISTS (
          SELECT 1 FROM agents_thread suspect
          WHERE suspect.takeovers >= 2 AND suspect.lease_until > clock_timestamp()
            AND suspect.runnable_at IS NOT NULL AND suspect.id <> $3) END
"""
# One row a statement: a heartbeat that held several rows could wait for a commit that waits for the heartbeat.
EXTEND = """
UPDATE agents_thread SET lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE id = %s AND lease_owner = %s AND lease_epoch = %s
"""
RELEASE = """
UPDATE agents_thread SET lease_owner = '', lease_until = NULL
WHERE id = $1 AND lease_epoch = $2 AND lease_owner = $3
RETURNING runnable_at <= clock_timestamp()
"""
# The worker lives, and says that its step did not fail: whoever has claimed the thread since took over from nobody.
HAND_BACK = """
UPDATE agents_thread SET
    takeovers = CASE WHEN lease_epoch > %(epoch)s THEN greatest(takeovers - 1, 0) ELSE takeovers END,
    lease_owner = CASE WHEN lease_epoch > %(epoch)s THEN lease_owner ELSE '' END,
    lease_until = CASE WHEN lease_epoch > %(epoch)s THEN lease_until END
WHERE id = %(thread)s AND (lease_epoch > %(epoch)s OR lease_owner = %(owner)s)
"""
# One row per session first, so that a wide fan-out cannot starve a chat.
FIND_RUNNABLE = """
SELECT id FROM (
    SELECT id, runnable_at, row_number() OVER (PARTITION BY session_id ORDER BY runnable_at) AS turn
    FROM agents_thread
    WHERE runnable_at <= clock_timestamp() AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND (phase NOT IN ('tool_batch', 'waiting_agents')
           OR (SELECT sandbox_host FROM agents_session WHERE id = session_id) IN ('', %s))
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
    snapshot: dict[str, Any] | None = None  # the thread's agent: fixed while it has work

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
        self._cut_off: list[Run] = []
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

    def drain(self, seconds: float) -> None:
        """Begin no more steps, and let go of those that are not done by then: another worker goes on with them."""
        self.draining = True
        timer = threading.Timer(seconds, self._let_go)
        timer.daemon = True
        timer.start()

    def _let_go(self) -> None:
        for run in self.all():
            run.lose()

    def cut_off(self, run: Run) -> None:
        """The database went away under the run: its lease is handed back as soon as that can be said."""
        self.remove(run)
        with self._lock:
            self._cut_off.append(run)

    def take_cut_off(self) -> list[Run]:
        with self._lock:
            taken, self._cut_off = self._cut_off, []
        return taken

    @property
    def need_heart(self) -> bool:
        """Whether there is a lease to renew or to hand back."""
        return bool(self._runs or self._cut_off)

    def get(self, thread_pk: int) -> Run | None:
        return self._runs.get(thread_pk)

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())


held_runs = HeldRuns()


def claim(thread_pk: int) -> Run | None:
    """Take the thread when it has work and nobody drives it; None for the loser of a race."""
    thread = log_sql.claim(CLAIM, WORKER_ID, settings.DAYBREAK_LEASE_TTL_S, thread_pk, HOST, SUSPECTS_LOCK)
    if thread is None:
        return None
    run = Run(
        thread_pk=thread_pk,
        session_pk=thread.session_id,
        epoch=thread.lease_epoch,
        takeovers=thread.takeovers,
        thread=thread,
        snapshot=thread.agent_snapshot,
    )
    held_runs.add(run)
    return run


def release(run: Run) -> bool:
    """Give the thread back. True when it has more work right now."""
    held_runs.remove(run)
    rows = log_sql.execute(RELEASE, [run.thread_pk, run.epoch, WORKER_ID])
    return bool(rows and rows[0][0])


def extend(runs: Iterable[Run], heart: psycopg.Connection, *, after_outage: bool = False) -> None:
    """Renew the leases of these runs; a run whose lease is gone is told so.

    Args:
        heart: a connection of its own, not one of the pool, which may be busy.
        after_outage: the database could not be reached since the last time, so a lease may be lost for no fault of
            its step.
    """
    for run in runs:
        renewed = heart.execute(EXTEND, [settings.DAYBREAK_LEASE_TTL_S, run.thread_pk, WORKER_ID, run.epoch])
        if not renewed.rowcount and held_runs.get(run.thread_pk) is run:
            run.lose()
            if after_outage:
                held_runs.cut_off(run)


def hand_back(heart: psycopg.Connection) -> None:
    """Give back the leases of runs that the database's absence ended. That is not a takeover: see `MAX_TAKEOVERS`."""
    for run in held_runs.take_cut_off():
        try:
            heart.execute(HAND_BACK, {"thread": run.thread_pk, "epoch": run.epoch, "owner": WORKER_ID})
        except psycopg.Error:
            held_runs.cut_off(run)
            raise


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
        if run.snapshot is not None:
            thread.agent_snapshot = run.snapshot
        run.thread = thread
        yield log, thread
