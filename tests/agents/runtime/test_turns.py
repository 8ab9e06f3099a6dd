"""One thread, start to end: order of events, usage, queues, limits, and what is kept beside the wire."""

from __future__ import annotations

import pytest

from agents.models import Blob, ModelAttempt, Step
from agents.services.rebuild import rebuild_state
from tests.runs import (
    log_of,
    make_agent,
    message,
    send,
    start_session,
    texts_of,
    types_of,
    wait_idle,
)
from tests.worker import wait_until


def test_a_turn_emits_its_events_in_the_documented_order(workspace, local_worker):
    session = wait_idle(start_session(workspace, "bash: echo hi"))

    types = types_of(session)
    assert types[:4] == [
        "user.message",
        "session.status_running",
        "session.thread_status_running",
        "span.model_request_start",
    ]
    assert types[-3:] == ["session.thread_status_idle", "session.usage", "session.status_idle"]
    use, end = types.index("agent.tool_use"), types.index("span.model_request_end")
    assert use < end < types.index("agent.tool_result")
    assert types.count("span.model_request_start") == types.count("span.model_request_end")
    assert session.stop_reason == {"type": "end_turn"}


def test_an_echo_answers_with_the_text_of_the_message(workspace, local_worker):
    agent = make_agent(workspace, model="simulated/echo", tools=[])
    session = wait_idle(start_session(workspace, "grüße, мир, 世界", agent=agent))
    assert any("grüße, мир, 世界" in text for text in texts_of(session, "agent.message"))


def test_sequence_numbers_are_dense_and_marks_stay_internal(workspace, local_worker):
    session = wait_idle(start_session(workspace, "bash: echo one\nbash: echo two"))
    everything = log_of(session, visible=False)
    assert [row.seq for row in everything] == list(range(1, len(everything) + 1))
    assert session.last_seq == len(everything)
    assert session.event_count == len(log_of(session))
    assert all(not row.type.startswith("daybreak.") for row in log_of(session))


def test_messages_sent_while_running_are_processed_in_order(workspace, local_worker):
    agent = make_agent(workspace, model="simulated/slow", tools=[])
    session = start_session(workspace, "slow 1s", agent=agent)
    wait_until(lambda: "span.model_request_start" in types_of(session))
    send(session, message("second"))
    send(session, message("third"))
    wait_idle(session)
    stream = list(session.primary_thread.events.filter(visible=True).order_by("position"))
    said = [row for row in stream if row.type == "user.message"]
    assert [row.data["content"][0]["text"] for row in said] == ["slow 1s", "second", "third"]
    assert all(row.processed_at is not None for row in said)
    first_end = next(row for row in stream if row.type == "span.model_request_end")
    assert said[1].position > first_end.position, "a queued message stands where it was processed"


def test_every_step_keeps_its_cause_and_its_exact_request(workspace, local_worker):
    session = wait_idle(start_session(workspace, "bash: echo hi"))
    events = {row.seq: row for row in log_of(session, visible=False)}
    for row in events.values():
        if row.type in ("agent.tool_use", "agent.message", "agent.tool_result", "span.model_request_end"):
            assert row.cause_seq in events, row.type
    result = next(row for row in events.values() if row.type == "agent.tool_result")
    assert events[result.cause_seq].type == "agent.tool_use"

    attempts = ModelAttempt.objects.filter(step__session=session)
    assert attempts.count() == types_of(session).count("span.model_request_start")
    for attempt in attempts:
        assert Blob.objects.filter(pk__in=[attempt.request_sha256, attempt.response_sha256]).count() == 2
        assert attempt.simulated
    assert set(Step.objects.filter(session=session).values_list("state", flat=True)) == {"committed"}


def test_usage_is_the_sum_of_the_spans(workspace, local_worker):
    session = wait_idle(start_session(workspace, "bash: echo hi\nbash: echo ho"))
    spans = [row.data["model_usage"] for row in log_of(session) if row.type == "span.model_request_end"]
    assert session.input_tokens == sum(span["input_tokens"] for span in spans) > 0
    assert session.output_tokens == sum(span["output_tokens"] for span in spans) > 0
    assert session.cache_read_input_tokens == sum(span["cache_read_input_tokens"] for span in spans)


