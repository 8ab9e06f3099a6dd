"""Worker processes that a test starts, and kills by their id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["crew", "nursery"]

ROOT = Path(__file__).resolve().parents[3]


class Worker:
    """One running worker process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def alive(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As a crash does: no clean-up of its own runs."""
        self.signal(signal.SIGKILL)

    def wait_end(self, timeout_s: float = 40.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.alive:
            assert time.monotonic() < deadline, "the worker did not end"
            time.sleep(0.02)


class Nursery:
    """Starts workers quickly by forking a process that has everything loaded."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker_process"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, **environment: str) -> Worker:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(environment) + "\n")
        self._process.stdin.flush()
        return Worker(int(self._process.stdout.readline()))

    def close(self) -> None:
        """End it, and every worker with it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def worker_environment(dsn: str, settings: Any, **extra: str) -> dict[str, str]:
    """What a worker process needs to find this test's database and data dir."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("DAYBREAK", "DATABASE", "PYTEST"))}
    return {
        **keep,
        "DATABASE_URL": dsn,
        "DAYBREAK_DATA_DIR": str(settings.DAYBREAK_DATA_DIR),
        "DAYBREAK_LEASE_TTL_S": "2",
        "DAYBREAK_SWEEP_INTERVAL_S": "0.1",
        "DAYBREAK_RETRY_BASE_S": "0.05",
        "DJANGO_SETTINGS_MODULE": "console.settings",
        "SECRET_KEY": "only-for-worker-processes-of-the-test-suite",
        "LOG_LEVEL": "ERROR",
        **extra,
    }


@pytest.fixture(scope="module")
def nursery(database_dsn: str) -> Iterator[Nursery]:
    """Loading everything takes seconds: once for all tests of a module."""
    from django.conf import settings

    running = Nursery(worker_environment(database_dsn, settings))
    yield running
    running.close()


@pytest.fixture
def crew(committed_db: None, nursery: Nursery, settings: Any) -> Iterator[Callable[..., list[Worker]]]:
    """`crew(n, **environment)`: n worker processes; those still alive are ended after the test."""
    settings.DAYBREAK_HINTS = False
    started: list[Worker] = []

    def start(count: int = 1, **environment: str) -> list[Worker]:
        new = [nursery.start(**environment) for _ in range(count)]
        started.extend(new)
        return new

    yield start
    for worker in started:
        worker.kill()
    for worker in started:
        worker.wait_end()
    _wait_until_nobody_writes()
    from agents.sandbox import client

    client.stop_all(settings.DAYBREAK_DATA_DIR)


def _wait_until_nobody_writes() -> None:
    """The database notices late that a client was killed, and may be in the middle of a statement for it."""
    from django.db import connection

    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND state IN ('active', 'idle in transaction', 'idle in transaction (aborted)')"
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(busy)
            if cursor.fetchone() == (0,):
                return
        time.sleep(0.05)
