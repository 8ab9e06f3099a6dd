"""The Anthropic provider against a local server that speaks the Messages API."""

from __future__ import annotations

import threading
import time

import pytest

from agents.errors import (
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
    RequestCancelled,
)
from agents.providers.anthropic import AnthropicProvider
from agents.providers.base import Answer, Cancellation, TextDelta, ThinkingStarted, Usage
from tests import fakes


def run(provider, request, cancellation=None):
    return list(provider.request(request, cancellation or Cancellation()))


def test_text_arrives_in_pieces_and_the_answer_comes_last(server, provider, make_request):
    server.add(fakes.answer("Good morning to you", thinking="hm"))
    events = run(provider, make_request())
    assert isinstance(events[0], ThinkingStarted)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Good morning to you"
    assert len([e for e in events if isinstance(e, TextDelta)]) == 3
    assert [type(e) for e in events].count(Answer) == 1
    assert events[-1].content == [
        {"type": "thinking", "thinking": "hm", "signature": "sig-1"},
        {"type": "text", "text": "Good morning to you"},
    ]
    assert events[-1].stop_reason == "end_turn"
    assert events[-1].response_id == "msg_test"
    assert events[-1].time_to_first_chunk_ms > 0


def test_tool_calls_are_plain_blocks(server, provider, make_request):
    server.add(fakes.answer("I look.", tool_calls=[("bash", {"command": "ls"}), ("noop", {})]))
    answer = run(provider, make_request())[-1]
    assert answer.content[1:] == [
        {"type": "tool_use", "id": "toolu_0", "name": "bash", "input": {"command": "ls"}},
        {"type": "tool_use", "id": "toolu_1", "name": "noop", "input": {}},
    ]
    assert answer.stop_reason == "tool_use"


def test_text_indexes_have_no_holes(server, provider, make_request):
    def text(words):
        return ({"type": "text", "text": ""}, [{"type": "text_delta", "text": words}])

    tool = ({"type": "tool_use", "id": "t", "name": "x", "input": {}}, [])
    empty = ({"type": "text", "text": ""}, [])
    server.add(fakes.blocks_answer([empty, text("one"), tool, text("two")], "tool_use"))
    events = run(provider, make_request())
    assert [(e.index, e.text) for e in events[:-1]] == [(0, "one"), (1, "two")]
    assert [b["type"] for b in events[-1].content] == ["text", "tool_use", "text"]


def test_redacted_thinking_is_kept_for_the_next_request(server, provider, make_request):
    block = {"type": "redacted_thinking", "data": "opaque"}
    server.add(fakes.blocks_answer([(block, [])]))
    events = run(provider, make_request())
    assert events[0] == ThinkingStarted()
    assert events[-1].content == [block]


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"input_tokens": 5, "output_tokens": 9}, Usage(5, 9)),
        (
            {
                "input_tokens": 5,
                "output_tokens": 9,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            },
            Usage(5, 9, 100, 10, 20),
        ),
        ({"input_tokens": 5, "output_tokens": 9, "cache_creation_input_tokens": 30}, Usage(5, 9, 0, 30)),
    ],
)
def test_usage_keeps_the_cache_split(server, provider, make_request, wire, expected):
    server.add(fakes.answer("ok", usage=wire))
    assert run(provider, make_request())[-1].usage == expected


def test_a_refusal_carries_its_details(server, provider, make_request):
    details = {"type": "refusal", "category": None, "explanation": "No."}
    server.add(fakes.answer("", stop_reason="refusal", stop_details=details))
    answer = run(provider, make_request())[-1]
    assert answer.stop_reason == "refusal"
    assert answer.stop_details["explanation"] == "No."


# Failures. Drill numbers are those of the runtime's failure drills.


def failure(server, provider, make_request, scripted):
    server.add(scripted)
    with pytest.raises(ProviderError) as caught:
        run(provider, make_request())
    assert len(server.requests) == 1, "the provider must not retry by itself"
    return caught.value


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "7"}, 7.0), ({"retry-after-ms": "250"}, 0.25), ({}, None), ({"retry-after": "soon"}, None)],
)
def test_drill_9_a_rate_limit_says_how_long_to_wait(server, provider, make_request, headers, seconds):
    scripted = fakes.error(429, "rate_limit_error", "Too many tokens.", headers=headers)
    error = failure(server, provider, make_request, scripted)
    assert type(error) is ProviderRateLimited
    assert error.retryable
    assert error.retry_after_s == seconds
    assert error.message == "Too many tokens."


