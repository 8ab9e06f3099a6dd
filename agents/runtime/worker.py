"""What every worker process runs beside its tasks: a heartbeat, a watcher for interrupts, the sweep and the indexer.

The sweep finds work that no hint reached: due retries, lost messages, threads of dead workers. One process sweeps at a
time (an advisory lock); with hints off it alone makes progress.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F
from psycopg.conninfo import make_conninfo

from agents.models import Thread
from agents.runtime import engine, leases
from agents.runtime.traces import watch_traces
from agents.services import search_index
from agents.services.log import INTERRUPT_CHANNEL

logger = logging.getLogger(__name__)

SWEEP_LOCK = 7_239_002
WATCH_POLL_S = 1.0
MIN_SWEEP_S = 0.02
MOST_TURNED_AWAY = 3  # times in a row; then whoever sweeps hangs, and two sweeps at a time do no harm


class WorkerRuntime:
    """Starts and stops the background loops of one worker process.

    Args:
        hint: called with a thread's key when some worker should look at it. Must not block.
    """

    def __init__(self, hint: Callable[[int], None]) -> None:
        self._hint = hint
        self._stopping = threading.Event()
        self._heart: psycopg.Connection | None = None
        self._was_away = False  # the database, when the heart beat last
        self._turned_away = 0  # from sweeping, since the last turn
        self._indexer = search_index.Sweeper()
        self._without_broker = ThreadPoolExecutor(max_workers=4, thread_name_prefix="without-broker")
        self._threads = [
            threading.Thread(target=self._loop, args=(work, pause, again_s), name=name, daemon=True)
            for name, work, pause, again_s in (
                ("heartbeat", self._beat, lambda: settings.DAYBREAK_LEASE_TTL_S / 3, 0.5),
                ("sweep", self._sweep, lambda: 0.0, 2.0),  # later than the heartbeat: who lives keeps its leases
                ("interrupts", self._watch, lambda: 0.0, 1.0),
                ("traces", self._tell_traces, lambda: 0.0, 2.0),
                ("indexer", self._index, lambda: search_index.SWEEP_S, 2.0),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)
        self._without_broker.shutdown(wait=False, cancel_futures=True)
        if self._heart is not None:
            self._heart.close()

    def _loop(self, work: Callable[[], None], pause: Callable[[], float], again_s: float) -> None:
        """Repeat `work`; a database that is away is asked again after `again_s`."""
        while not self._stopping.is_set():
            wait = pause()
            try:
                work()
            except (DatabaseError, psycopg.Error) as exc:
                logger.warning("background loop waits for the database: %s", exc)
                wait = again_s
            except Exception:  # noqa: BLE001 (a loop that ends would leave every thread of this process alone)
                logger.exception("background loop failed; it goes on")
                wait = max(wait, 1.0)
            finally:
                connection.close()
            self._stopping.wait(wait)

    def _beat(self) -> None:
        """Renew this process's leases, on a connection of its own: the pool may be busy."""
        if not (self._was_away or leases.held_runs.need_heart):
            return
        try:
            if self._heart is None or self._heart.closed:
                self._heart = psycopg.connect(listen_conninfo(), autocommit=True)
            leases.extend(leases.held_runs.all(), self._heart, after_outage=self._was_away)
            leases.hand_back(self._heart)
        except psycopg.Error:
            self._was_away = True
            raise
        self._was_away = False

    def _sweep(self) -> None:
        """Hint what is runnable, then sleep until something may be."""
        interval = settings.DAYBREAK_SWEEP_INTERVAL_S
        wait = interval
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [SWEEP_LOCK])
            mine = cursor.fetchone()[0]
        self._turned_away = 0 if mine else self._turned_away + 1
        if mine or self._turned_away >= MOST_TURNED_AWAY:
            try:
                for thread_pk in leases.find_runnable():
                    self._deliver(thread_pk)
                due = leases.seconds_until_runnable()
                if due is not None and due > 0:
                    wait = min(interval, due)
            finally:
                if mine:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT pg_advisory_unlock(%s)", [SWEEP_LOCK])
        connection.close()
        self._stopping.wait(max(wait, MIN_SWEEP_S))

    def _index(self) -> None:
        """Make what has been written since the last time searchable, with rests: the threads go first."""
        self._indexer.sweep(pause=self._rest, stopped=self._stopping.is_set)

    def _tell_traces(self) -> None:
        """Put spans that have arrived on their timelines."""
        watch_traces(listen_conninfo(), self._stopping)

    def _rest(self, seconds: float) -> None:
        connection.close()
        self._stopping.wait(seconds)

    def _deliver(self, thread_pk: int) -> None:
        """Hint a thread; without a broker this process looks at it itself."""
        try:
            self._hint(thread_pk)
        except Exception as exc:  # noqa: BLE001 (each broker has errors of its own)
            logger.warning("the broker takes no hints, working without it: %s", exc)
            if leases.held_runs.get(thread_pk) is None:
                self._without_broker.submit(engine.advance, thread_pk)

    def _watch(self) -> None:
        """Listen for interrupts of the threads this process drives; look every second besides."""
        with psycopg.connect(listen_conninfo(), autocommit=True) as listener:
            listener.execute(f"LISTEN {INTERRUPT_CHANNEL}")
            last_look = 0.0
            while not self._stopping.is_set():
                heard = list(listener.notifies(timeout=WATCH_POLL_S, stop_after=1))
                if heard or time.monotonic() - last_look >= WATCH_POLL_S:
                    self._interrupt_held_runs()
                    last_look = time.monotonic()

    def _interrupt_held_runs(self) -> None:
        # Taken before looking: what is cancelled is the work that was under way then, never the turn after it.
        current = {run.thread_pk: run.cancellation for run in leases.held_runs.all()}
        if not current:
            return
        pending = Thread.objects.filter(pk__in=current, interrupt_seq__gt=F("interrupts_handled_seq"))
        for pk in list(pending.values_list("pk", flat=True)):
            current[pk].cancel()
        connection.close()


def listen_conninfo() -> str:
    """A connection string for a LISTEN connection of its own, outside the pool."""
    parameters = connection.settings_dict
    parts = {
        "host": parameters["HOST"],
        "port": parameters["PORT"],
        "user": parameters["USER"],
        "password": parameters["PASSWORD"],
        "dbname": parameters["NAME"],
        "application_name": "daybreak-listen",
    }
    return make_conninfo("", **{key: str(value) for key, value in parts.items() if value})
