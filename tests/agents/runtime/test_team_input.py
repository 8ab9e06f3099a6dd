"""What a model may send to the delegation tools: anything. It is told what was wrong, and the run stays bounded."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from agents.models import Thread
from agents.runtime.team_tools import CHILD_TOOLS, LEAD_TOOLS
from agents.services import threads as thread_service
from tests.agents.runtime.teams import *  # noqa: F403
from tests.agents.runtime.teams import (
    CHILD,
    LEAD,
    advance,
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
from tests.invariants import check_session
from tests.runs import log_of, make_agent, message, send, start_session, types_of
from tests.worker import wait_until

pytestmark = pytest.mark.usefixtures("sessions_hold")

FIELDS = (
    "agent",
    "task",
    "files",
    "thread_id",
    "message",
    "thread_ids",
    "mode",
    "timeout_s",
    "name",
    "system",
    "tools",
)
WORDS = st.sampled_from(["Worker", "Nobody", "all", "any", "sthr_none", "", " ", "\x00", "\ud800", "x" * 200_000])
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner),
    max_leaves=8,
)
INPUTS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), VALUES, max_size=4) | st.fixed_dictionaries(
    {"agent": VALUES, "task": VALUES}, optional={"files": VALUES}
)
CALLS = st.lists(st.tuples(st.sampled_from((*LEAD_TOOLS, *CHILD_TOOLS)), INPUTS | VALUES), min_size=1, max_size=6)
MANY = how(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(of_lead=CALLS, of_child=CALLS)
def test_drill_13_any_input_gets_exactly_one_result(workspace, models, of_lead, of_child):
    models.answers.clear()
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), *of_lead), says("done"))
    models.tell(CHILD, says("", *of_child), says("report"))
    settle(session)
    for child in session.threads.filter(status="idle", phase="waiting_user"):
        raise AssertionError(f"{child} waits for somebody")
    if thread(session, LEAD).phase == "waiting_agents":  # a time was given, and it is not up
        assert thread(session, LEAD).runnable_at is not None
        return
    assert session.status == "idle", "nothing is left to do"
    assert not session.events.filter(type="session.error").exists()
    uses = session.events.filter(type__in=["daybreak.tool_use", "agent.tool_use"], thread__ordinal=LEAD)
    assert uses.count() == 1 + len(of_lead)
    check_session(session)  # one result for each


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("spawn_agent", {"agent": "Nobody", "task": "x"}, ["no agent named 'Nobody'", "Worker"]),
        ("spawn_agent", {"agent": "worker", "task": "x"}, ["no agent named"]),
        ("spawn_agent", {"task": "x"}, ["agent is missing"]),
        ("spawn_agent", {"agent": "Worker"}, ["task is missing"]),
        ("spawn_agent", {"agent": "Worker", "task": " "}, ["task must be text"]),
        ("spawn_agent", {"agent": ["Worker"], "task": "x"}, ["agent must be text"]),
        ("spawn_agent", {"agent": "Worker", "task": "x", "file": []}, ["no field 'file'"]),
        ("spawn_agent", {"agent": "Worker", "task": "x", "files": "a.txt"}, ["files must be a list"]),
        ("spawn_agent", {"agent": {"name": "Own", "system": "s"}, "task": "x"}, ["not allowed", "Worker"]),
        ("spawn_agent", {"agent": "Worker", "task": "x" * (10 * 1024 * 1024)}, ["at most 100,000 characters"]),
        ("send_to_agent", {"thread_id": "sthr_none", "message": "x"}, ["no agent with the thread id 'sthr_none'"]),
        ("send_to_agent", {"thread_id": "sthr_none", "message": "x" * (10 * 1024 * 1024)}, ["at most 100,000"]),
        ("stop_agent", {"thread_id": "sthr_none"}, ["no agent with the thread id"]),
        ("stop_agent", {}, ["thread_id is missing"]),
        ("wait_for_agents", {"thread_ids": ["sthr_none"]}, ["no agent with the thread id"]),
        ("wait_for_agents", {"mode": "some"}, ["mode must be any or all"]),
        ("wait_for_agents", {"timeout_s": "soon"}, ["timeout_s must be a number"]),
        ("wait_for_agents", {"timeout_s": -1}, ["timeout_s must be a number"]),
        ("list_agents", {"all": True}, ["no field 'all'"]),
    ],
)
def test_drill_13_what_was_wrong_is_said_in_one_line(workspace, models, name, value, words):
    session = start_team(workspace)
    models.tell(LEAD, says("", (name, value)), says("done"))
    settle(session)
    ((text, is_error),) = results_of(session)
    assert is_error and "\n" not in text and len(text) < 400
    assert not [word for word in words if word not in text], text
    assert session.status == "idle" and session.threads.count() == 1


def test_a_lead_cannot_write_to_itself_or_stop_itself(workspace, models):
    session = start_team(workspace)
    own = {"thread_id": thread(session, LEAD).public_id}
    models.tell(LEAD, says("", ("send_to_agent", {**own, "message": "x"}), ("stop_agent", own)), says("done"))
    settle(session)
    assert all(is_error and "no agent with" in text for text, is_error in results_of(session))


@pytest.mark.parametrize("name", LEAD_TOOLS)
def test_a_child_cannot_delegate(workspace, models, name):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait()), says("done"))
    models.tell(CHILD, says("", (name, spawn()[1])), says("I could not."))
    settle(session)
    (row,) = [row for row in log_of(session) if row.type == "agent.tool_result"]
    assert row.data["is_error"] and f"no tool named {name}" in row.data["content"][0]["text"]
    assert not [tool for tool in models.requests[CHILD][0].tools if tool["name"] in LEAD_TOOLS]
    assert session.threads.count() == 2 and reports_in(models) == ["I could not."]


def test_an_agent_without_a_team_cannot_delegate(workspace, models):
    session = start_session(workspace, "Begin.", agent=make_agent(workspace))
    models.tell(LEAD, says("", spawn(), ("send_to_parent", {"message": "x"})), says("done"))
    settle(session)
    results = [row for row in log_of(session) if row.type == "agent.tool_result"]
    assert len(results) == 2 and all(row.data["is_error"] for row in results)


def test_messages_to_a_thread_that_has_ended_are_refused(workspace, models):
    session = start_team(workspace)

    def late(request):
        own = {"thread_id": thread_id_of(request)}
        return says(
            "", ("send_to_agent", {**own, "message": "x"}), ("stop_agent", own), wait(thread_ids=[*own.values()])
        )

    models.tell(LEAD, says("", spawn(), wait()), says("Merged."), late, says("done"))
    settle(session)
    thread_service.archive_thread(session, thread(session, CHILD))
    send(session, message("Again."))
    settle(session)
    written, stopped, waited = results_of(session)[2:]
    assert written[1] and "has ended" in written[0] and stopped[1] and "has ended" in stopped[0]
    assert not waited[1] and json.loads(waited[0])["finished"][0]["status"] == "terminated"


# Bounds


def bad(number):
    return says("", ("spawn_agent", {"agent": f"Nobody {number}", "task": "x"}))


def test_drill_13_five_answers_in_a_row_that_cannot_be_carried_out_end_the_turn(workspace, models):
    session = start_team(workspace)
    models.tell(LEAD, *(bad(number) for number in range(9)))
    settle(session)
    assert session.stop_reason == {"type": "retries_exhausted"}
    assert len(models.requests[LEAD]) == 5
    (error,) = [row.data["error"] for row in log_of(session) if row.type == "session.error"]
    assert error["type"] == "tool_use_limit_reached_error" and error["retry_status"] == {"type": "exhausted"}
    assert "no agent named 'Nobody 4'" in error["message"]
    models.answers.clear()
    send(session, message("Again."))
    settle(session)
    assert session.stop_reason == {"type": "end_turn"}


def test_drill_13_an_answer_that_can_be_carried_out_begins_the_count_anew(workspace, models):
    session = start_team(workspace)
    models.tell(LEAD, *(bad(n) for n in range(4)), says("", ("list_agents", {})), *(bad(n) for n in range(4, 8)))
    settle(session)
    assert session.stop_reason == {"type": "end_turn"} and len(models.requests[LEAD]) == 10


def test_drill_13_a_child_that_never_calls_right_ends_and_its_lead_is_told(workspace, models):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait()), says("I went on."))
    models.tell(CHILD, *(says("", ("no_such_tool", {"n": n})) for n in range(9)))
    settle(session)
    assert thread(session, CHILD).status == "terminated" and len(models.requests[CHILD]) == 5
    (told,) = reports_in(models)
    assert told.startswith("This agent could not finish its task") and "no_such_tool" in told
    assert session.stop_reason == {"type": "end_turn"} and turns_of(session) == 1


def test_drill_14_a_spawn_storm_is_refused_and_ends_the_turn(workspace, models):
    session = start_team(workspace)
    models.tell(LEAD, says("", *(spawn() for _ in range(40))), *(says("", spawn(f"again {n}")) for n in range(9)))
    models.hold(CHILD)  # never asked: nobody drives a child
    for _ in range(12):
        advance(session, LEAD)
    session.refresh_from_db()
    assert session.threads.count() == 26
    refused = [text for text, is_error in results_of(session) if is_error]
    assert len(refused) == 15 + 5 and all("25 agents" in text for text in refused)
    (error,) = [row.data["error"] for row in log_of(session) if row.type == "session.error"]
    assert error["type"] == "tool_use_limit_reached_error" and "25 agents" in error["message"]


def test_drill_14_a_storm_of_stops_and_spawns_ends_at_the_sessions_limit(workspace, models, monkeypatch):
    monkeypatch.setattr(thread_service, "MAX_THREADS_EVER", 6)
    session = start_team(workspace)

    def again(request):
        newest = session.threads.order_by("-ordinal").first()
        return says("", ("stop_agent", {"thread_id": newest.public_id}), spawn(f"number {newest.ordinal}"))

    models.tell(LEAD, says("", spawn()), *(again for _ in range(8)))
    settle(session)
    assert session.threads.count() == 7
    assert any("has started 6 agents" in text for text, is_error in results_of(session) if is_error)


def test_drill_14_endless_ping_pong_is_noted_once_per_so_many_messages(workspace, models):
    session = start_team(workspace)

    def ping(request):
        return says("", ("send_to_agent", {"thread_id": thread_id_of(request), "message": "ping"}), wait())

    models.tell(LEAD, says("", spawn("ping"), wait()), *(ping for _ in range(7)), says("enough"))
    models.tell(CHILD, *(says(f"pong {n}") for n in range(8)))
    settle(session)
    assert session.status == "idle" and thread(session, CHILD).turn_no == 8
    (warning,) = [row for row in log_of(session, visible=False) if row.type == "daybreak.warning"]
    assert warning.data["kind"] == "ping_pong" and "10 messages" in warning.data["message"]
    assert "daybreak.warning" not in types_of(session), "it is for the timeline, not for the wire"


def test_waiting_again_and_again_for_an_agent_that_works_is_no_loop(workspace, models):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn()), *(says("", wait(timeout_s=0.01)) for _ in range(8)), says("enough"))
    models.hold(CHILD)

    def is_idle() -> bool:  # a wait that is not over yet is looked at in vain
        advance(session, LEAD)
        return thread(session, LEAD).status == "idle"

    wait_until(is_idle)
    waits = [text for text, _ in results_of(session)[1:]]
    assert len(waits) == 8 and not [text for text in waits if "third time" in text]
    settle_child(session, models)


def settle_child(session, models):
    models.gates.clear()
    settle(session)


def test_asking_who_is_there_again_and_again_is_a_loop(workspace, models):
    session = start_team(workspace)
    models.tell(LEAD, *(says("", ("list_agents", {})) for _ in range(9)))
    settle(session)
    assert session.stop_reason == {"type": "retries_exhausted"} and len(models.requests[LEAD]) == 6


def test_no_ping_pong_is_noted_when_the_child_works(workspace, models):
    session = start_team(workspace)

    def ping(request):
        return says("", ("send_to_agent", {"thread_id": thread_id_of(request), "message": "ping"}), wait())

    models.tell(LEAD, says("", spawn("ping"), wait()), *(ping for _ in range(7)), says("enough"))
    for number in range(8):
        models.tell(CHILD, says("", ("no_such_tool", {"n": number})), says(f"pong {number}"))
    settle(session)
    assert not [row for row in log_of(session, visible=False) if row.type == "daybreak.warning"]


def test_a_child_that_sends_ten_megabytes_through_a_tool_is_told_the_limit(workspace, models):
    session = start_team(workspace)
    models.tell(LEAD, says("", spawn(), wait()), says("done"))
    huge = {"file_path": "a.txt", "content": "x" * (10 * 1024 * 1024)}
    models.tell(CHILD, says("", ("write", huge), ("send_to_parent", {"message": huge["content"]})))
    models.tell(CHILD, says("A summary of what was too long."), says("gave up"))
    settle(session)
    results = [row for row in log_of(session) if row.type == "agent.tool_result"]
    assert results[0].data["is_error"] and results_of(session, CHILD)[0][1]
    assert reports_in(models) == ["gave up"]
    assert Thread.objects.get(session=session, ordinal=CHILD).status == "idle"
