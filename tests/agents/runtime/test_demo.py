"""The demo as `make run` starts it: real logs in, the planted causes out, by one agent and by a team of twenty."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from agents.models import Agent, File, Session
from agents.services import demo
from agents.services.agents import archive_agent, get_agent
from agents.services.blobs import read_blob
from agents.simulator.build_logs import GeneratedLog, generate
from tests.invariants import *  # noqa: F403
from tests.runs import log_of, texts_of, wait_idle

STATUS = "session.thread_status_"


@pytest.fixture
def private_umask() -> Iterator[None]:
    """The supervisor keeps everything it creates to itself."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def report_of(session: Session) -> str:
    return read_blob(session.files.get(kind="output", filename="report.md").sha256).decode()


def check_report(report: str, logs: list[GeneratedLog]) -> None:
    """Each log has the cause that was planted, with its line as evidence, or none when it passed."""
    assert any(log.cause for log in logs) and any(log.cause is None for log in logs)
    for log in logs:
        assert f"| {log.name} | {'failed' if log.cause else 'passed'} | {log.cause or '-'} |" in report
        if log.cause is not None:
            assert f"- Evidence: `{log.name}:{log.line}`\n\n      {log.evidence.strip()}" in report


def failed_calls(session: Session) -> list[Any]:
    return [row.data for row in log_of(session) if row.type == "agent.tool_result" and row.data["is_error"]]


@pytest.mark.bwrap
def test_the_demo_finds_every_planted_cause(private_umask, workspace, local_worker):
    session = demo.start_triage(workspace)
    wait_idle(session, timeout_s=90)
    assert failed_calls(session) == []
    check_report(report_of(session), generate(demo.PIPELINES, demo.SEED))
    assert session.stop_reason == {"type": "end_turn"} and session.simulated


@pytest.mark.done_when(3)
@pytest.mark.bwrap
@pytest.mark.timeout(300)
def test_a_team_of_twenty_agents_in_twenty_five_threads_finds_every_cause_of_two_hundred_pipelines(
    private_umask, sessions_hold, workspace, local_worker
):
    session = demo.start_team_triage(workspace)
    wait_idle(session, timeout_s=240)
    assert failed_calls(session) == []
    check_report(report_of(session), generate(demo.TEAM_PIPELINES, demo.TEAM_SEED, lines=demo.TEAM_LINES))
    assert session.stop_reason == {"type": "end_turn"} and session.simulated
    assert len(session.agent_snapshot["multiagent"]["agents"]) == 20
    children = list(session.threads.exclude(parent=None))
    assert len({child.agent_name for child in children}) == 20
    assert len(children) == 25
    assert most_at_once(session) == 25


def most_at_once(session: Session) -> int:
    """How many children were at work at the same time, at most."""
    working: set[int] = set()
    most = 0
    for row in log_of(session):
        if not row.thread.is_primary and row.type == f"{STATUS}running":
            working.add(row.thread_id)
        elif row.type == f"{STATUS}idle":
            working.discard(row.thread_id)
        most = max(most, len(working))
    return most


@pytest.mark.bwrap
def test_the_demo_drafts_a_document_and_waits_for_people_where_it_should(sessions_hold, workspace, local_worker):
    waiting, drafting, blocked = (
        start(workspace) for start in (demo.start_waiting, demo.start_drafting, demo.start_blocked_team)
    )
    wait_idle(drafting, timeout_s=60)
    assert failed_calls(drafting) == []
    report = report_of(drafting)
    for section in demo.SECTIONS:
        assert f"\n## {section}\n\n- " in report
    assert "2,140 orders could not be paid" in report
    assert drafting.threads.count() == 1 + len(demo.SECTIONS)
    for session in (waiting, blocked):
        wait_idle(session)
        assert session.stop_reason["type"] == "requires_action"
    assert blocked.threads.count() == 2
    assert "simulated model" in texts_of(blocked, "agent.message")[0]


def test_the_demo_can_be_created_again_also_when_one_of_its_agents_was_archived(workspace):
    first = demo.create_demo(workspace)
    names = set(Agent.objects.values_list("name", flat=True))
    specialist = first[2].agent_snapshot["multiagent"]["agents"][3]
    archive_agent(get_agent(workspace, specialist["id"]))
    again = demo.create_demo(workspace)
    assert len(first) == len(again) == 5
    assert set(Agent.objects.values_list("name", flat=True)) == names
    assert Agent.objects.count() == len(names) + 1
    assert workspace.demo_ran_at is not None
    assert all(session.status == "running" and session.simulated for session in again)


def test_the_demos_logs_are_files_of_their_sessions_only(workspace):
    session = demo.start_team_triage(workspace)
    assert session.resources.count() == demo.TEAM_PIPELINES
    assert not File.objects.filter(kind=File.Kind.UPLOAD).exists()
    sizes = [resource.file.size_bytes for resource in session.resources.select_related("file")]
    assert sum(sizes) < 10 * 1024 * 1024
