"""Rows about starting and doing nothing."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from bench.instance import running
from bench.rows import Measured, median, row

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
IDLE_WAIT = float(os.environ.get("BENCH_IDLE_WAIT", "300"))  # seconds after the demo
CPU_WINDOW = min(60.0, max(5.0, IDLE_WAIT / 5))
EXECUTOR_ALIVE = 125.0  # an executor without work ends after 120 s


def _starts(seconds: list[float], bar: float) -> Measured:
    middle = median(seconds)
    listed = ", ".join(f"{value:.1f}" for value in sorted(seconds))
    return Measured(f"{middle:.1f} s ({listed})", middle <= bar, {"median": middle, "runs": seconds})


@row("cold-start", "Cold start to the first page, empty data dir", "≤ 8 s")
def cold_start() -> Measured:
    seconds = []
    for _ in range(RUNS):
        with running(demo=True) as instance:
            seconds.append(instance.seconds)
    return _starts(seconds, 8.0)


@row("restart", "Start to the first page, existing data dir", "≤ 5 s")
def restart() -> Measured:
    seconds = []
    with tempfile.TemporaryDirectory(prefix="daybreak-bench-") as folder:
        for _ in range(RUNS + 1):
            with running(Path(folder), demo=True) as instance:
                seconds.append(instance.seconds)
    return _starts(seconds[1:], 5.0)


@row("idle", "Idle after the demo: memory (PSS) and CPU", "≤ 450 MiB, ≤ 2 % of a core")
def idle() -> Measured:
    with running(demo=True) as instance:
        _wait_until_idle(instance)
        time.sleep(max(0.0, IDLE_WAIT - CPU_WINDOW))
        deadline = time.monotonic() + EXECUTOR_ALIVE
        while "agents.sandbox" in instance.memory_mib() and time.monotonic() < deadline:
            time.sleep(1.0)
        before, began = instance.cpu_seconds(), time.monotonic()
        time.sleep(CPU_WINDOW)
        percent = 100 * (instance.cpu_seconds() - before) / (time.monotonic() - began)
        shares = {kind: round(share, 1) for kind, share in instance.memory_mib().items()}
    total = sum(shares.values())
    parts = ", ".join(f"{kind} {share:.0f}" for kind, share in sorted(shares.items(), key=lambda item: -item[1]))
    return Measured(
        f"{total:.0f} MiB ({parts}), {percent:.1f} %",
        total <= 450 and percent <= 2,
        {"mib": total, "parts": shares, "cpu_percent": percent, "waited_seconds": IDLE_WAIT},
    )


def _wait_until_idle(instance: object) -> None:
    deadline = time.monotonic() + 120
    statement = "SELECT count(*) FROM agents_session WHERE status = 'running'"
    while instance.query(statement)[0][0] and time.monotonic() < deadline:  # type: ignore[attr-defined]
        time.sleep(0.5)
