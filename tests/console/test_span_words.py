"""Spans of traces on the session's page: told in words, opened with all they carry, harmless whatever they say."""

from __future__ import annotations

import pytest

from agents.ingestion.otlp.span import Span
from tests.console.hostile import PAYLOADS

pytestmark = pytest.mark.done_when(1)

TRACE = "0af7651916cd43dd8448eb211c80319c"
START = 1_760_000_000_000_000_000


def words(private, **data):
    from console.story.words import Context, words_for

    return words_for("daybreak.span", {"name": "checkout", "is_error": False, **data}, private, Context())


def test_a_span_says_what_it_is_and_what_it_is_about():
    told = words({"attributes": {"input.value": "a customer pays"}, "duration_ms": 1200})

    assert (told.says, told.text, told.tone) == ("recorded checkout", "a customer pays · 1.2 s", "quiet")


def test_a_failed_span_says_why():
    told = words({"attributes": {}}, is_error=True, error="card refused")

    assert (told.says, told.text, told.tone) == ("failed in checkout", "card refused", "failed")


def test_odd_contents_raise_nothing():
    assert words({"attributes": ["no", "object"]}).text == "(its content has an unexpected shape)"


@pytest.fixture
def hostile_trace(workspace):
    from agents.services import traces, traces_told

    spans = []
    for number, payload in enumerate(PAYLOADS, start=1):
        attributes = {"input.value": payload, payload: payload, "openinference.span.kind": "CHAIN"}
        if number % 3 == 0:
            attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": payload}
            del attributes["openinference.span.kind"]
        at = START + number * 10**9
        spans.append(
            Span(
                TRACE,
                f"{number:016x}",
                "",
                payload,
                1,
                at,
                at + 10**8,
                2 if number % 4 == 0 else 0,
                payload,
                attributes,
            )
        )
    traces.store(workspace, spans)
    traces_told.tell_waiting(everything=True)
    from agents.models import Session

    return Session.objects.get()


def test_hostile_spans_are_shown_as_text(page, hostile_trace):
    listed = page.get(f"/sessions/{hostile_trace.public_id}")

    assert listed.status_code == 200
    body = listed.content.decode()
    assert "window.pwned=1</script>" not in body
    assert "<img src=x" not in body
    assert "<svg" not in body.replace('<svg class="icon', "").replace("<svg aria-hidden", "") or "onload" not in body


def test_a_span_opens_with_its_attributes(workspace, page):
    from agents.models import Session
    from agents.services import traces, traces_told

    attributes = {"input.value": "hello", "colour.of.the.sky": "blue"}
    traces.store(workspace, [Span(TRACE, f"{1:016x}", "", "note", 1, START, START + 10**9, attributes=attributes)])
    traces_told.tell_waiting(everything=True)
    session = Session.objects.get()
    event = session.events.get()

    opened = page.get(f"/sessions/{session.public_id}/events/{event.public_id}")

    assert opened.status_code == 200
    assert "colour.of.the.sky" in opened.content.decode()
