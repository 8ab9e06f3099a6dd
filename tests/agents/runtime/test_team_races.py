"""Reports that come at any moment of a lead's turn: none is lost, and none starts two turns."""

from __future__ import annotations

import threading

import pytest

from agents.models import Thread, ToolCall
from agents.runtime import answers, engine, interrupts, tool_step
from tests.agents.runtime.teams import *  # noqa: F403
from tests.agents.runtime.teams import (
    CHILD,
    LEAD,
    SECOND,
    advance,
    assert_reported_once,
    background,
    during,
    in_threads,
    of_lead,
    reports_in,
    results_of,
    says,
    settle,
    spawn,
    start_team,
    thread,
    turns_of,
    wait,
)
from tests.invariants import *  # noqa: F403
from tests.runs import TOOLSET, message, send, texts_of, types_of

pytestmark = pytest.mark.usefixtures("sessions_hold")

INTERRUPT = {"type": "user.interrupt"}
ASKING = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}


def test_a_report_while_the_lead_asks_its_model(models, workspace, monkeypatch):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), says("All started."))
    models.tell(CHILD, says("found it"))
    during(
        monkeypatch,
        answers,
        "commit",
        lambda: advance(session, CHILD),
        where=lambda run, *rest: run.thread.is_primary and len(models.requests[LEAD]) == 2,
    )
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == 1, "the turn that was under way goes on with it"
    assert types_of(session).count("session.status_idle") == 1


def test_a_report_just_after_the_lead_has_ended_its_turn(models, workspace):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), says("All started."))
    models.tell(CHILD, says("found it"))
    advance(session, LEAD)
    assert thread(session, LEAD).status == "idle"
    session.refresh_from_db()
    assert session.status == "running"
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == 2 and len(models.requests[LEAD]) == 3


def test_a_report_while_the_lead_runs_its_tools(models, workspace, monkeypatch):
    session = start_team(workspace, tools=[TOOLSET])
    models.tell(LEAD, says("", spawn(), ("write", {"file_path": "a.txt", "content": "a"})), says("Written."))
    models.tell(CHILD, says("found it"))
    during(monkeypatch, tool_step, "_execute", lambda: advance(session, CHILD))
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == 1 and len(models.requests[LEAD]) == 2


def test_a_report_just_before_the_lead_begins_to_wait(models, workspace, monkeypatch):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), says("", wait()), says("Merged."))
    models.tell(CHILD, says("found it"))
    real = tool_step.take

    def late(run):
        if run.thread.is_primary and len(models.requests[LEAD]) == 2:
            background(lambda: advance(session, CHILD)).join(20)
        real(run)

    monkeypatch.setitem(engine.WORK, Thread.Phase.TOOL_BATCH, late)
    settle(session)
    assert_reported_once(session, models, "found it")
    assert "No agent is working" in results_of(session)[1][0]
    assert turns_of(session) == 1 and len(models.requests[LEAD]) == 3


def test_a_report_while_the_lead_waits(models, workspace):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait()), says("Merged."))
    models.tell(CHILD, says("found it"))
    advance(session, LEAD, 3)
    lead = thread(session, LEAD)
    assert lead.phase == "waiting_agents" and lead.lease_owner == "" and lead.runnable_at is None
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == 1 and len(models.requests[LEAD]) == 2
    assert texts_of(session, "agent.message") == ["found it", "Merged."]


def test_a_report_just_before_the_lead_is_interrupted(models, workspace, monkeypatch):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), says("All started."))
    models.tell(CHILD, says("found it"))

    def report_and_interrupt():
        advance(session, CHILD)
        send(session, INTERRUPT)

    def second(run, *rest):
        return run.thread.is_primary and len(models.requests[LEAD]) == 2

    during(monkeypatch, answers, "commit", report_and_interrupt, where=second)
    settle(session)
    assert session.status == "idle" and turns_of(session) == 1, "an interrupted lead stays idle"
    send(session, message("Go on."))
    settle(session)
    assert_reported_once(session, models, "found it")


