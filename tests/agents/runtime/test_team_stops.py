"""Stopping, archiving, interrupting and answering at the moment at which an agent finishes or is written to."""

from __future__ import annotations

import threading

import pytest

from agents.errors import Invalid
from agents.models import Event, Thread, ToolCall
from agents.runtime import answers
from agents.services import threads as thread_service
from agents.services.events import send_events
from tests.agents.runtime.teams import *  # noqa: F403
from tests.agents.runtime.teams import (
    CHILD,
    LEAD,
    SECOND,
    advance,
    advance_until_asked,
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
    thread_id_of,
    turns_of,
    wait,
)
from tests.invariants import *  # noqa: F403
from tests.runs import TOOLSET, message, send, texts_of, types_of

pytestmark = pytest.mark.usefixtures("sessions_hold")

INTERRUPT = {"type": "user.interrupt"}
ASKING = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}


@pytest.mark.parametrize("first", ["interrupt", "report"])
def test_an_interrupt_of_everybody_and_a_report(models, workspace, monkeypatch, first):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait()), says("Merged."))
    models.tell(CHILD, says("found it"))
    advance(session, LEAD, 2)
    if first == "interrupt":
        during(monkeypatch, answers, "commit", lambda: send(session, INTERRUPT), where=lambda run, *rest: True)
        advance(session, CHILD)
    else:
        advance(session, CHILD)
        send(session, INTERRUPT)
    settle(session)
    assert session.status == "idle" and turns_of(session) == 1
    assert texts_of(session, "agent.thread_message_received")[1:] == ([] if first == "interrupt" else ["found it"])
    assert len(models.requests[LEAD]) == 1, "an interrupted lead is not asked again"
    (waited,) = results_of(session)[1:]
    assert waited[1] and "interrupted" in waited[0]
    send(session, message("Go on."))
    settle(session)
    assert_reported_once(session, models, *([] if first == "interrupt" else ["found it"]))


def test_an_interrupt_and_a_report_by_real_threads(models, workspace):
    for _ in range(4):
        models.requests.clear()
        session = start_team(workspace)
        models.tell(LEAD, says("", spawn(), wait()))
        models.tell(CHILD, says("found it"))
        gate = models.hold(CHILD)
        advance(session, LEAD, 2)
        child = background(lambda session=session: advance(session, CHILD))
        models.asked(CHILD)
        in_threads(gate.set, lambda session=session: send(session, INTERRUPT))
        child.join(20)
        settle(session)
        models.answers.clear()
        send(session, message("Go on."))
        settle(session)
        came = texts_of(session, "agent.thread_message_received")[1:]
        assert_reported_once(session, models, *came)


def stopping(request):
    return says("", ("stop_agent", {"thread_id": thread_id_of(request)}))


@pytest.mark.parametrize("first", ["stop", "report"])
def test_stopping_an_agent_that_finishes(models, workspace, monkeypatch, first):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), stopping, says("", wait()), says("Stopped it."))
    models.tell(CHILD, says("found it"))
    if first == "stop":
        during(monkeypatch, answers, "commit", lambda: advance(session, LEAD), where=lambda run, *r: not of_lead(run))
        advance_until_asked(session)
    else:
        during(
            monkeypatch,
            answers,
            "commit",
            lambda: advance(session, CHILD),
            where=lambda run, *rest: run.thread.is_primary and len(models.requests[LEAD]) == 2,
        )
    settle(session)
    assert thread(session, CHILD).status == "terminated" and not thread(session, CHILD).closing
    assert session.status == "idle"
    assert_reported_once(session, models, *([] if first == "stop" else ["found it"]))
    with_thread = [row for row in types_of(session) if row == "session.thread_status_terminated"]
    assert len(with_thread) == 2, "its own and the one on the session's stream"


def test_stopping_and_finishing_by_real_threads(models, workspace):
    for _ in range(4):
        models.requests.clear()
        models.answers.clear()
        session = start_team(workspace)
        gates = [threading.Event(), models.hold(CHILD)]
        models.tell(LEAD, says("", spawn()), lambda request, gate=gates[0]: (gate.wait(20), stopping(request))[1])
        models.tell(CHILD, says("found it"))
        lead = background(lambda session=session: advance(session, LEAD))
        models.asked(LEAD, 2)
        child = background(lambda session=session: advance(session, CHILD))
        models.asked(CHILD)
        in_threads(gates[0].set, gates[1].set)
        lead.join(20)
        child.join(20)
        settle(session)
        assert thread(session, CHILD).status == "terminated" and session.status == "idle"
        came = texts_of(session, "agent.thread_message_received")[1:]
        assert_reported_once(session, models, *came)
        assert thread_service.free_places(log_for(session)) == 25


