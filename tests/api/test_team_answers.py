"""People in the loop of a team: conformance statement 95, 65 to 70 for children, B6 16 and 17."""

from __future__ import annotations

import anthropic
import pytest

from agents.models import Thread
from tests.api.sdk import (
    CUSTOM_TOOL,
    TOOLSET,
    history,
    make_agent,
    of_type,
    said,
    send,
    text,
    toolset_asking_for,
    wait_for,
    wait_idle,
)
from tests.api.teams import (
    archive,
    children_of,
    confirm,
    interrupt,
    last_said,
    parallel,
    raw_history,
    reports,
    start_team,
    thread_history,
    threads_of,
    wait_for_event,
    wait_for_thread,
)
from tests.invariants import *  # noqa: F403
from tests.worker import wait_until

pytestmark = pytest.mark.usefixtures("sessions_hold")

TWO = "spawn: Worker | parallel:\\n  bash: echo one\\n  bash: echo two"
LEASES = ("lease_owner", "lease_until", "runnable_at")


def asking_team(client, *lines, tools=None):
    """A lead that spawns and waits, whose agents ask before they use bash."""
    worker = make_agent(client, name="Worker", tools=tools or [toolset_asking_for("bash")])
    return start_team(client, parallel(*(lines or ("spawn: Worker | bash: echo run",)), "wait:"), worker)


def asked(client, session, *, turns=1):
    """The stop reason with which the session went idle for the `turns`th time."""
    return wait_for(client, session, "session.status_idle", count=turns)[turns - 1].stop_reason


def custom_result(call, value, **extra):
    content = [{"type": "text", "text": value}]
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call.id, "content": content, **extra}


@pytest.mark.conformance(95)
def test_a_childs_question_is_shown_on_the_session_and_the_answer_finds_its_way(client, raw, local_worker):
    session = asking_team(client)
    assert wait_idle(client, session).status == "idle"
    (child,) = children_of(client, session)
    (own_call,) = of_type(thread_history(client, session, child), "agent.tool_use")
    (shown,) = of_type(history(client, session), "agent.tool_use")
    assert shown.id != own_call.id and shown.session_thread_id == child.id and own_call.session_thread_id is None
    assert shown.evaluated_permission == own_call.evaluated_permission == "ask" and shown.input == own_call.input
    stop = asked(client, session)
    assert stop.type == "requires_action" and stop.event_ids == [shown.id]
    idle = of_type(history(client, session), "session.thread_status_idle")[0]
    assert idle.session_thread_id == child.id and idle.stop_reason.event_ids == [shown.id]
    own_idle = of_type(thread_history(client, session, child), "session.thread_status_idle")[0]
    assert own_idle.stop_reason.event_ids == [own_call.id]
    echo = send(client, session, confirm(shown)).data[0]
    assert echo.session_thread_id == child.id and echo.tool_use_id == shown.id
    asked(client, session, turns=2)
    events = raw_history(raw, session)
    (copy,) = [event for event in raw_history(raw, session, child) if event["type"] == "user.tool_confirmation"]
    (listed,) = [event for event in events if event["type"] == "user.tool_confirmation"]
    assert listed["id"] == echo.id != copy["id"] and copy["tool_use_id"] == own_call.id
    assert not [event for event in events if event["type"] == "agent.tool_result"]
    assert "run" in said(reports(history(client, session))[0])
    assert asked(client, session, turns=2).type == "end_turn"


@pytest.mark.conformance(65, 95)
@pytest.mark.parametrize("named", [False, True], ids=["without the thread's id", "with the thread's id"])
@pytest.mark.parametrize("whose", ["session", "thread"])
def test_b6_16_an_answer_is_taken_by_either_id_and_with_or_without_the_thread(client, local_worker, named, whose):
    session = asking_team(client)
    wait_idle(client, session)
    (child,) = children_of(client, session)
    events = history(client, session) if whose == "session" else thread_history(client, session, child)
    (call,) = of_type(events, "agent.tool_use")
    extra = {"session_thread_id": child.id} if named else {}
    send(client, session, confirm(call, "deny", deny_message="Not today.", **extra))
    asked(client, session, turns=2)
    (result,) = of_type(thread_history(client, session, child), "agent.tool_result")
    assert result.is_error and "Not today." in said(result)
    assert "Not today." in said(reports(history(client, session))[0]), "the loop went on"


@pytest.mark.conformance(66)
def test_b6_16_a_childs_question_holds_nothing_and_survives_a_restart(client, make_local_worker, settings):
    from agents.runtime import leases
    from agents.sandbox import client as sandbox

    first = make_local_worker()
    session = asking_team(client, TWO)
    wait_idle(client, session)
    (child,) = children_of(client, session)
    one, two = of_type(history(client, session), "agent.tool_use")
    assert asked(client, session).event_ids == [one.id, two.id]
    wait_until(lambda: not leases.held_runs.all())
    for row in Thread.objects.filter(session__public_id=session.id).values_list(*LEASES):
        assert row == ("", None, None), "nothing is held while a person thinks"
    first.stop()
    sandbox.stop_all(settings.DAYBREAK_DATA_DIR)
    make_local_worker()
    send(client, session, confirm(two, session_thread_id=child.id))
    stop = asked(client, session, turns=2)
    assert stop.type == "requires_action" and stop.event_ids == [one.id]
    assert of_type(thread_history(client, session, child), "agent.tool_result") == []
    send(client, session, confirm(one))
    assert asked(client, session, turns=3).type == "end_turn"
    results = of_type(thread_history(client, session, child), "agent.tool_result")
    assert [said(result).strip() for result in results] == ["one", "two"]


