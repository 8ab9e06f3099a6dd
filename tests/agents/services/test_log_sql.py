"""Rows of the engine's own SQL are the rows that the models' managers read and write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, models, transaction

from agents.models import Blob, Event, ModelAttempt, Session, Step, Thread, ToolCall
from agents.services import log_sql
from tests.runs import start_session

WRITTEN = (Event, Step, ModelAttempt, ToolCall, Blob, Thread, Session)
MOMENT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
EXAMPLES: dict[type[models.Field], Any] = {
    models.BinaryField: b"\x00\xff",
    models.BooleanField: True,
    models.CharField: "ü'\"\\ ",
    models.DateTimeField: MOMENT,
    models.FloatField: 1.5,
    models.JSONField: {"b": [1, None, "ü"], "a": {"%s": "$1"}},
    models.TextField: '{"text": "%s $1 \\u0041 ü"}',
}


@pytest.fixture
def session(workspace):
    return start_session(workspace, "hello")


@pytest.fixture
def related(session):
    """A stored row of each model that others refer to."""
    thread = session.primary_thread
    step = Step.objects.create(session=session, thread=thread, no=1, kind="model_request", epoch=1, worker="w")
    event = session.events.order_by("seq").first()
    return {
        "session": session,
        "thread": thread,
        "parent": thread,
        "step": step,
        **dict.fromkeys(("start_event", "use_event", "result_event", "crosspost_event"), event),
        **{name: getattr(session, name) for name in ("workspace", "agent", "environment", "created_by")},
    }


def make_row(model: type[models.Model], related: dict[str, Any], *, full: bool) -> models.Model:
    """A row with every field set, or with every optional one left out."""
    row = model()
    for number, field in enumerate(model._meta.concrete_fields, start=70):
        if field.primary_key and field is model._meta.auto_field:
            continue
        if field.is_relation and (full or not field.null):
            setattr(row, field.name, related[field.name])
        elif not field.is_relation and (full or not (field.null or field.has_default())):
            setattr(row, field.attname, _example(field, number))
    return row


def _example(field: models.Field, number: int) -> Any:
    if isinstance(field, models.IntegerField):
        return number
    value = EXAMPLES[type(field)]
    return f"{value}{number}"[: field.max_length] if isinstance(field, models.CharField) else value


def picture(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.mark.parametrize("full", [True, False], ids=["full", "sparse"])
@pytest.mark.parametrize("model", WRITTEN, ids=lambda model: model.__name__)
def test_an_inserted_row_is_what_the_manager_reads(related, model, full):
    row = make_row(model, related, full=full)
    if model is Thread:
        row.parent = related["parent"]  # a session has one primary thread
    log_sql.insert([row])
    if model is not Blob:
        assert row.pk
    stored = model.objects.get(pk=row.pk)
    written, read = picture(row), picture(stored)
    for name, value in read.items():
        assert bytes(value) == bytes(written[name]) if isinstance(value, memoryview) else value == written[name], name
    if model is not Blob:
        assert picture(log_sql.select(model, "r.id = $1", row.pk)[0]) == read


@pytest.mark.parametrize(
    "model", [Event, Step, ModelAttempt, ToolCall, Thread, Session], ids=lambda model: model.__name__
)
def test_an_updated_row_is_what_the_manager_reads(related, model):
    row = make_row(model, related, full=False)
    if model is Thread:
        row.parent = related["parent"]
    log_sql.insert([row])
    for name, value in picture(make_row(model, related, full=True)).items():
        if name != "id":
            setattr(row, name, value)
    names = [field.name for field in model._meta.concrete_fields if not field.primary_key]
    log_sql.update([(row, names)])
    assert picture(model.objects.get(pk=row.pk)) == picture(row)


def test_a_locked_session_and_thread_are_what_the_manager_reads(session):
    thread = session.primary_thread
    with transaction.atomic():
        found = log_sql.lock_session_and_thread(session.pk, thread.pk)
        assert found is not None
        assert picture(found[0]) == picture(Session.objects.get(pk=session.pk))
        assert picture(found[1]) == picture(thread)
        assert found[1].session is found[0]
        assert log_sql.lock_session_and_thread(session.pk, thread.pk + 1) is None
        assert log_sql.lock_session(0) is None


def test_one_statement_changes_several_rows(related, session):
    thread = session.primary_thread
    session.title, thread.agent_name, related["step"].worker = "A", "B", "C"
    log_sql.update(
        [(session, ["title"]), (thread, ["agent_name"]), (related["step"], ["worker"])],
        notification=("daybreak_event", "1:1"),
    )
    assert Session.objects.get(pk=session.pk).title == "A"
    assert Thread.objects.get(pk=thread.pk).agent_name == "B"
    assert Step.objects.get(pk=related["step"].pk).worker == "C"


def test_open_calls_come_in_the_order_of_their_events(related, session):
    thread, made = session.primary_thread, []
    events = list(session.events.order_by("-seq")[:2])
    for event in events:
        made.append(
            ToolCall.objects.create(
                session=session,
                thread=thread,
                use_event=event,
                name="bash",
                state="ready",
                exec_id="e",
                input_sha256="0",
            )
        )
    calls = log_sql.open_calls(thread.pk)
    assert [call.pk for call in calls] == [call.pk for call in reversed(made)]
    assert [picture(call.use_event) for call in calls] == [picture(event) for event in reversed(events)]
    ToolCall.objects.filter(pk=made[0].pk).update(state="done")
    assert [call.pk for call in log_sql.open_calls(thread.pk)] == [made[1].pk]


def test_what_the_database_refuses_is_djangos_error(related, session):
    with pytest.raises(DatabaseError), transaction.atomic():
        log_sql.insert([Step(session=session, thread=session.primary_thread, no=1, kind="x", epoch=1, worker="w")])
    assert log_sql.execute("SELECT 1") == [(1,)]


def test_a_conflict_that_may_be_is_passed_over(workspace):
    log_sql.insert([Blob(sha256="0" * 64, size_bytes=1, data=b"a")], ignore_conflicts=True)
    log_sql.insert([Blob(sha256="0" * 64, size_bytes=2, data=b"bb")], ignore_conflicts=True)
    assert bytes(Blob.objects.get(pk="0" * 64).data) == b"a"
