"""Failure drills on a whole Daybreak of their own: its database restarts and stays away, its broker's queues are
purged, its worker is replaced. What clients see is asked through the official SDK.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import psycopg
import pytest

from bench.instance import KEY, NOT_INHERITED, ROOT, Instance, running
from console.child_process import command_line
from console.embedded_postgres import TEST_OPTIONS, EmbeddedPostgres
from tests.api.sdk import history, make_agent, make_session, of_type, said, send, text, wait_idle
from tests.worker import wait_until

CHILDREN, ROUNDS = 25, 6
QUICK = {
    "DAYBREAK_LEASE_TTL_S": "3",
    "DAYBREAK_SWEEP_INTERVAL_S": "0.5",
    "DAYBREAK_DB_WAIT_S": "1.5",
    "LOG_LEVEL": "CRITICAL",
}

pytestmark = pytest.mark.timeout(240)


@dataclass
class Place:
    """A running instance, and the PostgreSQL server that only it uses."""

    instance: Instance
    server: EmbeddedPostgres
    folder: Path

    def client(self) -> Any:
        return anthropic.Anthropic(base_url=self.instance.url, api_key=KEY, max_retries=8, timeout=60)

    def restart(self) -> None:
        self.server.stop()
        self.server.start()

    def rebuild(self, session: Any) -> str:
        """What `manage.py rebuild_state` says of the session."""
        return self.manage("rebuild_state", session.id)

    def manage(self, *command: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        environment = {**kept, "DATABASE_URL": self.server.dsn, "DAYBREAK_DATA_DIR": str(self.instance.folder)}
        arguments = [sys.executable, "manage.py", *command]
        done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def worker(self) -> int | None:
        found = [pid for pid in self.instance.processes() if "celery" in command_line(pid)]
        return found[0] if found else None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    folder.parent.chmod(0o755)
    server = EmbeddedPostgres(folder / "db", TEST_OPTIONS)
    server.start()
    try:
        with running(folder / "data", DATABASE_URL=server.dsn, **QUICK) as instance:
            yield Place(instance, server, folder)
    finally:
        server.stop()


@dataclass
class Follower:
    """Reads a session's stream as clients are told to: whenever it ends, open it again and read the history."""

    client: Any
    session: Any
    seen: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    twice: list[str] = field(default_factory=list)
    done: bool = False

    def run(self) -> None:
        while not self.done:
            with contextlib.suppress(anthropic.APIError, httpx2.HTTPError):
                self._connect()
            time.sleep(0.1)

    def _connect(self) -> None:
        with self.client.beta.sessions.events.stream(self.session.id) as stream:
            self.connections += 1
            for event in history(self.client, self.session):
                self.seen[event.id] = event.type
            told: Counter[str] = Counter()
            for event in stream:
                self.seen[event.id] = event.type
                told[event.id] += 1
                if told[event.id] > 1 and event.type not in ("user.message", "user.interrupt"):
                    self.twice.append(event.id)
                if self.done:
                    return


@contextlib.contextmanager
def following(client: Any, session: Any) -> Iterator[Follower]:
    follower = Follower(client, session)
    reader = threading.Thread(target=follower.run, daemon=True)
    reader.start()
    yield follower
    wait_until(lambda: {event.id for event in history(client, session)} <= follower.seen.keys())
    follower.done = True


def end_of(client: Any, session: Any) -> str:
    """Wait until the session stops; why it did."""
    wait_idle(client, session, timeout_s=90)
    return of_type(history(client, session), "session.status_idle")[-1].stop_reason.type


def start_team(client: Any) -> Any:
    """A lead whose 25 agents each make a few model requests at the same time."""
    child = make_agent(client, "simulated/rounds", name="Rounds", tools=[])
    team = {"type": "coordinator", "agents": [child.id]}
    lead = make_agent(client, name="Lead", tools=[], multiagent=team)
    spawn = f'  custom: spawn_agent {{"agent": "Rounds", "task": "rounds: {ROUNDS}"}}'
    script = "\n".join(["parallel:", *[spawn] * CHILDREN, "  custom: wait_for_agents {}", "say: all are back"])
    return make_session(client, script, agent=lead)


def check_team(client: Any, session: Any) -> None:
    """Each child has made its requests once, has reported once, and rests."""
    threads = list(client.beta.sessions.threads.list(session.id, limit=100))
    children = [thread for thread in threads if thread.parent_thread_id is not None]
    assert [thread.status for thread in children] == ["idle"] * CHILDREN
    for child in children:
        events = list(client.beta.sessions.threads.events.list(child.id, session_id=session.id))
        starts, ends = of_type(events, "span.model_request_start"), of_type(events, "span.model_request_end")
        assert len(starts) == len(ends)
        assert sum(not end.is_error for end in ends) == ROUNDS, "a step was done twice, or not at all"
        assert len(of_type(events, "agent.thread_message_sent")) == 1
    events = history(client, session)
    assert len(of_type(events, "agent.thread_message_received")) == CHILDREN
    assert [said(event) for event in of_type(events, "agent.message")][-1].endswith("all are back")
    assert of_type(events, "session.error") == []


