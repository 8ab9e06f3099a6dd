"""Hostile text made safe to look at. Everything a model, a tool or a file said passes through here before a page."""

from __future__ import annotations

import re

_ESCAPE_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\Z)"  # OSC and other strings, with what they carry
    r"|\x1b[ -/]*[0-~]"  # two-character escapes
    r"|\x9b[0-?]*[ -/]*[@-~]",  # CSI as one C1 character
    re.DOTALL,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Characters that reorder or hide what is written: a reader would see another text than a model reads.
_DECEIVING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_MARKDOWN_MARKS = re.compile(r"\*\*|__|`+|^\s{0,3}(?:#{1,6}\s+|>\s?)", re.MULTILINE)


def strip_controls(text: str) -> str:
    """Without terminal escapes and C0/C1 controls; tabs and line ends stay."""
    text = _ESCAPE_SEQUENCES.sub("", text.replace("\r\n", "\n")) if "\x1b" in text or "\x9b" in text else text
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def mark_deceiving(text: str) -> str:
    """Bidi controls and tag characters written out, so that they neither act nor hide."""
    return _DECEIVING.sub(lambda match: f"‹U+{ord(match[0]):04X}›", text)


def visible(text: object) -> str:
    """Any text as a page may show it."""
    return mark_deceiving(strip_controls(str(text)))


def one_line(text: str, limit: int = 280) -> str:
    """The beginning of a text on one line."""
    head = " ".join(visible(text[: limit * 4]).split())
    return head if len(head) <= limit else head[: limit - 1].rstrip() + "…"


def plain(markdown: str) -> str:
    """Markdown without its commonest marks, for an excerpt."""
    return _MARKDOWN_MARKS.sub("", markdown[:4000])


def cut(text: str, limit: int) -> tuple[str, int]:
    """The text up to `limit` characters, and how many are left out."""
    return text[:limit], max(0, len(text) - limit)
