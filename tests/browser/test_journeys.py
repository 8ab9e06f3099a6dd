"""Whole journeys, as people make them: by mouse, by keyboard, with scripts and without."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agents.models import Session, ToolCall
from agents.services.setup import new_sign_in_link
from tests import factories
from tests.browser.scenes import furnish
from tests.console.hostile import PAYLOADS, hostile_events
from tests.worker import wait_until

pytestmark = pytest.mark.chromium

TIMEOUT_MS = 20_000


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect as playwright_expect

    playwright_expect.set_options(timeout=TIMEOUT_MS)
    return playwright_expect(locator)


def session_path(session: Session, rest: str = "") -> str:
    return f"/sessions/{session.public_id}{rest}"


def say(session: Session, text: str) -> Any:
    return factories.write_one(session, "agent.message", {"content": factories.text(text)})


def live(tab: Any, session: Session, rest: str = "") -> Any:
    """Open a session's page and wait until its stream is open."""
    with tab.page.expect_response(re.compile("/stream"), timeout=TIMEOUT_MS):
        tab.open(session_path(session, rest))
    return tab.page


class TestWatching:
    def test_from_the_sign_in_link_to_a_finished_session(self, open_tab, ana, lab, local_worker):
        """The first minutes: sign in, start a session, watch it work, take what it delivered."""
        factories.make_agent(lab, name="Scout", model="simulated/default")
        factories.make_environment(lab)
        page = open_tab().open(new_sign_in_link(ana))
        page.get_by_role("button", name="Sign in as ana").click()
        page.get_by_role("link", name="create an agent").wait_for()
        page.goto(page.url + "sessions/new")
        page.get_by_role("textbox", name="Title").fill("Write a report")
        page.get_by_label("First message").fill("Look around and write a report.")
        page.get_by_role("button", name="Start the session").click()
        expect(page.get_by_role("heading", name="Write a report")).to_be_visible()
        expect(page.locator("#session-header .status")).to_have_text("done")
        expect(page.locator("#events")).to_contain_text("finished its turn")
        with page.expect_download() as download:
            page.get_by_role("link", name="report.md", exact=True).click()
        assert download.value.suggested_filename == "report.md"
        page.get_by_label("Message to the agent").fill("Thank you. And now?")
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#events")).to_contain_text("Thank you. And now?")
        expect(page.get_by_label("Message to the agent")).to_have_value("")
        seqs = page.eval_on_selector_all("#events .event", "rows => rows.map((row) => Number(row.dataset.seq))")
        assert seqs == sorted(set(seqs))

    def test_an_answer_is_given_where_the_question_stands(self, open_tab, ana, lab):
        session = factories.make_session(lab)
        page = live(open_tab(ana), session)
        call = factories.ask(session, "bash", {"command": "rm -rf build"})
        question = page.get_by_role("article", name=re.compile("asks to run bash"))
        expect(question).to_contain_text("rm -rf build")
        question.get_by_placeholder("Reason for the agent").fill("Keep the build")
        question.get_by_role("button", name="Refuse").click()
        expect(page.locator("#messages")).to_contain_text("Your answer was sent")
        expect(question).to_have_count(0)
        call.refresh_from_db()
        assert (call.decision, call.deny_message, call.decided_by) == ("deny", "Keep the build", "ana")

    def test_what_is_being_typed_survives_news(self, open_tab, ana, lab):
        session = factories.make_session(lab)
        factories.ask(session, "bash", {"command": "one"})
        page = live(open_tab(ana), session)
        page.get_by_placeholder("Reason for the agent").fill("half a senten")
        page.get_by_label("Message to the agent").fill("half a message")
        factories.ask(session, "bash", {"command": "two"})
        expect(page.get_by_role("article")).to_have_count(2)
        assert page.get_by_placeholder("Reason for the agent").first.input_value() == "half a senten"
        assert page.get_by_label("Message to the agent").input_value() == "half a message"


