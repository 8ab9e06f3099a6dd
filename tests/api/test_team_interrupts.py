"""Stopping a team and parts of it: conformance statements 97 and 98, 61 to 63 for children, B6 15."""

from __future__ import annotations

from pathlib import Path

import anthropic
import pytest

from tests.api.sdk import history, make_agent, of_type, said, send, text, wait_for, wait_idle, watching
from tests.api.teams import (
    archive,
    children_of,
    interrupt,
    last_said,
    parallel,
    raw_history,
    reports,
    retrieve,
    start_team,
    thread_history,
    threads_of,
    wait_for_event,
    wait_for_thread,
    watching_thread,
)
from tests.invariants import *  # noqa: F403
from tests.worker import wait_until

pytestmark = pytest.mark.usefixtures("sessions_hold")


def sleepers(client, *seconds, lead=None):
    """A lead that waits, and an agent each that sleeps so long in its shell."""
    lines = [f"spawn: Worker | bash: sleep {number}; echo woke > woke-{number}.txt" for number in seconds]
    session = start_team(client, parallel(*lines, lead or "wait:"))
    wait_until(lambda: all(sleeping(number) for number in seconds), timeout_s=40)
    return session


def sleeping(number):
    """The process ids on this machine that sleep for so many seconds."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", str(number).encode()]:
            found.append(entry.parent.name)
    return found


@pytest.mark.bwrap
@pytest.mark.conformance(61, 98)
def test_b6_15_an_interrupt_without_an_id_stops_everything(client, raw, local_worker):
    session = sleepers(client, 7301, 7302, 7303, lead="bash: sleep 7304")
    wait_until(lambda: sleeping(7304))
    echo = interrupt(client, session).data[0]
    assert echo.processed_at is None
    assert wait_idle(client, session).status == "idle"
    assert not [number for number in (7301, 7302, 7303, 7304) if sleeping(number)], "no process is left"
    assert [thread.status for thread in threads_of(client, session)] == ["idle"] * 4
    events = history(client, session)
    (stop,) = of_type(events, "user.interrupt")
    assert stop.processed_at is not None and stop.session_thread_id is None
    assert reports(events) == []
    assert of_type(events, "session.status_idle")[-1].stop_reason.type == "end_turn"
    for child in children_of(client, session):
        own = raw_history(raw, session, child)
        (result,) = [event for event in own if event["type"] == "agent.tool_result"]
        assert result["is_error"] and "interrupted" in str(result["content"])
        assert own[-1]["stop_reason"] == {"type": "end_turn"}
    send(client, session, text("send: 1 | bash: ls\nwait:"))
    wait_for(client, session, "session.status_idle", count=2)
    report = said(reports(history(client, session))[0])
    assert "woke" not in report and "0 with an error" in report


@pytest.mark.bwrap
@pytest.mark.conformance(97)
def test_b6_15_an_interrupt_by_thread_stops_only_that_one(client, local_worker):
    session = sleepers(client, 7311, 7312)
    first, second = children_of(client, session)
    interrupt(client, session, first)
    wait_for_thread(client, session, 1, lambda thread: thread.status == "idle")
    wait_until(lambda: not sleeping(7311))
    assert sleeping(7312) and retrieve(client, session, second).status == "running"
    assert client.beta.sessions.retrieve(session.id).status == "running"
    (stop,) = of_type(history(client, session), "user.interrupt")
    assert stop.session_thread_id == first.id
    wait_until(lambda: of_type(history(client, session), "user.interrupt")[0].processed_at)
    with pytest.raises(anthropic.BadRequestError, match="[Ii]nterrupt"):
        archive(client, session, second)
    with pytest.raises(anthropic.BadRequestError, match="primary"):
        archive(client, session, threads_of(client, session)[0])
    archived = archive(client, session, first)
    assert archived.status == "terminated" and archive(client, session, first).archived_at == archived.archived_at
    with pytest.raises(anthropic.BadRequestError, match="terminated"):
        interrupt(client, session, first)
    interrupt(client, session, second)
    wait_idle(client, session)
    assert not sleeping(7312)
    told = last_said(history(client, session))
    assert '"terminated"' in told and '"timed_out": false' in told, "the lead's turn went on when nobody worked"


@pytest.mark.conformance(97)
def test_an_interrupt_of_the_lead_alone_leaves_its_agents_working(client, local_worker):
    sleeper = make_agent(client, name="Sleeper", model="simulated/slow", tools=[])
    session = start_team(client, parallel("spawn: Sleeper | slow 4s", "wait:"), sleeper)
    primary = threads_of(client, session)[0]
    wait_for_thread(client, session, 1, lambda thread: thread.status == "running")
    interrupt(client, session, primary)
    wait_until(lambda: retrieve(client, session, primary).status == "idle")
    assert client.beta.sessions.retrieve(session.id).status == "running"
    wait_until(lambda: reports(history(client, session)))
    wait_idle(client, session)
    assert len(of_type(history(client, session), "session.status_idle")) == 1
    assert of_type(history(client, session), "agent.message"), "the report started a turn of its own"


@pytest.mark.conformance(61)
def test_an_interrupt_in_the_middle_of_a_childs_answer(client, local_worker):
    sleeper = make_agent(client, name="Sleeper", model="simulated/slow", tools=[])
    session = start_team(client, parallel("spawn: Sleeper | slow 600s", "wait:"), sleeper)
    child = wait_for_thread(client, session, 1, lambda thread: thread.status == "running")
    wait_for_event(client, session, child, "span.model_request_start")
    with watching_thread(client, session, child) as watcher:
        interrupt(client, session, child)
        watcher.wait_for("session.thread_status_idle")
    (end,) = of_type(watcher.events, "span.model_request_end")
    assert end.is_error
    assert of_type(thread_history(client, session, child), "agent.message") == []
    wait_idle(client, session)
    send(client, session, text("send: 1 | slow 0.1s\nwait:"))
    wait_for(client, session, "session.status_idle", count=2)
    assert len(reports(history(client, session))) == 1


@pytest.mark.conformance(62)
def test_an_interrupt_of_an_idle_team_or_thread_does_nothing(client, local_worker):
    session = start_team(client, parallel("spawn: Worker | say: done", "wait:"))
    wait_idle(client, session)
    (child,) = children_of(client, session)
    own, whole = thread_history(client, session, child), history(client, session)
    for target in (None, child):
        assert interrupt(client, session, target).data[0].processed_at is not None
    assert thread_history(client, session, child) == own
    assert [event.type for event in history(client, session)[len(whole) :]] == ["user.interrupt"] * 2
    assert client.beta.sessions.retrieve(session.id).status == "idle"
    with pytest.raises(anthropic.BadRequestError, match="no thread"):
        send(client, session, {"type": "user.interrupt", "session_thread_id": "sthr_none"})


@pytest.mark.conformance(61)
def test_an_interrupt_and_a_message_in_one_request_stop_the_team_and_go_on(client, local_worker):
    sleeper = make_agent(client, name="Sleeper", model="simulated/slow", tools=[])
    session = start_team(client, parallel("spawn: Sleeper | slow 600s", "wait:"), sleeper)
    wait_for_thread(client, session, 1, lambda thread: thread.status == "running")
    send(client, session, {"type": "user.interrupt"}, text("say: something else"))
    wait_until(lambda: [said(event) for event in of_type(history(client, session), "agent.message")])
    wait_idle(client, session)
    assert last_said(history(client, session)) == "something else"
    assert [thread.status for thread in threads_of(client, session)] == ["idle", "idle"]


@pytest.mark.conformance(63)
def test_messages_sent_while_the_lead_waits_are_taken_in_order(client, local_worker):
    sleeper = make_agent(client, name="Sleeper", model="simulated/slow", tools=[])
    session = start_team(client, parallel("spawn: Sleeper | slow 3s", "wait:"), sleeper)
    wait_for_thread(client, session, 1, lambda thread: thread.status == "running")
    send(client, session, text("say: two"))
    send(client, session, text("say: three"))
    wait_until(lambda: len(reports(history(client, session))) == 1)
    wait_idle(client, session)
    messages = of_type(history(client, session), "user.message")
    assert [said(event) for event in messages][1:] == ["say: two", "say: three"]
    assert all(event.processed_at for event in messages)


@pytest.mark.bwrap
def test_an_agent_that_is_stopped_ends_at_once_and_its_place_is_free(client, raw, local_worker):
    session = sleepers(client, 7321, lead="bash: echo started")
    wait_for(client, session, "agent.message")
    (child,) = children_of(client, session)
    send(client, session, text("stop: 1\nwait:\nlist:\nsend: 1 | say: there?"))
    wait_idle(client, session)
    assert not sleeping(7321)
    events = history(client, session)
    assert retrieve(client, session, child).status == "terminated" and reports(events) == []
    own = raw_history(raw, session, child)
    assert [event["type"] for event in own[-3:]] == [
        "agent.tool_result",
        "session.thread_status_idle",
        "session.thread_status_terminated",
    ]
    told = last_said(events)
    assert '"free_places": 25' in told and "has ended" in told and "4 calls, 1 with an error" in told


def test_archiving_the_session_ends_every_thread(client, raw, local_worker):
    session = start_team(client, parallel("spawn: Worker | say: a", "spawn: Worker | say: b", "wait:"))
    wait_idle(client, session)
    with watching(client, session) as watcher:
        client.beta.sessions.archive(session.id)
        watcher.wait_end()
    assert [thread.status for thread in threads_of(client, session)] == ["terminated"] * 3
    assert len(of_type(history(client, session), "session.thread_status_terminated")) == 3
    raw_history(raw, session)
    for child in children_of(client, session):
        assert raw_history(raw, session, child)[-1]["type"] == "session.thread_status_terminated"