@pytest.mark.parametrize(
    "scripted",
    [fakes.error(529, "overloaded_error", "Overloaded"), fakes.error_in_stream("overloaded_error", "Overloaded")],
)
def test_drill_10_overload_before_and_inside_a_stream(server, provider, make_request, scripted):
    error = failure(server, provider, make_request, scripted)
    assert type(error) is ProviderOverloaded
    assert error.retryable
    assert "Overloaded" in error.message


def ended_early():
    scripted = fakes.answer("A long answer that never comes to its end")
    scripted.events = scripted.events[:4]
    return scripted


@pytest.mark.parametrize(
    "scripted",
    [
        ended_early(),
        fakes.answer("cut", cut_after=3),
        fakes.answer("cut", cut_after=0),
        fakes.Scripted(raw_frames=[b"event: message_start\ndata: {not json\n\n"]),
        fakes.Scripted(raw_frames=[b"event: ping\ndata: {}\n\n"]),
        fakes.error_in_stream("api_error", "Internal"),
    ],
    ids=["clean end", "closed connection", "closed at once", "garbage", "nothing", "error frame"],
)
def test_drill_11_a_cut_stream_is_a_failure_worth_another_try(server, provider, make_request, scripted):
    error = failure(server, provider, make_request, scripted)
    assert type(error) is ProviderError
    assert error.retryable
    assert error.message


def test_drill_11_silence_ends_the_request(server, make_request):
    provider = AnthropicProvider(api_key="test-key", base_url=server.url, silence_s=0.2)
    error = failure(server, provider, make_request, fakes.answer("never", hang_after=2))
    provider.close()
    assert type(error) is ProviderError
    assert error.retryable
    assert error.message == "The model did not answer in time."


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_drill_12_a_refused_request_is_not_worth_another_try(server, provider, make_request, status):
    scripted = fakes.error(status, "invalid_request_error", "max_tokens: must be positive")
    error = failure(server, provider, make_request, scripted)
    assert type(error) is ProviderRejected
    assert not error.retryable
    assert error.message == "max_tokens: must be positive"


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_server_errors_are_worth_another_try(server, provider, make_request, status):
    error = failure(server, provider, make_request, fakes.error(status, "api_error", "Oops"))
    assert type(error) is ProviderError
    assert error.retryable


def test_the_vendor_may_forbid_a_retry(server, provider, make_request):
    scripted = fakes.error(429, "rate_limit_error", "Spent.", headers={"x-should-retry": "false"})
    assert type(failure(server, provider, make_request, scripted)) is ProviderRejected


def test_a_server_that_is_not_there_is_worth_another_try(server, make_request):
    url = server.url
    server.stop()
    provider = AnthropicProvider(api_key="test-key", base_url=url)
    with pytest.raises(ProviderError) as caught:
        run(provider, make_request())
    provider.close()
    assert caught.value.retryable
    assert "connection" in caught.value.message.lower()


@pytest.mark.parametrize("wire", ['{"command": ', '{"command": nope}', "[1, 2]", "{]"])
def test_drill_13_tool_input_that_is_not_a_json_object(server, provider, make_request, wire):
    scripted = fakes.answer("", tool_calls=[("bash", {})], raw_tool_json=wire)
    error = failure(server, provider, make_request, scripted)
    assert type(error) is ProviderError
    assert error.retryable


def test_a_tool_call_cut_by_the_token_limit_is_left_out(server, provider, make_request):
    server.add(
        fakes.answer("Wait", tool_calls=[("write", {})], raw_tool_json='{"content": "ab', stop_reason="max_tokens")
    )
    answer = run(provider, make_request())[-1]
    assert answer.stop_reason == "max_tokens"
    assert answer.content == [{"type": "text", "text": "Wait"}]


def test_a_ten_megabyte_argument_arrives_whole(server, provider, make_request):
    big = "x" * (10 * 1024 * 1024)
    server.add(fakes.answer("", tool_calls=[("write", {"content": big})], pieces=20))
    assert run(provider, make_request())[-1].content[0]["input"]["content"] == big


# Cancelling.