class TestReadingWhileItGoesOn:
    @pytest.fixture
    def session(self, lab):
        session = factories.make_session(lab, says="Go")
        factories.write(session, *[("agent.message", {"content": factories.text(f"line {n}")}) for n in range(80)])
        return session

    def test_news_wait_below_a_bar_and_move_nothing(self, open_tab, ana, session):
        page = live(open_tab(ana), session)
        page.evaluate("document.getElementById('story').scrollTop = 200")
        before = page.evaluate("document.getElementById('story').scrollTop")
        for n in range(3):
            say(session, f"news {n}")
        bar = page.get_by_role("button", name="3 new events")
        expect(bar).to_be_visible()
        assert page.evaluate("document.getElementById('story').scrollTop") == before
        assert page.get_by_text("news 2").is_hidden()
        bar.click()
        expect(page.get_by_text("news 0")).to_be_in_viewport()
        expect(bar).to_be_hidden()

    def test_following_keeps_the_end_in_view_until_the_reader_moves(self, open_tab, ana, session):
        page = live(open_tab(ana), session)
        page.keyboard.press("f")
        expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")
        say(session, "fresh")
        expect(page.get_by_text("fresh")).to_be_in_viewport()
        page.locator("#story").hover()
        page.mouse.wheel(0, -2000)
        expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
        say(session, "later")
        expect(page.get_by_role("button", name="1 new event")).to_be_visible()

    def test_a_tab_nobody_looks_at_catches_up(self, open_tab, ana, session):
        page = live(open_tab(ana), session)
        say(session, "seen")
        expect(page.locator("#events")).to_contain_text("seen")
        look = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        look += " document.dispatchEvent(new Event('visibilitychange')); }"
        page.evaluate(look, True)
        for n in range(3):
            say(session, f"unseen {n}")
        page.wait_for_timeout(300)
        assert "unseen" not in page.locator("#events").inner_html()
        page.evaluate(look, False)
        expect(page.locator("#events")).to_contain_text("unseen 2")
        ids = page.eval_on_selector_all("#events .event", "rows => rows.map((row) => row.id)")
        assert len(ids) == len(set(ids))

    def test_screen_readers_hear_of_news(self, open_tab, ana, session):
        page = live(open_tab(ana), session)
        say(session, "news")
        expect(page.locator("#announcer")).to_have_text("1 new event")


class TestFinding:
    def test_a_permalink_scrolls_to_its_event_and_marks_it(self, open_tab, ana, lab):
        session = factories.make_imported(lab, events=700, failure=444)
        event = session.annotations.get().event
        page = open_tab(ana).open(session_path(session))
        page.locator("#session-marks").get_by_role("link", name=f"event {event.seq}").click()
        row = page.locator(f"#event-{event.public_id}")
        expect(row).to_be_in_viewport()
        expect(row).to_have_attribute("aria-current", "true")
        assert f"event={event.public_id}" in page.url
        row.locator("summary").click()
        expect(row.locator(".event-detail")).to_contain_text("line 444")
        expect(row.locator(".event-detail")).to_contain_text("It should have searched.")

    def test_a_permalink_without_its_hash_does_the_same(self, open_tab, ana, lab):
        session = factories.make_imported(lab, events=700, failure=444)
        event = session.annotations.get().event
        page = open_tab(ana).open(session_path(session, f"?event={event.public_id}"))
        expect(page.locator(f"#event-{event.public_id}")).to_be_in_viewport()
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement.closest('.event').dataset.seq") == str(event.seq + 1)

    def test_a_click_in_the_picture_leads_to_the_event(self, open_tab, ana, lab):
        session = factories.make_imported(lab, events=40, failure=20)
        page = open_tab(ana).open(session_path(session))
        page.locator("session-picture[data-ready]").wait_for()
        x, y = page.evaluate(
            """() => { const p = document.querySelector("session-picture"), { marks, threads } = p.picture;
            return [p.view.x(marks.at[0] + 0.5), 54 + (threads.lane[marks.thread[0]] + 0.5) * p.laneHeight]; }"""
        )
        page.locator("session-picture canvas").click(position={"x": x, "y": y})
        page.wait_for_url(re.compile(r"[?&]event="))
        expect(page.locator(".event[data-focused]")).to_contain_text("line 20")

    def test_filters_change_the_list_and_the_address(self, open_tab, ana, lab):
        furnish(lab)
        page = open_tab(ana).open("/sessions")
        page.get_by_label("Source", exact=True).select_option("imported")
        expect(page.get_by_role("link", name="Which city is on the horizon?")).to_be_visible()
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_label("Source", exact=True).select_option("here")
        page.get_by_label("Status", exact=True).select_option("failed")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page).to_have_url(re.compile("status=failed"))
        page.get_by_role("searchbox", name="Search title or id").fill("nothing like it")
        expect(page.get_by_role("heading", name="No session matches")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("link", name="Summarise the incident")).to_be_visible()
        assert page.get_by_label("Status", exact=True).input_value() == "failed"
        expect(page.locator("html > body > main")).to_have_count(1)


