"""Teams at their edges: what each agent is shown, told, counted and stopped for when things happen at once."""

from __future__ import annotations

import json
from typing import Any

from agents.models import Session, Thread, ToolCall
from agents.runtime import answers, limits
from agents.services.sessions import archive_session, update_session
from tests.agents.runtime.teams import *  # noqa: F403
from tests.agents.runtime.teams import (
    CHILD,
    LEAD,
    SECOND,
    advance,
    during,
    reports_in,
    results_of,
    says,
    settle,
    spawn,
    start_team,
    thread,
    thread_id_of,
    wait,
)
from tests.invariants import *  # noqa: F403
from tests.runs import TOOLSET, send

INTERRUPT = {"type": "user.interrupt"}
ASKING = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
LONG_PATH = "/workspace/" + "/".join("\u5b57" * 80 for _ in range(12))


def bash(command: str) -> tuple[str, dict[str, Any]]:
    return "bash", {"command": command}


def deny(session: Session, event_id: str) -> None:
    send(session, {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": "deny"})


def test_a_childs_question_is_shown_to_the_client_and_not_to_the_lead(models, workspace, sessions_hold):
    session = start_team(workspace, child_tools=[ASKING])
    models.tell(LEAD, says("", spawn(), wait()), says("Merged."))
    models.tell(CHILD, says("", bash("echo SECRET")), says("done"))
    settle(session)
    session.refresh_from_db()
    deny(session, session.stop_reason["event_ids"][0])
    settle(session)
    assert "SECRET" in json.dumps(models.requests[CHILD][-1].messages)
    assert "SECRET" not in json.dumps(models.requests[LEAD][-1].messages)


def test_a_child_that_is_written_to_while_it_answers_reports_that_answer_too(models, workspace, monkeypatch):
    session = start_team(workspace)
    follow_up = lambda request: says(  # noqa: E731
        "", ("send_to_agent", {"thread_id": thread_id_of(request), "message": "also X"}), wait()
    )
    models.tell(LEAD, says("", spawn()), follow_up, says("Merged."))
    models.tell(CHILD, says("FOUND-Y"), says("X is fine"))
    during(
        monkeypatch,
        answers,
        "commit",
        lambda: advance(session, LEAD, 3),
        where=lambda run, *rest: not run.thread.is_primary,
    )
    monkeypatch.setattr(limits, "STEPS_PER_ADVANCE", 2)
    advance(session, LEAD)
    advance(session, CHILD)
    settle(session)
    reports = reports_in(models)
    assert any("FOUND-Y" in report for report in reports)
    assert any("X is fine" in report for report in reports)


def test_an_interrupt_reaches_an_agent_that_the_budget_has_paused(models, workspace):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), spawn(), wait()), says("Merged."))
    advance(session, LEAD)
    Session.objects.filter(pk=session.pk).update(budget_cents=1, list_cost_nanousd=10_000_000)
    advance(session, CHILD)
    assert thread(session, CHILD).phase == Thread.Phase.PAUSED
    send(session, INTERRUPT)
    settle(session)
    more = {"type": "limit", "max_list_cost": {"amount": "100", "currency": "USD"}}
    update_session(session, changes={"budget": more})
    settle(session)
    assert not models.requests[CHILD] and not models.requests[SECOND]
    assert {row.status for row in session.threads.all()} == {"idle"}


def test_an_answer_to_a_lead_that_waits_for_its_agents_is_no_longer_asked_for(models, workspace, sessions_hold):
    session = start_team(workspace, tools=[ASKING], child_tools=[ASKING])
    models.tell(LEAD, says("", bash("echo lead"), spawn(), wait()), says("Merged."))
    models.tell(CHILD, says("", bash("echo child")), says("done"))
    settle(session)
    session.refresh_from_db()
    asked = session.stop_reason["event_ids"]
    own = ToolCall.objects.get(session=session, thread__ordinal=0, name="bash").use_event.public_id
    assert own in asked and len(asked) == 2
    deny(session, own)
    settle(session)
    session.refresh_from_db()
    assert session.stop_reason["event_ids"] == [public_id for public_id in asked if public_id != own]


def test_a_session_that_is_archived_before_an_interrupt_was_carried_out_leaves_nothing_open(
    models, workspace, sessions_hold
):
    session = start_team(workspace, child_tools=[ASKING])
    models.tell(LEAD, says("", spawn(), wait()), says("Merged."))
    models.tell(CHILD, says("", bash("echo one")), says("done"))
    settle(session)
    send(session, INTERRUPT)
    archive_session(session)


def test_the_place_of_a_stopped_agent_is_free_when_it_has_ended(models, workspace, sessions_hold):
    session = start_team(workspace)
    models.tell(
        LEAD,
        says("", *[spawn() for _ in range(25)]),
        lambda request: says("", ("stop_agent", {"thread_id": thread_id_of(request)}), spawn()),
        says("", spawn()),
    )
    advance(session, LEAD, 4)
    alive = Thread.objects.filter(session=session, parent__isnull=False).exclude(status="terminated")
    assert alive.count() == 25
    assert "stop_agent" in results_of(session)[26][0]
    settle(session, 60)


def test_an_interrupt_of_several_waiting_agents_is_one_stop(models, workspace, sessions_hold):
    session = start_team(workspace, child_tools=[ASKING])
    models.tell(LEAD, says("", spawn(), spawn(), spawn(), wait(timeout_s=1000)), says("Merged."))
    for ordinal in (1, 2, 3):
        models.tell(ordinal, says("", bash("x")))
    settle(session)
    stops = session.events.filter(type="session.status_idle")
    before = stops.count()
    send(session, INTERRUPT)
    settle(session)
    assert stops.count() == before + 1
    assert stops.order_by("seq").last().data["stop_reason"] == {"type": "end_turn"}


def test_a_long_path_in_another_script_is_only_a_path(models, workspace, sessions_hold):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait()), says("Merged."))
    models.tell(CHILD, says("", ("write", {"file_path": LONG_PATH, "content": "x"})), says("done"))
    settle(session)
    assert not session.events.filter(type="session.error").exists()
    assert thread(session, CHILD).status == "idle"
