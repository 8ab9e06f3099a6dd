"""Stored spans on timelines: the same rows whatever order they came in, and nothing lost on the way."""

from __future__ import annotations

import json
import random
from io import StringIO

import pytest

from agents.ingestion.otlp.span import Span
from tests.agents.ingestion.test_service import check_consistent

pytestmark = [pytest.mark.django_db, pytest.mark.done_when(1)]

TRACE = "0af7651916cd43dd8448eb211c80319c"
SECOND = 10**9


@pytest.fixture
def workspace():
    from agents.models import Workspace

    return Workspace.objects.create(name="Home", slug="home")


def made(number, name, parent=0, *, at=0, took=1, trace=TRACE, status=0, **attributes):
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    start = (at + 1_000) * SECOND
    parent_id = f"{parent:016x}" if parent else ""
    return Span(trace, f"{number:016x}", parent_id, name, 1, start, start + took * SECOND, status, "", named)


def chat(number, parent, at, asked, said):
    return made(
        number,
        "chat",
        parent,
        at=at,
        gen_ai__operation__name="chat",
        gen_ai__request__model="claude-sonnet-4-5",
        gen_ai__usage__input_tokens=10 * number,
        gen_ai__usage__output_tokens=number,
        gen_ai__input__messages=json.dumps(asked),
        gen_ai__output__messages=json.dumps(said),
    )


def agent(number, parent, at, took, name):
    return made(
        number, "run", parent, at=at, took=took, gen_ai__operation__name="invoke_agent", gen_ai__agent__name=name
    )


def tool(number, parent, at, took, name, call, arguments, result, status=0):
    return made(
        number,
        f"execute_tool {name}",
        parent,
        at=at,
        took=took,
        status=status,
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name=name,
        gen_ai__tool__call__id=call,
        gen_ai__tool__call__arguments=json.dumps(arguments),
        gen_ai__tool__call__result=result,
    )


def user(text):
    return {"role": "user", "content": text}


def assistant(*parts):
    return {"role": "assistant", "parts": list(parts)}


def text(value):
    return {"type": "text", "content": value}


def call(identity, name, **arguments):
    return {"type": "tool_call", "id": identity, "name": name, "arguments": arguments}


def team():
    """A lead that asks a researcher, who uses a tool that fails once; the history repeats in every request."""
    asked = user("How many moons?")
    delegates = assistant(text("I ask."), call("c1", "research", task="Count the moons."))
    searches = assistant(call("c2", "search", query="moons"))
    tries = assistant(call("c3", "search", query="moons of Mars"))
    told = {"role": "tool", "tool_call_id": "c1", "content": "Two."}
    task = user("Count the moons.")
    return [
        agent(1, 0, 0, 60, "lead"),
        chat(2, 1, 1, [asked], [delegates]),
        tool(3, 1, 5, 30, "research", "c1", {"task": "Count the moons."}, "Two."),
        agent(4, 3, 6, 25, "researcher"),
        chat(5, 4, 7, [task], [searches]),
        tool(6, 4, 9, 1, "search", "c2", {"query": "moons"}, None, status=2),
        chat(7, 4, 11, [task, searches, {"role": "tool", "tool_call_id": "c2", "content": "timeout"}], [tries]),
        tool(8, 4, 13, 1, "search", "c3", {"query": "moons of Mars"}, "Phobos, Deimos"),
        chat(9, 4, 15, [task, searches, tries], [assistant(text("Two."))]),
        chat(10, 1, 40, [asked, delegates, told], [assistant(text("Mars has two moons."))]),
        made(11, "GET /", 1, at=41),
    ]


def store(workspace, spans):
    from agents.services import traces, traces_told

    traces.store(workspace, [Span.from_body(s.trace_id, s.span_id, s.body()) for s in spans])
    traces_told.tell_waiting(everything=True)


def only(workspace):
    from agents.models import Session

    return Session.objects.in_workspace(workspace).get()


