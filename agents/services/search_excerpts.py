"""The part of a text that shows why it was found, as pieces of plain text. No markup is made here.

Found with the same words as the index, not with `ts_headline`, whose parser knows other words; and without sentinels
in the text, so nothing a text holds can pass for a mark.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.services.search_query import Query, Term
from agents.services.search_words import Word, words_in

WIDTH = 260  # characters around what was found
BEFORE = 60
MAX_MARKS = 400  # of a text; the best place is looked for among them


@dataclass(frozen=True)
class Piece:
    text: str
    is_hit: bool = False


@dataclass(frozen=True)
class _Mark:
    start: int
    end: int
    term: int


def excerpt(text: str, query: Query) -> tuple[Piece, ...]:
    """The stretch of the text that holds the most of what was looked for; its beginning when it holds nothing."""
    marks = _marks(text, query.terms)
    start = max(0, _best(marks) - BEFORE) if marks else 0
    start = _at_word(text, start)
    end = min(len(text), start + WIDTH)
    pieces = [Piece("…")] if start else []
    at = start
    for mark in marks:
        if mark.start < at or mark.end > end:
            continue
        pieces += [Piece(_line(text[at : mark.start])), Piece(_line(text[mark.start : mark.end]), is_hit=True)]
        at = mark.end
    pieces.append(Piece(_line(text[at:end]) + ("…" if end < len(text) else "")))
    return tuple(piece for piece in pieces if piece.text)


def _line(text: str) -> str:
    """On one line, with a space kept at either end."""
    return " ".join(f"|{text}|".split())[1:-1]


def _at_word(text: str, start: int) -> int:
    """Not in the middle of a word, unless it is a very long one."""
    space = text.find(" ", max(0, start - 1), start + 20) if start else -1
    return space + 1 if space >= 0 else start


def _best(marks: list[_Mark]) -> int:
    """Where the window begins that holds the most different terms, then the most marks; the first such."""
    best, best_at, last = (0, 0), marks[0].start, 0
    for first, mark in enumerate(marks):
        while last < len(marks) and marks[last].end <= mark.start + WIDTH - BEFORE:
            last += 1
        within = marks[first:last]
        found = (len({other.term for other in within}), len(within))
        if found > best:
            best, best_at = found, mark.start
    return best_at


def _marks(text: str, terms: tuple[Term, ...]) -> list[_Mark]:
    """Where terms stand in the text, in order, none inside another."""
    words = list(words_in(text))
    marks: list[_Mark] = []
    at = 0
    while at < len(words) and len(marks) < MAX_MARKS:
        length, term = _longest(words, at, terms)
        if length:
            marks.append(_Mark(words[at].start, words[at + length - 1].end, term))
        at += length or 1
    return marks


def _longest(words: list[Word], at: int, terms: tuple[Term, ...]) -> tuple[int, int]:
    """How many words from here on are what some term looks for, and which term."""
    found = ((max(_length(words, at, row, term.is_beginning) for row in term.ways), n) for n, term in enumerate(terms))
    return max(found, default=(0, 0), key=lambda match: match[0])


def _length(words: list[Word], at: int, row: tuple[str, ...], is_beginning: bool) -> int:
    """The number of words that the row covers from here on; 0 when they are others. Parts count as words in a row."""
    wanted, used = 0, 0
    while wanted < len(row):
        if at + used >= len(words):
            return 0
        word = words[at + used]
        if _fits(word.whole, row, wanted, is_beginning):
            wanted += 1
        else:
            covered = _covered(word.parts, row, wanted, is_beginning)
            if not covered:
                return 0
            wanted += covered
        used += 1
    return used


def _fits(word: str, row: tuple[str, ...], place: int, is_beginning: bool) -> bool:
    if is_beginning and place == len(row) - 1:
        return word.startswith(row[place])
    return word == row[place]


def _covered(parts: tuple[str, ...], row: tuple[str, ...], place: int, is_beginning: bool) -> int:
    """How many places of the row, from this one on, the word's parts fill; they may begin in the middle of a word."""
    for first in range(len(parts) if place == 0 else 1):
        count = 0
        while (
            place + count < len(row)
            and first + count < len(parts)
            and _fits(parts[first + count], row, place + count, is_beginning)
        ):
            count += 1
        if count and (place + count == len(row) or first + count == len(parts)):
            return count
    return 0
