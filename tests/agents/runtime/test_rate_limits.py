"""A provider that says how long to wait is not asked before, by nobody who uses its key."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from agents.models import ModelAttempt, ProviderHold, Session, Thread
from agents.providers import catalog
from agents.runtime import engine
from agents.services import provider_holds
from agents.services.rebuild import rebuild_state
from tests.fakes import MessagesServer, answer, error
from tests.runs import log_of, make_agent, message, send, start_session, texts_of, types_of, wait_idle
from tests.worker import wait_until

MODEL = "claude-haiku-4-5"
API_KEY = "sk-test-a-key-nobody-may-see"


@pytest.fixture
def vendor(monkeypatch):
    """A vendor's server, and a key for it."""
    with MessagesServer() as running:
        monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        yield running
        catalog.provider_for(MODEL).close()


@pytest.fixture
def by_hand(settings, committed_db):
    """The test drives threads itself, one `advance` at a time."""
    settings.DAYBREAK_HINTS = False
    settings.DAYBREAK_RETRY_BASE_S = 0.0


def rate_limited(retry_after: str) -> object:
    return error(429, "rate_limit_error", "Slow down.", headers={"retry-after": retry_after})


def plain_agent(workspace, model=MODEL):
    return make_agent(workspace, model=model, tools=[])


def drive(session, times=1):
    for _ in range(times):
        for pk in session.threads.order_by("ordinal").values_list("pk", flat=True):
            engine.advance(pk)
    session.refresh_from_db()
    return session


def end_of(hold):
    """Let the database's clock reach the end of a hold."""
    past = timezone.now() - timedelta(seconds=5)
    ProviderHold.objects.filter(pk=hold.pk).update(until=past)
    Thread.objects.filter(runnable_at__isnull=False).update(runnable_at=past)


def first(session, type_):
    return next(row for row in log_of(session) if row.type == type_)


def test_b6_19_drill_9_a_retry_after_delays_every_thread_of_the_key(workspace, vendor, local_worker):
    vendor.add(rate_limited("2"))
    agent = plain_agent(workspace)
    limited, *others = [start_session(workspace, None, agent=agent) for _ in range(5)]
    send(limited, message("hello"))
    hold = wait_until(lambda: ProviderHold.objects.first())
    for session in others:
        send(session, message("hello"))
    for session in [limited, *others]:
        assert wait_idle(session).stop_reason == {"type": "end_turn"}
        assert rebuild_state(session) == []

    refused_at = first(limited, "session.error").created_at
    attempts = ModelAttempt.objects.filter(step__session=limited).order_by("attempt")
    assert [attempt.error_type for attempt in attempts] == ["model_rate_limited_error", ""]
    assert attempts[1].started_at - refused_at >= timedelta(seconds=2)
    for session in others:
        start = first(session, "span.model_request_start")
        assert start.created_at >= hold.until, "the first request came after the hold"
        assert start.created_at - refused_at >= timedelta(seconds=2)
        assert types_of(session).count("span.model_request_start") == 1
        assert "session.error" not in types_of(session), "it made no attempt that could fail"
    assert len(vendor.requests) == 1 + 1 + len(others)

    types = types_of(limited)
    failed = types.index("session.error")
    assert types[failed - 1 : failed + 3] == [
        "span.model_request_end",
        "session.error",
        "session.thread_status_rescheduled",
        "session.status_rescheduled",
    ]
    assert first(limited, "session.error").data["error"]["retry_status"] == {"type": "retrying"}


def test_b6_19_drill_10_an_overload_without_end_gives_up_after_the_configured_attempts(
    workspace, local_worker, settings
):
    settings.DAYBREAK_MODEL_ATTEMPTS = 4
    session = wait_idle(start_session(workspace, "fault: 529"))
    assert session.stop_reason == {"type": "retries_exhausted"}
    errors = [row.data["error"] for row in log_of(session) if row.type == "session.error"]
    assert [error["retry_status"]["type"] for error in errors] == ["retrying"] * 3 + ["exhausted"]
    assert {error["type"] for error in errors} == {"model_overloaded_error"}
    attempts = ModelAttempt.objects.filter(step__session=session).order_by("attempt")
    assert [attempt.attempt for attempt in attempts] == [1, 2, 3, 4]
    types = types_of(session)
    assert types.count("span.model_request_start") == types.count("span.model_request_end") == 4
    assert types.count("session.status_rescheduled") == 3
    send(session, message("say: well again"))
    assert texts_of(wait_idle(session), "agent.message")[-1] == "well again"