def rows(session):
    """The log with everything that names a row replaced by the row's place."""
    events = list(session.events.order_by("seq").select_related("thread"))
    ids = {event.public_id: f"event {event.seq}" for event in events}
    ids |= {thread.public_id: f"thread {thread.external_id}" for thread in session.threads.all()}
    told = [
        [e.seq, e.type, e.thread.external_id, e.payload, e.private, e.cause_seq, e.external_id, str(e.created_at)]
        for e in events
    ]
    written = json.dumps(told)
    for public_id, place in ids.items():
        written = written.replace(public_id, place)
    threads = sorted(session.threads.values_list("external_id", "agent_name", "parent__external_id", "ordinal"))
    figures = (session.title, session.event_count, session.tool_call_count, session.thread_count, session.input_tokens)
    return json.loads(written), threads, figures


def test_a_team_is_told_with_its_delegation_and_its_history_once(workspace):
    store(workspace, team())

    session = only(workspace)
    check_consistent(session)
    log = list(session.events.order_by("seq").select_related("thread"))
    told = [(event.thread.agent_name, event.type.removeprefix("agent.")) for event in log]
    assert told == [
        ("lead", "user.message"),
        ("lead", "span.model_request_start"),
        ("lead", "message"),
        ("lead", "tool_use"),
        ("lead", "span.model_request_end"),
        ("lead", "session.thread_created"),
        ("lead", "thread_message_sent"),
        ("researcher", "thread_message_received"),
        ("researcher", "span.model_request_start"),
        ("researcher", "tool_use"),
        ("researcher", "span.model_request_end"),
        ("researcher", "tool_result"),
        ("researcher", "span.model_request_start"),
        ("researcher", "tool_use"),
        ("researcher", "span.model_request_end"),
        ("researcher", "tool_result"),
        ("researcher", "span.model_request_start"),
        ("researcher", "message"),
        ("researcher", "span.model_request_end"),
        ("researcher", "thread_message_sent"),
        ("lead", "thread_message_received"),
        ("lead", "tool_result"),
        ("lead", "span.model_request_start"),
        ("lead", "message"),
        ("lead", "span.model_request_end"),
    ]
    by_seq = {event.seq: event for event in log}
    task, received = log[6], log[7]
    assert task.private_data["message_id"] == received.private_data["message_id"]
    assert by_seq[received.cause_seq] == task
    assert by_seq[task.cause_seq].type == "agent.tool_use"
    failed = log[11]
    assert failed.data["is_error"] is True
    assert failed.data["content"] == [{"type": "text", "text": "timeout"}]
    assert session.metadata["import_notes"].startswith("1 span has neither content nor an error")


@pytest.mark.parametrize("seed", range(12))
def test_any_order_and_any_split_ends_in_the_same_rows(workspace, seed):
    from agents.models import Workspace

    dice = random.Random(seed)
    spans = team()
    other = Workspace.objects.create(name="Other", slug="other")
    store(other, spans)
    dice.shuffle(spans)
    ids = {}
    while spans:
        size = dice.randint(1, 5)
        part, spans = spans[:size], spans[size:]
        store(workspace, part)
        session = only(workspace)
        check_consistent(session)
        now = dict(session.events.values_list("external_id", "public_id"))
        assert all(now[name] == public_id for name, public_id in ids.items() if name in now)
        ids |= now

    assert rows(only(workspace)) == rows(only(other))


def test_what_people_said_stays_where_it_belongs(workspace):
    spans = team()
    store(workspace, spans[4:9])
    session = only(workspace)
    for event in session.events.all():
        session.annotations.create(event=event, kind="note", text=event.public_id, author_name="Ann")

    store(workspace, spans[:4] + spans[9:])

    check_consistent(session)
    told = {annotation.text: annotation.event for annotation in session.annotations.select_related("event")}
    assert {text for text, event in told.items() if event.public_id == text} == set(told)
    assert {event.thread.agent_name for event in told.values()} <= {"researcher", "lead"}


def test_traces_of_one_session_id_are_one_session(workspace):
    def turn(trace, at, asked):
        named = {"session.id": "s-1"}
        spans = [
            agent(1, 0, at, 5, "bot"),
            chat(2, 1, at + 1, [user(asked)], [assistant(text(f"Answer to {asked}"))]),
        ]
        for span in spans:
            span.trace_id = trace
            span.attributes |= named
        return spans

    store(workspace, turn("11" * 16, 100, "Second?"))
    store(workspace, turn("22" * 16, 0, "First?"))

    session = only(workspace)
    check_consistent(session)
    asked = [e.data["content"][0]["text"] for e in session.events.filter(type="user.message").order_by("seq")]
    assert (session.external_id, asked, session.thread_count) == ("s-1", ["First?", "Second?"], 1)


