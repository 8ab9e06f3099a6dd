"""Narrowing the list of sessions: each filter, all of them together, in the address, and how to take one off."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents.models import Session
from agents.services import annotations
from agents.services.search_index import Sweeper
from console.session_filters import SessionFilterForm
from tests import factories
from tests.console.html import Page
from tests.console.test_sessions import listed


def index() -> None:
    Sweeper().sweep(pause=lambda seconds: None)


@pytest.fixture
def several(workspace, ana):
    """Sessions that differ in one thing each."""
    cheap = factories.make_session(workspace, title="cheap")
    dear = factories.make_session(workspace, title="dear")
    Session.objects.filter(pk=cheap.pk).update(
        list_cost_nanousd=10_000_000, created_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    Session.objects.filter(pk=dear.pk).update(
        list_cost_nanousd=7_250_000_000, created_at=datetime(2026, 3, 9, 23, 59, tzinfo=UTC)
    )
    tool = factories.make_session(workspace, title="tool failed")
    use = factories.write_one(tool, "agent.tool_use", {"name": "bash", "input": {"command": "make"}})
    answer = {"tool_use_id": use.public_id, "content": "it broke", "is_error": True}
    factories.write_one(tool, "agent.tool_result", answer)
    error = factories.make_session(workspace, title="request failed")
    factories.write_one(error, "session.error", {"error": {"type": "x", "message": "The model is away."}})
    other = factories.make_agent(workspace, name="Other", model="simulated/echo")
    factories.write(factories.make_session(workspace, agent=other, title="echo"), ("agent.message", {"content": "hi"}))
    factories.make_imported(workspace, title="a chat", failure=2)
    marked = factories.make_session(workspace, title="marked")
    (event,) = factories.write(marked, ("agent.message", {"content": "well"}))
    annotations.add_annotation(event, by=ana, name="ana", kind="good", category="Clear answer", text="yes")
    index()


@pytest.mark.parametrize(
    "chosen, titles",
    [
        ({"tool": "bash"}, ["tool failed"]),
        ({"error": "any"}, ["request failed", "tool failed"]),
        ({"error": "tool"}, ["tool failed"]),
        ({"error": "session"}, ["request failed"]),
        ({"model": "simulated/echo"}, ["echo"]),
        ({"cost_min": "7"}, ["dear"]),
        ({"cost_min": "0.005", "cost_max": "7"}, ["cheap"]),
        ({"since": "2026-01-05", "until": "2026-01-05"}, ["cheap"]),
        ({"since": "2026-03-09", "until": "2026-03-09"}, ["dear"]),
        ({"until": "2025-12-31", "source": "imported"}, []),
        ({"source": "from:chat"}, ["a chat"]),
        ({"mark": "any"}, ["marked", "a chat"]),
        ({"mark": "failure"}, ["a chat"]),
        ({"mark": "good", "author": "ANA"}, ["marked"]),
        ({"category": "clear answer"}, ["marked"]),
        ({"mark": "failure", "author": "ana"}, []),
        ({"tool": "bash", "error": "any", "q": "failed", "status": "idle"}, ["tool failed"]),
    ],
)
def test_each_filter_finds_its_sessions(page, several, chosen, titles):
    assert sorted(listed(page, **chosen)) == sorted(titles)


@pytest.mark.parametrize(
    "chosen",
    [
        {"cost_min": "much"},
        {"cost_min": "-1"},
        {"cost_max": "9" * 40},
        {"since": "yesterday"},
        {"since": "2026-02-31"},
        {"tool": "nobody-has-it"},
        {"mark": "\x00"},
        {"model": "'; --"},
        {"error": "\u202e"},
    ],
)
def test_a_value_that_is_none_is_no_filter(page, several, chosen):
    assert listed(page, **chosen) == listed(page)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_ends_of_the_calendar_are_days_too(page, several, day):
    assert page.get("/sessions", {"since": day}).status_code == 200
    assert page.get("/sessions", {"until": day}).status_code == 200


def test_what_is_set_is_shown_and_can_be_taken_off(page, several):
    shown = Page(page.get("/sessions", {"tool": "bash", "error": "any", "q": "failed", "agent": "", "page": ""}))
    assert "Tool: bash" in shown.text
    assert "Errors: Any error" in shown.text
    links = {link["aria-label"]: link["href"] for link in shown.find_all("a") if "aria-label" in link}
    assert links["Take off the filter Tool"] == "?error=any&q=failed"
    assert links["Take off the filter Errors"] == "?tool=bash&q=failed"
    assert page.get("/sessions" + links["Take off the filter Tool"]).status_code == 200


def test_more_filters_are_open_when_one_of_them_is_set(page, several):
    assert "open" not in Page(page.get("/sessions")).find_all("details", class_="filter-more")[0]
    shown = Page(page.get("/sessions", {"tool": "bash"}))
    (more,) = shown.find_all("details", class_="filter-more")
    assert "open" in more
    assert any("selected" in option for option in shown.find_all("option", value="bash"))


def test_the_choices_are_this_workspaces_own(page, several, elsewhere):
    session = factories.make_session(elsewhere, title="theirs")
    factories.write_one(session, "agent.tool_use", {"name": "secret_tool", "input": {}})
    index()
    text = page.get("/sessions").content.decode()
    assert "secret_tool" not in text
    assert 'value="bash"' in text


def test_the_last_error_stands_in_the_row(page, several):
    text = Page(page.get("/sessions")).text
    assert "The model is away." in text
    assert "bash failed" in text


def test_a_session_of_a_worker_shows_how_long_it_worked(page, workspace):
    session = factories.make_session(workspace, title="took long")
    Session.objects.filter(pk=session.pk).update(active_ms=134_000)
    factories.make_imported(workspace, title="timed", has_times=True)
    text = Page(page.get("/sessions")).text
    assert "2 min 14 s" in text
    assert "50 s" in text


def test_marks_in_words_are_escaped(page, workspace, ana):
    session = factories.make_session(workspace)
    (event,) = factories.write(session, ("agent.message", {"content": "x"}))
    annotations.add_annotation(event, by=ana, name="<b>ana</b>", kind="note", category='"><script>x', text="t")
    html = page.get("/sessions", {"category": '"><script>x'}).content.decode()
    assert "<script>x" not in html
    assert "<b>ana" not in html


def test_the_form_offers_an_agent_that_a_link_names(workspace):
    from django.http import QueryDict

    for number in range(3):
        factories.make_agent(workspace, name=f"agent {number}")
    last = factories.make_agent(workspace, name="zz")
    form = SessionFilterForm(QueryDict(f"agent={last.public_id}"), workspace=workspace)
    assert form.chosen() == {"agent": last.public_id}
