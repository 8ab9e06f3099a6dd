"""Sending and reading events through the real SDK: conformance statements 47 to 50, 55 to 58 and 61 to 64."""

from __future__ import annotations

import anthropic
import pytest

from tests.api.sdk import (
    history,
    make_agent,
    make_session,
    of_type,
    said,
    send,
    text,
    types,
    wait_for,
    wait_idle,
    watching,
)

SLOW = "simulated/slow"


def slow_session(client, say="slow 20s"):
    session = make_session(client, say, agent=make_agent(client, model=SLOW, tools=[]))
    wait_for(client, session, "span.model_request_start")
    return session


def interrupt(client, session):
    return send(client, session, {"type": "user.interrupt"})


@pytest.mark.conformance(47)
def test_sending_answers_with_the_events_in_order(client, local_worker):
    session = make_session(client)
    sent = send(client, session, text("say: one"), text("say: two")).data
    assert [said(event) for event in sent] == ["say: one", "say: two"]
    wait_idle(client, session)
    listed = [event.id for event in of_type(history(client, session), "user.message")]
    assert listed == [event.id for event in sent]


@pytest.mark.conformance(48)
def test_a_queued_message_is_processed_later(client, local_worker):
    session = slow_session(client)
    queued = send(client, session, text("slow 0.1s")).data[0]
    assert queued.processed_at is None
    listed = of_type(history(client, session), "user.message")
    assert [event.processed_at is None for event in listed] == [False, True]
    interrupt(client, session)
    wait_for(client, session, "session.status_idle", count=2)
    assert all(event.processed_at for event in of_type(history(client, session), "user.message"))


@pytest.mark.conformance(50)
def test_a_stream_opened_before_sending_sees_every_event_of_the_turn(client, local_worker):
    session = make_session(client)
    with watching(client, session) as watcher:
        send(client, session, text("bash: echo hi"))
        watcher.wait_for("session.status_idle")
        seen = [event.id for event in watcher.events]
    assert set(seen) == {event.id for event in history(client, session)}
    copies = of_type(watcher.events, "user.message")
    assert [event.processed_at is None for event in copies] == [True, False], "queued, then processed"


@pytest.mark.conformance(51)
def test_a_stream_opened_after_a_turn_delivers_none_of_it(client, local_worker):
    session = make_session(client, "say: first")
    wait_idle(client, session)
    before = {event.id for event in history(client, session)}
    with watching(client, session) as watcher:
        send(client, session, text("say: second"))
        watcher.wait_for("session.status_idle")
    assert not before & {event.id for event in watcher.events}


@pytest.mark.conformance(55)
def test_the_order_of_a_turn(client, raw, local_worker):
    session = make_session(client, "bash: echo hi")
    wait_idle(client, session)
    order = [event["type"] for event in raw.get(f"/v1/sessions/{session.id}/events").json()["data"]]
    assert order == [
        "user.message",
        "session.status_running",
        "session.thread_status_running",
        "span.model_request_start",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]


@pytest.mark.conformance(56)
def test_every_request_start_has_one_end(client, local_worker):
    session = make_session(client, "fault: 529x1\nbash: echo hi")
    wait_idle(client, session)
    session_two = slow_session(client)
    interrupt(client, session_two)
    wait_idle(client, session_two)
    for one in (session, session_two):
        events = history(client, one)
        starts = [event.id for event in of_type(events, "span.model_request_start")]
        ends = [event.model_request_start_id for event in of_type(events, "span.model_request_end")]
        assert starts == ends
    assert of_type(history(client, session_two), "span.model_request_end")[0].is_error is True


@pytest.mark.conformance(57)
def test_usage_stands_directly_before_every_idle(client, local_worker):
    session = make_session(client, "say: one")
    wait_idle(client, session)
    send(client, session, text("say: two"))
    wait_for(client, session, "session.status_idle", count=2)
    order = types(client, session)
    places = [number for number, type_ in enumerate(order) if type_ == "session.status_idle"]
    assert len(places) == 2
    assert all(order[place - 1] == "session.usage" for place in places)


