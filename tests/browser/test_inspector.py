"""The inspector in the browser: it follows what is selected, keeps the tab somebody chose, and acts from an event."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests import factories
from tests.browser.conftest import NARROW, WIDE
from tests.browser.test_looks import findings
from tests.console import teams

pytestmark = pytest.mark.chromium
SELECT = "([seq, id]) => document.dispatchEvent(new CustomEvent('daybreak:select', {detail: {seq, id, from: 'keys'}}))"


@pytest.fixture
def session(lab: Any) -> Any:
    """A lead whose helper waits for a person, with the causes that the engine writes."""
    found = factories.make_session(lab, title="Why did it fail?", says="Find the cause.")
    factories.take_up(found)
    asked = found.events.get(type="user.message")
    start = factories.write_one(found, "span.model_request_start", cause=asked)
    factories.write_one(found, "agent.thinking", private={"thinking": "North knows."}, cause=start)
    payload = {"name": "grep", "input": {"pattern": "ERROR"}, "evaluated_permission": "allow"}
    use = factories.write_one(found, "agent.tool_use", payload, cause=start)
    result = {"tool_use_id": use.public_id, "content": factories.text("12 lines"), "is_error": False}
    factories.write_one(found, "agent.tool_result", result, cause=use)
    north = teams.delegate(found, "north", "Clean up.")
    teams.ask(found, north, {"command": "rm -r build"}, "It is old.")
    return found


def title(page: Any) -> Any:
    return page.locator("#inspector-body h2").first


def select(page: Any, event: Any, *, by_id: bool = True) -> None:
    page.evaluate(SELECT, [event.seq, event.public_id if by_id else ""])


def current(page: Any) -> Any:
    return page.locator(".inspector-tabs a[aria-current]")


def test_it_follows_what_is_selected_until_somebody_chooses_a_tab(open_tab, ana, session):
    page = open_tab(ana).open(f"/sessions/{session.public_id}")
    expect(title(page)).to_have_text("What happened")
    use = session.events.filter(type="agent.tool_use").order_by("seq")[0]
    result = session.events.get(type="agent.tool_result")
    select(page, use)
    expect(title(page)).to_contain_text("Scout ran grep")
    expect(current(page)).to_have_text("Why")
    page.wait_for_function("new URLSearchParams(location.search).get('tab') === 'why'")
    select(page, result, by_id=False)
    expect(title(page)).to_contain_text("got the result of grep")
    page.locator(".inspector-tabs").get_by_text("Tools").click()
    expect(title(page)).to_have_text("Tools")
    select(page, use)
    page.wait_for_timeout(300)
    expect(title(page)).to_have_text("Tools")
    page.locator(".inspector-tabs").get_by_text("Why").click()
    expect(title(page)).to_contain_text("Scout ran grep")
    page.locator(".inspector-tabs").get_by_text("Summary").click()
    expect(title(page)).to_have_text("What happened")
    page.locator(".sentences a", has_text="Ana asked Scout").click()
    expect(title(page)).to_contain_text("Ana asked")


def test_many_selections_at_once_ask_only_for_the_last(open_tab, ana, session):
    page = open_tab(ana).open(f"/sessions/{session.public_id}?tab=why")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/inspect/why" in request.url else None)
    events = list(session.events.filter(visible=True).order_by("seq"))
    page.evaluate(
        """(all) => { for (const [seq, id] of all) document.dispatchEvent(
          new CustomEvent("daybreak:select", {detail: {seq, id, from: "keys"}})); }""",
        [[event.seq, event.public_id] for event in events],
    )
    expect(page.locator("article.why")).to_have_attribute("data-event", events[-1].public_id)
    assert len(asked) == 1


def test_the_way_back_is_walked_by_links_without_leaving_the_page(open_tab, ana, session):
    result = session.events.get(type="agent.tool_result")
    page = open_tab(ana).open(f"/sessions/{session.public_id}?event={result.public_id}")
    page.evaluate("window.stays = true")
    expect(title(page)).to_contain_text("got the result of grep")
    page.locator(".why-chain a").last.click()
    expect(title(page)).to_contain_text("Ana asked")
    assert page.evaluate("window.stays")


def test_tabs_are_one_stop_and_arrows_move_between_them(open_tab, ana, session):
    page = open_tab(ana).open(f"/sessions/{session.public_id}/inspect/summary")
    page.locator(".inspector-tabs a").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(":focus")).to_have_text("Session")
    page.keyboard.press("End")
    expect(page.locator(":focus")).to_have_text("Events")
    page.keyboard.press("ArrowRight")
    expect(page.locator(":focus")).to_have_text("Summary")
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('.inspector-tabs')")


def test_a_question_is_answered_from_its_card_which_then_says_so(open_tab, ana, session):
    call = session.tool_calls.get(state="waiting")
    page = open_tab(ana).open(f"/sessions/{session.public_id}?event={call.use_event.public_id}")
    page.locator(".why-answer input[name=deny_message]").fill("Keep it")
    page.locator(".why-answer").get_by_text("Refuse", exact=True).click()
    expect(page.locator(".why")).to_contain_text("ana refused it.")
    expect(page.locator(".why")).to_contain_text("Keep it")
    expect(page.locator(".why-answer")).to_have_count(0)


def test_a_lost_connection_is_said_and_can_be_tried_again(open_tab, ana, session):
    tab = open_tab(ana)
    page = tab.open(f"/sessions/{session.public_id}/inspect/summary")
    page.route("**/inspect/tools*", lambda route: route.fulfill(status=503, body="busy"))
    page.locator(".inspector-tabs").get_by_text("Tools").click()
    expect(page.locator(".inspector-failed")).to_be_visible()
    page.unroute("**/inspect/tools*")
    page.locator(".inspector-failed [data-again]").click()
    expect(title(page)).to_have_text("Tools")
    expect(page.locator(".inspector-failed")).to_be_hidden()
    tab.problems.clear()  # htmx tells the console of the refused request


def test_live_news_reach_the_open_tab_and_nothing_else(open_tab, ana, session):
    page = open_tab(ana).open(f"/sessions/{session.public_id}?tab=threads")
    expect(page.locator("#inspector-body #team")).to_contain_text("north")
    south = teams.delegate(session, "south", "Look elsewhere.")
    expect(page.locator(f"#inspector-body #member-{south.public_id}")).to_contain_text("Look elsewhere.")
    page.locator(".inspector-tabs").get_by_text("Tools").click()
    expect(title(page)).to_have_text("Tools")
    west = teams.delegate(session, "west", "And there.")
    expect(page.locator("#events")).to_contain_text("And there.")
    page.wait_for_timeout(800)
    assert page.locator(f"#member-{west.public_id}").count() == 0
    page.locator(".inspector-tabs").get_by_text("Agents").click()
    expect(page.locator(f"#inspector-body #member-{west.public_id}")).to_contain_text("And there.")
    assert page.locator("#team").count() == 1


def test_without_scripts_every_tab_is_a_page(open_tab, ana, session):
    event = session.events.get(type="agent.tool_result")
    page = open_tab(ana, scripts=False).open(f"/sessions/{session.public_id}/why?event={event.public_id}")
    expect(title(page)).to_contain_text("got the result of grep")
    page.locator(".inspector-tabs").get_by_text("Events").click()
    expect(title(page)).to_have_text("Events")
    expect(page.locator(".wire[data-chosen]")).to_contain_text("agent.tool_result")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_tab_looks_right(open_tab, ana, session, width, theme):
    tab = open_tab(ana, width=width, theme=theme, axe=True)
    event = session.tool_calls.get(state="waiting").use_event
    for name in ("summary", "why", "session", "threads", "tools", "files", "memory", "context", "events"):
        page = tab.open(f"/sessions/{session.public_id}/inspect/{name}?event={event.public_id}")
        assert findings(tab) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