def cancel_while(provider, request, server, *, when):
    """Cancel from this thread while another one is in the request; the seconds until that one came back."""
    cancellation = Cancellation()
    outcome = {}

    def work():
        try:
            run(provider, request, cancellation)
        except Exception as exc:  # noqa: BLE001 — looked at below
            outcome["error"] = exc

    thread = threading.Thread(target=work)
    thread.start()
    server.wait_for_requests(1)
    when()
    started = time.monotonic()
    cancellation.cancel()
    thread.join(10)
    assert not thread.is_alive()
    return outcome["error"], time.monotonic() - started


@pytest.mark.parametrize(
    "scripted",
    [fakes.hanging(), fakes.answer("never", hang_after=0), fakes.answer("never", hang_after=3)],
    ids=["before headers", "before the first event", "in the middle"],
)
def test_cancelling_hangs_up_within_a_second(server, provider, make_request, scripted):
    server.add(scripted)
    error, seconds = cancel_while(provider, make_request(), server, when=lambda: time.sleep(0.1))
    assert type(error) is RequestCancelled
    assert seconds < 1
    assert server.disconnected.wait(2), "the server was left waiting"


def test_a_cancelled_connection_serves_the_next_request(server, provider, make_request):
    server.add(fakes.answer("never", hang_after=2))
    cancel_while(provider, make_request(), server, when=lambda: time.sleep(0.05))
    assert run(provider, make_request())[-1].content == [{"type": "text", "text": "ok"}]


def test_cancelling_a_finished_request_does_not_disturb_the_next(server, provider, make_request):
    first = Cancellation()
    run(provider, make_request(), first)
    stream = provider.request(make_request(), Cancellation())
    server.add(fakes.answer("still here", delay_s=0.02))
    events = [next(stream)]
    first.cancel()
    events += stream
    assert events[-1].content == [{"type": "text", "text": "still here"}]


def test_an_already_cancelled_request_is_never_sent(server, provider, make_request):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(RequestCancelled):
        run(provider, make_request(), cancellation)
    assert server.requests == []


def test_an_abandoned_stream_is_closed(server, provider, make_request):
    server.add(fakes.answer("long " * 50, pieces=100, delay_s=0.01))
    stream = provider.request(make_request(), Cancellation())
    next(stream)
    stream.close()
    assert server.disconnected.wait(5)


def test_connections_are_kept_for_the_next_request(server, provider, make_request):
    for _ in range(3):
        run(provider, make_request())
    assert server.connections == 1


def test_parallel_requests_do_not_wait_for_each_other(server, provider, make_request):
    server.add(*[fakes.answer("slow", delay_s=0.05) for _ in range(8)])
    threads = [threading.Thread(target=run, args=(provider, make_request())) for _ in range(8)]
    for thread in threads:
        thread.start()
    server.wait_for_requests(8)
    for thread in threads:
        thread.join(10)
    assert server.connections == 8


# What is sent.


def sent(server, provider, request):
    run(provider, request)
    return server.requests[-1].body


def test_the_request_is_streamed_and_signed_with_the_key(server, provider, make_request):
    body = sent(server, provider, make_request(max_tokens=123))
    assert body["stream"] is True
    assert body["max_tokens"] == 123
    assert "test-key" in server.requests[0].headers["authorization"]
    assert server.requests[0].headers["x-stainless-retry-count"] == "0"


def test_effort_and_thinking_only_where_the_model_takes_them(server, provider, make_request):
    body = sent(server, provider, make_request(effort="xhigh"))
    assert body["output_config"] == {"effort": "xhigh"}
    assert body["thinking"]["type"] == "adaptive"
    body = sent(server, provider, make_request(model="claude-opus-4-6", effort="xhigh"))
    assert "output_config" not in body
    body = sent(server, provider, make_request(model="claude-haiku-4-5", effort="high"))
    assert "output_config" not in body
    assert "thinking" not in body


def test_other_models_get_no_cache_marks(server, provider, make_request):
    body = sent(server, provider, make_request(model="qwen3", tools=[{"name": "t", "input_schema": {}}]))
    assert "cache_control" not in str(body)
    assert body["system"] == "You help."


def test_the_same_request_is_the_same_bytes(server, provider, make_request):
    bodies = [sent(server, provider, make_request(tools=[{"name": "t"}])) for _ in range(2)]
    assert bodies[0] == bodies[1]
