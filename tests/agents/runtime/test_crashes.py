"""Killing workers at seeded moments: nothing is lost, nothing runs twice, and the run comes out the same."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.models import Event, Session, Step, Thread
from agents.services.rebuild import rebuild_state
from agents.services.sandboxes import root_of
from tests.agents.runtime.processes import Nursery, Worker, worker_environment
from tests.runs import log_of, message, send, start_session, texts_of, wait_idle
from tests.worker import wait_until

SPARES = 2
LOST_WITH_A_WORKER = ("span.", "session.", "daybreak.", "user.")


Crew = Callable[..., list[Worker]]


@pytest.fixture
def crew(committed_db: None, database_dsn: str, settings: Any) -> Iterator[Crew]:
    """`crew(n, **environment)`: n worker processes; those still alive are ended after the test."""
    nursery = Nursery(worker_environment(database_dsn, settings))
    started: list[Worker] = []

    def start(count: int, **environment: str) -> list[Worker]:
        new = [nursery.start(**environment) for _ in range(count)]
        started.extend(new)
        return new

    yield start
    for worker in started:
        worker.kill()
    nursery.close()
    from agents.sandbox import client

    client.stop_all(settings.DAYBREAK_DATA_DIR)


def committed_steps(session: Session) -> list[tuple[str, str]]:
    """What the run did, without ids, times and lost attempts: type and content, in order."""
    ids: dict[str, str] = {}
    steps = []
    for row in log_of(session):
        if row.type.startswith(LOST_WITH_A_WORKER):
            continue
        ids[row.public_id] = f"#{len(ids)}"
        payload = row.payload
        for public_id, name in ids.items():
            payload = payload.replace(public_id, name)
        steps.append((row.type, payload))
    return steps


def files_of(session: Session) -> dict[str, bytes]:
    root: Path = root_of(session.public_id)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("workspace", "outputs")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def holder(session: Session) -> int | None:
    """The process id of the worker that holds a lease on the session's thread."""
    owner = Thread.objects.get(session=session).lease_owner
    return int(owner.split(":")[-2]) if owner else None


def kill_while_running(
    session: Session,
    crew: Crew,
    *,
    kills: int,
    seed: int,
    latest_s: float,
    environment: dict[str, str],
) -> int:
    """Kill whoever drives the session at seeded moments, each after some progress. Returns how many died."""
    moments = random.Random(seed)
    workers = {worker.pid: worker for worker in crew(SPARES, **environment)}
    done = 0
    while done < kills:
        seen = _committed(session)
        wait_until(lambda seen=seen: _stopped(session) or _committed(session) > seen)
        time.sleep(moments.uniform(0, latest_s))
        if _stopped(session):
            break
        pid = holder(session)
        if pid not in workers:
            continue
        workers.pop(pid).kill()
        done += 1
        replacement = crew(1, **environment)[0]
        workers[replacement.pid] = replacement
    wait_idle(session, timeout_s=60)
    for worker in workers.values():
        worker.kill()
    return done


def _committed(session: Session) -> int:
    """Progress that a kill cannot take back. (The same step killed three times is stopped: a rule of its own.)"""
    return Event.objects.filter(session=session, type__startswith="agent.").count()


def _stopped(session: Session) -> bool:
    return Session.objects.get(pk=session.pk).status in ("idle", "terminated")


def triage_session(workspace: Any) -> Session:
    from agents.services.demo import create_demo

    return create_demo(workspace)[0]


def demo_killed(workspace: Any, crew: Crew, *, total: int, seed: int) -> None:
    undisturbed = triage_session(workspace)
    environment = {"DAYBREAK_SIMULATED_LATENCY": "0.1"}
    first = crew(1, **environment)
    wait_idle(undisturbed, timeout_s=90)
    first[0].kill()
    wanted, files = committed_steps(undisturbed), files_of(undisturbed)
    assert any(type_ == "agent.tool_result" for type_, _ in wanted)
    assert "outputs/report.md" in files

    killed = 0
    while killed < total:
        workspace.demo_ran_at = None
        session = triage_session(workspace)
        killed += kill_while_running(
            session, crew, kills=total - killed, seed=seed + killed, latest_s=0.25, environment=environment
        )
        assert committed_steps(session) == wanted
        assert files_of(session) == files
        assert rebuild_state(session) == []
        starts = Event.objects.filter(session=session, type="span.model_request_start").count()
        ends = Event.objects.filter(session=session, type="span.model_request_end").count()
        assert starts == ends


