"""Moments at which two things happen at once, made to happen: interrupts, lost leases, archiving, failing steps."""

from __future__ import annotations

import threading

import psycopg
import pytest

from agents.errors import Invalid, NotFound, RequestCancelled
from agents.models import Event, Thread, ToolCall
from agents.providers.base import Cancellation
from agents.runtime import answers, engine, leases, recovery
from agents.runtime.worker import SWEEP_LOCK
from agents.runtime.workspace import workplace
from agents.sandbox import client as sandbox
from agents.services.events import send_events
from agents.services.rebuild import rebuild_state
from agents.services.sessions import archive_session
from tests.runs import TOOLSET, log_of, make_agent, message, send, start_session, texts_of, types_of, wait_idle
from tests.worker import wait_until

INTERRUPT = {"type": "user.interrupt"}


@pytest.fixture
def no_hints(settings, committed_db):
    """The test drives threads itself, one `advance` at a time."""
    settings.DAYBREAK_HINTS = False
    settings.DAYBREAK_RETRY_BASE_S = 0.0


def thread_of(session) -> Thread:
    return Thread.objects.get(session=session)


def drive(session, times: int = 10) -> None:
    for _ in range(times):
        engine.advance(thread_of(session).pk)


def during(monkeypatch, target, name, act) -> None:
    """Do `act` once, right before `target.name` runs."""
    real, done = getattr(target, name), []

    def wrapped(*args, **kwargs):
        if not done:
            done.append(True)
            worker = threading.Thread(target=act)
            worker.start()
            worker.join()
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, wrapped)


def test_an_interrupt_just_before_the_last_answer_is_stored_ends_the_turn(no_hints, workspace, monkeypatch):
    session = start_session(workspace, "say: hello")
    during(monkeypatch, answers, "commit", lambda: send(session, INTERRUPT))
    drive(session)
    session.refresh_from_db()
    stop = session.events.get(type="user.interrupt")
    assert stop.processed_at is not None
    assert session.status == "idle" and thread_of(session).runnable_at is None
    assert types_of(session).count("session.status_idle") == 1
    send(session, message("say: again"))
    drive(session)
    assert texts_of(session, "agent.message")[-1] == "again"
    assert types_of(session).count("session.status_idle") == 2
    assert rebuild_state(session) == []


def test_an_interrupt_just_before_a_question_is_stored_leaves_nothing_waiting(no_hints, workspace, monkeypatch):
    asking = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    session = start_session(workspace, "bash: echo hi", agent=make_agent(workspace, tools=[asking]))
    during(monkeypatch, answers, "commit", lambda: send(session, INTERRUPT))
    drive(session)
    session.refresh_from_db()
    assert session.stop_reason == {"type": "end_turn"}
    assert not ToolCall.objects.filter(session=session).exclude(state="done").exists()


def test_an_interrupt_during_a_failure_does_not_wait_for_the_retry(no_hints, workspace, monkeypatch, settings):
    settings.DAYBREAK_RETRY_BASE_S = 3000.0
    from agents.runtime import retries

    session = start_session(workspace, "fault: 529")
    during(monkeypatch, retries, "record_failure", lambda: send(session, INTERRUPT))
    drive(session)
    session.refresh_from_db()
    assert session.status == "idle" and session.stop_reason == {"type": "end_turn"}


def test_an_interrupt_ends_a_back_off_at_once(no_hints, workspace, settings):
    settings.DAYBREAK_RETRY_BASE_S = 3000.0
    session = start_session(workspace, "fault: 529")
    drive(session, 2)
    session.refresh_from_db()
    assert session.status == "rescheduling"
    send(session, INTERRUPT)
    drive(session, 2)
    session.refresh_from_db()
    assert session.status == "idle" and session.stop_reason == {"type": "end_turn"}


def test_an_interrupt_and_a_message_together_answer_what_waits_and_go_on(no_hints, workspace):
    asking = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    session = start_session(workspace, "bash: echo hi", agent=make_agent(workspace, tools=[asking]))
    drive(session, 2)
    session.refresh_from_db()
    assert session.stop_reason["type"] == "requires_action"
    send(session, INTERRUPT, message("say: something else"))
    drive(session)
    session.refresh_from_db()
    assert texts_of(session, "agent.message") == ["something else"]
    assert session.stop_reason == {"type": "end_turn"}


def test_an_archived_session_stays_archived_whatever_its_worker_had_in_hand(no_hints, workspace):
    asking = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    session = start_session(workspace, "bash: echo hi", agent=make_agent(workspace, tools=[asking]))
    drive(session, 2)
    send(session, INTERRUPT)
    run = leases.claim(thread_of(session).pk)
    archive_session(session)
    from agents.runtime import interrupts

    with pytest.raises(leases.Fenced):
        interrupts.finish(run)
    leases.release(run)
    session.refresh_from_db()
    assert session.status == "terminated" and types_of(session)[-1] == "session.status_terminated"
    assert rebuild_state(session) == []
    with pytest.raises(Invalid):
        send_events(session, events=[message("anyone?")])


def test_archiving_ends_every_thread_of_a_session(no_hints, workspace):
    session = start_session(workspace, None)
    primary = session.primary_thread
    Thread.objects.create(
        session=session, parent=primary, agent_name="child", agent_snapshot=primary.agent_snapshot, ordinal=1
    )
    archive_session(session)
    assert set(session.threads.values_list("status", flat=True)) == {"terminated"}
    assert [change for change in rebuild_state(session) if "thread_count" not in change] == []