def log_for(session):
    from django.utils import timezone

    from agents.services.log import Log

    return Log(session=session, now=timezone.now())


def test_stopping_an_agent_whose_interrupt_is_not_carried_out_yet(models, workspace):
    session = start_team(workspace, child_tools=[ASKING])
    models.tell(LEAD, says("", spawn()), says("Started."), stopping, says("Stopped it."))
    models.tell(CHILD, says("", ("bash", {"command": "echo hi"})))
    advance(session, LEAD)
    advance(session, CHILD)
    child = thread(session, CHILD)
    assert child.phase == "waiting_user"
    send(session, {**INTERRUPT, "session_thread_id": child.public_id}, message("Stop it."))
    advance(session, LEAD)
    settle(session)
    assert thread(session, CHILD).status == "terminated" and session.status == "idle"
    assert session.events.get(type="user.interrupt").processed_at is not None


@pytest.mark.parametrize("first", ["archive", "send"])
def test_archiving_an_agent_that_is_being_written_to(models, workspace, monkeypatch, first):
    session = start_team(workspace)

    def writing(request):
        return says("", ("send_to_agent", {"thread_id": thread_id_of(request), "message": "More."}))

    models.tell(LEAD, says("", spawn()), says("Started."), says("Noted."), writing, says("Done."))
    models.tell(CHILD, says("found it"), says("found more"))
    settle(session)
    child = thread(session, CHILD)
    send(session, message("Again."))
    if first == "archive":
        during(
            monkeypatch,
            answers,
            "commit",
            lambda: thread_service.archive_thread(session, child),
            where=lambda run, *rest: run.thread.is_primary,
        )
        settle(session)
        text, is_error = results_of(session)[-1]
        assert is_error and "has ended" in text
        assert thread(session, CHILD).status == "terminated"
        return
    advance(session, LEAD)
    with pytest.raises(Invalid, match="[Ii]nterrupt"):
        thread_service.archive_thread(session, child)
    settle(session)
    assert_reported_once(session, models, "found it", "found more")
    thread_service.archive_thread(session, child)


def test_archiving_and_writing_by_real_threads(models, workspace):
    for _ in range(4):
        models.requests.clear()
        models.answers.clear()
        session = start_team(workspace)
        gate = threading.Event()

        def writing(request, gate=gate):
            gate.wait(20)
            return says("", ("send_to_agent", {"thread_id": thread_id_of(request), "message": "More."}))

        models.tell(LEAD, says("", spawn(), wait()), says("Merged."), writing)
        settle(session)
        child = thread(session, CHILD)
        send(session, message("Again."))
        lead = background(lambda session=session: advance(session, LEAD))
        models.asked(LEAD, 3)
        _, archived = in_threads(gate.set, lambda c=child, s=session: thread_service.archive_thread(s, c))
        lead.join(20)
        settle(session)
        refused = results_of(session)[-1][1]
        assert refused != isinstance(archived, Invalid), "exactly one of them came too late"
        assert session.status == "idle"


# Answers and waits


@pytest.mark.parametrize("first", ["confirmation", "interrupt"])
def test_a_confirmation_and_an_interrupt(models, workspace, first):
    session = start_team(workspace, child_tools=[ASKING])
    models.tell(LEAD, says("", spawn(), wait()), says("Merged."))
    models.tell(CHILD, says("", ("bash", {"command": "echo hi"})), says("found it"))
    settle(session)
    call = ToolCall.objects.get(session=session, name="bash")
    allow = {"type": "user.tool_confirmation", "tool_use_id": call.crosspost_event.public_id, "result": "allow"}
    events = [allow, INTERRUPT] if first == "confirmation" else [INTERRUPT, allow]
    for event in events:
        send(session, event)
    settle(session)
    assert session.status == "idle" and session.stop_reason == {"type": "end_turn"}
    call.refresh_from_db()
    assert call.state == "done" and call.is_error and call.attempt == 0, "it was never run"


