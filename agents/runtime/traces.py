"""What a worker does about traces: it waits for spans, and has them told once they have been quiet for a moment."""

from __future__ import annotations

import threading
import time

import psycopg
from django.conf import settings
from django.db import connection

from agents.services import traces, traces_told

POLL_S = 1.0  # how often a waiting loop looks whether it should stop
SOON_S = 0.1  # until what has just arrived is looked at again


def watch_traces(conninfo: str, stopping: threading.Event) -> None:
    """Tell traces until `stopping`. A notification may be lost: every sweep interval all that waits is looked at."""
    with psycopg.connect(conninfo, autocommit=True) as listener:
        listener.execute(f"LISTEN {traces.CHANNEL}")
        looked_at = 0.0
        while not stopping.is_set():
            if time.monotonic() - looked_at >= settings.DAYBREAK_SWEEP_INTERVAL_S:
                while not stopping.is_set():
                    traces_told.tell_waiting()
                    more = traces_told.waiting()
                    connection.close()
                    if not more:
                        break
                    stopping.wait(SOON_S)
                looked_at = time.monotonic()
            pause = min(POLL_S, settings.DAYBREAK_SWEEP_INTERVAL_S)
            if list(listener.notifies(timeout=pause, stop_after=1)):
                looked_at = 0.0
