"""Rows about the page of a long session: how soon it is usable, how it draws, and how much it holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from bench import logs
from bench.browser import open_browser
from bench.instance import Instance, running
from bench.rows import Measured, median, percentile, row
from console.embedded_postgres import EmbeddedPostgres

HELPERS = 25  # and the lead: 26 lanes
RUNS = int(os.environ.get("BENCH_PAGE_RUNS", "5"))
MOVING_MS = 3_000
SLOW_FRAME_MS = 34.0
BARS = {10_000: 1_000.0, 100_000: 2_000.0}  # milliseconds until the page is usable
VISITS = ("usable_ms", "first_usable_ms")  # the median visit, and the first, for which nothing was kept
DRAW_BAR_MS, SLOW_BAR, NODES_BAR = 8.0, 0.05, 5_000

# The page is usable when rows of the story are there and the picture is drawn.
USABLE = """() => document.querySelector("session-picture[data-ready]") && document.querySelector("#events .event")
    ? performance.now() : 0"""
LOADED = """() => {
    const all = [performance.getEntriesByType("navigation")[0], ...performance.getEntriesByType("resource")];
    const bytes = (name) => all.filter((e) => e.name.includes(name)).reduce((sum, e) => sum + e.transferSize, 0);
    return { bytes: bytes(""), picture: bytes("/picture"), nodes: document.querySelectorAll("*").length,
             ready: performance.getEntriesByName("picture-ready")[0]?.startTime ?? 0,
             buckets: document.querySelector("session-picture").picture.buckets };
}"""
# Zooming in and out and panning to and fro, a step per frame, as a hand on a wheel does.
MOVE = """(duration) => new Promise((done) => {
    const element = document.querySelector("session-picture"), wide = element.canvas.clientWidth;
    element.frameTimes.length = 0;
    const began = performance.now(), intervals = [];
    let last = began, n = 0;
    const step = (now) => {
        intervals.push(now - last);
        last = now;
        n += 1;
        if (n % 60 < 25) element.zoom(0.94, wide * 0.6);
        else if (n % 60 < 40) element.pan((n % 2 ? 1 : -1) * 40 + 12);
        else element.zoom(1.07, wide * 0.4);
        if (now - began < duration) requestAnimationFrame(step);
        else done({ draws: element.frameTimes.slice(), intervals: intervals.slice(2) });
    };
    requestAnimationFrame(step);
})"""


@row(
    "timeline",
    f"Session page with {HELPERS + 1} lanes at 10,000 and 100,000 events: usable; zooming and panning; size",
    "≤ 1 s / ≤ 2 s; draw p95 ≤ 8 ms, < 5 % of frames over 34 ms; ≤ 5,000 nodes",
)
def timeline() -> Measured:
    numbers: dict[str, Any] = {}
    with running() as instance:
        sessions = {events: long_session(instance, events) for events in BARS}
        with open_browser(instance) as page:
            for events, session_id in sessions.items():
                numbers[str(events)] = _measure(page, f"{instance.url}/sessions/{session_id}")
    small, large = numbers["10000"], numbers["100000"]
    holds = all(numbers[str(events)][name] <= bar for events, bar in BARS.items() for name in VISITS)
    holds = holds and large["draw_p95_ms"] <= DRAW_BAR_MS and large["slow_share"] < SLOW_BAR
    holds = holds and max(small["nodes"], large["nodes"]) <= NODES_BAR
    text = (
        f"{small['usable_ms'] / 1000:.2f} s (first visit {small['first_usable_ms'] / 1000:.2f} s) / "
        f"{large['usable_ms'] / 1000:.2f} s (first {large['first_usable_ms'] / 1000:.2f} s); "
        f"draw p95 {large['draw_p95_ms']:.1f} ms, {100 * large['slow_share']:.1f} % slow; "
        f"{large['nodes']:,} nodes, {large['bytes'] / 1e6:.2f} MB"
    )
    return Measured(text, holds, numbers)


def long_session(instance: Instance, events: int) -> str:
    """A session with so many events and 26 threads. Returns its id."""
    client = instance.client()
    agent = client.beta.agents.create(name="Night shift", model="simulated/default")
    environment = client.beta.environments.create(name=f"Bench {events}")
    made = client.beta.sessions.create(agent=agent.id, environment_id=environment.id, title=f"{events:,} events")
    with database(instance) as connection:
        found = connection.execute("SELECT id FROM agents_session WHERE public_id = %s", [made.id]).fetchone()
        logs.write_log(connection, found[0], events=events, helpers=HELPERS)
    return str(made.id)


@contextmanager
def database(instance: Instance) -> Iterator[Any]:
    with psycopg.connect(EmbeddedPostgres(instance.folder).dsn) as connection:
        yield connection


def _measure(page: Any, url: str) -> dict[str, Any]:
    """Several visits, the first of which nothing was kept for; then one stretch of moving about."""
    usable = []
    for _ in range(RUNS):
        page.goto("about:blank")
        page.goto(url, wait_until="commit")
        usable.append(_usable(page))
    loaded = page.evaluate(LOADED)
    moved = page.evaluate(MOVE, MOVING_MS)
    slow = sum(interval > SLOW_FRAME_MS for interval in moved["intervals"]) / max(len(moved["intervals"]), 1)
    return {
        "usable_ms": median(usable),
        "first_usable_ms": usable[0],
        "usable_runs_ms": [round(value) for value in usable],
        "draw_p95_ms": percentile(moved["draws"], 0.95),
        "draw_p50_ms": percentile(moved["draws"], 0.5),
        "frames": len(moved["draws"]),
        "frame_p95_ms": percentile(moved["intervals"], 0.95),
        "slow_share": slow,
        "nodes": loaded["nodes"],
        "bytes": loaded["bytes"],
        "picture_bytes": loaded["picture"],
        "buckets": loaded["buckets"],
    }


def _usable(page: Any) -> float:
    for _ in range(4_000):
        try:
            if found := page.evaluate(USABLE):
                ready = page.evaluate("performance.getEntriesByName('picture-ready')[0]?.startTime ?? 0")
                return max(float(ready), 0.0) or float(found)
        except Exception as error:  # noqa: BLE001 (the page is on its way)
            if "context" not in str(error).lower():
                raise
        page.wait_for_timeout(5)
    raise SystemExit(f"The page did not become usable: {json.dumps(page.url)}")