def test_a_report_while_the_lead_is_being_interrupted(models, workspace, monkeypatch):
    """It came after the interrupt: it starts the next turn, as a message of a person would."""
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), says("All started."), says("Noted."))
    models.tell(CHILD, says("found it"))

    def second(run, *rest):
        return run.thread.is_primary and len(models.requests[LEAD]) == 2

    primary = thread(session, LEAD)
    only_lead = {**INTERRUPT, "session_thread_id": primary.public_id}
    during(monkeypatch, answers, "commit", lambda: send(session, only_lead), where=second)
    during(monkeypatch, interrupts, "finish", lambda: advance(session, CHILD), where=of_lead)
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == 2


def test_a_report_while_the_lead_waits_for_a_person(models, workspace):
    session = start_team(workspace, tools=[ASKING])
    models.tell(LEAD, says("", spawn(), ("bash", {"command": "echo hi"})), says("Merged."))
    models.tell(CHILD, says("found it"))
    settle(session)
    assert session.stop_reason["type"] == "requires_action"
    assert len(models.requests[LEAD]) == 1, "nobody is asked before the person has answered"
    call = ToolCall.objects.get(session=session, name="bash")
    send(session, {"type": "user.tool_confirmation", "tool_use_id": call.use_event.public_id, "result": "deny"})
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == 1 and len(models.requests[LEAD]) == 2


def test_a_report_while_the_lead_backs_off(models, workspace, settings):
    from agents.errors import ProviderOverloaded

    settings.DAYBREAK_RETRY_BASE_S = 3000.0

    def overloaded(request):
        raise ProviderOverloaded("Overloaded")

    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), overloaded, says("Merged."))
    models.tell(CHILD, says("found it"))
    advance(session, LEAD, 2)
    assert thread(session, LEAD).phase == "backoff"
    advance(session, CHILD)
    session.refresh_from_db()
    assert session.status == "rescheduling", "nobody works until the lead tries again"
    Thread.objects.filter(session=session, ordinal=LEAD).update(runnable_at="2020-01-01T00:00:00Z")
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == 1


def test_a_report_that_comes_with_the_leads_last_answer_by_real_threads(models, workspace):
    """The two commits race for real: in either order there is one more request, in this turn or the next."""
    for number in range(4):
        models.requests.clear()
        session = start_team(workspace)
        models.tell(LEAD, says("", spawn()), says("All started."))
        models.tell(CHILD, says(f"found {number}"))
        gates = [models.hold(LEAD), models.hold(CHILD)]
        gates[0].set()
        models.gates.pop(LEAD)
        lead_gate = threading.Event()
        models.answers[LEAD][1] = lambda request, gate=lead_gate: (gate.wait(20), says("All started."))[1]
        lead = background(lambda session=session: advance(session, LEAD))
        models.asked(LEAD, 2)
        child = background(lambda session=session: advance(session, CHILD))
        models.asked(CHILD)
        in_threads(lead_gate.set, gates[1].set)
        lead.join(20)
        child.join(20)
        models.gates.clear()
        settle(session)
        assert_reported_once(session, models, f"found {number}")
        assert len(models.requests[LEAD]) == 3 and turns_of(session) in (1, 2)


# Two reports


@pytest.mark.parametrize("waits", [True, False], ids=["the lead waits", "the lead is idle"])
def test_two_children_that_finish_at_the_same_moment(models, workspace, waits):
    for _ in range(3):
        models.requests.clear()
        session = start_team(workspace)
        calls = (spawn(), spawn(), *([wait()] if waits else []))
        models.tell(LEAD, says("", *calls), says("Started."))
        models.tell(CHILD, says("one"))
        models.tell(SECOND, says("two"))
        gates = [models.hold(CHILD), models.hold(SECOND)]
        advance(session, LEAD, 2)
        pair = [background(lambda n=n, s=session: advance(s, n)) for n in (CHILD, SECOND)]
        models.asked(CHILD)
        models.asked(SECOND)
        in_threads(gates[0].set, gates[1].set)
        for worker in pair:
            worker.join(20)
        settle(session)
        assert_reported_once(session, models, "one", "two")
        assert reports_in(models) == ["one", "two"], "in the order of the threads, whoever was faster"
        assert turns_of(session) == (1 if waits else 2)
        assert len(models.requests[LEAD]) == (2 if waits else 3)
