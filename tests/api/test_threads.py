"""Threads of a team as the API shows them: conformance statements 88, 90 and 99, and B6 7."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types.beta.sessions import BetaManagedAgentsSessionThread

from tests.api.sdk import history, make_agent, make_session, of_type, said, send, text, wait_idle, watching
from tests.api.strict import check
from tests.api.teams import (
    archive,
    children_of,
    interrupt,
    last_said,
    parallel,
    raw_history,
    retrieve,
    start_team,
    thread_history,
    threads_of,
    wait_for_event,
    wait_for_thread,
    watching_thread,
)
from tests.invariants import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("sessions_hold")

SLOW = "simulated/slow"


def raw_thread(raw, session, thread):
    body = raw.get(f"/v1/sessions/{session.id}/threads/{thread.id}").json()
    check(BetaManagedAgentsSessionThread, body)
    return body


def events_of(events, type_):
    return [event for event in events if event["type"] == type_]


def slow_worker(client):
    return make_agent(client, name="Worker", model=SLOW, tools=[])


@pytest.mark.conformance(88)
def test_the_primary_thread_is_listed_before_any_child(client, raw):
    session = start_team(client, None)
    (primary,) = threads_of(client, session)
    body = raw_thread(raw, session, primary)
    assert body["parent_thread_id"] is None and body["status"] == "idle" and body["archived_at"] is None
    assert body["usage"] is None and body["stats"] is None, "nothing has happened yet"
    assert body["session_id"] == session.id and body["workflow_run_id"] is None
    assert body["agent"]["type"] == "agent" and body["agent"]["name"] == "Lead" and "multiagent" not in body["agent"]
    send(client, session, {"type": "user.interrupt"})
    body = raw_thread(raw, session, primary)
    assert body["stats"] is None and body["usage"] is None, "an interrupt of an idle thread is no transition"


def test_a_child_is_shown_with_its_agent_its_usage_and_its_times(client, raw, local_worker):
    worker = make_agent(client, name="Worker", description="Does the work.")
    session = start_team(client, parallel("spawn: Worker | say: done", "wait:"), worker)
    wait_idle(client, session)
    primary, child = threads_of(client, session)
    body = raw_thread(raw, session, child)
    assert body["parent_thread_id"] == primary.id and body["status"] == "idle"
    expected = raw.get(f"/v1/agents/{worker.id}").json()
    for key in ("metadata", "multiagent", "created_at", "updated_at", "archived_at"):
        del expected[key]
    assert body["agent"] == expected
    usage, stats = body["usage"], body["stats"]
    assert usage["input_tokens"] > 0 and usage["output_tokens"] > 0
    assert stats["startup_seconds"] == 0 and stats["active_seconds"] <= stats["duration_seconds"]
    assert usage["active_seconds"] == stats["active_seconds"]
    whole = client.beta.sessions.retrieve(session.id)
    parts = [retrieve(client, session, thread).usage for thread in (primary, child)]
    assert whole.usage.input_tokens == sum(part.input_tokens for part in parts)
    assert whole.usage.output_tokens == sum(part.output_tokens for part in parts)


def test_usage_is_null_until_the_first_idle_and_stats_until_the_first_transition(client, raw, local_worker):
    session = start_team(client, "spawn: Worker | slow 20s", slow_worker(client))
    child = wait_for_thread(client, session, 1, lambda thread: thread.status == "running")
    body = raw_thread(raw, session, child)
    assert body["usage"] is None and body["stats"] is not None
    interrupt(client, session)
    wait_idle(client, session)
    body = raw_thread(raw, session, child)
    assert body["usage"] is not None and body["usage"]["list_cost"] == {"amount": "0", "currency": "USD"}


def test_the_times_of_an_archived_thread_stand_still(client, raw, local_worker):
    session = start_team(client, parallel("spawn: Worker | say: done", "wait:"))
    wait_idle(client, session)
    (child,) = children_of(client, session)
    archive(client, session, child)
    first = raw_thread(raw, session, child)
    send(client, session, text("bash: sleep 0.1"))
    wait_for_event(client, session, threads_of(client, session)[0], "session.status_idle", count=2)
    assert raw_thread(raw, session, child) == first


def test_an_agent_made_for_one_task_is_shown_without_an_id(client, raw, local_worker):
    lead = make_agent(client, name="Lead", multiagent={"type": "multiagent_20261001", "subagents": {"type": "enabled"}})
    agent = '{"name": "Reader", "system": "You read."}'
    script = parallel(f'custom: spawn_agent {{"agent": {agent}, "task": "say: read"}}', "wait:")
    session = make_session(client, script, agent=lead)
    wait_idle(client, session)
    (child,) = children_of(client, session)
    body = raw_thread(raw, session, child)["agent"]
    assert body["type"] == "inline" and body["name"] == "Reader" and body["system"] == "You read."
    assert "id" not in body and "version" not in body
    created = of_type(history(client, session), "session.thread_created")[0]
    assert created.agent_name == "Reader"


@pytest.mark.conformance(90)
def test_b6_7_what_a_child_does_stands_on_its_own_stream(client, raw, local_worker):
    task = "say: looking\\nbash: echo private-output\\nwrite: part.md | text"
    session = start_team(client, parallel(f"spawn: Worker | {task}", "wait:"))
    wait_idle(client, session)
    (child,) = children_of(client, session)
    primary_events, child_events = raw_history(raw, session), raw_history(raw, session, child)
    own = {"agent.message", "agent.tool_use", "agent.tool_result", "span.model_request_start", "span.model_request_end"}
    assert {"agent.tool_use", "agent.tool_result"}.isdisjoint(event["type"] for event in primary_events)
    assert own <= {event["type"] for event in child_events}
    assert not {event["id"] for event in primary_events} & {event["id"] for event in child_events}
    shown = [event for event in primary_events if event.get("session_thread_id") == child.id]
    assert [event["type"] for event in shown] == [
        "session.thread_created",
        "session.thread_status_running",
        "session.thread_status_idle",
    ]
    assert len(events_of(primary_events, "agent.message")) == 1
    assert len(events_of(child_events, "agent.message")) == 2


@pytest.mark.conformance(90)
def test_the_order_on_a_childs_stream(client, raw, local_worker):
    session = start_team(client, parallel("spawn: Worker | say: found it", "wait:"))
    wait_idle(client, session)
    (child,) = children_of(client, session)
    events = raw_history(raw, session, child)
    assert [event["type"] for event in events] == [
        "agent.thread_message_received",
        "session.thread_status_running",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "agent.thread_message_sent",
        "session.thread_status_idle",
    ]
    task, report = events[0], events[5]
    primary = threads_of(client, session)[0]
    assert task["from_session_thread_id"] == primary.id and "from_agent_name" not in task
    assert report["to_session_thread_id"] == primary.id and "to_agent_name" not in report
    assert task["content"] == [{"type": "text", "text": "say: found it"}]
    assert report["content"] == [{"type": "text", "text": "found it"}]
    assert events[6]["stop_reason"] == {"type": "end_turn"}
    assert events[6]["agent_name"] == "Worker" and events[6]["session_thread_id"] == child.id


@pytest.mark.conformance(99)
def test_threads_are_filtered_by_status(client, local_worker):
    worker, sleeper = make_agent(client, name="Worker"), make_agent(client, name="Sleeper", model=SLOW, tools=[])
    session = start_team(
        client,
        parallel("spawn: Worker | say: a", "spawn: Worker | say: b", "spawn: Sleeper | slow 30s"),
        worker,
        sleeper,
    )
    first = wait_for_thread(client, session, 1, lambda thread: thread.status == "idle")
    second = wait_for_thread(client, session, 2, lambda thread: thread.status == "idle")
    third = wait_for_thread(client, session, 3, lambda thread: thread.status == "running")
    archive(client, session, first)

    def ids(*statuses):
        return {thread.id for thread in threads_of(client, session, statuses=list(statuses))}

    assert ids("terminated") == {first.id}
    assert second.id in ids("idle") and first.id not in ids("idle")
    assert third.id in ids("running")
    assert {first.id, third.id} <= ids("terminated", "running") and second.id not in ids("terminated", "running")
    assert ids("rescheduling") == set()
    assert len(ids("running", "idle", "rescheduling", "terminated")) == 4 == len(threads_of(client, session))
    with pytest.raises(anthropic.BadRequestError):
        ids("asleep")
    interrupt(client, session)
    wait_idle(client, session)


def test_threads_are_listed_in_the_order_they_were_made_and_in_pages(client, raw, local_worker):
    session = start_team(client, parallel(*(f"spawn: Worker | say: {n}" for n in range(7)), "wait:"))
    wait_idle(client, session)
    whole = threads_of(client, session)
    assert len(whole) == 8 and whole[0].parent_thread_id is None
    assert [thread.id for thread in threads_of(client, session, limit=3)] == [thread.id for thread in whole]
    created = of_type(history(client, session), "session.thread_created")
    assert [thread.id for thread in whole[1:]] == [event.session_thread_id for event in created]
    page = raw.get(f"/v1/sessions/{session.id}/threads", params={"limit": 8}).json()
    assert page["next_page"] is None and len(page["data"]) == 8
    for body in page["data"]:
        check(BetaManagedAgentsSessionThread, body)
    page = raw.get(f"/v1/sessions/{session.id}/threads", params={"limit": 7}).json()
    assert page["next_page"] and len(page["data"]) == 7
    (child,) = whole[1:2]
    events = [event.id for event in thread_history(client, session, child)]
    assert [event.id for event in thread_history(client, session, child, limit=2)] == events


def test_listing_threads_takes_the_same_queries_however_many_there_are(client, count_queries, local_worker):
    counts = []
    for number in (1, 12):
        session = start_team(client, parallel(*(f"spawn: Worker | say: {n}" for n in range(number)), "wait:"))
        wait_idle(client, session)
        counts.append(count_queries(f"/v1/sessions/{session.id}/threads"))
    assert counts[0] == counts[1]


def test_a_thread_of_another_session_or_workspace_is_not_found(client, client_for, other_workspace):
    session, other = start_team(client, None), start_team(client, None)
    (thread,) = threads_of(client, other)
    with pytest.raises(anthropic.NotFoundError):
        retrieve(client, session, thread)
    with pytest.raises(anthropic.NotFoundError):
        thread_history(client, session, thread)
    with pytest.raises(anthropic.NotFoundError):
        archive(client, session, thread)
    stranger = client_for(other_workspace)
    for call in (retrieve, archive, thread_history):
        with pytest.raises(anthropic.NotFoundError):
            call(stranger, other, thread)
    with pytest.raises(anthropic.NotFoundError):
        stranger.beta.sessions.threads.events.stream(thread.id, session_id=other.id)


def test_a_childs_stream_carries_its_turn_and_its_previews_and_nothing_else(client, local_worker):
    session = start_team(client, parallel("spawn: Worker | slow 0.1s", "wait:"), slow_worker(client))
    wait_idle(client, session)
    (child,) = children_of(client, session)
    with (
        watching_thread(client, session, child, event_deltas=["agent.message"]) as own,
        watching(client, session, event_deltas=["agent.message"]) as whole,
    ):
        send(client, session, text("send: 1 | slow 1s\nwait:"))
        own.wait_for("session.thread_status_idle")
        whole.wait_for("session.status_idle")
    message = of_type(own.events, "agent.message")[0]
    starts, deltas = of_type(own.events, "event_start"), of_type(own.events, "event_delta")
    assert [start.event.id for start in starts] == [message.id]
    written = "".join(delta.delta.content.text for delta in deltas)
    assert written and said(message).startswith(written)
    assert message.id not in {delta.event_id for delta in of_type(whole.events, "event_delta")}
    kept = {event.id for event in thread_history(client, session, child)}
    assert {event.id for event in own.events if event.type not in ("event_start", "event_delta")} < kept
    assert [event.type for event in own.events if not event.type.startswith("event_")] == [
        "agent.thread_message_received",
        "session.thread_status_running",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "agent.thread_message_sent",
        "session.thread_status_idle",
    ]


def test_a_lead_that_waits_is_told_what_its_agents_found(client, local_worker):
    session = start_team(client, parallel("spawn: Worker | say: red", "spawn: Worker | say: blue", "wait:"))
    wait_idle(client, session)
    events = history(client, session)
    assert [said(event) for event in of_type(events, "agent.thread_message_received")] != []
    assert '"timed_out": false' in last_said(events)
    assert len(of_type(events, "session.status_idle")) == 1, "one turn from beginning to end"