def test_a_step_that_always_fails_is_given_up_after_a_few_tries(no_hints, workspace, monkeypatch, caplog):
    session = start_session(workspace, "say: hello")
    asked = []

    def broken(*args, **kwargs):
        asked.append(True)
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(answers, "commit", broken)
    drive(session, 12)
    session.refresh_from_db()
    assert len(asked) == 3
    assert session.stop_reason == {"type": "retries_exhausted"}
    error = next(row.data["error"] for row in log_of(session) if row.type == "session.error")
    assert error["type"] == "unknown_error" and "nobody foresaw" not in error["message"]
    assert "nobody foresaw this" in caplog.text
    types = types_of(session)
    assert types.count("span.model_request_start") == types.count("span.model_request_end")
    monkeypatch.undo()
    send(session, message("say: well again"))
    drive(session)
    assert texts_of(session, "agent.message") == ["well again"]


def test_a_message_with_a_file_that_is_gone_does_not_stop_the_session(no_hints, workspace):
    from agents.models import File
    from agents.services.blobs import store_bytes

    data = b"some text"
    file = File.objects.create(
        workspace=workspace, filename="a.txt", mime_type="text/plain", size_bytes=9, sha256=store_bytes(data)
    )
    document = {"type": "document", "source": {"type": "file", "file_id": file.public_id}}
    say = {"type": "user.message", "content": [document, {"type": "text", "text": "say: read it"}]}
    session = start_session(workspace, None)
    with pytest.raises(NotFound):
        send(
            session,
            {"type": "user.message", "content": [{**document, "source": {"type": "file", "file_id": "file_x"}}]},
        )
    send(session, say)
    file.delete()
    drive(session)
    session.refresh_from_db()
    assert session.stop_reason == {"type": "end_turn"}
    assert texts_of(session, "agent.message") == ["read it"]


@pytest.mark.bwrap
def test_a_worker_that_lost_its_lease_leaves_the_command_to_its_successor(workspace, local_worker):
    session = start_session(workspace, "bash: sleep 2; echo done")
    call = wait_until(lambda: ToolCall.objects.filter(session=session, state="running").first())
    spec = workplace(session.pk).spec
    wait_until(lambda: sandbox.lookup(spec, call.exec_id) == "running")
    late = Cancellation()
    listening = threading.Thread(
        target=lambda: pytest.raises(RequestCancelled, sandbox.reattach, spec, exec_id=call.exec_id, cancellation=late)
    )
    listening.start()
    late.cancel(lost=True)
    listening.join(10)
    wait_idle(session)
    assert texts_of(session, "agent.tool_result")[0].strip() == "done"


@pytest.mark.bwrap
def test_an_interrupt_after_a_workers_death_ends_the_command(workspace, make_local_worker):
    first = make_local_worker()
    session = start_session(workspace, "bash: sleep 60")
    call = wait_until(lambda: ToolCall.objects.filter(session=session, state="running").first())
    spec = workplace(session.pk).spec
    wait_until(lambda: sandbox.lookup(spec, call.exec_id) == "running")
    first.stop()  # lets go of the call without ending it, as a crash does
    assert sandbox.lookup(spec, call.exec_id) == "running"
    send(session, INTERRUPT)
    make_local_worker()
    wait_idle(session)
    assert sandbox.lookup(spec, call.exec_id) != "running"


def test_drill_6_the_sweep_survives_a_broker_that_refuses_hints(workspace, make_local_worker, monkeypatch):
    worker = make_local_worker(hints=False)

    def refuse(thread_pk: int) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(worker._runtime, "_hint", refuse)
    session = wait_idle(start_session(workspace, "say: hello"))
    assert session.stop_reason == {"type": "end_turn"}


def test_a_sweeper_that_hangs_does_not_keep_the_others_from_sweeping(workspace, make_local_worker, database_dsn):
    """A worker that is frozen in the middle of its sweep keeps the lock."""
    with psycopg.connect(database_dsn, autocommit=True) as frozen:
        frozen.execute("SELECT pg_advisory_lock(%s)", [SWEEP_LOCK])
        make_local_worker(hints=False)
        session = wait_idle(start_session(workspace, "say: hello"))
    assert session.stop_reason == {"type": "end_turn"}


def test_thousands_of_events_fit_into_one_request(no_hints, workspace):
    session = start_session(workspace, None)
    sent = send_events(session, events=[message(f"say: {number}") for number in range(5_500)])
    assert len(sent) == 5_500
    assert Event.objects.filter(session=session, type="user.message").count() == 5_500


def test_losing_a_race_for_a_thread_keeps_no_connection(no_hints, workspace):
    session = start_session(workspace, "say: hello")
    pk = thread_of(session).pk
    run = leases.claim(pk)
    losers = [threading.Thread(target=engine.advance, args=(pk,)) for _ in range(30)]
    for loser in losers:
        loser.start()
    for loser in losers:
        loser.join(10)
    assert not any(loser.is_alive() for loser in losers)
    leases.release(run)
    drive(session)
    assert texts_of(session, "agent.message") == ["hello"]


def test_drill_18_a_step_that_kills_its_workers_is_stopped_after_three(no_hints, workspace):
    session = start_session(workspace, "say: hello")
    thread = thread_of(session)
    for _ in range(3):
        run = leases.claim(thread.pk)
        recovery.recover(run)
        leases.held_runs.remove(run)  # as a crash does: the lease is never given back
        Thread.objects.filter(pk=thread.pk).update(lease_until="2020-01-01T00:00:00Z")
    drive(session, 2)
    session.refresh_from_db()
    assert session.stop_reason == {"type": "retries_exhausted"}
    assert session.error_count == 1
