"""The picture in the browser: drawn, moved about in, selected from, followed, by mouse, keyboard and touch."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from django.db import connection, transaction

from tests import factories
from tests.browser.conftest import NARROW, WIDE
from tests.browser.scenes import furnish
from tests.browser.test_journeys import expect, live, say, session_path
from tests.browser.test_looks import WIDER, findings
from tests.worker import wait_until

pytestmark = pytest.mark.chromium

TOP = 54  # pixels of minimap and axis above the lanes
SPAN = """() => { const v = document.querySelector("session-picture").view; return [v.time(0), v.time(v.width)]; }"""
PLACE = """([kind, top]) => {
  const p = document.querySelector("session-picture"), { items, kinds, threads } = p.picture;
  const n = items.kind.findIndex((k, at) => kinds[k] === kind && !(items.flags[at] & 4));
  const x = p.view.x(items.start[n]), end = p.view.x(p.picture.end(n));
  const y = top - p.scroller.scrollTop + (threads.lane[items.thread[n]] + 0.5) * p.laneHeight;
  return { x: (x + end) / 2, y, seq: items.seq[n] };
}"""
SELECT = (
    """(seq) => document.dispatchEvent(new CustomEvent("daybreak:select", {detail: {seq, id: "", from: "keys"}}))"""
)
FOUND = """(seq) => { const p = document.querySelector("session-picture");
  return p.selectedSeq === seq && (p.selected >= 0 || p.picture.found?.seq === seq); }"""
LISTEN = """() => { window.chosen = [];
  document.addEventListener("daybreak:select", (e) => window.chosen.push(e.detail)); }"""


def drawn(page: Any) -> Any:
    """The canvas, once it is drawn. On a narrow page it has a tab."""
    tab = page.locator("[data-shows=picture]")
    if tab.count() and tab.is_visible():
        tab.click()
    page.locator("session-picture[data-ready]").wait_for()
    return page.locator("session-picture canvas")


def until(page: Any, script: str, given: Any = None) -> None:
    """Wait for a script to answer true. (Playwright's own waiting evaluates text, which the page's policy refuses.)"""
    wait_until(lambda: page.evaluate(script, given), timeout_s=20)


def caught_up(page: Any, event: Any) -> None:
    until(page, "(seq) => document.querySelector('session-picture').picture.lastSeq >= seq", event.seq)


def press(page: Any, key: str) -> None:
    settled(page)
    page.keyboard.press(key)


def settled(page: Any) -> None:
    """Selecting loads rows and a card: leaving meanwhile would be an error of the test's own making."""
    page.wait_for_timeout(200)
    until(page, "document.querySelectorAll('.htmx-request').length === 0")


def shown(page: Any) -> float:
    start, end = page.evaluate(SPAN)
    return end - start


def painted(page: Any) -> int:
    """How many pixels of the lanes have a colour."""
    return page.evaluate(
        """() => { const c = document.querySelector("session-picture canvas");
        const data = c.getContext("2d").getImageData(0, 60, c.width, c.height - 60).data;
        let n = 0; for (let i = 3; i < data.length; i += 4) if (data[i] > 60) n += 1; return n; }"""
    )


@pytest.fixture
def team(lab: Any) -> Any:
    paths = furnish(lab)
    return paths["team"]


@pytest.fixture
def worked(lab: Any) -> Any:
    paths = furnish(lab)
    return paths["session"]


def test_it_is_drawn_and_named(open_tab, ana, team):
    tab, asked = open_tab(ana), []
    tab.page.on("request", lambda request: asked.append(request.url) if "/picture?" in request.url else None)
    page = tab.open(team)
    drawn(page)
    assert len(asked) == 1, "what the page asks for while its scripts come is what they use"
    assert painted(page) > 500
    names = page.locator(".picture-lanes .lane-name").all_inner_texts()
    assert names[0] == "Night shift"
    assert len(names) == page.evaluate("document.querySelector('session-picture').picture.lanes.length")
    page.locator(".picture-lanes").get_by_role("link", name="north", exact=True).click()
    expect(page).to_have_url(re.compile("thread=sthr_"))
    assert page.locator(".picture-lane[data-chosen]").count() == 1


def test_zoom_pan_fit_and_the_minimap_change_what_is_shown(open_tab, ana, worked):
    page = open_tab(ana).open(worked)
    canvas = drawn(page)
    whole = shown(page)
    page.get_by_role("button", name="Zoom in").click()
    assert shown(page) == pytest.approx(whole / 1.6, rel=0.01)
    start, _ = page.evaluate(SPAN)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 70)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 70, steps=4)
    page.mouse.up()
    assert page.evaluate(SPAN)[0] > start
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    assert shown(page) < whole / 1.6
    page.get_by_role("button", name="Fit").click()
    assert shown(page) == pytest.approx(whole, rel=0.01)
    page.mouse.move(box["x"] + 200, box["y"] + 15)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 15, steps=4)
    page.mouse.up()
    assert shown(page) == pytest.approx(whole * 300 / box["width"], rel=0.05)
    page.mouse.dblclick(box["x"] + 300, box["y"] + 70)
    assert shown(page) < whole * 300 / box["width"] / 2


