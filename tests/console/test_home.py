"""Home answers: what needs me, what runs, what happened lately."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from agents.models import Session
from console.views.home import bars
from tests import factories
from tests.console.html import Page


def test_the_first_visit_shows_ways_to_the_first_session(page):
    shown = Page(page.get("/"))
    assert "There is no session in this workspace yet" in shown.text
    assert "python manage.py demo" in shown.text
    assert "import_traces" in shown.text
    assert 'base_url="http://testserver"' in shown.source.replace("&quot;", '"')
    assert "/keys" in shown.hrefs()


def test_open_questions_come_first_with_what_the_agent_wants(page, workspace):
    session = factories.make_session(workspace, title="Clean up")
    factories.ask(session, "bash", {"command": "rm -rf build"})
    shown = Page(page.get("/"))
    assert "Clean up Scout asks to run bash $ rm -rf build" in shown.text
    assert f"/sessions/{session.public_id}?at=end#pending" in shown.hrefs()


def test_a_session_at_its_budget_waits_beside_open_questions(page, workspace):
    factories.ask(factories.make_session(workspace, title="Clean up"))
    factories.stop(factories.make_session(workspace, title="Used up"), "budget_reached")
    needs = Page(page.get("/")).text.split("Needs you")[1].split("Running now")[0]
    assert needs.count("Clean up") == 1
    assert needs.count("Used up") == 1


def test_failed_and_running_sessions_have_their_place(page, workspace):
    factories.stop(factories.make_session(workspace, title="Broken"), "retries_exhausted")
    factories.run(factories.make_session(workspace, title="Busy"))
    text = Page(page.get("/")).text
    needs, running, rest = (part for part in text.split("Needs you")[1].partition("Running now"))
    assert "Broken" in needs
    assert "Busy" in rest.split("Last 7 days")[0]


def test_a_quiet_workspace_says_so(page, workspace):
    factories.stop(factories.make_session(workspace))
    text = Page(page.get("/")).text
    assert "Nothing waits for you" in text
    assert "No agent is working" in text


def test_other_workspaces_do_not_count(page, elsewhere):
    factories.ask(factories.make_session(elsewhere, title="Not yours"))
    text = Page(page.get("/")).text
    assert "Not yours" not in text
    assert "There is no session in this workspace yet" in text


def test_the_week_adds_up(page, workspace):
    for _ in range(3):
        session = factories.stop(factories.make_session(workspace))
        Session.objects.filter(pk=session.pk).update(list_cost_nanousd=1_250_000_000)
    old = factories.make_session(workspace)
    Session.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=20), list_cost_nanousd=9**12)
    text = Page(page.get("/")).text
    assert "sessions 3" in text
    assert "$3.75" in text


def test_bars_are_as_high_as_their_share():
    days = {date(2026, 1, n): value for n, value in enumerate((0, 5, 10), start=1)}
    assert [bar.height for bar in bars(days)] == [1.0, 12.0, 24.0]
    assert [bar.height for bar in bars(dict.fromkeys(days, 0))] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("n", [2, 12])
def test_home_takes_the_same_queries_however_much_there_is(page, workspace, django_assert_num_queries, n):
    for _ in range(n):
        factories.ask(factories.make_session(workspace))
        factories.run(factories.make_session(workspace))
        factories.stop(factories.make_session(workspace), "refusal")
    with django_assert_num_queries(12):
        assert page.get("/").status_code == 200