def test_a_confirmation_and_an_interrupt_by_real_threads(models, workspace):
    for _ in range(4):
        models.requests.clear()
        models.answers.clear()
        session = start_team(workspace, child_tools=[ASKING])
        models.tell(LEAD, says("", spawn(), wait()))
        models.tell(CHILD, says("", ("bash", {"command": "true"})))
        settle(session)
        call = ToolCall.objects.get(session=session, name="bash")
        deny = {"type": "user.tool_confirmation", "tool_use_id": call.crosspost_event.public_id, "result": "deny"}
        found = in_threads(
            lambda s=session: send(s, INTERRUPT),
            lambda s=session, deny=deny: send(s, deny),
            lambda s=session: settle(s),
        )
        assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, Invalid)], found
        settle(session)
        assert session.status == "idle" and session.stop_reason == {"type": "end_turn"}


@pytest.mark.parametrize("first", ["deadline", "report"])
def test_the_end_of_a_waits_time_and_a_report(models, workspace, first):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait(timeout_s=3600)), says("Going on."))
    models.tell(CHILD, says("found it"))
    advance(session, LEAD, 2)
    started = Event.objects.get(session=session, type="daybreak.wait_started")
    past = "2020-01-01T00:00:00+00:00"
    Event.objects.filter(pk=started.pk).update(payload=started.payload.replace(started.data["until"], past))
    Thread.objects.filter(session=session, ordinal=LEAD).update(runnable_at=past)
    if first == "report":
        advance(session, CHILD)
    advance(session, LEAD, 3)
    waited = results_of(session)[1][0]
    assert ('"timed_out": true' in waited) == (first == "deadline")
    settle(session)
    assert_reported_once(session, models, "found it")
    assert turns_of(session) == (2 if first == "deadline" else 1)


def test_the_end_of_a_waits_time_and_a_report_by_real_threads(models, workspace):
    for _ in range(4):
        models.requests.clear()
        models.answers.clear()
        session = start_team(workspace)
        models.tell(LEAD, says("", spawn(), wait(timeout_s=0.05)))
        models.tell(CHILD, says("found it"))
        gate = models.hold(CHILD)
        advance(session, LEAD)
        child = background(lambda session=session: advance(session, CHILD))
        models.asked(CHILD)
        in_threads(gate.set, lambda session=session: settle(session))
        child.join(20)
        models.gates.clear()
        settle(session, 200)
        assert_reported_once(session, models, "found it")
        assert turns_of(session) in (1, 2)


def test_a_message_of_a_person_while_the_lead_waits(models, workspace):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait()), says("Yes?"), says("Merged."))
    models.tell(CHILD, says("found it"))
    advance(session, LEAD, 2)
    send(session, message("Are you there?"))
    advance(session, LEAD, 3)
    assert "A message came in meanwhile" in results_of(session)[1][0]
    assert models.requests[LEAD][-1].messages[-1]["content"][-1]["text"] == "Are you there?"
    assert thread(session, LEAD).status == "idle" and thread(session, CHILD).status == "running"
    settle(session)
    assert_reported_once(session, models, "found it")


def test_a_message_sent_to_an_agent_that_refuses_meanwhile_is_taken_up(models, workspace, monkeypatch):
    session = start_team(workspace)

    def writing(request):
        return says("", ("send_to_agent", {"thread_id": thread_id_of(request), "message": "Then do this."}), wait())

    models.tell(LEAD, says("", spawn()), writing, says("Merged."))
    models.tell(CHILD, says("", stop_reason="refusal"), says("done"))
    during(
        monkeypatch,
        answers,
        "commit",
        lambda: advance(session, LEAD),
        where=lambda run, *rest: not run.thread.is_primary,
    )
    advance_until_asked(session)
    settle(session)
    assert session.status == "idle"
    assert "done" in reports_in(models)


def test_send_events_never_meets_a_half_written_step(models, workspace):
    """Messages, interrupts and steps at the same time: the log stays whole (see `sessions_hold`)."""
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), spawn(), wait()))
    advance(session, LEAD, 2)

    def say(number):
        for _ in range(3):
            send_events(session, events=[message(f"{number}")])

    acts = [lambda n=n: say(n) for n in range(3)]
    acts += [lambda n=n: [advance(session, n) for _ in range(4)] for n in (LEAD, CHILD, SECOND)]
    found = in_threads(*acts)
    assert not [one for one in found if isinstance(one, Exception)], found
    settle(session)
    assert session.status == "idle"
    assert not Event.objects.filter(session=session, processed_at=None).exists()
