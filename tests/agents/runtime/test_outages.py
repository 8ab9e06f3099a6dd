"""A database that goes away in the middle of a step: the worker that was cut off has done nothing wrong."""

from __future__ import annotations

import psycopg
import pytest
from django.db import DataError, InterfaceError, OperationalError

from agents.models import Session, Thread
from agents.runtime import answers, engine, leases
from agents.runtime.outages import is_outage
from agents.runtime.worker import WorkerRuntime
from tests.invariants import check_session
from tests.runs import make_agent, start_session, texts_of


@pytest.fixture
def heart(committed_db, settings, database_dsn, monkeypatch):
    """The test drives threads itself; the connection is the heartbeat's."""
    settings.DAYBREAK_HINTS = False
    settings.DAYBREAK_RETRY_BASE_S = 0.0
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "0")
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        yield connection
    leases.held_runs.take_cut_off()


def away(message: str = "server closed the connection unexpectedly") -> OperationalError:
    error = OperationalError(message)
    error.__cause__ = psycopg.OperationalError(message)
    return error


def echo(workspace) -> Session:
    return start_session(workspace, "hello", agent=make_agent(workspace, model="simulated/echo", tools=[]))


def thread_of(session: Session) -> Thread:
    return Thread.objects.get(session=session)


def cut_off(session: Session, monkeypatch, error: Exception) -> None:
    """Drive the session until the commit of an answer fails like this."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(answers, "commit", fail)
        engine.advance(thread_of(session).pk)


def expire(session: Session) -> None:
    Thread.objects.filter(session=session).update(lease_until="2020-01-01T00:00:00Z")


def test_drill_8_a_step_survives_any_number_of_outages(workspace, heart, monkeypatch):
    session = echo(workspace)
    for _ in range(5):
        cut_off(session, monkeypatch, away())
        assert thread_of(session).lease_owner, "nobody could say that it was given back"
        leases.hand_back(heart)
        thread = thread_of(session)
        assert (thread.lease_owner, thread.lease_until, thread.takeovers) == ("", None, 0)
    engine.advance(thread_of(session).pk)
    session.refresh_from_db()
    assert session.stop_reason == {"type": "end_turn"}
    assert len(texts_of(session, "agent.message")) == 1
    check_session(session)


def test_drill_8_who_was_faster_than_the_hand_back_took_over_from_nobody(workspace, heart, monkeypatch):
    session = echo(workspace)
    for _ in range(5):
        cut_off(session, monkeypatch, away())
        expire(session)
        run = leases.claim(thread_of(session).pk)
        assert run is not None and run.takeovers <= 1
        leases.hand_back(heart)
        thread = thread_of(session)
        assert thread.takeovers == 0 and thread.lease_epoch == run.epoch and thread.lease_owner
        leases.release(run)
    engine.advance(thread_of(session).pk)
    session.refresh_from_db()
    assert session.stop_reason == {"type": "end_turn"}


def test_a_lease_found_lost_when_the_database_is_back_is_no_takeover(workspace, heart):
    session = echo(workspace)
    first = leases.claim(thread_of(session).pk)
    expire(session)
    second = leases.claim(thread_of(session).pk)
    assert second.takeovers == 1
    leases.extend([first], heart, after_outage=True)  # it is not in the list of those held: already lost
    leases.held_runs.add(first)
    leases.extend([first], heart, after_outage=True)
    assert first.lost
    leases.hand_back(heart)
    assert thread_of(session).takeovers == 0
    leases.held_runs.add(second)
    leases.release(second)


def test_what_the_database_refuses_counts_against_the_step(workspace, heart, monkeypatch, caplog):
    session = echo(workspace)
    for _ in range(3):
        refused = DataError("value too long")
        refused.__cause__ = psycopg.errors.StringDataRightTruncation("value too long")
        cut_off(session, monkeypatch, refused)
    session.refresh_from_db()
    assert session.stop_reason == {"type": "retries_exhausted"}
    assert "value too long" in caplog.text
    check_session(session)


def test_a_database_that_is_away_when_a_failure_is_written_keeps_no_lease(workspace, heart, monkeypatch):
    from agents.runtime import recovery

    session = echo(workspace)

    def fail(*args: object) -> None:
        raise away()

    with monkeypatch.context() as patched:
        patched.setattr(recovery, "back_off", fail)
        cut_off(session, monkeypatch, KeyError("nobody foresaw this"))
    assert leases.held_runs.get(thread_of(session).pk) is None
    leases.hand_back(heart)
    assert thread_of(session).lease_owner == ""


def test_the_heartbeat_hands_back_when_the_database_answers_again(workspace, heart, monkeypatch):
    session = echo(workspace)
    cut_off(session, monkeypatch, away())
    runtime = WorkerRuntime(hint=lambda pk: None)
    with monkeypatch.context() as patched:
        patched.setattr(psycopg, "connect", lambda *args, **kwargs: (_ for _ in ()).throw(psycopg.OperationalError()))
        with pytest.raises(psycopg.OperationalError):
            runtime._beat()
    assert thread_of(session).lease_owner
    runtime._beat()
    assert thread_of(session).lease_owner == ""
    runtime._heart.close()


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (away(), True),
        (InterfaceError("connection already closed"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.UniqueViolation(), False),
        (psycopg.errors.ProgramLimitExceeded(), False),
        (psycopg.errors.OutOfMemory(), False),
        (DataError("NUL"), False),
        (KeyError("other"), False),
    ],
)
def test_only_the_absence_of_the_database_is_an_outage(error, wanted):
    assert is_outage(error) is wanted