def test_rebuilding_from_the_log_changes_nothing(workspace, local_worker):
    session = wait_idle(start_session(workspace, "bash: echo hi\nread: /nowhere"))
    assert rebuild_state(session) == []


def test_rebuilding_repairs_a_broken_cache(workspace, local_worker):
    session = wait_idle(start_session(workspace, "bash: echo hi"))
    right = (session.status, session.event_count, session.input_tokens)
    type(session).objects.filter(pk=session.pk).update(status="running", event_count=1, input_tokens=5)
    session.refresh_from_db()
    changed = rebuild_state(session)
    assert len(changed) == 3
    assert (session.status, session.event_count, session.input_tokens) == right


def test_a_model_without_a_provider_ends_the_turn_with_a_clear_error(workspace, local_worker, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    agent = make_agent(workspace, model="claude-opus-4-5")
    session = wait_idle(start_session(workspace, "hello", agent=agent))
    error = next(row.data["error"] for row in log_of(session) if row.type == "session.error")
    assert error["type"] == "model_request_failed_error"
    assert "set ANTHROPIC_API_KEY or use simulated/default" in error["message"]
    assert error["retry_status"] == {"type": "exhausted"}
    assert session.stop_reason == {"type": "retries_exhausted"}


def test_failures_are_retried_and_each_attempt_is_in_the_log(workspace, local_worker):
    agent = make_agent(workspace, model="simulated/echo", tools=[])
    session = wait_idle(start_session(workspace, "fault: 529x2", agent=agent))
    types = types_of(session)
    errors = [row.data["error"] for row in log_of(session) if row.type == "session.error"]
    assert [error["type"] for error in errors] == ["model_overloaded_error"] * 2
    assert {error["retry_status"]["type"] for error in errors} == {"retrying"}
    assert types.count("span.model_request_start") == 3 == types.count("span.model_request_end")
    assert types.count("session.status_rescheduled") == 2
    rescheduled = [row.created_at for row in log_of(session) if row.type == "session.status_rescheduled"]
    resumed = [row.created_at for row in log_of(session) if row.type == "session.status_running"][1:]
    waits = [(after - before).total_seconds() for before, after in zip(rescheduled, resumed, strict=True)]
    assert waits[0] >= 0.05 and waits[1] >= 0.1, "each retry waits longer"
    assert session.stop_reason == {"type": "end_turn"}


def test_failing_for_ever_ends_exhausted_and_a_new_message_recovers(workspace, local_worker, settings):
    settings.DAYBREAK_MODEL_ATTEMPTS = 3
    agent = make_agent(workspace, model="simulated/echo", tools=[])
    session = wait_idle(start_session(workspace, "fault: 529", agent=agent))
    assert session.stop_reason == {"type": "retries_exhausted"}
    last = [row.data["error"] for row in log_of(session) if row.type == "session.error"][-1]
    assert last["retry_status"] == {"type": "exhausted"}
    send(session, message("hello again"))
    wait_idle(session)
    assert session.stop_reason == {"type": "end_turn"}


@pytest.mark.parametrize("hints", [True, False])
def test_polling_alone_makes_progress(workspace, make_local_worker, hints):
    make_local_worker(hints=hints)
    session = wait_idle(start_session(workspace, "bash: echo hi"))
    assert session.stop_reason == {"type": "end_turn"}


def test_the_same_call_with_the_same_result_is_stopped(workspace, local_worker):
    session = wait_idle(start_session(workspace, "\n".join(["bash: echo same"] * 8)))
    results = texts_of(session, "agent.tool_result")
    assert "third time" in results[2]
    assert len(results) == 6
    error = next(row.data["error"] for row in log_of(session) if row.type == "session.error")
    assert error["type"] == "tool_use_limit_reached_error"
    assert session.stop_reason == {"type": "retries_exhausted"}
