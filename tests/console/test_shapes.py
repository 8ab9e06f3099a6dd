"""Tool output is shown as what it is, and nothing in it is ever more than text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.story import shapes
from console.story.detail import MAX_DIFF_LINES, parts_of

RESULT = "agent.tool_result"
SGR = st.sampled_from(
    ["\x1b[0m", "\x1b[31m", "\x1b[1;38;5;196m", "\x1b[38;2;1;2m", "\x1b[48;5m", "\x1b[;;m", "\x1b[999m"]
)
OUTPUT = st.lists(SGR | st.text(max_size=30) | st.sampled_from(["\r", "\n", "\t", ",", "{", "[", '"'])).map("".join)


def part(text: str):
    (found,) = parts_of(RESULT, {"content": [{"type": "text", "text": text}]}, {})
    return found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("plain words, with commas, here", "text"),
        ("\x1b[31mfailed\x1b[0m", "terminal"),
        ("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b", "diff"),
        ('{"a": [1, 2]}', "json"),
        ('[{"name": "a", "n": 1}, {"name": "b", "n": 2}]', "table"),
        ("name\tsize\na\t1\nb\t2", "table"),
        ("name,size,owner\na,1,x\nb,2,y", "table"),
        ("[not json]", "text"),
        ("{}", "text"),
        ("- one\n- two\n", "text"),
    ],
)
def test_output_is_shown_as_what_it_is(text, kind):
    assert part(text).kind == kind


def test_colours_have_names_and_what_was_overwritten_is_gone():
    runs = shapes.runs_of("10 %\r100 %\n\x1b[1;32mok\x1b[22m then\x1b[0m done\x1b[38;5;9m!\x1b[38;2;0;0;250mblue")
    assert [(run.text, run.style) for run in runs] == [
        ("100 %\n", ""),
        ("ok", "ansi-bold ansi-fg-2"),
        (" then", "ansi-fg-2"),
        (" done", ""),
        ("!", "ansi-fg-9"),
        ("blue", "ansi-fg-4"),
    ]


def test_json_is_written_out_by_lines():
    assert part('{"b":1,"a":{"c":[true]}}').text.splitlines()[:2] == ["{", '  "b": 1,']


def test_a_table_says_what_it_left_out():
    table = part("\n".join(["n\tsquare", *(f"{n}\t{n * n}" for n in range(80))])).table
    assert table.header == ("n", "square") and len(table.rows) == 50 and table.left_out == 30


def test_a_long_difference_says_what_it_left_out():
    text = "--- a\n+++ b\n@@ -1 +1 @@\n" + "\n".join("+x" for _ in range(1_000))
    found = part(text)
    assert found.kind == "diff" and len(found.lines) == MAX_DIFF_LINES and found.more_lines == 1_003 - MAX_DIFF_LINES


@given(OUTPUT)
def test_whatever_a_tool_prints_becomes_a_part(text):
    found = part(text)
    assert found.kind in (shapes.TERMINAL, shapes.DIFF, shapes.JSON, shapes.TABLE, shapes.TEXT)
    assert all(run.style.replace("ansi-", "").replace("-", " ").isascii() for run in found.runs)
    assert len(found.runs) <= shapes.MAX_RUNS + 1
    for run in found.runs:
        assert "\x1b[31m" not in run.text
