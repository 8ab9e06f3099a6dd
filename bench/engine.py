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
from bench.workers import SpareWorkers, kill, peak_memory_mib, workers_held

THREADS = 25
STEPS = int(os.environ.get("BENCH_STEPS", "20"))  # model requests of each thread
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "5"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "40"))  # model requests of each thread, where they take no time
TEAM_STEPS = 8
KILLS = int(os.environ.get("BENCH_KILLS", "10"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "60"))

# Between the end of an answer and the start of the next request of the same child, which uses no tools.
OVERHEAD = """
    SELECT 1000 * extract(epoch FROM next_start - ended) FROM (
        SELECT a.ended_at AS ended, lead(a.started_at) OVER (PARTITION BY s.thread_id ORDER BY s.no) AS next_start
          FROM agents_modelattempt a
          JOIN agents_step s ON s.id = a.step_id
          JOIN agents_thread t ON t.id = s.thread_id
         WHERE s.kind = 'model_request' AND a.ended_at IS NOT NULL AND t.parent_id IS NOT NULL AND s.id > %s
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
    f"Engine: step commits with 2 workers and no latency; own time between two requests of {THREADS} threads",
    "≥ 200/s in 5 sessions, ≥ 100/s in one; p50 ≤ 25, p95 ≤ 100 ms",
)
def steps() -> Measured:
    """Throughput and own time are runs of their own: threads that never wait would wait for each other's processor."""
    with running(DAYBREAK_SIMULATED_LATENCY="0") as instance, SpareWorkers(instance):
        several = _commits_per_second(instance, sessions=SESSIONS, children=THREADS // SESSIONS)
        one = _commits_per_second(instance, sessions=1, children=THREADS)
    overheads = _own_times()
    p50, p95 = median(overheads), percentile(overheads, 0.95)
    return Measured(
        f"{several:.0f}/s in {SESSIONS} sessions, {one:.0f}/s in one; p50 {p50:.0f}, p95 {p95:.0f} ms",
        several >= 200 and one >= 100 and p50 <= 25 and p95 <= 100,
        {"per_second": several, "per_second_in_one": one, "p50_ms": p50, "p95_ms": p95},
    )


def _commits_per_second(instance: Instance, *, sessions: int, children: int) -> float:
    """Model requests without tools, of `children` threads in each session, all of which wait when the workers begin."""
    client = instance.client()
    _start_team(client, children=2, rounds=4)  # makes the workers warm
    _wait_until_idle(instance)
    with workers_held(instance):
        [[before]] = instance.query("SELECT max(id) FROM agents_step")
        for _ in range(sessions):
            _start_team(client, children=children, rounds=ROUNDS)
    _wait_until_idle(instance)
    [[count, seconds]] = instance.query(
        "SELECT count(*), extract(epoch FROM max(ended_at) - min(started_at))::float"
        " FROM agents_step WHERE state = 'committed' AND id > %s",
        before,
    )
    return count / seconds


def _start_team(client: Any, *, children: int, rounds: int) -> str:
    """A session whose lead has `children` copies of an agent answer `rounds` times each, all at once; its id."""
    worker = client.beta.agents.create(name="Bench worker", model="simulated/rounds")
    roster = {"type": "coordinator", "agents": [worker.id]}
    lead = client.beta.agents.create(name="Bench lead", model="simulated/tools", multiagent=roster)
    environment = client.beta.environments.create(name=f"Bench {worker.id}")
    spawn = f'  custom: spawn_agent {{"agent": "Bench worker", "task": "rounds: {rounds}"}}\n'
    script = "parallel:\n" + spawn * children + "  custom: wait_for_agents {}"
    events = [_message(script)]
    return str(client.beta.sessions.create(agent=lead.id, environment_id=environment.id, initial_events=events).id)


@row(
    "team",
    f"{THREADS} threads x {TEAM_STEPS} steps x 400 ms in one session and one worker process",
    "≤ 6 s, ≤ 400 MiB",
)
def team() -> Measured:
    """From the first child's start to the last one's end. Memory is the worker's highest so far."""
    with running() as instance:
        client = instance.client()
        _start_team(client, children=2, rounds=2)
        _wait_until_idle(instance)
        session = _start_team(client, children=THREADS, rounds=TEAM_STEPS)
        _wait_until_idle(instance)
        [[seconds, steps, threads]] = instance.query(
            "SELECT extract(epoch FROM max(s.ended_at) - min(t.created_at))::float, count(*), count(DISTINCT t.id)"
            " FROM agents_step s JOIN agents_thread t ON t.id = s.thread_id"
            " JOIN agents_session x ON x.id = t.session_id"
            " WHERE x.public_id = %s AND t.parent_id IS NOT NULL AND s.state = 'committed'",
            session,
        )
        memory = peak_memory_mib(instance)
    complete = steps == THREADS * TEAM_STEPS and threads == THREADS
    return Measured(
        f"{seconds:.1f} s, {memory:.0f} MiB" + ("" if complete else f" (only {steps} steps of {threads} threads)"),
        complete and seconds <= 6 and memory <= 400,
        {"seconds": seconds, "worker_peak_mib": memory, "steps": steps},
    )


@row("takeover", "A worker killed with -9 during a model request → next event of its session", "p95 ≤ 20 s")
def takeover() -> Measured:
    """At the real lease time. Others are there already: the supervisor starts one that ends often ever more slowly."""
    waits = []
    with running() as instance, SpareWorkers(instance, 2) as spare:
        client = instance.client()
        chosen = _agent_and_environment(client, "simulated/slow")
        for _ in range(KILLS):
            session = client.beta.sessions.create(**chosen, initial_events=[_message("slow 10m")])
            waits.append(_seconds_until_taken_over(instance, session.id))
            client.beta.sessions.events.send(session.id, events=[{"type": "user.interrupt"}])
            spare.refill()
    p95 = percentile(waits, 0.95)
    return Measured(
        f"median {median(waits):.1f}, p95 {p95:.1f}, max {max(waits):.1f} s ({len(waits)} kills)",
        p95 <= 20,
        {"p95_s": p95, "max_s": max(waits), "kills": len(waits)},
    )


def _seconds_until_taken_over(instance: Instance, session: str) -> float:
    holder = (
        "SELECT lease_owner FROM agents_thread t JOIN agents_session s ON s.id = t.session_id WHERE s.public_id = %s"
    )
    while not (owner := instance.query(holder + " AND phase = 'model_request'", session)) or not owner[0][0]:
        time.sleep(0.05)
    time.sleep(1.0)  # the request streams
    [[killed_at, last]] = instance.query("SELECT clock_timestamp(), max(id) FROM agents_event")
    kill(int(owner[0][0].split(":")[1]), instance)
    news = (
        "SELECT extract(epoch FROM min(e.created_at) - %s)::float FROM agents_event e"
        " JOIN agents_session s ON s.id = e.session_id WHERE s.public_id = %s AND e.id > %s"
    )
    while (waited := instance.query(news, killed_at, session, last)[0][0]) is None:
        time.sleep(0.1)
    return float(waited)


def _own_times() -> list[float]:
    """Milliseconds of the engine between two requests, of threads whose models take their usual time."""
    with running() as instance:
        client = instance.client()
        _start_team(client, children=2, rounds=4)
        _wait_until_idle(instance)
        [[before]] = instance.query("SELECT max(id) FROM agents_step")
        for _ in range(SESSIONS):
            _start_team(client, children=THREADS // SESSIONS, rounds=STEPS)
        _wait_until_idle(instance)
        return [float(value) for (value,) in instance.query(OVERHEAD, before)]


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
        page.keyboard.press("f")  # rows that nobody asked to see wait outside the list when they are many
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
