"""A lead and several agents at work in parallel, with workers killed under them: the run comes out the same."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.services import hints
from tests.agents.runtime.killing import PLACES_OF_TEAMS, Crew, kill_workers
from tests.agents.runtime.processes import *  # noqa: F403
from tests.agents.runtime.same_run import assert_same_run, files_of, outcome_of
from tests.invariants import check_session
from tests.runs import TOOLSET, make_agent, send, start_session, texts_of, wait_idle

QUICK = {"DAYBREAK_SIMULATED_LATENCY": "0.1"}
AT_ONCE = {"DAYBREAK_SIMULATED_LATENCY": "0"}
MODEL = "simulated/crash-in-the-middle"
REQUEST = "Have 5 agents count to 10, one number every 0.2 s."


@pytest.fixture
def lead(workspace: Any) -> Any:
    members = [make_agent(workspace, name=name, model=MODEL) for name in ("Anna", "Ben", "Cleo")]
    team = {"type": "coordinator", "agents": [member.public_id for member in members]}
    return make_agent(workspace, name="Lead", model=MODEL, multiagent=team)


_wanted: list[Any] = []  # what the run comes to, found once for all tests: it is the same each time


def undisturbed(workspace: Any, lead: Any, crew: Crew) -> Any:
    if _wanted:
        return _wanted[0]
    session = start_session(workspace, REQUEST, agent=lead)
    worker = crew(1, **QUICK)[0]
    wait_idle(session, timeout_s=90)
    worker.kill()
    assert session.stop_reason == {"type": "end_turn"}
    wanted = outcome_of(session)
    assert sorted(wanted[0]) == [0, 1, 2, 3, 4, 5]
    assert wanted[1]["workspace/counts/1.txt"].split() == [str(number).encode() for number in range(1, 13)]
    assert "outputs/report.md" in wanted[1]
    check_session(session)
    _wanted.append(wanted)
    return wanted


def team_killed(
    workspace: Any,
    lead: Any,
    crew: Crew,
    folder: Path,
    *,
    total: int,
    seed: int,
    at_once: int,
    places: Sequence[str] = PLACES_OF_TEAMS,
) -> None:
    wanted = undisturbed(workspace, lead, crew)
    killed = 0
    while killed < total:
        sessions = [start_session(workspace, REQUEST, agent=lead) for _ in range(at_once)]
        left = total - killed
        killed += kill_workers(sessions, crew, folder, kills=left, seed=seed + killed, places=places, **QUICK)
        for session in sessions:
            assert_same_run(session, wanted)


@pytest.mark.bwrap
@pytest.mark.timeout(200)
def test_b6_8_b6_18_a_team_survives_twenty_kills_of_its_workers(workspace, lead, crew, tmp_path):
    team_killed(workspace, lead, crew, tmp_path, total=20, seed=3, at_once=1)


@pytest.mark.drill
@pytest.mark.bwrap
@pytest.mark.timeout(1800)
def test_b6_8_b6_18_a_team_survives_a_hundred_kills_of_its_workers(workspace, lead, crew, tmp_path):
    team_killed(workspace, lead, crew, tmp_path, total=100, seed=3000, at_once=2)


@pytest.mark.drill
@pytest.mark.bwrap
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("place", PLACES_OF_TEAMS)
def test_b6_8_a_team_survives_kills_at_the_same_place_again_and_again(workspace, lead, crew, tmp_path, place):
    team_killed(workspace, lead, crew, tmp_path, total=3, seed=5000, at_once=1, places=(place,))


@pytest.mark.bwrap
def test_b6_16_a_childs_question_survives_a_restart_of_everything(workspace, crew):
    """Nothing is held while it waits: no worker, no lease."""
    asking = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    child = make_agent(workspace, name="Worker", tools=[asking])
    team = {"type": "coordinator", "agents": [child.public_id]}
    lead = make_agent(workspace, name="Lead", tools=[], multiagent=team)
    spawn = 'custom: spawn_agent {"agent": "Worker", "task": "bash: echo hi; echo ran >> /workspace/count"}'
    script = f"parallel:\n  {spawn}\n  custom: wait_for_agents {{}}\nsay: all done"
    worker = crew(1, **AT_ONCE)[0]
    session = wait_idle(start_session(workspace, script, agent=lead))
    (asked,) = session.stop_reason["event_ids"]
    worker.signal(signal.SIGTERM)
    worker.wait_end()
    for thread in session.threads.all():
        assert (thread.lease_owner, thread.lease_until, thread.runnable_at) == ("", None, None)
    before = session.last_seq
    worker = crew(1, **AT_ONCE)[0]
    time.sleep(1.0)
    session.refresh_from_db()
    assert session.last_seq == before, "a restart changes nothing"
    worker.kill()
    send(session, {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"})
    crew(1, **AT_ONCE)
    wait_idle(session)
    assert session.stop_reason == {"type": "end_turn"}
    assert [text.strip() for text in texts_of(session, "agent.tool_result")] == ["hi"]
    assert files_of(session)["workspace/count"] == b"ran\n"
    assert texts_of(session, "agent.message")[-1].endswith("all done")
    check_session(session)


@pytest.mark.bwrap
@pytest.mark.timeout(200)
@pytest.mark.parametrize("how", ["hints off", "each hint ten times"])
def test_b6_11_a_team_is_the_same_run_without_hints_and_with_ten_of_each(
    workspace, lead, make_local_worker, monkeypatch, how
):
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "0")
    with_hints = make_local_worker()
    wanted = outcome_of(wait_idle(start_session(workspace, REQUEST, agent=lead), timeout_s=60))
    with_hints.stop()
    other = make_local_worker(hints=how != "hints off")
    if how != "hints off":
        hints.set_sender(lambda pk: [other.hint(pk) for _ in range(10)] and None)
    session = wait_idle(start_session(workspace, REQUEST, agent=lead), timeout_s=60)
    assert_same_run(session, wanted)
