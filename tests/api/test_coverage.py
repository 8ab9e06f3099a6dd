"""`docs/api-coverage.md` tells the truth, and every statement of the checklist is shown or listed as open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from agents.api import coverage

ISSUE_STATEMENTS = {*range(1, 8), *range(10, 75), *range(87, 100), 126}
MARK = re.compile(r"mark\.conformance\(([\d, ]+)\)")


def numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        yield from range(int(first), int(last or first) + 1)


def test_the_page_is_up_to_date():
    page = settings.BASE_DIR / "docs" / "api-coverage.md"
    assert page.read_text(encoding="utf-8") == coverage.render(), "run: manage.py api_coverage"


def test_every_call_of_the_sdk_has_an_answer():
    calls = coverage.sdk_calls()
    assert len(calls) > 100
    assert [call.name for call in calls if call.status == "missing"] == []
    names = {call.name for call in calls}
    assert set(coverage.REMARKS) <= names
    for built in ("beta.agents.create", "beta.sessions.events.stream", "files.upload", "models.list"):
        assert next(call for call in calls if call.name == built).status == "built"


def test_every_statement_is_shown_by_a_test_or_listed_as_open():
    shown: set[int] = set()
    for file in Path(settings.BASE_DIR, "tests").rglob("test_*.py"):
        for found in MARK.findall(file.read_text(encoding="utf-8")):
            shown.update(numbers(found.strip(" ,")))
    open_ones = {number for text in coverage.OPEN_STATEMENTS for number in numbers(text)}
    assert sorted(ISSUE_STATEMENTS - shown - open_ones) == []
    assert sorted(set(range(1, 128)) - ISSUE_STATEMENTS - open_ones - {8, 9}) == []
