"""The simulated provider as the engine meets it: determinism, streaming, time, cancelling, usage."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import ProviderRejected, RequestCancelled
from agents.providers.base import Cancellation, ModelRequest, TextDelta, ThinkingStarted
from agents.providers.simulated import SimulatedProvider

TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("bash", "glob", "read", "write")]


def say(text):
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def make(model="simulated/default", text="Hello there", **changes):
    given = {"model": model, "system": "s", "messages": [say(text)], "seed": "sesn/sthr/1/1", **changes}
    return ModelRequest(**given)


def run(request, scale=0.0, cancellation=None):
    return list(SimulatedProvider(scale).request(request, cancellation or Cancellation()))


@pytest.mark.parametrize("model", ["default", "echo", "tools", "slow", "build-log-triage", "disk-check"])
def test_the_same_request_gives_the_same_events(model):
    request = make(f"simulated/{model}", "bash: echo 1\nslow 10ms\nlist the files", tools=TOOLS)
    assert repr(run(request)) == repr(run(request))


def test_only_the_attempt_in_the_seed_changes_nothing():
    first = run(make("simulated/tools", "bash: ls", seed="sesn/sthr/1/1"))
    assert run(make("simulated/tools", "bash: ls", seed="sesn/sthr/1/2")) == first
    assert run(make("simulated/tools", "bash: ls", seed="sesn/sthr/2/1")) != first


def test_tool_call_ids_differ_between_steps_threads_and_calls():
    script = "parallel:\n  bash: ls\n  bash: ls"
    seeds = ["sesn/a/1/1", "sesn/a/2/1", "sesn/b/1/1"]
    answers = [run(make("simulated/tools", script, seed=seed))[-1] for seed in seeds]
    assert len({block["id"] for answer in answers for block in answer.content}) == 6


def test_thinking_comes_first_and_text_in_several_pieces():
    events = run(make("simulated/default"))
    assert isinstance(events[0], ThinkingStarted)
    pieces = [event for event in events if isinstance(event, TextDelta)]
    assert len(pieces) > 3
    assert {piece.index for piece in pieces} == {0}
    assert "".join(piece.text for piece in pieces) == events[-1].content[1]["text"]
    assert events[-1].content[0]["signature"]


@pytest.mark.parametrize("text", ["hi", "abcdefghijklmnop", "two words", "  leading\n\nlines\n"])
def test_echo_streams_its_message_word_for_word(text):
    events = run(make("simulated/echo", text))
    assert len(events) > 2
    assert "".join(event.text for event in events[:-1]) == text
    assert events[-1].content == [{"type": "text", "text": text}]
    assert events[-1].stop_reason == "end_turn"


def test_the_engines_compaction_request_gets_a_summary_of_facts():
    messages = [
        say("bash: echo hi"),
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t", "name": "bash", "input": {"command": "echo hi"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "hi"}]},
        say("Summarise the conversation so far. Keep what is needed to go on."),
    ]
    answer = run(make("simulated/tools", messages=messages))[-1]
    assert "- bash echo hi -> ok: hi" in answer.content[0]["text"]
    assert "Keep what is needed" not in answer.content[0]["text"]
    # With tools it is an ordinary message.
    assert "Summary written" not in run(make("simulated/echo", messages=messages, tools=TOOLS))[-1].content[0]["text"]


def test_the_instruction_may_follow_the_results_of_tools():
    messages = [
        say("bash: echo hi"),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "bash", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "hi"},
                {"type": "text", "text": "Summarise the conversation so far."},
            ],
        },
    ]
    summary = run(make("simulated/tools", messages=messages))[-1].content[0]["text"]
    on = run(make("simulated/tools", messages=[say(summary)], tools=TOOLS))[-1]
    assert on.content[0]["text"].startswith("Simulated model: 1 calls, 0 with an error.")


def test_usage_reads_the_repeated_prefix_from_the_cache():
    first = make("simulated/echo", "word " * 2_000)
    usage = run(first)[-1].usage
    assert usage.cache_read_input_tokens == 0
    reply = {"role": "assistant", "content": [{"type": "text", "text": "ok"}]}
    second = run(replace(first, messages=[*first.messages, reply, say("more")]))[-1].usage
    assert second.cache_read_input_tokens == usage.context_tokens
    assert second.context_tokens > usage.context_tokens
    assert second.output_tokens > 0
    assert run(make("simulated/echo", "short"))[-1].usage.cache_read_input_tokens == 0


def test_a_prompt_beyond_the_window_is_refused():
    with pytest.raises(ProviderRejected, match="too long"):
        run(make("simulated/tools-small-window", "x" * 40_000))


def test_an_unknown_scenario_is_refused_with_the_known_ones():
    with pytest.raises(ProviderRejected, match=r"simulated/echo"):
        run(make("simulated/nothing"))


# Time.


def test_answers_take_between_200_and_1500_ms_and_the_scale_sets_how_much(monkeypatch):
    waited = []
    monkeypatch.setattr(Cancellation, "wait", lambda self, seconds: waited.append(seconds) or False)
    totals = []
    for number in range(20):
        waited.clear()
        run(make("simulated/echo", f"text {number}"), scale=1.0)
        totals.append(sum(waited))
    assert all(0.2 <= total <= 1.5 for total in totals)
    assert max(totals) - min(totals) > 0.3
    waited.clear()
    run(make("simulated/echo", "text 0"), scale=0.5)
    assert sum(waited) == pytest.approx(totals[0] / 2)


def test_the_scale_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "0")
    provider = SimulatedProvider()
    assert list(provider.request(make(), Cancellation()))[-1].time_to_first_chunk_ms == 0
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "fast")
    with pytest.raises(ProviderRejected, match="DAYBREAK_SIMULATED_LATENCY"):
        list(provider.request(make(), Cancellation()))


def test_slow_takes_the_time_it_names_even_at_scale_zero(monkeypatch):
    waited = []
    monkeypatch.setattr(Cancellation, "wait", lambda self, seconds: waited.append(seconds) or False)
    events = run(make("simulated/slow", "please be slow 3s"))
    assert sum(waited) == pytest.approx(3.0)
    assert len(events) > 20


@pytest.mark.parametrize("request_", [make("simulated/slow", "slow 60s"), make("simulated/echo", "x\nfault: slow=60")])
def test_cancelling_a_slow_answer_ends_it_within_a_second(request_):
    cancellation = Cancellation()
    outcome = {}

    def work():
        try:
            run(request_, cancellation=cancellation)
        except RequestCancelled as exc:
            outcome["error"] = exc

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    started = time.monotonic()
    cancellation.cancel()
    thread.join(5)
    assert isinstance(outcome["error"], RequestCancelled)
    assert time.monotonic() - started < 1


def test_a_cancelled_request_gives_no_answer():
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(RequestCancelled):
        run(make(), cancellation=cancellation)


# Whatever the messages hold, there is an answer.

blocks = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "tool_use", "tool_result", "image", "thinking"])},
        optional={
            "text": st.one_of(st.none(), st.text(max_size=10)),
            "id": st.integers(0, 2),
            "tool_use_id": st.integers(0, 2),
            "name": st.sampled_from(["bash", "read", "glob"]),
            "input": st.one_of(st.none(), st.dictionaries(st.text(max_size=4), st.integers(), max_size=2)),
            "content": st.one_of(st.none(), st.text(max_size=10), st.lists(st.none(), max_size=1)),
            "is_error": st.one_of(st.none(), st.booleans()),
        },
    ),
)
messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system"]),
            "content": st.one_of(st.none(), st.text(max_size=20), st.lists(blocks, max_size=4)),
        }
    ),
    max_size=6,
)


@settings(deadline=None)
@given(messages, st.sampled_from(["default", "echo", "tools", "build-log-triage", "disk-check"]))
def test_odd_messages_never_break_it(given_messages, model):
    request = make(f"simulated/{model}", messages=given_messages, tools=TOOLS)
    assert run(request) == run(request)
