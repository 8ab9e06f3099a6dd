"""Fault words: which attempts and which answers go wrong, and that the work is done all the same."""

from __future__ import annotations

import pytest

from agents.errors import (
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)
from agents.providers.base import Cancellation, ModelRequest, TextDelta
from agents.providers.simulated import SimulatedProvider
from agents.simulator.faults import FOREVER, Fault, read_faults
from tests.agents.simulator.driver import FILE_TOOLS, Sandbox, ask, drive, say

TOOLS = ("bash", *FILE_TOOLS)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("529", Fault("529")),
        ("529x2", Fault("529", times=2)),
        ("429x1=7", Fault("429", times=1, value=7.0)),
        ("timeoutx2@3", Fault("timeout", times=2, step=3)),
        ("cut_stream@*", Fault("cut_stream", step=None)),
        ("slow=0.5", Fault("slow", value=0.5)),
        ("huge_output", Fault("huge_output", times=1)),
        ("LOOPx4", Fault("loop", times=4)),
    ],
)
def test_words_are_read(word, expected):
    assert read_faults(f"please\nfault: {word}") == [expected]


def test_several_words_and_lines():
    assert [f.name for f in read_faults("fault: 529x1, slow\nFaults: refuse")] == ["529", "slow", "refuse"]
    assert read_faults("nothing to see") == []
    assert read_faults("529x2 is only a number here") == []
    assert FOREVER > 1_000


@pytest.mark.parametrize("word", ["banana", "200", "529x", "x2"])
def test_an_unknown_word_is_refused_and_the_known_ones_are_named(word):
    with pytest.raises(ProviderRejected, match="cut_stream"):
        ask("simulated/echo", [say(f"fault: {word}")])


def attempt(text, number, model="simulated/echo"):
    return ask(model, [say(text)], seed=f"sesn/sthr/1/{number}")


@pytest.mark.parametrize(
    ("word", "kind", "retryable"),
    [
        ("429", ProviderRateLimited, True),
        ("529", ProviderOverloaded, True),
        ("503", ProviderError, True),
        ("400", ProviderRejected, False),
        ("timeout", ProviderError, True),
        ("bad_json_input", ProviderError, True),
        ("cut_stream", ProviderError, True),
    ],
)
def test_a_request_fails_as_often_as_asked_and_then_answers_the_same(word, kind, retryable):
    text = f"fault: {word}x2"
    for number in (1, 2):
        with pytest.raises(ProviderError) as caught:
            attempt(text, number)
        assert type(caught.value) is kind
        assert caught.value.retryable is retryable
    assert attempt(text, 3) == attempt(text, 4)
    assert attempt(text, 3)[-1].content[0]["text"] == text


def test_without_a_number_every_attempt_fails():
    for number in (1, 2, 50):
        with pytest.raises(ProviderOverloaded):
            attempt("fault: 529", number)


def test_a_rate_limit_may_say_how_long_to_wait():
    with pytest.raises(ProviderRateLimited) as caught:
        attempt("fault: 429=7", 1)
    assert caught.value.retry_after_s == 7.0


def test_a_cut_stream_yields_some_text_and_no_answer():
    text = "a long enough text to be cut into pieces\nfault: cut_stream"
    request = ModelRequest("simulated/echo", "", [say(text)], seed="a/b/1/1")
    seen = []
    with pytest.raises(ProviderError, match="ended before"):
        for event in SimulatedProvider(0).request(request, Cancellation()):
            seen.append(event)
    assert [type(event) for event in seen] == [TextDelta, TextDelta]
    assert text.startswith("".join(event.text for event in seen))


def test_a_fault_of_a_later_step_leaves_the_first_alone(tmp_path):
    with pytest.raises(ProviderOverloaded):
        drive("simulated/tools", "bash: echo 1\nfault: 529@2", Sandbox(tmp_path))
    first = ask("simulated/tools", [say("bash: echo 1\nfault: 529@2")], TOOLS)
    assert first[-1].stop_reason == "tool_use"


def test_an_unknown_tool_is_called_and_then_the_work_is_done(tmp_path):
    sandbox = Sandbox(tmp_path)
    run = drive("simulated/tools", "bash: echo done\nfault: unknown_toolx2", sandbox)
    assert [name for name, _ in sandbox.calls] == ["no_such_tool", "no_such_tool", "bash"]
    assert "1 calls, 0 with an error" in run.text


def test_bad_input_does_not_fit_the_schema(tmp_path):
    sandbox = Sandbox(tmp_path)
    drive("simulated/tools", "bash: echo done\nfault: bad_inputx3@2", sandbox)
    assert [given for _, given in sandbox.calls] == [{"command": "echo done"}, *[{"unexpected": True}] * 3]


def test_a_loop_repeats_one_call_for_ever(tmp_path):
    with pytest.raises(AssertionError, match="did not end its turn in 20 steps"):
        drive("simulated/default", "fault: loop", Sandbox(tmp_path), max_steps=20)
    sandbox = Sandbox(tmp_path)
    drive("simulated/echo", "fault: loopx5", sandbox)
    assert sandbox.calls == [("bash", {"command": "echo loop"})] * 5


def test_huge_output_and_input_are_asked_for_once(tmp_path):
    sandbox = Sandbox(tmp_path)
    run = drive("simulated/echo", "fault: huge_output=120000", sandbox)
    results = [m for m in run.messages if m["role"] == "user"][1]["content"]
    assert len(results[0]["content"][0]["text"]) == 120_000
    answer = ask("simulated/echo", [say("fault: huge_input")], TOOLS)[-1]
    assert len(answer.content[0]["input"]["content"]) == 10 * 1024 * 1024


def test_refusal_and_token_limit():
    refused = ask("simulated/echo", [say("fault: refuse")])[-1]
    assert (refused.stop_reason, refused.stop_details["type"]) == ("refusal", "refusal")
    cut = ask("simulated/echo", [say("fault: max_tokens")])[-1]
    assert cut.stop_reason == "max_tokens"
    assert "fault: max_tokens".startswith(cut.content[0]["text"])