def test_a_click_selects_and_the_page_is_told(open_tab, ana, worked):
    page = open_tab(ana).open(worked)
    canvas = drawn(page)
    page.evaluate(LISTEN)
    place = page.evaluate(PLACE, ["tool", TOP])
    canvas.hover(position={"x": place["x"], "y": place["y"]})
    expect(page.locator(".picture-tip")).to_contain_text("runs a tool")
    canvas.click(position={"x": place["x"], "y": place["y"]})
    assert page.evaluate("window.chosen") == [{"seq": place["seq"], "id": "", "from": "picture"}]
    settled(page)


def test_what_is_selected_elsewhere_is_brought_into_view(open_tab, ana, team):
    page = open_tab(ana).open(team)
    drawn(page)
    last = page.evaluate("Math.max(...document.querySelector('session-picture').picture.items.seq)")
    for _ in range(6):
        page.get_by_role("button", name="Zoom in").click()
    page.evaluate(LISTEN)
    page.evaluate(
        "(seq) => document.dispatchEvent(new CustomEvent('daybreak:select', {detail: {seq, id: '', from: 'story'}}))",
        last,
    )
    found = page.evaluate(
        """() => { const p = document.querySelector("session-picture");
        return [p.selectedSeq, p.view.x(p.picture.items.start[p.selected]), p.view.width]; }"""
    )
    assert found[0] == last
    assert 0 <= found[1] <= found[2] + 1
    assert len(page.evaluate("window.chosen")) == 1, "what was received must not be sent again"
    settled(page)


def test_errors_are_visited_in_turn_by_key_and_button(open_tab, ana, lab):
    session = factories.make_imported(lab, events=700, failure=444)
    wrong = [factories.write_one(session, "session.error", {"error": {"message": "x"}}).seq for _ in range(2)]
    page = open_tab(ana).open(session_path(session))
    drawn(page)
    page.evaluate(LISTEN)
    marked = session.annotations.get().event.seq
    press(page, "e")
    settled(page)
    page.get_by_role("button", name="Next error (3)").click()
    for key in ("e", "e", "Shift+E"):
        press(page, key)
    assert [found["seq"] for found in page.evaluate("window.chosen")] == [marked, *wrong, marked, wrong[1]]
    settled(page)


