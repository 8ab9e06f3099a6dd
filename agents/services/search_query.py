"""What a person types, as something PostgreSQL can look for. It may mean nothing, but it never fails.

timeout refused         both words
"connection refused"    one after the other
-test                   without this word or phrase
cert OR certificate     either; binds tighter than the words around it
conn*                   words that begin so
foo_bar.py, getUser     a name is a phrase of its parts
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agents.services.search_words import words_in

MAX_QUERY = 500  # characters; more are left out
MAX_TERMS = 32
SHORTEST_BEGINNING = 2  # letters before a `*`; fewer would mean half of all words

# Two hyphens begin the name of an option, which somebody looks for.
_TOKEN = re.compile(r'(?P<minus>-(?!-))?(?:"(?P<phrase>[^"]*)(?:"|\Z)|(?P<word>[^\s"]+))')


@dataclass(frozen=True)
class Term:
    """One thing to look for: a word, the beginning of one, or words in a row.

    `ways` are rows of stored words, any of which will do; the last word of each is a beginning when `is_beginning`.
    """

    ways: tuple[tuple[str, ...], ...]
    is_beginning: bool = False

    @property
    def tsquery(self) -> str:
        ways = []
        for row in self.ways:
            quoted = [f"'{word}'" for word in row]
            quoted[-1] += ":*" if self.is_beginning else ""
            ways.append(quoted[0] if len(quoted) == 1 else f"({' <-> '.join(quoted)})")
        return ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"


@dataclass(frozen=True)
class Query:
    """All of `groups` (any term of each), none of `without`. `is_cut` when more was typed than is looked for."""

    groups: tuple[tuple[Term, ...], ...] = ()
    without: tuple[Term, ...] = ()
    is_cut: bool = False

    def __bool__(self) -> bool:
        """Whether there is something to look for. Only what to leave out is not enough: that is nearly everything."""
        return bool(self.groups)

    @property
    def terms(self) -> tuple[Term, ...]:
        """What a found text may hold."""
        return tuple(term for group in self.groups for term in group)

    @property
    def wanted(self) -> str:
        """The `tsquery` of what is looked for, by which hits are ranked."""
        return " & ".join(_either(group) for group in self.groups)

    @property
    def tsquery(self) -> str:
        return " & ".join([self.wanted, *(f"!{term.tsquery}" for term in self.without)])


def _either(terms: tuple[Term, ...]) -> str:
    return terms[0].tsquery if len(terms) == 1 else f"({' | '.join(term.tsquery for term in terms)})"


def parse(text: str) -> Query:
    """Never raises. An empty query (false) when nothing in the text can be looked for."""
    groups: list[list[Term]] = []
    without: list[Term] = []
    joins = False  # whether an OR stands before the next term
    count = 0
    for minus, phrase, word in _tokens(text[:MAX_QUERY]):
        if word == "OR" and not minus:
            joins = bool(groups)
            continue
        term = _term(word, is_word=True) if phrase is None else _term(phrase, is_word=False)
        if term is None:
            continue
        count += 1
        if count > MAX_TERMS:
            break
        if minus:
            without.append(term)
        elif joins:
            groups[-1].append(term)
        else:
            groups.append([term])
        joins = False
    is_cut = len(text) > MAX_QUERY or count > MAX_TERMS
    return Query(tuple(map(tuple, groups)), tuple(without), is_cut)


def _tokens(text: str) -> Iterator[tuple[bool, str | None, str]]:
    for match in _TOKEN.finditer(text):
        yield bool(match["minus"]), match["phrase"], match["word"] or ""


def _term(text: str, *, is_word: bool) -> Term | None:
    """A word or phrase as stored words; None when it has none, as `--` or `"…"`."""
    words = list(words_in(text))
    if not words:
        return None
    row = tuple(part for word in words for part in (word.parts or (word.whole,)))
    is_beginning = is_word and text.endswith("*") and len(row[-1]) >= SHORTEST_BEGINNING
    if len(words) == 1 and words[0].parts:
        return Term(((words[0].whole,), row), is_beginning)
    return Term((row,), is_beginning)