@pytest.mark.conformance(58)
def test_list_order_and_type_filter(client, local_worker):
    session = make_session(client, "bash: echo hi")
    wait_idle(client, session)
    forwards = [event.id for event in history(client, session)]
    assert [event.id for event in history(client, session, order="desc")] == forwards[::-1]
    assert [event.id for event in history(client, session, limit=3)] == forwards
    tools = history(client, session, types=["agent.tool_use", "agent.tool_result"])
    assert [event.type for event in tools] == ["agent.tool_use", "agent.tool_result"]
    assert not {"event_start", "event_delta"} & set(types(client, session))
    with pytest.raises(anthropic.BadRequestError):
        history(client, session, types=["agent.nonsense"])


def test_list_filter_by_time(client, local_worker):
    session = make_session(client, "say: hello")
    wait_idle(client, session)
    events = history(client, session)
    boundary = events[3].processed_at
    later = history(client, session, created_at_gte=boundary)
    assert {event.id for event in later} == {event.id for event in events if event.processed_at >= boundary}


@pytest.mark.conformance(61)
def test_an_interrupt_ends_the_turn_and_the_next_message_starts_one(client, local_worker):
    session = slow_session(client)
    interrupt(client, session)
    assert wait_idle(client, session).status == "idle"
    events = history(client, session)
    stop = of_type(events, "user.interrupt")[0]
    assert stop.processed_at is not None
    assert of_type(events, "session.status_idle")[-1].stop_reason.type == "end_turn"
    assert of_type(events, "agent.message") == []
    send(client, session, text("slow 0.1s"))
    wait_for(client, session, "session.status_idle", count=2)
    assert len(of_type(history(client, session), "agent.message")) == 1


@pytest.mark.conformance(61)
def test_an_interrupt_and_a_message_in_one_request(client, local_worker):
    session = slow_session(client)
    send(client, session, {"type": "user.interrupt"}, text("slow 0.1s"))
    wait_for(client, session, "session.status_idle", count=2)
    order = [t for t in types(client, session) if t in ("user.interrupt", "session.status_idle", "agent.message")]
    assert order == ["user.interrupt", "session.status_idle", "agent.message", "session.status_idle"]


@pytest.mark.conformance(61)
def test_an_interrupt_kills_a_running_command(client, local_worker):
    session = make_session(client, "bash: sleep 60; echo late > /workspace/late.txt")
    wait_for(client, session, "agent.tool_use")
    interrupt(client, session)
    wait_idle(client, session, timeout_s=20)
    results = of_type(history(client, session), "agent.tool_result")
    assert len(results) == 1 and results[0].is_error and "interrupted" in said(results[0])
    send(client, session, text("bash: ls /workspace; pgrep -c sleep"))
    wait_for(client, session, "session.status_idle", count=2)
    after = of_type(history(client, session), "agent.tool_result")[-1]
    assert "late.txt" not in said(after)


@pytest.mark.conformance(62)
def test_an_interrupt_of_an_idle_session_does_nothing(client, local_worker):
    session = make_session(client, "say: hello")
    wait_idle(client, session)
    before = types(client, session)
    echo = interrupt(client, session).data[0]
    assert echo.processed_at is not None
    assert client.beta.sessions.retrieve(session.id).status == "idle"
    assert types(client, session) == [*before, "user.interrupt"]


@pytest.mark.conformance(63)
def test_messages_sent_while_running_are_processed_in_order(client, local_worker):
    session = slow_session(client, "slow 1s")
    send(client, session, text("slow 0.1s two"))
    send(client, session, text("slow 0.1s three"))
    wait_idle(client, session)
    messages = of_type(history(client, session), "user.message")
    assert [said(event) for event in messages] == ["slow 1s", "slow 0.1s two", "slow 0.1s three"]
    assert all(event.processed_at for event in messages)
    times = [event.processed_at for event in messages]
    assert times == sorted(times)


