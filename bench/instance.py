"""A Daybreak of one's own to measure: started by `manage.py up` on a temporary data dir, ended with it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from console.child_process import die_with_parent
from console.embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
KEY = "dbk_bench_key_that_only_this_temporary_instance_knows"
PASSWORD = "the-password-of-a-temporary-instance"
READY = re.compile(r"ready on (http://\S+)")
FIRST_PAGE = "/sign-in"
START_TIMEOUT = 120.0
NOT_INHERITED = ("ANTHROPIC_", "CELERY_", "DAYBREAK_", "DATABASE_URL", "DJANGO_", "SECRET_KEY")


@dataclass
class Instance:
    """A running Daybreak."""

    folder: Path
    process: subprocess.Popen[str]
    url: str
    seconds: float  # from the command to the first page

    def client(self) -> Any:
        """The official SDK, pointed here."""
        import anthropic

        return anthropic.Anthropic(base_url=self.url, api_key=KEY, max_retries=0)

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(EmbeddedPostgres(self.folder).dsn, autocommit=True) as connection:
            return connection.execute(statement, values or None).fetchall()  # type: ignore[arg-type]

    def processes(self) -> list[int]:
        """Every process of this instance, the supervisor included."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._owns(pid)]

    def memory_mib(self) -> dict[str, float]:
        """The proportional share of memory of each kind of process."""
        shares: dict[str, float] = {}
        for pid in self.processes():
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
                kind = _kind(pid)
                shares[kind] = shares.get(kind, 0.0) + kib / 1024
        return shares

    def cpu_seconds(self) -> float:
        """What all processes have used so far."""
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _owns(self, pid: int) -> bool:
        try:
            told = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            told += os.fsencode(os.readlink(f"/proc/{pid}/cwd"))  # PostgreSQL's children rewrite the others
        except OSError:
            return False
        return pid != os.getpid() and os.fsencode(self.folder) in told


@contextlib.contextmanager
def running(folder: Path | None = None, *, demo: bool = False, **environment: str) -> Iterator[Instance]:
    """Start an instance, and stop it at the end. Without a folder, on an empty one that is removed."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daybreak-bench-")))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        command = [sys.executable, "manage.py", "up", "--port", "0", "--data-dir", str(folder)]
        began = time.monotonic()
        process = subprocess.Popen(
            command if demo else [*command, "--no-demo"],
            cwd=ROOT,
            env={**kept, "DAYBREAK_API_KEY": KEY, "DAYBREAK_ADMIN_PASSWORD": PASSWORD, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )
        try:
            url = _wait_for_first_page(process)
            yield Instance(folder, process, url, time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def _wait_for_first_page(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := READY.search(line):
            with urllib.request.urlopen(found[1] + FIRST_PAGE, timeout=START_TIMEOUT) as page:  # noqa: S310
                page.read()
            return found[1]
    raise SystemExit("The instance did not start; the reason is above.")


def _kind(pid: int) -> str:
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    for mark in ("postgres", "uvicorn", "celery", "guard.py", "manage.py", "agents.sandbox"):
        if mark in arguments:
            return mark
    return "other"