class TestKeyboard:
    def test_it_goes_everywhere_without_a_mouse(self, open_tab, ana, lab):
        furnish(lab)
        page = open_tab(ana).open("/")
        for key, place in (("s", "/sessions"), ("a", "/agents"), ("e", "/environments"), ("k", "/keys"), ("h", "/")):
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(re.compile(f"[0-9]{place}$"))
        page.keyboard.press("g")
        page.keyboard.press("s")
        page.wait_for_url(re.compile("/sessions$"))
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("j")
        title = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(title)

    def test_rows_of_a_session_open_and_close(self, open_tab, ana, lab):
        page = open_tab(ana).open(furnish(lab)["session"])
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("details[open] .event-detail")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(page.locator("details.event-open[open]")).to_have_count(0)
        page.keyboard.press("Escape")
        page.wait_for_url(re.compile("/sessions$"))

    def test_ctrl_and_enter_send_a_message(self, open_tab, ana, lab):
        session = factories.make_session(lab)
        page = live(open_tab(ana), session)
        page.keyboard.press("m")
        page.keyboard.type("Hello there")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#events")).to_contain_text("Hello there")

    def test_keys_mean_letters_while_typing(self, open_tab, ana, lab):
        page = open_tab(ana).open(furnish(lab)["session"])
        page.keyboard.press("m")
        page.keyboard.type("g h / ? j k n f")
        field = page.get_by_label("Message to the agent")
        assert field.input_value() == "g h / ? j k n f"
        assert page.get_by_role("dialog").count() == 0
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement === document.body")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "q"

    def test_the_list_of_keys_opens_and_closes(self, open_tab, ana, lab):
        page = open_tab(ana).open("/")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        page.keyboard.press("g")
        page.keyboard.press("s")
        assert page.get_by_role("dialog").is_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)

    def test_the_first_key_leads_past_the_navigation(self, open_tab, ana, lab):
        page = open_tab(ana).open("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


class TestTheme:
    def test_the_choice_acts_at_once_and_lasts(self, open_tab, ana, lab):
        page = open_tab(ana, theme="light").open("/")
        surface = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(surface)
        page.locator(".menu-end summary").click()
        page.get_by_role("button", name="Dark").click()
        dark = page.evaluate(surface)
        assert dark != light
        page.reload()
        assert page.evaluate(surface) == dark
        page.locator(".menu-end summary").click()
        page.get_by_role("button", name="System").click()
        assert page.evaluate(surface) == light


class TestWithoutScripts:
    def test_everything_but_live_updates_works(self, open_tab, ana, lab):
        factories.make_environment(lab)
        page = open_tab(scripts=False).open("/agents/new")
        page.get_by_label("Name").fill("ana")
        page.get_by_label("Password").fill(factories.PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Name").fill("Plain")
        page.get_by_role("button", name="Create the agent").click()
        page.get_by_role("link", name="New session").click()
        page.get_by_role("textbox", name="Title").fill("Without scripts")
        page.get_by_role("button", name="Start the session").click()
        page.get_by_label("Message to the agent").fill("Hello")
        page.get_by_role("button", name="Send").click()
        assert page.locator("#events").get_by_text("Hello").is_visible()
        session = Session.objects.get()
        said = factories.turn(session)[1]
        factories.ask(session)
        page.reload()
        page.locator(f"#event-{said.public_id} summary").click()
        page.locator(f"#event-{said.public_id}").get_by_role("link", name="Open this event").click()
        assert page.get_by_role("heading", level=1).inner_text().strip() == "Plain said"
        page.go_back()
        page.get_by_role("button", name="Allow").click()
        assert ToolCall.objects.get().decision == "allow"
        assert page.get_by_text("Your answer was sent").is_visible()
        factories.stop(session)
        page.reload()
        page.get_by_role("button", name="Archive").click()
        assert page.get_by_text("The session is archived").is_visible()
        assert page.get_by_role("button", name="Copy").count() == 0

    def test_the_theme_follows_the_choice_without_them_too(self, open_tab, ana, lab):
        page = open_tab(ana, scripts=False).open("/agents")
        page.locator(".menu-end summary").click()
        page.get_by_role("button", name="Dark").click()
        assert page.url.endswith("/agents")
        assert page.locator("html").get_attribute("data-theme") == "dark"


class TestHostileAgents:
    def test_nothing_they_write_runs_or_calls_home(self, open_tab, ana, lab):
        """Every attack in every field, in a real browser: no script runs, no request leaves."""
        payload = "\n".join(PAYLOADS)
        name = " ".join(PAYLOADS)[:250]
        agent = factories.make_agent(lab, name=name, system=payload)
        session = factories.make_session(lab, agent=agent, title=payload)
        hostile_events(session, payload)
        factories.ask(session, name[:200], {"command": payload})
        tab = open_tab(ana)
        for path in ("/", "/sessions", "/agents", f"/agents/{agent.public_id}", f"/agents/{agent.public_id}/edit"):
            page = tab.open(path)
            assert page.evaluate("window.pwned") is None, path
        page = live(tab, session, "?events=all")
        for summary in page.locator(".event-open > summary").all():
            summary.click()
        page.wait_for_function("document.querySelectorAll('.event-detail').length >= 20", timeout=TIMEOUT_MS)
        say(session, payload)
        say(session, "the last word")
        expect(page.locator("#events")).to_contain_text("the last word")
        assert page.evaluate("window.pwned") is None
        assert wait_until(lambda: page.evaluate("document.title")).endswith("Daybreak")
        assert page.url.startswith(tab.base + session_path(session, "?events=all"))
