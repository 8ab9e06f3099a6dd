"""What is different between two states of a text, for a person or a model to read. Bounded, whatever the texts are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_LINES = 200
MAX_CHARS = 20_000
MAX_LINE_CHARS = 2_000
MOST_COMPARED = 600  # lines on either side; comparing takes the square of it, or more
CONTEXT = 3

Opcode = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class Difference:
    """A unified difference without file names. `complete` is False when some of it was left out."""

    text: str
    complete: bool


def difference_between(before: bytes, after: bytes) -> Difference | None:
    """None when one of them is no text."""
    if not (is_text(before) and is_text(after)):
        return None
    old, new = _lines(before.decode()), _lines(after.decode())
    lines: list[str] = []
    length, complete = 0, True
    for line in _unified(old, new):
        shown = line[:MAX_LINE_CHARS]
        length += len(shown) + 1
        if len(lines) == MAX_LINES or length > MAX_CHARS:
            complete = False
            break
        complete = complete and shown == line
        lines.append(shown if shown == line else f"{shown}…")
    return Difference("\n".join(lines), complete)


def is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _lines(text: str) -> list[str]:
    """The lines; one whose end is missing says so, as it differs from one that has it."""
    *lines, rest = text.split("\n")
    return [*lines, f"{rest}\n\\ No newline at end of file"] if rest else lines


def _unified(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for group in _groups(_opcodes(old, new)):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for kind, old_from, old_to, new_from, new_to in group:
            if kind == "equal":
                yield from (f" {line}" for line in old[old_from:old_to])
                continue
            yield from (f"-{line}" for line in old[old_from:old_to])
            yield from (f"+{line}" for line in new[new_from:new_to])


def _opcodes(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """How to get from one to the other. Equal ends are put aside; a large rest is replaced as a whole."""
    shorter = min(len(old), len(new))
    head = next((place for place in range(shorter) if old[place] != new[place]), shorter)
    tail = next((n for n in range(shorter - head) if old[-1 - n] != new[-1 - n]), shorter - head)
    old_end, new_end = len(old) - tail, len(new) - tail
    middle: list[Opcode] = [("replace", 0, old_end - head, 0, new_end - head)]
    if max(old_end, new_end) - head <= MOST_COMPARED:
        middle = [*SequenceMatcher(None, old[head:old_end], new[head:new_end]).get_opcodes()]
    shifted = [(kind, i + head, j + head, k + head, m + head) for kind, i, j, k, m in middle]
    ends: list[Opcode] = [("equal", 0, head, 0, head), ("equal", old_end, len(old), new_end, len(new))]
    return [ends[0], *shifted, ends[1]]


def _groups(opcodes: Sequence[Opcode]) -> Iterator[list[Opcode]]:
    """Changes with a few equal lines around them; those that are near each other stay together."""
    group: list[Opcode] = []
    for kind, old_from, old_to, new_from, new_to in opcodes:
        if old_from == old_to and new_from == new_to:
            continue
        if kind != "equal":
            group.append((kind, old_from, old_to, new_from, new_to))
            continue
        has_change = any(code[0] != "equal" for code in group)
        if has_change and old_to - old_from <= 2 * CONTEXT:
            group.append((kind, old_from, old_to, new_from, new_to))
            continue
        if has_change:
            after = min(CONTEXT, old_to - old_from)
            yield [*group, (kind, old_from, old_from + after, new_from, new_from + after)]
        before = min(CONTEXT, old_to - old_from)
        group = [(kind, old_to - before, old_to, new_to - before, new_to)]
    if any(code[0] != "equal" for code in group):
        yield _without_long_end(group)


def _without_long_end(group: list[Opcode]) -> list[Opcode]:
    kind, old_from, old_to, new_from, new_to = group[-1]
    if kind != "equal":
        return group
    after = min(CONTEXT, old_to - old_from)
    return [*group[:-1], (kind, old_from, old_from + after, new_from, new_from + after)]


def _range(start: int, end: int) -> str:
    """As unified differences count: from one, and the line before an empty range."""
    length = end - start
    return f"{start + 1}" if length == 1 else f"{start if not length else start + 1},{length}"
