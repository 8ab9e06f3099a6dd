"""How text becomes words, the same way for what is stored and for what is asked.

Not PostgreSQL's own parser: it takes `/workspace/src/foo_bar.py` for one word, `user.name` for a host, and knows no
CamelCase. And no stemming: what is looked for here are identifiers, paths, messages of errors and names in any
language, where `users` and `user` differ. Here a word is a run of letters and digits, so a path, a snake_case name or
a dotted one is a phrase of its parts, found by any of them. A CamelCase word is kept whole and by its parts. Case and
accents make no difference. Chinese and Japanese characters are words of their own, since nothing parts them there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_TEXT = 100_000  # characters of one event that can be searched
MAX_WORD = 60  # characters of a word; longer ones (hashes, base64) are known by their beginning
MAX_PARTS = 8
LAST_PLACE = 16_383  # of a word in a tsvector
PLACES_KEPT = 200  # of one word in one event; PostgreSQL keeps 255

_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_ASCII = re.compile(r"[A-Za-z0-9]+")
_ANY = re.compile(rf"[{_SINGLE}]|(?:[^\W_{_SINGLE}]+[\u0300-\u036f]*)+")
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+")


@dataclass(frozen=True)
class Word:
    """A word of a text: where it stands, how it is stored whole, and the parts of a CamelCase one."""

    start: int
    end: int
    whole: str
    parts: tuple[str, ...]


def words_in(text: str) -> Iterator[Word]:
    """The words of a text in order, up to `MAX_TEXT` characters."""
    for match in _pattern(text).finditer(text, 0, MAX_TEXT):
        whole, *parts = _stored(match[0])
        if whole:
            yield Word(match.start(), match.end(), whole, tuple(parts))


def tsvector(text: str, *marks: str) -> str:
    """The words of a text, up to `MAX_TEXT` characters, as PostgreSQL reads a `tsvector`; `marks` stand at no place.

    Safe by its making: a stored word has letters and digits only.
    """
    places: dict[str, list[int]] = {}
    at = 1  # written out plainly: every word of every event passes here
    for found in _pattern(text).findall(text[:MAX_TEXT]):
        stored = _stored(found)
        whole = stored[0]
        if not whole:
            continue
        place = at if at < LAST_PLACE else LAST_PLACE
        if whole in places:
            places[whole].append(place)
        else:
            places[whole] = [place]
        if len(stored) > 1:
            for part in stored[1:]:
                places.setdefault(part, []).append(min(at, LAST_PLACE))
                at += 1
        else:
            at += 1
    listed = [f"'{word}':{','.join(map(str, found[:PLACES_KEPT]))}" for word, found in places.items()]
    return " ".join([*(f"'{mark}'" for mark in marks), *listed])


def _pattern(text: str) -> re.Pattern[str]:
    return _ASCII if text.isascii() else _ANY


@lru_cache(maxsize=100_000)
def _stored(word: str) -> tuple[str, ...]:
    """The whole word and, when it has any, its parts; empty when nothing of it can be stored."""
    word = word[:MAX_WORD]
    whole = _fold(word)
    # A part of one letter tells that this is no CamelCase but an id or a brand.
    if word[1:] == word[1:].lower() or word == word.upper() or not word.isascii():
        return (whole,)
    parts = _PARTS.findall(word)
    if not 1 < len(parts) <= MAX_PARTS or min(map(len, parts)) < 2:
        return (whole,)
    return (whole, *(part.lower() for part in parts))


def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", word.casefold()) if letter.isalnum())
    return unicodedata.normalize("NFC", bare)[:MAX_WORD]
