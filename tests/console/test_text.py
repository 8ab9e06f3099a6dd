"""Hostile text is made safe to look at, and loses nothing that can be seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.text import one_line, plain, strip_controls, visible


@pytest.mark.parametrize(
    "given, shown",
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\x00b\x07c\x7fd\x85e", "abcde"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x1b(Bplain", "plain"),
        ("\x1b[38;5;196mx\x1b[?25l", "x"),
    ],
)
def test_terminal_controls_are_stripped(given, shown):
    assert strip_controls(given) == shown


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200f", "\u061c", "\U000e0041"])
def test_characters_that_reorder_or_hide_are_written_out(sign):
    assert visible(f"a{sign}b") == f"a‹U+{ord(sign):04X}›b"


def test_joiners_of_scripts_and_emoji_stay():
    family = "👩\u200d👧 می\u200cخواهم"
    assert visible(family) == family


@given(st.text())
def test_nothing_that_acts_is_left(text):
    shown = visible(text)
    assert not any(c < " " and c not in "\t\n" or "\x7f" <= c <= "\x9f" for c in shown)
    assert not any("\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for c in shown)
    assert visible(shown) == shown


def test_an_excerpt_is_one_line_and_says_that_it_was_cut():
    assert one_line("  a\n\n b\tc ") == "a b c"
    cut = one_line("word " * 100, 20)
    assert len(cut) <= 20
    assert cut.endswith("…")


def test_an_excerpt_of_markdown_has_no_marks():
    assert plain("## Result\n**bold** and `code`\n> quoted") == "Result\nbold and code\nquoted"