def test_a_held_thread_makes_no_attempt_and_says_that_it_waits(workspace, vendor, by_hand):
    vendor.add(rate_limited("600"))
    agent = plain_agent(workspace)
    limited, held = (start_session(workspace, "hello", agent=agent) for _ in range(2))
    drive(limited)
    drive(held)
    for session in (limited, held):
        thread = session.primary_thread
        assert (session.status, thread.status, thread.phase) == ("rescheduling", "rescheduling", "backoff")
        assert thread.runnable_at > timezone.now() + timedelta(seconds=500)
    assert types_of(held)[-2:] == ["session.thread_status_rescheduled", "session.status_rescheduled"]
    assert not ModelAttempt.objects.filter(step__session=held).exists()
    before = types_of(held)
    Thread.objects.filter(session=held).update(runnable_at=timezone.now() - timedelta(seconds=1))
    drive(held, 3)
    assert types_of(held) == before, "it is said once"
    assert held.primary_thread.model_attempts == 0

    end_of(ProviderHold.objects.get())
    drive(held)
    drive(limited)
    assert (limited.stop_reason, held.stop_reason) == ({"type": "end_turn"}, {"type": "end_turn"})
    assert ModelAttempt.objects.get(step__session=held).attempt == 1
    assert rebuild_state(held) == rebuild_state(limited) == []


def test_agents_of_a_team_wait_together(workspace, vendor, by_hand):
    worker = make_agent(workspace, name="worker", model=MODEL, tools=[])
    lead = make_agent(
        workspace, name="lead", model=MODEL, tools=[], multiagent={"type": "coordinator", "agents": [worker.public_id]}
    )
    calls = [("spawn_agent", {"agent": "worker", "task": "Do it."})] * 3
    vendor.add(answer(tool_calls=[*calls, ("wait_for_agents", {})]), rate_limited("600"))
    session = drive(start_session(workspace, "go", agent=lead), 2)
    children = list(session.threads.filter(parent__isnull=False))
    assert [thread.status for thread in children] == ["rescheduling"] * 3
    assert session.status == "rescheduling"
    assert len(vendor.requests) == 2, "the lead's, and that of one of three agents"
    end_of(ProviderHold.objects.get())
    drive(session, 2)
    assert (session.status, session.stop_reason) == ("idle", {"type": "end_turn"})
    assert len(vendor.requests) == 2 + 3 + 1
    assert rebuild_state(session) == []


def test_another_key_is_not_held(workspace, vendor, by_hand, monkeypatch):
    vendor.add(rate_limited("600"))
    drive(start_session(workspace, "hello", agent=plain_agent(workspace)))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-another-key")
    free = drive(start_session(workspace, "hello", agent=plain_agent(workspace)))
    assert free.stop_reason == {"type": "end_turn"}
    catalog.provider_for(MODEL).close()
    monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
    with MessagesServer() as elsewhere:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", elsewhere.url)
        free = drive(start_session(workspace, "hello", agent=plain_agent(workspace)))
        catalog.provider_for(MODEL).close()
        assert free.stop_reason == {"type": "end_turn"}
        assert len(elsewhere.requests) == 1
    monkeypatch.setenv("ANTHROPIC_BASE_URL", vendor.url)
    held = drive(start_session(workspace, "hello", agent=plain_agent(workspace, "claude-opus-5-5")))
    assert held.status == "rescheduling", "a key is limited, not one of its models"


def test_a_hold_does_not_keep_the_key(workspace, vendor, by_hand):
    vendor.add(rate_limited("600"))
    drive(start_session(workspace, "hello", agent=plain_agent(workspace)))
    assert API_KEY not in ProviderHold.objects.get().key


@pytest.mark.parametrize(
    ("status", "type_"), [(429, "rate_limit_error"), (529, "overloaded_error"), (503, "api_error")]
)
def test_whatever_names_a_time_holds(workspace, vendor, by_hand, status, type_):
    vendor.add(error(status, type_, "Later.", headers={"retry-after": "600"}))
    agent = plain_agent(workspace)
    drive(start_session(workspace, "hello", agent=agent))
    assert drive(start_session(workspace, "hello", agent=agent)).status == "rescheduling"


@pytest.mark.parametrize("headers", [{}, {"retry-after": "0"}, {"retry-after": "soon"}])
def test_a_rate_limit_without_a_time_holds_nobody_else(workspace, vendor, by_hand, headers):
    vendor.add(error(429, "rate_limit_error", "Slow down.", headers=headers))
    agent = plain_agent(workspace)
    limited = drive(start_session(workspace, "hello", agent=agent))
    assert not ProviderHold.objects.exists()
    assert drive(start_session(workspace, "hello", agent=agent)).stop_reason == {"type": "end_turn"}
    assert drive(limited).stop_reason == {"type": "end_turn"}


