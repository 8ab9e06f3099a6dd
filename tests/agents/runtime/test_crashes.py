"""Killing workers at seeded moments: nothing is lost, nothing runs twice, and the run comes out the same."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from agents.models import Event, Session, Step, Thread
from tests.agents.runtime.killing import Crew, holder, kill_workers
from tests.agents.runtime.processes import *  # noqa: F403
from tests.agents.runtime.same_run import assert_same_run, files_of, outcome_of
from tests.agents.runtime.triage import start_triage
from tests.invariants import check_session
from tests.runs import TOOLSET, log_of, make_agent, message, send, start_session, texts_of, wait_idle
from tests.worker import wait_until

QUICK = {"DAYBREAK_SIMULATED_LATENCY": "0.1"}
AT_ONCE = {"DAYBREAK_SIMULATED_LATENCY": "0"}


def undisturbed(session: Session, crew: Crew, **environment: str) -> Any:
    """What the session comes to when nobody is killed."""
    worker = crew(1, **environment)[0]
    wait_idle(session, timeout_s=90)
    worker.kill()
    return outcome_of(session)


def demo_killed(workspace: Any, crew: Crew, folder: Path, *, total: int, seed: int, at_once: int) -> None:
    wanted = undisturbed(start_triage(workspace, pipelines=12), crew, **QUICK)
    assert any(type_ == "agent.tool_result" for type_, _ in wanted[0][0])
    assert "outputs/report.md" in wanted[1]

    killed = 0
    while killed < total:
        sessions = [start_triage(workspace, pipelines=12) for _ in range(at_once)]
        killed += kill_workers(sessions, crew, folder, kills=total - killed, seed=seed + killed, **QUICK)
        for session in sessions:
            assert_same_run(session, wanted)


@pytest.mark.done_when(3)
@pytest.mark.bwrap
@pytest.mark.timeout(200)
def test_b6_8_the_demo_survives_kills_of_its_worker(workspace, crew, tmp_path):
    """Twenty kills: see `test_crashes_of_teams`."""
    demo_killed(workspace, crew, tmp_path, total=6, seed=1, at_once=1)


@pytest.mark.drill
@pytest.mark.bwrap
@pytest.mark.timeout(1500)
def test_b6_8_the_demo_survives_a_hundred_kills_of_its_worker(workspace, crew, tmp_path):
    demo_killed(workspace, crew, tmp_path, total=100, seed=1000, at_once=3)


def commands_killed(workspace: Any, crew: Crew, folder: Path, *, total: int, seed: int, at_once: int) -> None:
    numbers = range(16)
    lines = [f"bash: echo ran >> /workspace/count-{number}; sleep 0.2; echo done-{number}" for number in numbers]
    killed = 0
    while killed < total:
        sessions = [start_session(workspace, "\n".join(lines)) for _ in range(at_once)]
        killed += kill_workers(sessions, crew, folder, kills=total - killed, seed=seed + killed, **AT_ONCE)
        for session in sessions:
            files = files_of(session)
            for number in numbers:
                assert files[f"workspace/count-{number}"] == b"ran\n"
            said = [text.strip() for text in texts_of(session, "agent.tool_result")]
            assert said == [f"done-{number}" for number in numbers]
            check_session(session)


@pytest.mark.bwrap
@pytest.mark.timeout(200)
def test_b6_18_drill_2_a_command_runs_once_although_its_workers_are_killed(workspace, crew, tmp_path):
    commands_killed(workspace, crew, tmp_path, total=4, seed=7, at_once=2)


@pytest.mark.drill
@pytest.mark.bwrap
@pytest.mark.timeout(1500)
def test_b6_18_a_command_runs_once_over_a_hundred_kills(workspace, crew, tmp_path):
    commands_killed(workspace, crew, tmp_path, total=100, seed=7000, at_once=4)


def test_drill_1_a_worker_killed_while_a_model_answers_is_replaced(workspace, crew):
    """The span is closed as an error, and there is exactly one final message."""
    slow = make_agent(workspace, model="simulated/slow", tools=[])
    first, second = crew(2)
    session = start_session(workspace, "slow 3s", agent=slow)
    wait_until(lambda: holder(session) is not None)
    wait_until(lambda: Event.objects.filter(session=session, type="span.model_request_start").exists())
    (first if holder(session) == first.pid else second).kill()
    wait_idle(session)
    ends = [row.data["is_error"] for row in log_of(session) if row.type == "span.model_request_end"]
    assert ends == [True, False]
    assert len(texts_of(session, "agent.message")) == 1
    assert session.status == "idle"


@pytest.mark.drill
@pytest.mark.timeout(400)
def test_b6_9_drill_1_at_the_real_lease_the_next_event_comes_within_twenty_seconds(workspace, crew):
    """Ten kills: `make bench ROW=takeover`."""
    real = {"DAYBREAK_LEASE_TTL_S": "15", "DAYBREAK_SWEEP_INTERVAL_S": "5"}
    slow = make_agent(workspace, model="simulated/slow", tools=[])
    workers = crew(2, **real)
    took = []
    for _ in range(4):
        session = start_session(workspace, "slow 2s", agent=slow)
        mine = Event.objects.filter(session=session)
        wait_until(mine.filter(type="span.model_request_start").exists)
        victim = next(worker for worker in workers if worker.pid == holder(session))
        victim.kill()
        killed_at = time.monotonic()
        session.refresh_from_db()
        wait_until(mine.filter(seq__gt=session.last_seq).exists)
        took.append(time.monotonic() - killed_at)
        workers = [worker for worker in workers if worker is not victim] + crew(1, **real)
        wait_idle(session)
    assert max(took) <= 20.0


@pytest.mark.bwrap
def test_drill_3_a_killed_sandbox_leaves_an_unknown_outcome_and_no_second_run(workspace, crew, settings):
    from agents.sandbox import client

    crew(1, **AT_ONCE)
    session = start_session(workspace, "bash: echo ran >> /workspace/count; sleep 30\nsay: went on")
    wait_until(lambda: files_of(session).get("workspace/count"))
    client.stop_all(settings.DAYBREAK_DATA_DIR)
    wait_idle(session)
    assert "unknown" in texts_of(session, "agent.tool_result")[0]
    assert files_of(session)["workspace/count"] == b"ran\n"
    assert session.stop_reason == {"type": "end_turn"}


def test_b6_10_drill_4_a_frozen_worker_is_fenced_and_writes_nothing(workspace, crew, settings):
    """Stopped for longer than its lease, then woken: its answer is discarded."""
    slow = make_agent(workspace, model="simulated/slow", tools=[])
    frozen = crew(1)[0]
    session = start_session(workspace, "slow 2s", agent=slow)
    wait_until(lambda: holder(session) == frozen.pid)
    wait_until(lambda: Event.objects.filter(session=session, type="span.model_request_start").exists())
    frozen.signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    crew(1)
    wait_idle(session)
    time.sleep(max(0.0, frozen_at + 6.0 - time.monotonic()))  # three times the lease of these workers
    events_before = session.last_seq
    epoch = Thread.objects.get(session=session).lease_epoch
    frozen.signal(signal.SIGCONT)
    time.sleep(1.0)
    session.refresh_from_db()
    assert session.last_seq == events_before
    assert epoch >= 2
    assert len(texts_of(session, "agent.message")) == 1
    assert not Step.objects.filter(session=session, epoch=1, state="committed").exists()
    assert not Event.objects.filter(session=session, step__epoch=1).exists()


@pytest.mark.bwrap
def test_a_waiting_person_is_served_after_a_restart_of_everything(workspace, crew):
    asking = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    worker = crew(1, **AT_ONCE)[0]
    session = start_session(workspace, "bash: echo hi", agent=make_agent(workspace, tools=[asking]))
    wait_idle(session)
    worker.kill()
    call = next(row for row in log_of(session) if row.type == "agent.tool_use")
    send(session, {"type": "user.tool_confirmation", "tool_use_id": call.public_id, "result": "allow"})
    crew(1, **AT_ONCE)
    wait_idle(session)
    assert [text.strip() for text in texts_of(session, "agent.tool_result")] == ["hi"]
    send(session, message("say: and on"))
    wait_idle(session)
