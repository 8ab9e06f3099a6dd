"""Reading spans: whatever the bytes, one kind of error, and no span lost without a word."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agents.ingestion.otlp import exports, otlp_json, protobuf, sessions
from agents.ingestion.otlp.span import InvalidTraces, Span, TooManyValues
from tests.agents.ingestion.test_broken_input import check_storable
from tests.api.trace_bodies import TRACE, as_json, request, span

pytestmark = pytest.mark.done_when(3)

quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
REQUEST = request(
    span(1, "invoke_agent lead", a={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "lead"}, took=9),
    span(2, "chat", 1, at=1, a={"gen_ai.operation.name": "chat", "gen_ai.output.messages": "[]", "n": 7, "f": 0.5}),
    span(3, "execute_tool look", 1, at=3, a={"gen_ai.operation.name": "execute_tool", "ok": True}, error="broke"),
)
BODY = REQUEST.SerializeToString()

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
KEYS = (
    "resourceSpans scopeSpans spans resource scope attributes traceId spanId parentSpanId name kind status code message"
    " startTimeUnixNano endTimeUnixNano events links key value stringValue intValue arrayValue kvlistValue values data"
    " processes trace observations context spanContext batches tags references"
).split()
near_misses = st.recursive(
    values | st.just(TRACE) | st.just("00f067aa0ba902b7"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)


def read_all(reader, body):
    try:
        return list(reader(body))
    except InvalidTraces:
        return None


def convert(spans):
    """Every session of the spans, with the checks that hold for any of them."""
    made = [sessions.convert(key, group) for key, group in sessions.group(spans).items()]
    for session in made:
        check_storable(session)
        check_told(session)
    return made


def check_told(session):
    """Every span is told by an event, or counted in a note."""
    told = {(event.private or {}).get("span") for event in session.events} - {None}
    ids = {s.span_id for s in session.spans}
    assert told <= ids
    named = {s for s in ids if any(s in event.external_id for event in session.events)} | told
    if not session.notes and not any(event.type == "agent.tool_use" for event in session.events):
        starters = {s.span_id for s in session.spans if _opens_a_thread(s)}
        assert ids <= named | starters


def _opens_a_thread(span):
    from agents.ingestion.otlp.dialects import read_span

    return read_span(span).kind in ("agent", "tool")


@quickly
@given(st.binary(max_size=200))
def test_random_bytes_raise_one_error_or_give_spans(body):
    found = read_all(protobuf.read_spans, body)

    if found:
        convert([s for s in found if exports.usable(s)])


@quickly
@given(st.data())
def test_mutated_bodies_raise_one_error_or_give_spans(data):
    body = bytearray(BODY)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(body) - 1))
        if data.draw(st.booleans()):
            body[place] = data.draw(st.integers(0, 255))
        else:
            del body[place : place + data.draw(st.integers(1, 9))]
    found = read_all(protobuf.read_spans, bytes(body))

    if found:
        convert([s for s in found if exports.usable(s)])


@quickly
@given(near_misses)
def test_random_json_raises_one_error_or_gives_spans(value):
    for reader in (otlp_json.read_spans, exports.read_spans):
        found = read_all(reader, value)
        if found:
            convert([s for s in found if exports.usable(s)])


def test_both_encodings_give_the_same_spans():
    binary = list(protobuf.read_spans(BODY))
    text = list(otlp_json.read_spans(json.loads(json.dumps(as_json(REQUEST)))))

    assert binary == text
    assert [s.body() for s in binary] == [Span.from_body(s.trace_id, s.span_id, s.body()).body() for s in binary]


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x00" * 200_000,
        b"\x0a\x80\x80\x10" + b"\x12\x00" * 2**17,
        ExportTraceServiceRequest(
            resource_spans=[{"scope_spans": [{"spans": [{"attributes": [{"key": ""}] * 300_000}]}]}]
        ).SerializeToString(),
    ],
    ids=["resources", "scopes", "attributes"],
)
def test_very_many_tiny_values_are_refused_before_they_take_memory(body):
    tracemalloc.start()
    with pytest.raises(InvalidTraces):
        list(protobuf.read_spans(body))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 32 * 2**20


def test_very_many_tiny_json_values_are_refused_before_they_are_parsed():
    with pytest.raises(TooManyValues):
        otlp_json.check_size(b"[" + b"{}," * 1_000_000)


# Span graphs


CONTENTS = [
    {},
    {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "one"},
    {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "two"},
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.input.messages": '[{"role": "user", "content": "Yes."}, {"role": "user", "content": "Yes."}]',
        "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "No."},'
        ' {"type": "tool_call", "id": "c1", "name": "look", "arguments": {"task": "find"}}]}]',
    },
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": '[{"role": "user", "content": "Yes."}, {"role": "assistant", "content": "No."},'
        ' {"role": "tool", "tool_call_id": "c1", "content": "found"}]',
    },
    {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.call.id": "c1",
        "gen_ai.tool.call.arguments": '{"task": "find"}',
        "gen_ai.tool.call.result": "found",
    },
    {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look", "gen_ai.tool.call.arguments": "{}"},
    {"input.value": "something", "openinference.span.kind": "CHAIN"},
    {"anthropic.session.thread.id": "sthr_elsewhere", "gen_ai.operation.name": "chat"},
]
spans_of_a_trace = st.lists(
    st.builds(
        lambda number, parent, start, took, content, status: Span(
            TRACE,
            f"{number:016x}",
            f"{parent:016x}" if parent else "",
            f"span {number}",
            1,
            start * 10**9 if start else 0,
            max(0, (start + took)) * 10**9,
            status,
            attributes=dict(CONTENTS[content]),
        ),
        st.integers(1, 12),
        st.integers(0, 12),
        st.integers(0, 6),
        st.integers(-2, 5),
        st.integers(0, len(CONTENTS) - 1),
        st.sampled_from((0, 0, 1, 2)),
    ),
    min_size=1,
    max_size=14,
)


def story(session):
    return [[thread.key, thread.agent_name, thread.parent] for thread in session.threads], [
        [e.external_id, e.thread, e.type, e.payload, e.private, e.at, e.cause] for e in session.events
    ]


@settings(max_examples=150, deadline=None)
@given(spans_of_a_trace, st.randoms(use_true_random=False))
def test_any_graph_of_spans_is_told_the_same_in_any_order(spans, random):
    """Circles, missing parents, clocks that run backwards and repeated ids included."""
    copies = [Span.from_body(s.trace_id, s.span_id, s.body()) for s in spans]
    random.shuffle(copies)

    (first,) = convert(spans)
    (second,) = convert(copies)

    assert story(first) == story(second)


@settings(max_examples=100, deadline=None)
@given(spans_of_a_trace)
def test_causes_come_before_effects_and_results_after_their_calls(spans):
    (session,) = convert(spans)
    seen = {}

    for event in session.events:
        if event.cause is not None and event.cause in seen:
            assert seen[event.cause] < len(seen)
        seen[event.external_id] = len(seen)
        if event.type == "agent.tool_result" and (event.private or {}).get("tool_use") != "not in the trace":
            assert event.payload["tool_use_id"] in seen
        if event.type == "span.model_request_end":
            assert event.payload["model_request_start_id"] in seen
    messages = [e for e in session.events if e.type.startswith("agent.thread_message")]
    joined = [(e.private["message_id"], e.type) for e in messages]
    assert len(set(joined)) == len(joined)
    assert {m for m, t in joined if t.endswith("sent")} == {m for m, t in joined if t.endswith("received")}


def test_ten_thousand_parents_in_a_line_do_not_exhaust_the_stack():
    spans = [
        Span(TRACE, f"{n:016x}", f"{n - 1:016x}" if n > 1 else "", "deep", 1, n * 10**9, n * 10**9 + 1)
        for n in range(1, 10_001)
    ]
    (session,) = [sessions.convert(key, group) for key, group in sessions.group(spans).items()]

    assert len(session.events) == 5_000
    assert "5000 spans have neither content nor an error" in session.notes[0]