def test_the_keyboard_alone_does_it_all(open_tab, ana, team):
    page = open_tab(ana).open(team)
    canvas = drawn(page)
    page.evaluate(LISTEN)
    canvas.focus()
    assert canvas.evaluate("c => getComputedStyle(c).outlineStyle") != "none"
    whole = shown(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoomed = page.evaluate(SPAN)
    assert zoomed[1] - zoomed[0] < whole / 2
    page.keyboard.press("ArrowRight")
    assert page.evaluate(SPAN)[0] > zoomed[0]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert shown(page) == pytest.approx(whole, rel=0.01)
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"):
        press(page, key)
    lanes = page.evaluate(
        """() => { const p = document.querySelector("session-picture").picture;
        return window.chosen.map(({ seq }) => p.threads.lane[p.items.thread[p.itemOf(seq)]]); }"""
    )
    assert lanes == [0, 0, 1]
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.querySelector('.picture-scroll').scrollTop") > 0
    settled(page)


def test_what_happens_is_appended_while_one_watches(open_tab, ana, lab):
    session = factories.make_session(lab, title="Live", says="Go")
    factories.turn(session)
    factories.run(session)
    page = live(open_tab(ana), session)
    drawn(page)
    before = page.evaluate("document.querySelector('session-picture').picture.items.seq.length")
    said = say(session, "news")
    caught_up(page, said)
    assert page.evaluate("document.querySelector('session-picture').picture.items.seq.length") == before + 1
    child = factories.make_child(session, "north")
    say(session, "x") and factories.write_one(session, "agent.message", thread=child)
    expect(page.locator(".picture-lanes").get_by_role("link", name="north")).to_be_visible()
    assert page.locator("session-picture canvas").count() == 1


def test_following_keeps_the_end_in_view_until_the_reader_moves(open_tab, ana, lab):
    session = factories.make_session(lab, title="Live", says="Go")
    for _ in range(5):
        factories.turn(session)
    page = live(open_tab(ana), session)
    drawn(page)
    follow = page.locator("[data-follow]")
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    follow.click()
    expect(follow).to_have_attribute("aria-pressed", "true")
    said = say(session, "news")
    caught_up(page, said)
    at_end = page.evaluate(
        """() => { const p = document.querySelector("session-picture");
        return Math.abs(p.view.time(p.view.width) - p.view.line.extent[1]) < 2; }"""
    )
    assert at_end
    page.locator("session-picture canvas").focus()
    page.keyboard.press("ArrowLeft")
    expect(follow).to_have_attribute("aria-pressed", "false")
    start = page.evaluate(SPAN)[0]
    later = say(session, "more")
    caught_up(page, later)
    assert page.evaluate(SPAN)[0] == pytest.approx(start, abs=1)


def test_by_order_and_by_time(open_tab, ana, worked, lab):
    page = open_tab(ana).open(worked)
    drawn(page)
    page.get_by_role("link", name="By order").click()
    until(page, "document.querySelector('session-picture').picture.byOrder")
    expect(page).to_have_url(re.compile("draw=order"))
    drawn(page)
    page.get_by_role("link", name="By time").click()
    until(page, "!document.querySelector('session-picture').picture.byOrder")
    session = factories.make_imported(lab, events=40)
    page.goto(page.url.split("/sessions/")[0] + session_path(session))
    drawn(page)
    expect(page.get_by_text("Drawn by order: this log has no times")).to_be_visible()
    assert page.get_by_role("link", name="By time").count() == 0


def test_gaps_can_be_skipped(open_tab, ana, worked):
    page = open_tab(ana).open(worked)
    drawn(page)
    skip = page.get_by_role("button", name=re.compile("^Skip"))
    before = page.evaluate("document.querySelector('session-picture').view.length")
    skip.click()
    expect(skip).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.querySelector('session-picture').view.length") < before


def test_a_long_log_is_bucketed_until_one_looks_closer(open_tab, ana, lab):
    from bench import logs

    session = factories.make_session(lab, title="Long", says="Go")
    with transaction.atomic():
        logs.write_log(connection.connection, session.pk, events=40_000, helpers=25)
    tab = open_tab(ana)
    page = tab.open(session_path(session))
    drawn(page)
    expect(page.locator("[data-notices]")).to_contain_text(re.compile(r"Bucketed: [\d,]+ steps in [\d,]+ columns"))
    with page.expect_response(re.compile("/picture.*from=")):
        canvas = page.locator("session-picture canvas")
        canvas.focus()
        for _ in range(8):
            page.keyboard.press("+")
    until(page, "document.querySelector('session-picture').picture.buckets === 0")
    expect(page.locator("[data-notices]")).not_to_contain_text("Bucketed")
    page.keyboard.press("0")
    until(page, "document.querySelector('session-picture').picture.buckets > 0")
    assert page.evaluate("document.querySelectorAll('session-picture *').length") < 600
    last = session.last_seq or session.events.count()
    for seq in (last // 3, last // 2):  # each one of many in its place: the server says where
        page.evaluate(SELECT, seq)
        until(page, FOUND, seq)
    settled(page)


def test_on_a_telephone_it_is_moved_by_touch(chromium, server, ana, lab, worked):
    from tests.browser.conftest import _browser_session

    context = chromium.new_context(viewport={"width": NARROW, "height": 800}, has_touch=True, is_mobile=True)
    context.add_cookies([{"name": "sessionid", "value": _browser_session(ana), "url": server}])
    page = context.new_page()
    page.goto(server + worked)
    canvas = drawn(page)
    assert page.evaluate(WIDER) == []
    page.evaluate(LISTEN)
    place = page.evaluate(PLACE, ["tool", TOP])
    canvas.tap(position={"x": place["x"], "y": place["y"]})
    assert [found["seq"] for found in page.evaluate("window.chosen")] == [place["seq"]]
    whole = shown(page)
    box = canvas.bounding_box()
    touch = context.new_cdp_session(page)

    def points(*places: int) -> list[dict[str, float]]:
        return [{"x": box["x"] + x, "y": box["y"] + 80, "id": n} for n, x in enumerate(places)]

    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points(100, 140)})
    for step in range(1, 5):
        touch.send(
            "Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points(100 - 10 * step, 140 + 10 * step)}
        )
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert shown(page) < whole / 1.5
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_it_looks_right(open_tab, ana, lab, width, theme):
    tab = open_tab(ana, width=width, theme=theme, axe=True)
    paths = furnish(lab)
    for name in ("team", "session", "imported"):
        page = tab.open(paths[name])
        drawn(page)
        page.wait_for_timeout(100)
        assert page.evaluate(WIDER) == [], name
        assert findings(tab) == [], name
        if folder := os.environ.get("DAYBREAK_LOOK"):
            page.screenshot(path=f"{folder}/picture-{name}-{width}-{theme}.png")


def test_without_scripts_the_agents_are_listed_with_what_they_did(open_tab, ana, team):
    page = open_tab(ana, scripts=False).open(team)
    lanes = page.locator(".picture-lane")
    assert lanes.count() >= 2
    assert "model request" in lanes.nth(1).inner_text()
