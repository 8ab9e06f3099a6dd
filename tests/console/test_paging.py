"""Pages of a list: every row exactly once, in both directions, whatever is added meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import BadRequest
from django.utils import timezone

from agents.models import Environment
from console.paging import keyset_page
from tests import factories


@pytest.fixture
def rows(workspace):
    """Eleven environments, three of them made at the very same moment."""
    now = timezone.now()
    for n in range(11):
        made = factories.make_environment(workspace, name=f"env {n}")
        at = now - timedelta(minutes=min(n, 8))
        Environment.objects.filter(pk=made.pk).update(created_at=at)
    return Environment.objects.in_workspace(workspace)


def names(page):
    return [row.name for row in page.rows]


def test_walking_older_meets_every_row_once(rows):
    met, cursor = [], ""
    while True:
        page = keyset_page(rows, cursor=cursor, size=4)
        met += names(page)
        cursor = page.older
        if not cursor:
            break
    assert sorted(met) == sorted(row.name for row in rows)
    assert met == [row.name for row in rows.order_by("-created_at", "-pk")]


def test_walking_back_shows_the_same_pages(rows):
    first = keyset_page(rows, cursor="", size=4)
    second = keyset_page(rows, cursor=first.older, size=4)
    third = keyset_page(rows, cursor=second.older, size=4)
    assert names(keyset_page(rows, cursor=third.newer, size=4)) == names(second)
    back = keyset_page(rows, cursor=second.newer, size=4)
    assert names(back) == names(first)
    assert back.newer == ""


def test_a_row_that_is_added_moves_no_page(rows, workspace):
    first = keyset_page(rows, cursor="", size=4)
    before = names(keyset_page(rows, cursor=first.older, size=4))
    factories.make_environment(workspace, name="new one")
    assert names(keyset_page(rows, cursor=first.older, size=4)) == before


def test_a_page_beyond_the_end_is_empty(rows):
    page = keyset_page(rows, cursor="o0.0", size=4)
    assert (page.rows, page.older, page.newer) == ([], "", "")


@pytest.mark.parametrize(
    "cursor", ["x", "o", "o1", "o.1", "ox.1", "o1.x", "o" + "9" * 60 + ".1", "o99999999999999999999.1"]
)
def test_a_damaged_cursor_is_refused(rows, cursor):
    with pytest.raises(BadRequest):
        keyset_page(rows, cursor=cursor, size=4)