def test_a_refused_request_holds_nobody(workspace, vendor, by_hand):
    vendor.add(error(400, "invalid_request_error", "No.", headers={"retry-after": "600"}))
    assert drive(start_session(workspace, "hello", agent=plain_agent(workspace))).stop_reason == {
        "type": "retries_exhausted"
    }
    assert not ProviderHold.objects.exists()


def test_the_last_attempt_that_is_told_to_wait_holds_the_others(workspace, vendor, by_hand, settings):
    settings.DAYBREAK_MODEL_ATTEMPTS = 1
    vendor.add(rate_limited("600"))
    agent = plain_agent(workspace)
    assert drive(start_session(workspace, "hello", agent=agent)).stop_reason == {"type": "retries_exhausted"}
    assert drive(start_session(workspace, "hello", agent=agent)).status == "rescheduling"


def test_a_simulated_fault_holds_its_own_session_only(workspace, by_hand):
    limited = drive(start_session(workspace, "fault: 429=600"))
    assert limited.status == "rescheduling"
    assert drive(start_session(workspace, "say: hello")).stop_reason == {"type": "end_turn"}
    assert ProviderHold.objects.get().key == provider_holds.key_of(limited, "simulated/tools")


def test_an_interrupt_ends_the_wait(workspace, vendor, by_hand):
    vendor.add(rate_limited("600"))
    agent = plain_agent(workspace)
    limited, held = (start_session(workspace, "hello", agent=agent) for _ in range(2))
    for session in (limited, held):
        drive(session)
        send(session, {"type": "user.interrupt"})
        drive(session)
        assert (session.status, session.stop_reason) == ("idle", {"type": "end_turn"})
    send(held, message("again"))
    assert drive(held).status == "rescheduling", "the hold goes on"
    assert types_of(held).count("span.model_request_start") == 0


def test_a_message_during_the_wait_is_part_of_the_request_that_follows(workspace, vendor, by_hand):
    vendor.add(rate_limited("600"))
    agent = plain_agent(workspace)
    drive(start_session(workspace, "hello", agent=agent))
    held = drive(start_session(workspace, "first", agent=agent))
    send(held, message("second"))
    end_of(ProviderHold.objects.get())
    drive(held)
    asked = vendor.requests[-1].body["messages"]
    said = [block["text"] for entry in asked for block in entry["content"]]
    assert said == ["first", "second"]


def test_drill_15_a_workers_wrong_clock_changes_no_hold(workspace, vendor, by_hand):
    vendor.add(rate_limited("600"))
    agent = plain_agent(workspace)
    limited, held = (start_session(workspace, "hello", agent=agent) for _ in range(2))
    right = timezone.now()
    with time_machine.travel(right + timedelta(minutes=15), tick=True):
        drive(limited)
        drive(held)
    until = ProviderHold.objects.get().until
    assert abs(until - right - timedelta(seconds=600)) < timedelta(seconds=60)
    assert held.status == "rescheduling"
    assert held.primary_thread.runnable_at - until <= timedelta(seconds=provider_holds.SPREAD_S)


def test_a_hold_is_lengthened_never_shortened(db):
    until = provider_holds.hold("some-key", 100)
    assert provider_holds.hold("some-key", 1) == until
    assert provider_holds.held_until("some-key") == until
    assert provider_holds.hold("some-key", 200) > until
    assert provider_holds.held_until("another-key") is None


def test_a_hold_that_is_over_holds_nobody_and_goes_in_the_end(db):
    hold = ProviderHold.objects.create(key="old", until=timezone.now() - timedelta(seconds=1))
    assert provider_holds.held_until("old") is None
    provider_holds.hold("new", 1)
    assert ProviderHold.objects.filter(key="old").exists()
    ProviderHold.objects.filter(pk=hold.pk).update(until=timezone.now() - timedelta(days=1))
    provider_holds.hold("new", 1)
    assert not ProviderHold.objects.filter(key="old").exists()
    assert provider_holds.hold("new", 5) > timezone.now()


def test_threads_begin_one_after_another_when_a_hold_ends():
    until = timezone.now()
    threads = [Thread(public_id=f"sthr_{number}") for number in range(25)]
    times = [provider_holds.turn_after(until, thread) for thread in threads]
    assert times == [provider_holds.turn_after(until, thread) for thread in threads]
    assert all(until <= time <= until + timedelta(seconds=provider_holds.SPREAD_S) for time in times)
    assert len(set(times)) > 15


def test_the_look_up_is_one_query(workspace, by_hand, django_assert_num_queries):
    session = Session(pk=1)
    with django_assert_num_queries(1):
        assert provider_holds.held_until(provider_holds.key_of(session, MODEL)) is None
