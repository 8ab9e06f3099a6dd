"""Rows about the engine: steps per second, its own time between two steps, and the way to the browser."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from typing import Any

from bench.instance import PASSWORD, Instance, running
from bench.rows import Measured, median, percentile, row
from bench.workers import second_worker, workers_held

THREADS = 25
STEPS = int(os.environ.get("BENCH_STEPS", "20"))  # model requests of each thread
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "500"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "60"))

# Between the end of an answer and the start of the next request of the same thread, tool time left out.
OVERHEAD = """
    SELECT 1000 * extract(epoch FROM next_start - ended) - coalesce(tool_ms, 0)
    FROM (
        SELECT a.ended_at AS ended,
               lead(a.started_at) OVER (PARTITION BY s.thread_id ORDER BY s.no, a.attempt) AS next_start,
               (SELECT sum(1000 * extract(epoch FROM c.ended_at - c.started_at))
                  FROM agents_toolcall c
                 WHERE c.thread_id = s.thread_id AND c.started_at >= a.ended_at
                   AND c.ended_at <= coalesce((SELECT min(n.started_at) FROM agents_step n
                        WHERE n.thread_id = s.thread_id AND n.kind = 'model_request' AND n.no > s.no), now())
               ) AS tool_ms
          FROM agents_modelattempt a JOIN agents_step s ON s.id = a.step_id
         WHERE s.kind = 'model_request' AND a.ended_at IS NOT NULL
    ) pairs WHERE next_start IS NOT NULL
"""


def _agent_and_environment(client: Any, model: str) -> dict[str, str]:
    agent = client.beta.agents.create(name="Bench", model=model)
    environment = client.beta.environments.create(name="Bench")
    return {"agent": agent.id, "environment_id": environment.id}


def _message(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def _wait_until_idle(instance: Instance, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while instance.query("SELECT count(*) FROM agents_session WHERE status = 'running'")[0][0]:
        if time.monotonic() > deadline:
            raise SystemExit("The sessions of the bench did not become idle.")
        time.sleep(0.25)


@row(
    "steps",
    f"Engine: commits with 2 workers and no latency; own time between two requests of {THREADS} threads",
    "≥ 200/s; p50 ≤ 25, p95 ≤ 100 ms",
)
def steps() -> Measured:
    """Throughput and own time are two runs: threads that never wait would wait for each other's processor time."""
    rate, count, seconds = _commits_per_second()
    overheads = _own_times()
    p50, p95 = median(overheads), percentile(overheads, 0.95)
    return Measured(
        f"{rate:.0f}/s ({count} in {seconds:.1f} s); p50 {p50:.0f}, p95 {p95:.0f} ms",
        rate >= 200 and p50 <= 25 and p95 <= 100,
        {"per_second": rate, "commits": count, "seconds": seconds, "p50_ms": p50, "p95_ms": p95},
    )


def _commits_per_second() -> tuple[float, int, float]:
    """One model request of each of many sessions without tools, which all wait when the two workers begin."""
    with running(DAYBREAK_SIMULATED_LATENCY="0") as instance, second_worker(instance):
        client = instance.client()
        chosen = _agent_and_environment(client, "simulated/echo")
        _start(client, chosen, "the first one makes the workers warm", 2 * THREADS)
        _wait_until_idle(instance)
        with workers_held(instance):
            _start(client, chosen, "hello", SESSIONS)
            [[before]] = instance.query("SELECT max(id) FROM agents_step")
        _wait_until_idle(instance)
        [[count, seconds]] = instance.query(
            "SELECT count(*), extract(epoch FROM max(ended_at) - min(started_at))::float"
            " FROM agents_step WHERE state = 'committed' AND id > %s",
            before,
        )
    return count / seconds, count, seconds


def _own_times() -> list[float]:
    """Milliseconds of the engine between two requests, of threads whose models take their usual time."""
    script = "\n".join(f'custom: nothing {{"n": {number}}}' for number in range(STEPS - 1))
    with running() as instance:
        client = instance.client()
        _start(client, _agent_and_environment(client, "simulated/tools"), script, THREADS)
        _wait_until_idle(instance)
        return [float(value) for (value,) in instance.query(OVERHEAD)]


def _start(client: Any, chosen: dict[str, str], text: str, count: int) -> None:
    for _ in range(count):
        client.beta.sessions.create(**chosen, initial_events=[_message(text)])


@row("event-to-browser", "Event sent → visible on the session page in Chromium", "≤ 500 ms")
def event_to_browser() -> Measured:
    """From before the request that sends it, so the request itself is counted too."""
    from playwright.sync_api import sync_playwright

    with running(DAYBREAK_SIMULATED_LATENCY="0") as instance, sync_playwright() as playwright:
        client = instance.client()
        session = client.beta.sessions.create(**_agent_and_environment(client, "simulated/echo"))
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{instance.url}/sign-in")
        page.fill("[name=username]", "admin")
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_url(lambda url: "/sign-in" not in url)
        page.goto(f"{instance.url}/sessions/{session.id}")
        time.sleep(1.0)
        delays = []
        for number in range(MESSAGES):
            sent = time.monotonic()
            answer = client.beta.sessions.events.send(session.id, events=[_message(f"message {number}")])
            page.locator(f"#event-{answer.data[0].id}").wait_for(state="attached", timeout=10_000)
            delays.append(1000 * (time.monotonic() - sent))
            time.sleep(0.05)
        browser.close()
    return _delays(delays)


@row("event-to-stream", "Event sent → on an open stream of the SDK", "≤ 500 ms")
def event_to_stream() -> Measured:
    """The same way without a browser: what is left is the network of the API."""
    with running(DAYBREAK_SIMULATED_LATENCY="0") as instance:
        client = instance.client()
        session = client.beta.sessions.create(**_agent_and_environment(client, "simulated/echo"))
        arrived: dict[str, float] = {}
        seen = threading.Condition()

        def follow() -> None:
            with suppress(Exception), client.beta.sessions.events.stream(session.id) as stream:
                for event in stream:
                    with seen:
                        arrived[getattr(event, "id", "")] = time.monotonic()
                        seen.notify_all()

        threading.Thread(target=follow, daemon=True).start()
        time.sleep(1.0)
        delays = []
        for number in range(MESSAGES):
            sent = time.monotonic()
            wanted = client.beta.sessions.events.send(session.id, events=[_message(f"message {number}")]).data[0].id
            with seen:
                if not seen.wait_for(lambda wanted=wanted: wanted in arrived, timeout=10):
                    raise SystemExit(f"The event {wanted} never reached the stream.")
            delays.append(1000 * (arrived[wanted] - sent))
            time.sleep(0.05)
    return _delays(delays)


def _delays(delays: list[float]) -> Measured:
    p50, p95, longest = median(delays), percentile(delays, 0.95), max(delays)
    return Measured(
        f"p50 {p50:.0f}, p95 {p95:.0f}, max {longest:.0f} ms",
        p95 <= 500,
        {"p50_ms": p50, "p95_ms": p95, "max_ms": longest, "messages": len(delays)},
    )


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise SystemExit("This row needs Chromium.")