@pytest.mark.conformance(66)
def test_both_answers_in_one_request(client, local_worker):
    session = asking_team(client, TWO)
    wait_idle(client, session)
    one, two = of_type(history(client, session), "agent.tool_use")
    send(client, session, confirm(one), confirm(two, "deny"))
    assert asked(client, session, turns=2).type == "end_turn"
    (child,) = children_of(client, session)
    results = of_type(thread_history(client, session, child), "agent.tool_result")
    assert [result.is_error for result in results] == [False, True]


@pytest.mark.conformance(66)
def test_questions_of_two_children_and_of_their_lead_stand_together(client, local_worker):
    tools = [toolset_asking_for("bash")]
    worker = make_agent(client, name="Worker", tools=tools)
    lines = ("spawn: Worker | bash: echo a", "spawn: Worker | bash: echo b", "bash: echo lead")
    session = start_team(client, parallel(*lines), worker, lead={"tools": tools})
    wait_until(lambda: len(of_type(history(client, session), "agent.tool_use")) == 3)
    wait_idle(client, session)
    calls = {event.session_thread_id: event for event in of_type(history(client, session), "agent.tool_use")}
    stop = of_type(history(client, session), "session.status_idle")[-1].stop_reason
    assert set(stop.event_ids) == {call.id for call in calls.values()} and len(calls) == 3
    first, second = children_of(client, session)
    send(client, session, confirm(calls[first.id]))
    wait_for_thread(client, session, 1, lambda thread: thread.status == "idle")
    wait_until(lambda: of_type(thread_history(client, session, first), "agent.tool_result"))
    wait_idle(client, session)
    stop = of_type(history(client, session), "session.status_idle")[-1].stop_reason
    assert set(stop.event_ids) == {calls[second.id].id, calls[None].id}
    send(client, session, confirm(calls[second.id]), confirm(calls[None]))
    wait_until(lambda: len(reports(history(client, session))) == 2)
    assert wait_idle(client, session).status == "idle"
    assert of_type(history(client, session), "session.status_idle")[-1].stop_reason.type == "end_turn"


@pytest.mark.conformance(65)
def test_the_session_runs_on_while_another_child_works(client, local_worker):
    worker = make_agent(client, name="Worker", tools=[toolset_asking_for("bash")])
    sleeper = make_agent(client, name="Sleeper", model="simulated/slow", tools=[])
    lines = parallel("spawn: Worker | bash: echo run", "spawn: Sleeper | slow 600s", "wait:")
    session = start_team(client, lines, worker, sleeper)
    asking = wait_for_thread(client, session, 1, lambda thread: thread.status == "idle")
    (shown,) = wait_for(client, session, "agent.tool_use")
    assert client.beta.sessions.retrieve(session.id).status == "running"
    assert of_type(history(client, session), "session.status_idle") == []
    interrupt(client, session, children_of(client, session)[1])
    stop = asked(client, session)
    assert stop.type == "requires_action" and stop.event_ids == [shown.id]
    send(client, session, confirm(shown))
    assert asked(client, session, turns=2).type == "end_turn"
    assert of_type(thread_history(client, session, asking), "agent.tool_result")


@pytest.mark.conformance(67)
def test_b6_17_a_second_confirmation_is_refused_and_the_tool_ran_once(client, local_worker):
    session = asking_team(client, "spawn: Worker | bash: echo run >> count.txt; cat count.txt")
    wait_idle(client, session)
    (child,) = children_of(client, session)
    (shown,) = of_type(history(client, session), "agent.tool_use")
    (own,) = of_type(thread_history(client, session, child), "agent.tool_use")
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, confirm(shown, "allow", deny_message="no"))
    for wrong in (
        confirm(shown, tool_use_id="sevt_none"),
        confirm(of_type(history(client, session), "session.thread_created")[0]),
        custom_result(shown, "x"),
    ):
        with pytest.raises(anthropic.BadRequestError):
            send(client, session, wrong)
    send(client, session, confirm(shown))
    for again in (confirm(shown), confirm(shown, "deny"), confirm(own)):
        with pytest.raises(anthropic.BadRequestError, match="already"):
            send(client, session, again)
    asked(client, session, turns=2)
    with pytest.raises(anthropic.BadRequestError, match="already"):
        send(client, session, confirm(shown))
    (result,) = of_type(thread_history(client, session, child), "agent.tool_result")
    assert said(result).split() == ["run"]


