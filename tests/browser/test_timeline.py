"""The session page by keyboard alone, and while 25 agents work at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.ingestion import detect
from agents.ingestion.model import ImportReport
from agents.models import Annotation, Session
from agents.services.ingestion import import_session
from tests.browser.test_journeys import expect, live, session_path
from tests.browser.test_looks import findings
from tests.console import teams

pytestmark = [pytest.mark.chromium, pytest.mark.done_when(2)]

CARD_SEQ = "() => Number(document.querySelector('.why')?.dataset.seq)"
SELECT = """(seq) => document.dispatchEvent(
  new CustomEvent("daybreak:select", {detail: {seq, id: "", from: "picture"}}))"""
MOST_KEYS = 60


@pytest.fixture
def who_and_when(lab: Any, shared_data: Path) -> Any:
    """A log of real agents in which people named the step that went wrong."""
    found = next(path for path in sorted(shared_data.rglob("Hand-Crafted/*.json")) if _begins_with_a_task(path))
    (imported,) = detect.read(found, None, ImportReport())
    return import_session(lab, imported).session


def _begins_with_a_task(path: Path) -> bool:
    log = json.loads(path.read_text())
    return log["history"][0]["role"] == "human" and int(log["mistake_step"]) > 2


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until the focus is on such an element."""
    for _ in range(MOST_KEYS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never came to {selector}")


def card_seq(page: Any) -> int:
    return int(page.evaluate(CARD_SEQ))


def test_by_keyboard_from_the_failing_step_to_its_instruction(open_tab, ana, who_and_when):
    marked = who_and_when.annotations.select_related("event").order_by("event__seq").first()
    tab = open_tab(ana, axe=True)
    page = tab.open(session_path(who_and_when))
    page.locator("session-picture[data-ready]").wait_for()

    page.keyboard.press("e")
    expect(page.locator(f"#event-{marked.event.public_id}")).to_have_attribute("aria-current", "true")
    expect(page.locator(".why")).to_have_attribute("data-seq", str(marked.event.seq))
    expect(page.locator(".annotate")).to_contain_text(marked.text[:40])
    assert f"event={marked.event.public_id}" in page.url
    assert findings(tab) == []

    first = who_and_when.events.get(seq=1)
    for _ in range(MOST_KEYS):
        before = card_seq(page)
        if before == first.seq:
            break
        page.keyboard.press("i")
        tab_to(page, f".step[data-seq]:not([data-seq='{before}'])")
        page.keyboard.press("Enter")
        page.wait_for_function(f"{CARD_SEQ[6:]} !== {before}")
        assert card_seq(page) < before, "it leads back"
    assert card_seq(page) == first.seq
    expect(page.locator(f"#event-{first.public_id}")).to_be_in_viewport()


def test_by_keyboard_a_step_is_marked_and_its_link_shared(open_tab, ana, who_and_when):
    marked = who_and_when.annotations.select_related("event").order_by("event__seq").first()
    tab = open_tab(ana, axe=True)
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab.open(session_path(who_and_when))
    page.locator("session-picture[data-ready]").wait_for()
    page.keyboard.press("e")
    expect(page.locator(".why")).to_have_attribute("data-seq", str(marked.event.seq))

    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")  # from failure to good
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.type("invented fact")
    page.keyboard.press("Tab")
    page.keyboard.type("Nothing in the log says so.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".annotate")).to_contain_text("Nothing in the log says so.")
    expect(page.locator(f"#event-{marked.event.public_id}")).to_contain_text("invented fact")
    said = Annotation.objects.get(event=marked.event, author=ana)
    assert (said.kind, said.category, said.text) == ("failure", "invented fact", "Nothing in the log says so.")
    assert findings(tab) == []

    page.keyboard.press("y")
    expect(page.locator("#announcer")).to_contain_text("copied")
    link = page.evaluate("navigator.clipboard.readText()")
    other = open_tab(ana)
    there = other.open(link.partition(page.url.split("/sessions")[0])[2])
    expect(there.locator(f"#event-{marked.event.public_id}")).to_be_in_viewport()
    expect(there.locator(".why")).to_contain_text("Nothing in the log says so.")


def test_j_k_h_and_l_step_through_the_story(open_tab, ana, who_and_when):
    page = open_tab(ana).open(session_path(who_and_when))
    page.locator("session-story[data-ready]").wait_for()
    chosen = page.locator("#events [aria-current=true]")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(chosen).to_have_attribute("data-seq", str(_seqs(page)[1]))
    page.keyboard.press("k")
    expect(chosen).to_have_attribute("data-seq", str(_seqs(page)[0]))
    own = page.evaluate(
        """() => { const rows = [...document.querySelectorAll("#events .event")];
        return rows.filter((row) => row.dataset.thread === rows[0].dataset.thread).map((row) => row.dataset.seq); }"""
    )
    page.keyboard.press("l")
    expect(chosen).to_have_attribute("data-seq", own[1])
    page.keyboard.press("h")
    expect(chosen).to_have_attribute("data-seq", own[0])
    page.keyboard.press("/")
    page.keyboard.type("j")
    assert page.locator("#find-words").input_value() == "j", "keys mean nothing while somebody types"


def _seqs(page: Any) -> list[int]:
    return page.eval_on_selector_all("#events .event", "rows => rows.map((row) => Number(row.dataset.seq))")


def test_a_long_story_keeps_its_place_and_its_size(open_tab, ana, lab):
    from tests import factories

    session = factories.make_session(lab, title="Long")
    factories.write(session, *[("agent.message", {"content": factories.text(f"line {n}")}) for n in range(1, 1001)])
    factories.stop(session)
    page = open_tab(ana).open(session_path(session))
    story = page.locator("session-story[data-ready]")
    story.wait_for()
    for wanted in (200, 400, 600):
        for _ in range(40):
            if _seqs(page)[-1] >= wanted:
                break
            last = _seqs(page)[-1]
            story.evaluate("story => { story.scrollTop = story.scrollHeight; }")
            page.wait_for_function(
                "last => Number([...document.querySelectorAll('#events .event')].pop().dataset.seq) > last", arg=last
            )
        seqs = _seqs(page)
        assert seqs == list(range(seqs[0], seqs[-1] + 1)) and len(seqs) <= 150, "no hole, no row twice"
    first = _seqs(page)[0]
    story.evaluate("story => { story.scrollTop = 0; }")
    page.wait_for_function("first => Number(document.querySelector('#events .event').dataset.seq) < first", arg=first)
    expect(page.locator(f"#events [data-seq='{first}']")).to_be_in_viewport()
    assert page.evaluate("document.querySelectorAll('*').length") < 5_000
    page.evaluate(SELECT, 3)
    expect(page.locator("#events [aria-current=true]")).to_have_attribute("data-seq", "3")
    expect(page.locator("#events [data-seq='3']")).to_be_in_viewport()


@pytest.mark.timeout(240)
def test_25_agents_at_once_are_followed_live(open_tab, ana, lab, local_worker):
    workers = [teams.make_member(lab, name) for name in ("north", "south", "east", "west")]
    names = [worker.name for worker in workers]
    script = teams.parallel(*(f"spawn: {names[n % 4]} | say: Part {n} is done." for n in range(25)), "wait:")
    session = teams.start(lab, script, *workers, title="25 at once")
    tab = open_tab(ana, axe=True)
    page = live(tab, session)
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#session-header .status")).to_have_text("done", timeout=120_000)
    expect(page.locator("#events .event").last).to_contain_text("finished its turn")
    expect(page.locator("#events .event").last).to_be_in_viewport()
    page.wait_for_function("document.querySelector('session-picture').picture?.arrows.received_seq.length >= 50")
    assert page.evaluate("document.querySelector('session-picture').picture.threads.lane.length") == 26
    seqs = _seqs(page)
    assert seqs == sorted(set(seqs))
    assert page.evaluate("document.querySelectorAll('*').length") < 5_000
    assert findings(tab) == []
    assert Session.objects.get(pk=session.pk).thread_count == 26