@pytest.mark.conformance(64)
@pytest.mark.parametrize(
    "event",
    [
        {"type": "user.message", "content": [{"type": "redacted"}]},
        {"type": "user.shouted", "content": []},
        {"type": "agent.message", "content": []},
        {"type": "user.message", "content": []},
        {"type": "user.message", "content": [{"type": "text", "text": "x"}], "extra": 1},
    ],
    ids=["redacted", "unknown type", "agent event", "no content", "unknown field"],
)
def test_one_bad_event_refuses_the_whole_request(client, event):
    session = make_session(client)
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, text("fine"), event)
    assert history(client, session) == []


def test_an_outcome_is_named_as_not_built_and_nothing_is_written(client):
    session = make_session(client)
    outcome = {"type": "user.define_outcome", "description": "A report", "rubric": {"type": "text", "content": "- ok"}}
    with pytest.raises(anthropic.APIStatusError, match="Outcomes") as refused:
        send(client, session, text("fine"), outcome)
    assert refused.value.status_code == 501
    assert history(client, session) == []


def test_a_system_message_accompanies_a_message(client, local_worker):
    session = make_session(client)
    system = {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]}
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, system, text("hello"))
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, text("hello"), system, system)
    send(client, session, text("say: hello"), system)
    wait_idle(client, session)
    events = history(client, session)
    assert of_type(events, "system.message")[0].processed_at is not None
    assert of_type(events, "session.error") == []


def test_text_that_no_database_can_hold_is_refused(raw, client):
    session = make_session(client)
    for body in ('{"events":[{"type":"user.message","content":[{"type":"text","text":"a\\u0000b"}]}]}',):
        answer = raw.post(f"/v1/sessions/{session.id}/events", content=body)
        assert answer.status_code == 400
    assert history(client, session) == []


@pytest.mark.conformance(71)
def test_a_failing_model_is_retried_then_exhausted_and_a_new_message_recovers(client, local_worker, settings):
    settings.DAYBREAK_MODEL_ATTEMPTS = 3
    session = make_session(client, "fault: 529", agent=make_agent(client, model="simulated/echo", tools=[]))
    wait_idle(client, session)
    events = history(client, session)
    errors = [(event.error.type, event.error.retry_status.type) for event in of_type(events, "session.error")]
    assert errors == [("model_overloaded_error", "retrying")] * 2 + [("model_overloaded_error", "exhausted")]
    order = types(client, session)
    assert order.index("session.error") < order.index("session.status_rescheduled")
    assert of_type(events, "session.status_idle")[-1].stop_reason.type == "retries_exhausted"
    send(client, session, text("hello again"))
    wait_for(client, session, "agent.message")


@pytest.mark.conformance(72)
def test_a_huge_result_is_spilled_with_a_preview(client, local_worker):
    session = make_session(client, "bash: seq 1 60000")
    wait_idle(client, session)
    shown = said(of_type(history(client, session), "agent.tool_result")[0])
    assert len(shown) < 110_000
    assert shown.startswith("1\n2\n") or "\n1\n2\n" in shown
    assert "60000" in shown
    path = next(word.strip("().,:`'\"") for word in shown.split() if word.startswith(("/tmp/", "/mnt/")))
    send(client, session, text(f"bash: wc -l < {path}"))
    wait_for(client, session, "session.status_idle", count=2)
    assert "60000" in said(of_type(history(client, session), "agent.tool_result")[-1])


@pytest.mark.conformance(73)
def test_compaction_is_an_event_and_history_stays(client, local_worker):
    agent = make_agent(client, model="simulated/tools-small-window")
    session = make_session(client, "bash: seq 1 4000", agent=agent)
    wait_idle(client, session)
    for turn in range(4):
        send(client, session, text(f"bash: seq {turn} 4000"))
        wait_for(client, session, "session.status_idle", count=turn + 2)
    events = history(client, session)
    assert of_type(events, "agent.thread_context_compacted")
    assert len(of_type(events, "user.message")) == 5
    assert len(of_type(events, "agent.tool_result")) == 5
    assert said(events[0]) == "bash: seq 1 4000"