@pytest.mark.conformance(68)
def test_a_message_is_refused_while_only_a_childs_question_is_open(client, local_worker):
    session = asking_team(client)
    wait_idle(client, session)
    with pytest.raises(anthropic.BadRequestError, match="waits for answers"):
        send(client, session, text("never mind"))
    (shown,) = of_type(history(client, session), "agent.tool_use")
    send(client, session, confirm(shown), text("say: thanks"))
    wait_until(lambda: last_message(client, session) == "thanks")
    wait_idle(client, session)
    assert len(reports(history(client, session))) == 1


def last_message(client, session):
    messages = of_type(history(client, session), "agent.message")
    return said(messages[-1]) if messages else ""


@pytest.mark.conformance(69)
@pytest.mark.parametrize("is_error", [False, True])
def test_a_custom_tool_of_a_child(client, raw, local_worker, is_error):
    session = asking_team(client, 'spawn: Worker | custom: lookup {"id": "7"}', tools=[TOOLSET, CUSTOM_TOOL])
    wait_idle(client, session)
    (child,) = children_of(client, session)
    (shown,) = of_type(history(client, session), "agent.custom_tool_use")
    assert shown.session_thread_id == child.id and shown.name == "lookup"
    assert asked(client, session).event_ids == [shown.id]
    echo = send(client, session, custom_result(shown, "shipped", is_error=is_error)).data[0]
    assert echo.session_thread_id == child.id and echo.processed_at is not None
    assert asked(client, session, turns=2).type == "end_turn"
    (copy,) = [event for event in raw_history(raw, session, child) if event["type"] == "user.custom_tool_result"]
    assert copy["id"] != echo.id and "shipped" in str(copy)
    report = said(reports(history(client, session))[0])
    assert "shipped" in report and ("1 with an error" in report) == is_error
    raw_history(raw, session)


@pytest.mark.conformance(70)
def test_a_tool_result_for_a_child_is_refused_in_a_cloud_session(client, local_worker):
    session = asking_team(client)
    wait_idle(client, session)
    (shown,) = of_type(history(client, session), "agent.tool_use")
    with pytest.raises(anthropic.BadRequestError, match="self_hosted"):
        send(client, session, {"type": "user.tool_result", "tool_use_id": shown.id, "content": []})


@pytest.mark.conformance(97)
def test_a_child_that_waits_for_a_person_can_be_archived(client, raw, local_worker):
    session = asking_team(client)
    wait_idle(client, session)
    (child,) = children_of(client, session)
    archived = archive(client, session, child)
    assert archived.status == "terminated" and archived.archived_at
    assert archive(client, session, child).archived_at == archived.archived_at
    assert asked(client, session, turns=2).type == "end_turn", "the lead's wait is over"
    own = raw_history(raw, session, child)
    (result,) = [event for event in own if event["type"] == "agent.tool_result"]
    assert result["is_error"] and own[-1]["type"] == "session.thread_status_terminated"
    (shown,) = of_type(history(client, session), "agent.tool_use")
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, confirm(shown))
    assert '"status": "terminated"' in last_said(history(client, session))


@pytest.mark.conformance(61)
def test_an_interrupt_answers_a_childs_question_without_asking_its_model(client, raw, local_worker):
    session = asking_team(client, TWO)
    wait_idle(client, session)
    (child,) = children_of(client, session)
    requests = len(of_type(thread_history(client, session, child), "span.model_request_start"))
    interrupt(client, session, child)
    wait_for_event(client, session, child, "session.thread_status_idle", count=2)
    own = thread_history(client, session, child)
    results = of_type(own, "agent.tool_result")
    assert len(results) == 2 and all(result.is_error and "interrupted" in said(result) for result in results)
    assert of_type(own, "session.thread_status_idle")[-1].stop_reason.type == "end_turn"
    assert len(of_type(own, "span.model_request_start")) == requests
    assert asked(client, session, turns=2).type == "end_turn", "the lead's wait is over, and its turn went on"
    assert reports(history(client, session)) == [], "who was interrupted reports nothing"
    send(client, session, text("send: 1 | say: well again\nwait:"))
    asked(client, session, turns=3)
    assert said(reports(history(client, session))[0]) == "well again"


def test_a_question_outlives_the_end_of_the_leads_turn(client, local_worker):
    worker = make_agent(client, name="Worker", tools=[toolset_asking_for("bash")])
    session = start_team(client, "spawn: Worker | bash: echo run", worker)
    wait_until(lambda: of_type(history(client, session), "session.status_idle"))
    stop = of_type(history(client, session), "session.status_idle")[-1].stop_reason
    assert stop.type == "requires_action"
    assert threads_of(client, session)[0].status == "idle"
    (shown,) = of_type(history(client, session), "agent.tool_use")
    send(client, session, confirm(shown))
    wait_until(lambda: reports(history(client, session)))
    wait_idle(client, session)
    assert of_type(history(client, session), "session.status_idle")[-1].stop_reason.type == "end_turn"