@pytest.mark.done_when(3)
@pytest.mark.bwrap
@pytest.mark.timeout(300)
def test_the_demo_survives_twenty_kills_of_its_worker(workspace, crew):
    demo_killed(workspace, crew, total=20, seed=1)


@pytest.mark.drill
@pytest.mark.bwrap
@pytest.mark.timeout(1500)
def test_the_demo_survives_a_hundred_kills_of_its_worker(workspace, crew):
    demo_killed(workspace, crew, total=100, seed=1000)


@pytest.mark.bwrap
@pytest.mark.timeout(240)
def test_a_command_runs_once_although_its_workers_are_killed(workspace, crew):
    lines = [f"bash: echo ran >> /workspace/count-{number}; sleep 0.3; echo done-{number}" for number in range(8)]
    session = start_session(workspace, "\n".join(lines))
    environment = {"DAYBREAK_SIMULATED_LATENCY": "0"}
    kill_while_running(session, crew, kills=6, seed=7, latest_s=0.3, environment=environment)
    files = files_of(session)
    for number in range(8):
        assert files[f"workspace/count-{number}"] == b"ran\n"
    assert [text.strip() for text in texts_of(session, "agent.tool_result")] == [
        f"done-{number}" for number in range(8)
    ]


@pytest.mark.bwrap
def test_a_killed_sandbox_leaves_an_unknown_outcome_and_no_second_run(workspace, crew, settings):
    """Drill 3: the executor dies in the middle of a command."""
    from agents.sandbox import client

    crew(1, DAYBREAK_SIMULATED_LATENCY="0")
    session = start_session(workspace, "bash: echo ran >> /workspace/count; sleep 30\nsay: went on")
    wait_until(lambda: files_of(session).get("workspace/count"))
    client.stop_all(settings.DAYBREAK_DATA_DIR)
    wait_idle(session)
    assert "unknown" in texts_of(session, "agent.tool_result")[0]
    assert files_of(session)["workspace/count"] == b"ran\n"
    assert session.stop_reason == {"type": "end_turn"}


def test_a_frozen_worker_is_fenced_and_writes_nothing(workspace, crew):
    """Drill 4: stopped for longer than its lease, then woken: its answer is discarded."""
    from tests.runs import make_agent

    slow = make_agent(workspace, model="simulated/slow", tools=[])
    frozen = crew(1)[0]
    session = start_session(workspace, "slow 2s", agent=slow)
    wait_until(lambda: holder(session) == frozen.pid)
    wait_until(lambda: Event.objects.filter(session=session, type="span.model_request_start").exists())
    frozen.signal(signal.SIGSTOP)
    crew(1)
    wait_idle(session)
    events_before = session.last_seq
    epoch = Thread.objects.get(session=session).lease_epoch
    frozen.signal(signal.SIGCONT)
    time.sleep(1.0)
    session.refresh_from_db()
    assert session.last_seq == events_before
    assert epoch >= 2
    assert len(texts_of(session, "agent.message")) == 1
    assert not Step.objects.filter(session=session, epoch=1, state="committed").exists()


def test_a_worker_killed_while_a_model_answers_is_replaced(workspace, crew):
    """Drill 1: the span is closed as an error, and there is exactly one final message."""
    from tests.runs import make_agent

    slow = make_agent(workspace, model="simulated/slow", tools=[])
    first, _second = crew(2)
    session = start_session(workspace, "slow 1s", agent=slow)
    wait_until(lambda: holder(session) is not None)
    wait_until(lambda: Event.objects.filter(session=session, type="span.model_request_start").exists())
    victim = holder(session)
    (first if victim == first.pid else _second).kill()
    wait_idle(session)
    ends = [row.data["is_error"] for row in log_of(session) if row.type == "span.model_request_end"]
    assert ends == [True, False]
    assert len(texts_of(session, "agent.message")) == 1
    assert session.status == "idle"


def test_a_waiting_person_is_served_after_a_restart_of_everything(workspace, crew):
    from tests.runs import TOOLSET, make_agent

    asking = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    worker = crew(1, DAYBREAK_SIMULATED_LATENCY="0")[0]
    session = start_session(workspace, "bash: echo hi", agent=make_agent(workspace, tools=[asking]))
    wait_idle(session)
    worker.kill()
    call = next(row for row in log_of(session) if row.type == "agent.tool_use")
    send(session, {"type": "user.tool_confirmation", "tool_use_id": call.public_id, "result": "allow"})
    crew(1, DAYBREAK_SIMULATED_LATENCY="0")
    wait_idle(session)
    assert [text.strip() for text in texts_of(session, "agent.tool_result")] == ["hi"]
    send(session, message("say: and on"))
    wait_idle(session)
