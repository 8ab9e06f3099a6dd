"""A worker inside the test process: the engine's own loops, with hints delivered to a pool of threads here.

A conftest takes the fixture with `from tests.worker import *`.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

__all__ = ["local_worker", "make_local_worker", "wait_until"]


class Collected(logging.Handler):
    """What the engine logged as an error: it keeps going, a test must not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(logging.Formatter().format(record))


class LocalWorker:
    """Drives threads as a worker process does. `hints=False` leaves everything to the sweep."""

    def __init__(self, *, hints: bool = True) -> None:
        from agents.runtime.worker import WorkerRuntime
        from agents.services import hints as hint_service

        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="engine")
        self._runtime = WorkerRuntime(hint=self.hint)
        self._hints = hint_service
        self._closed = False
        self.errors: list[str] = []
        self.expects_errors = False  # a test that breaks a step on purpose
        self._log = Collected()
        logging.getLogger("agents.runtime").addHandler(self._log)
        if hints:
            hint_service.set_sender(self.hint)

    def start(self) -> LocalWorker:
        self._runtime.start()
        return self

    def hint(self, thread_pk: int) -> None:
        if not self._closed:
            self._pool.submit(self._advance, thread_pk)

    def _advance(self, thread_pk: int) -> None:
        from agents.runtime import engine

        try:
            if engine.advance(thread_pk):
                self.hint(thread_pk)
        except BaseException:
            self.errors.append(traceback.format_exc())
            raise

    def finish(self) -> None:
        """End as a drained worker does: what is under way is finished, with its leases renewed to the end."""
        self._closed = True
        self._pool.shutdown(wait=True)
        self._runtime.stop()

    def stop(self) -> None:
        from agents.runtime import leases

        self._closed = True
        self._hints.set_sender(None)
        for run in leases.held_runs.all():
            run.lose()
        self._runtime.stop()
        self._pool.shutdown(wait=True)
        logging.getLogger("agents.runtime").removeHandler(self._log)
        errors = self.errors + self._log.errors
        assert self.expects_errors or not errors, errors[0]


@pytest.fixture
def make_local_worker(committed_db: None, settings: Any) -> Iterator[Callable[..., LocalWorker]]:
    """`make_local_worker(hints=False)`: a started worker, stopped after the test."""
    settings.DAYBREAK_HINTS = True
    settings.DAYBREAK_LEASE_TTL_S = 2.0
    settings.DAYBREAK_SWEEP_INTERVAL_S = 0.1
    settings.DAYBREAK_RETRY_BASE_S = 0.05
    settings.DAYBREAK_SSE_PING_S = 0.2
    made: list[LocalWorker] = []

    def make(*, hints: bool = True) -> LocalWorker:
        made.append(LocalWorker(hints=hints).start())
        return made[-1]

    yield make
    for worker in made:
        worker.stop()
    from django.conf import settings as current

    from agents.sandbox import client as sandbox

    sandbox.stop_all(current.DAYBREAK_DATA_DIR)


@pytest.fixture
def local_worker(make_local_worker: Callable[..., LocalWorker]) -> LocalWorker:
    return make_local_worker()


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 30.0) -> Any:
    """Poll until `condition` gives something true, and return it."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
