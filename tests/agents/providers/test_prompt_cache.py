from __future__ import annotations

import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.providers.prompt_cache import MAX_BLOCKS_APART, MAX_MARKS, mark_for_cache

TOOLS = [{"name": "a"}, {"name": "b"}]


def marks(blocks):
    return [i for i, block in enumerate(blocks) if "cache_control" in block]


def flat(messages):
    return [block for message in messages for block in message["content"]]


def turns(count, results=1):
    messages = [{"role": "user", "content": "Begin."}]
    for turn in range(count):
        ids = [f"t{turn}-{i}" for i in range(results)]
        messages.append(
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    *[{"type": "tool_use", "id": i, "name": "a", "input": {}} for i in ids],
                ],
            }
        )
        messages.append(
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": i, "content": "x"} for i in ids],
            }
        )
    return messages


def test_tools_and_system_end_with_one_mark():
    system, tools, _ = mark_for_cache("Be kind.", TOOLS, [])
    assert marks(system) == [0]
    assert marks(tools) == []
    _, tools, _ = mark_for_cache("", TOOLS, [])
    assert marks(tools) == [1]


def test_a_turn_with_many_parallel_calls_stays_within_the_vendors_look_back():
    written = len(flat(turns(2, results=13))) - 1  # where the request before had its newest mark
    blocks = flat(mark_for_cache("s", TOOLS, turns(3, results=13))[2])
    chosen = marks(blocks)
    assert len(blocks) - 1 - written > 20, "one mark at the end would not reach it"
    assert any(0 <= mark - written <= 20 for mark in chosen)
    assert chosen[-1] == len(blocks) - 1
    assert all(b - a <= MAX_BLOCKS_APART for a, b in zip(chosen, chosen[1:], strict=False))


def test_every_mark_of_one_request_is_in_reach_of_the_next_over_thirty_turns():
    previous = None
    for count in range(1, 31):
        chosen = marks(flat(mark_for_cache("s", TOOLS, turns(count, results=8))[2]))
        if previous is not None:
            assert any(0 <= mark - previous <= 20 for mark in chosen)
        previous = chosen[-1]


def test_thinking_and_empty_text_are_never_marked():
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": ""}]},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
    ]
    blocks = flat(mark_for_cache("", [], messages)[2])
    assert marks(blocks) == [0]


blocks = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, st.text(max_size=3)),
    st.just({"type": "thinking", "thinking": "x", "signature": "s"}),
    st.just({"type": "tool_result", "tool_use_id": "t", "content": "x"}),
)
messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant"]),
            "content": st.one_of(st.text(max_size=3), st.lists(blocks, max_size=30)),
        }
    ),
    max_size=8,
)


@settings(deadline=None)
@given(st.text(max_size=3), st.sampled_from([[], TOOLS]), messages)
def test_never_more_than_four_marks_never_a_changed_request(system, tools, given_messages):
    before = copy.deepcopy((tools, given_messages))
    one = mark_for_cache(system, tools, given_messages)
    two = mark_for_cache(system, tools, given_messages)
    assert json.dumps(one) == json.dumps(two)
    assert (tools, given_messages) == before
    assert json.dumps(one).count("cache_control") <= MAX_MARKS
