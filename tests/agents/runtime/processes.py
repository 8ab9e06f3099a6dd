"""Worker processes that a test starts, and kills by their id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Worker:
    """One running worker process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As a crash does: no clean-up of its own runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


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