def test_b6_12_drill_7_a_database_that_restarts_under_25_threads_costs_nothing(place):
    client = place.client()
    session = start_team(client)
    with following(client, session) as follower:
        wait_until(lambda: len(of_type(history(client, session), "session.thread_created")) == CHILDREN)
        for _ in range(2):
            time.sleep(0.7)
            place.restart()
        assert end_of(client, session) == "end_turn"
    check_team(client, session)
    assert follower.connections > 1, "the stream was cut off, and opened again"
    assert follower.twice == []
    assert follower.seen.keys() == {event.id for event in history(client, session)}
    assert "No difference." in place.rebuild(session)


def database_away(place: Place, seconds: float) -> None:
    client, impatient = place.client(), place.client().with_options(max_retries=0)
    agent = make_agent(client, "simulated/slow", tools=[])
    before = make_session(client, "slow 2s", agent=agent)
    wait_until(lambda: of_type(history(client, before), "span.model_request_start"))
    acknowledged, refused = {before.id}, []
    place.server.stop()
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until or not refused:
            try:
                acknowledged.add(make_session(impatient, "slow 100ms", agent=agent).id)
            except anthropic.APIStatusError as answered:
                refused.append(answered)
    finally:
        place.server.start()
    for answered in refused:
        assert answered.status_code == 503
        assert answered.body["type"] == "error" and answered.body["error"]["type"] == "overloaded_error"
        assert answered.body["error"]["message"].endswith(".") and answered.request_id

    after = make_session(client, "slow 100ms", agent=agent)
    for session in (before, after):
        assert end_of(client, session) == "end_turn"
        assert len(of_type(history(client, session), "agent.message")) == 1
        assert "No difference." in place.rebuild(session)
    listed = [session for session in client.beta.sessions.list(limit=100) if session.agent.id == agent.id]
    assert acknowledged | {after.id} <= {session.id for session in listed}
    for session in listed:  # one that was not acknowledged is there whole, or not at all
        assert end_of(client, session) == "end_turn"
        assert len(of_type(history(client, session), "user.message")) == 1


def test_drill_8_while_the_database_is_away_the_api_says_so_and_then_all_goes_on(place):
    database_away(place, 4)


@pytest.mark.drill
def test_drill_8_a_database_that_is_away_for_a_minute(place):
    database_away(place, 60)


def test_a_database_that_comes_and_goes_is_no_fault_of_the_step(place):
    """Three outages in the same step: a worker that is cut off hands its lease back instead of losing it."""
    client = place.client()
    session = make_session(client, "slow 10s", agent=make_agent(client, "simulated/slow", tools=[]))
    wait_until(lambda: of_type(history(client, session), "span.model_request_start"))
    for _ in range(3):
        place.server.stop()
        time.sleep(3.5)  # longer than a lease
        place.server.start()
        time.sleep(0.7)
    assert end_of(client, session) == "end_turn"
    events = history(client, session)
    assert of_type(events, "session.error") == []
    assert len(of_type(events, "agent.message")) == 1


def test_drill_6_purged_queues_cost_nothing_but_a_poll(place):
    client = place.client()
    stop = threading.Event()

    def purge() -> None:
        with psycopg.connect(place.server.dsn, autocommit=True) as connection:
            queues = [name for (name,) in connection.execute("SELECT queue_name FROM pgmq.meta").fetchall()]
            while not stop.wait(0.005):
                for name in queues:
                    connection.execute(f'DELETE FROM pgmq."q_{name}"')  # noqa: S608

    purging = threading.Thread(target=purge)
    purging.start()
    try:
        session = start_team(client)
        assert end_of(client, session) == "end_turn"
    finally:
        stop.set()
        purging.join()
    check_team(client, session)
    assert "No difference." in place.rebuild(session)


def test_drill_17_a_new_worker_takes_over_from_one_that_was_told_to_stop(place):
    client = place.client()
    agent = make_agent(client, "simulated/slow", tools=[])
    session = make_session(client, "slow 2s", agent=agent)
    wait_until(lambda: of_type(history(client, session), "span.model_request_start"))
    old = wait_until(place.worker)
    client.beta.agents.update(agent.id, version=1, system="Version two.")
    os.kill(old, signal.SIGTERM)
    assert end_of(client, session) == "end_turn"
    ends = of_type(history(client, session), "span.model_request_end")
    assert [end.is_error for end in ends] == [False], "the step that was under way was finished"
    wait_until(lambda: place.worker() not in (None, old))
    send(client, session, text("slow 100ms"))
    wait_until(lambda: len(of_type(history(client, session), "agent.message")) == 2)
    assert client.beta.sessions.retrieve(session.id).agent.version == 1


@pytest.mark.drill
def test_b6_24_the_demo_shows_a_team_at_work_without_key_or_network(place):
    """Delegation and files; every model in it is simulated. (Grading is not part of this version.)"""
    client = place.client()
    place.manage("demo")
    found = []
    for session in client.beta.sessions.list(limit=100):
        if session.agent.multiagent and session.title:
            wait_idle(client, session, timeout_s=150)
            threads = list(client.beta.sessions.threads.list(session.id, limit=100))
            assert all(thread.agent.model.id.startswith("simulated/") for thread in threads)
            received = of_type(history(client, session), "agent.thread_message_received")
            files = list(client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"]))
            found.append((len(threads) - 1, len(received), len(files)))
    assert any(children > 1 and reports >= children and files for children, reports, files in found), found
