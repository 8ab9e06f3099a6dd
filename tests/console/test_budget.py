"""A session's budget on its page: how much of it is used, and raising or removing it."""

from __future__ import annotations

import pytest

from agents.models import Session
from agents.services.sessions import create_session
from tests import factories
from tests.console.html import Page

CENT = 10_000_000


def path(session, rest=""):
    return f"/sessions/{session.public_id}{rest}"


@pytest.fixture
def session(workspace):
    """A session that may cost $2.50 and has cost 40 cents."""
    values = {
        "agent": factories.make_agent(workspace).public_id,
        "environment_id": factories.make_environment(workspace).public_id,
        "budget": {"type": "limit", "max_list_cost": {"amount": "250", "currency": "USD"}},
    }
    made = create_session(workspace, values=values)
    Session.objects.filter(pk=made.pk).update(list_cost_nanousd=40 * CENT)
    made.refresh_from_db()
    return made


def test_the_page_says_how_much_of_the_budget_is_used(page, session):
    assert "$0.40 of $2.50 budget" in Page(page.get(path(session))).text


def test_a_session_without_a_budget_shows_none(page, workspace):
    plain = factories.make_session(workspace)
    shown = Page(page.get(path(plain)))
    assert "budget" not in shown.text.lower()
    assert not shown.find_all("dialog", id="session-budget")


def test_the_budget_is_changed_and_removed(page, session):
    assert Page(page.get(path(session))).find_all("dialog", id="session-budget")
    answer = page.post(path(session, "/budget"), {"dollars": "12.34"}, follow=True)
    shown = Page(answer).text
    assert "The budget was changed." in shown and "$0.40 of $12.34 budget" in shown
    assert session.events.filter(type="session.updated").count() == 1
    answer = page.post(path(session, "/budget"), {"dollars": "", "remove": "yes"}, follow=True)
    assert "The budget was removed." in Page(answer).text
    session.refresh_from_db()
    assert session.budget_cents is None
    answer = page.post(path(session, "/budget"), {"dollars": "5"}, follow=True)
    assert "budget_create_only" in Page(answer).text


@pytest.mark.parametrize("dollars", ["", "0", "-1", "0.001", "many", "NaN", "Infinity", "1e400"])
def test_an_amount_that_is_none_changes_nothing(page, session, dollars):
    answer = page.post(path(session, "/budget"), {"dollars": dollars}, follow=True)
    assert "Write the new budget in dollars" in Page(answer).text
    session.refresh_from_db()
    assert session.budget_cents == 250


def test_less_than_was_spent_is_refused_with_the_reason(page, session):
    answer = page.post(path(session, "/budget"), {"dollars": "0.40"}, follow=True)
    assert "The session has cost 40 cents already" in Page(answer).text.replace("the session", "The session")
    session.refresh_from_db()
    assert session.budget_cents == 250


def test_the_story_tells_why_a_thread_waits_for_its_provider(page, session):
    from agents.services import status
    from agents.services.log import open_log

    with open_log(session.pk) as log:
        status.set_rescheduling(log, log.primary(), private={"held_until": "2026-11-22T10:32:05.5+00:00"})
    shown = Page(page.get(path(session) + "?events=all")).text
    assert "waits before it tries again" in shown
    assert "The provider takes no requests with this key before 10:32:05 UTC." in shown
