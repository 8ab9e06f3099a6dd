"""What the output of a tool is: terminal text with colours, a difference, JSON, a table; else text.

Only looked at, never trusted: everything found here is shown through the same escaping as plain text.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import Any

TERMINAL, DIFF, JSON, TABLE, TEXT = "terminal", "diff", "json", "table", "text"
MAX_LOOKED_AT = 200_000  # characters; longer output is text
MAX_TABLE_ROWS = 50
MAX_TABLE_COLUMNS = 12
MAX_CELL_CHARS = 300
MAX_RUNS = 400  # changes of colour; what follows keeps the last one
_SGR = re.compile(r"\x1b\[([0-9;:]{0,40})m")
_OVERWRITTEN = re.compile(r"[^\n\r]*\r(?!\n)(?=[^\n\r])")
_DIFF = re.compile(r"^(?:diff --git |--- [^\n]*\n\+\+\+ )", re.MULTILINE)
_STYLES = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "struck"}
_ENDS = {22: ("bold", "faint"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("struck",)}


@dataclass(frozen=True)
class Run:
    """A piece of terminal output in one style: names for CSS, such as `ansi-fg-1 ansi-bold`."""

    text: str
    style: str


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int  # rows


def shape_of(text: str) -> str:
    """Which of the kinds above a text is. Never raises."""
    if len(text) > MAX_LOOKED_AT:
        return TEXT
    if _SGR.search(text):
        return TERMINAL
    if _DIFF.search(text[:20_000]) and re.search(r"^@@ ", text, re.MULTILINE):
        return DIFF
    if table_of(text) is not None:
        return TABLE
    return JSON if _parsed(text) is not None else TEXT


def runs_of(text: str) -> list[Run]:
    """Terminal output by style. What a carriage return overwrote is gone, as on a terminal."""
    text = _OVERWRITTEN.sub("", text.replace("\r\n", "\n"))
    runs: list[Run] = []
    style: dict[str, str] = {}
    place = 0
    for match in _SGR.finditer(text):
        if len(runs) >= MAX_RUNS:
            break
        if match.start() > place:
            runs.append(Run(text[place : match.start()], _named(style)))
        _change(style, match[1])
        place = match.end()
    if place < len(text):
        runs.append(Run(_SGR.sub("", text[place:]), _named(style)))
    return runs


def _named(style: dict[str, str]) -> str:
    return " ".join(f"ansi-{value}" for value in style.values())


def _change(style: dict[str, str], codes: str) -> None:
    numbers = [int(code) if code.isascii() and code.isdigit() else 0 for code in re.split("[;:]", codes)]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            style.clear()
        elif code in _STYLES:
            style[_STYLES[code]] = _STYLES[code]
        elif code in _ENDS:
            for name in _ENDS[code]:
                style.pop(name, None)
        elif code in (38, 48):
            _set(style, "fg" if code == 38 else "bg", _extended(numbers))
        elif code in (39, 49):
            style.pop("fg" if code == 39 else "bg", None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            _set(style, "fg", code % 10 + (8 if code >= 90 else 0))
        elif 40 <= code <= 47 or 100 <= code <= 107:
            _set(style, "bg", code % 10 + (8 if code >= 100 else 0))


def _set(style: dict[str, str], where: str, colour: int | None) -> None:
    if colour is not None:
        style[where] = f"{where}-{colour}"


def _extended(numbers: list[int]) -> int | None:
    """One of the sixteen colours for `5;n` or `2;r;g;b`; None when the sequence is cut short."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 5 and numbers:
        number = numbers.pop(0)
        if number < 16:
            return number
        if number >= 232:
            return 7 if number > 243 else 8
        cube = number - 16
        return _nearest(cube // 36 * 51, cube // 6 % 6 * 51, cube % 6 * 51)
    if kind == 2 and len(numbers) >= 3:
        red, green, blue = numbers[:3]
        del numbers[:3]
        return _nearest(red, green, blue)
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    most = max(red, green, blue, 1)
    if most < 64:
        return 0
    return sum(bit for bit, part in ((1, red), (2, green), (4, blue)) if part > 0.6 * most)


def pretty(text: str) -> str:
    """JSON on lines of its own; the text itself when it is none."""
    value = _parsed(text)
    return text if value is None else json.dumps(value, indent=2, ensure_ascii=False)


def table_of(text: str) -> Table | None:
    """A table out of JSON objects of one kind, or out of lines with tabs or commas. None when it is none."""
    if len(text) > MAX_LOOKED_AT:
        return None
    value = _parsed(text)
    return _table_of_objects(value) if value is not None else _table_of_lines(text)


def _parsed(text: str) -> Any:
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("{}", "[]") or len(stripped) > MAX_LOOKED_AT:
        return None
    try:
        return json.loads(stripped) or None
    except (ValueError, RecursionError):
        return None


def _table_of_objects(value: Any) -> Table | None:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(item, dict) for item in value):
        return None
    names = list(dict.fromkeys(name for item in value for name in item))
    flat = not any(isinstance(cell, dict | list) for item in value for cell in item.values())
    if not flat or not 1 < len(names) <= MAX_TABLE_COLUMNS or any(2 * len(item) < len(names) for item in value):
        return None
    rows = [tuple(_cell(item.get(name, "")) for name in names) for item in value[:MAX_TABLE_ROWS]]
    return Table(tuple(map(_cell, names)), tuple(rows), max(0, len(value) - MAX_TABLE_ROWS))


def _table_of_lines(text: str) -> Table | None:
    lines = text.strip("\n").splitlines()
    if len(lines) < 3:
        return None
    for mark, fewest in (("\t", 2), (",", 3)):
        if mark not in lines[0]:
            continue
        try:
            rows = list(csv.reader(io.StringIO("\n".join(lines[: MAX_TABLE_ROWS + 1])), delimiter=mark))
        except csv.Error:
            return None
        width = len(rows[0]) if rows else 0
        is_header = all(name.strip() and len(name) <= 40 for name in rows[0])
        if fewest <= width <= MAX_TABLE_COLUMNS and is_header and all(len(row) == width for row in rows):
            body = tuple(tuple(map(_cell, row)) for row in rows[1:])
            return Table(tuple(map(_cell, rows[0])), body, max(0, len(lines) - MAX_TABLE_ROWS - 1))
    return None


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"