def test_a_name_for_the_session_that_comes_late_moves_the_trace(workspace):
    from agents.models import Session

    spans = team()
    store(workspace, spans[:6])
    spans[8].attributes["session.id"] = "named"
    store(workspace, spans[6:])

    named = Session.objects.in_workspace(workspace).filter(external_id="named").get()
    check_consistent(named)
    assert named.events.filter(type="agent.tool_use").count() == 3
    assert not Session.objects.in_workspace(workspace).exclude(pk=named.pk).exists()


def test_one_session_that_cannot_be_told_does_not_hold_up_the_others(workspace, monkeypatch):
    from agents.ingestion.otlp import sessions
    from agents.models import Trace

    real = sessions.convert

    def breaks(key, spans):
        if key == "ff" * 16:
            raise RuntimeError("boom")
        return real(key, spans)

    monkeypatch.setattr(sessions, "convert", breaks)
    odd = made(1, "x", trace="ff" * 16)
    store(workspace, [odd, *team()])

    assert only(workspace).external_id == TRACE
    assert Trace.objects.get(trace_id="ff" * 16).problem == "boom"
    assert not Trace.objects.exclude(waiting_since=None).exists()


def test_an_archived_session_takes_no_more_spans_and_says_so(workspace):
    from django.utils import timezone

    from agents.models import Session, Trace

    store(workspace, team()[:6])
    Session.objects.update(archived_at=timezone.now())
    store(workspace, team()[6:])

    assert "archived" in Trace.objects.get().problem


def test_deleting_a_session_deletes_its_spans(workspace):
    from agents.models import Trace, TraceSpan
    from agents.services.sessions import delete_session

    store(workspace, team())
    delete_session(only(workspace))

    assert (Trace.objects.count(), TraceSpan.objects.count()) == (0, 0)


def run_import(*paths, **options):
    from django.core.management import call_command

    out, err = StringIO(), StringIO()
    call_command("import_traces", *map(str, paths), stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def otlp_file(folder, spans):
    """Collector style: one export per line."""
    lines = []
    for span in spans:
        attributes = [{"key": k, "value": {"stringValue": str(v)}} for k, v in span.attributes.items()]
        told = {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "parentSpanId": span.parent_id,
            "name": span.name,
            "startTimeUnixNano": str(span.start),
            "endTimeUnixNano": str(span.end),
            "status": {"code": span.status},
            "attributes": attributes,
        }
        lines.append(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [told]}]}]}))
    path = folder / "traces.json"
    path.write_text("\n".join(lines))
    return path


def test_a_file_of_spans_is_imported_once_and_joined_with_what_was_sent(workspace, tmp_path):
    spans = team()
    store(workspace, spans[:3])
    path = otlp_file(tmp_path, spans[3:])

    told, _ = run_import(path, format="otlp")
    again, _ = run_import(path)

    session = only(workspace)
    check_consistent(session)
    assert session.events.count() == 25
    assert "imported 1 sessions" in told
    assert "nothing new" in again


def test_the_shared_traces_are_imported_by_the_command(workspace, shared_data):
    from agents.models import Session

    told, skipped = run_import(*(shared_data / name for name in ("agentevals", "any-agent", "langfuse", "agento-otlp")))
    run_import(shared_data / "inspect", format="inspect")

    assert skipped.count("an evaluation set, not a trace") == 2
    for session in Session.objects.exclude(title__startswith="..."):  # results without their calls
        check_consistent(session)
    formats = list(Session.objects.values_list("imported_format", flat=True))
    # Four of Langfuse's exports are of one session; one log of Inspect is there in both of its forms.
    assert formats.count("otlp") == 3 + 4 + (14 - 3) + 2
    assert formats.count("inspect") == 11
    again, _ = run_import(shared_data / "langfuse")
    assert "imported 0 sessions, 0 events" in again


def test_a_session_of_too_many_spans_says_so(workspace, monkeypatch):
    from agents.services import traces_told

    monkeypatch.setattr(traces_told, "MAX_SPANS", 5)
    store(workspace, team())

    assert "more spans than can be shown" in only(workspace).metadata["import_notes"]
