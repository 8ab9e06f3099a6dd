"""The search pages: across sessions and within one, with every state they can be in."""

from __future__ import annotations

import pytest

from agents.services import search as services
from agents.services.search_index import Sweeper
from console.views import search as views
from tests import factories
from tests.console.hostile import PAYLOADS, hostile_events
from tests.console.html import Page, same


def index() -> None:
    Sweeper().sweep(pause=lambda seconds: None)


@pytest.fixture
def sessions(workspace):
    first = factories.make_session(workspace, title="Renew the certificate")
    factories.turn(first, "The certificate has expired, renew it.")
    second = factories.make_session(workspace, title="Other work")
    for number in range(6):
        factories.write_one(second, "agent.message", {"content": f"certificate number {number} of getUserName"})
    index()
    return first, second


class TestEverywhere:
    def test_an_empty_search_says_how_to_search(self, page):
        shown = Page(page.get("/search"))
        assert "Find what was said and done" in shown.text
        assert "cert OR certificate" in shown.text

    def test_sessions_called_so_come_first_then_hits_by_session(self, page, sessions):
        first, second = sessions
        shown = Page(page.get("/search", {"q": "certificate"}))
        assert shown.text.index("Sessions that are called so") < shown.text.index("hits in 2 sessions")
        assert "7 hits in 2 sessions" in shown.text
        assert "3 more hits in this session" in shown.text
        assert f"/sessions/{second.public_id}/search?q=certificate" in shown.hrefs()
        message = first.events.get(type="agent.message").public_id
        assert f"/sessions/{first.public_id}?event={message}#event-{message}" in shown.hrefs()
        assert "<mark>certificate</mark>" in shown.source

    def test_the_search_stays_in_the_fields(self, page, sessions):
        shown = Page(page.get("/search", {"q": 'a "b"', "kind": "thinking"}))
        assert shown.find_all("input", id="search-words", value='a "b"')
        assert any("selected" in option for option in shown.find_all("option", value="thinking"))
        (top,) = shown.find_all("input", id="top-search")
        assert top["value"] == 'a "b"'

    def test_the_bar_above_every_page_leads_here(self, page):
        (form,) = Page(page.get("/agents")).find_all("form", class_="top-search")
        assert form["action"] == "/search"

    @pytest.mark.parametrize(
        "asked, count",
        [
            ({"q": "certificate"}, "7 hits in 2 sessions"),
            ({"q": "certificate -number"}, "1 hit in 1 session"),
            ({"q": '"number 3"'}, "1 hit in 1 session"),
            ({"q": "getUserName"}, "6 hits in 1 session"),
            ({"q": "certif*", "kind": "message"}, "7 hits in 2 sessions"),
            ({"q": "look", "kind": "thinking"}, "1 hit in 1 session"),
            ({"q": "lines", "tool": "grep"}, "1 hit in 1 session"),
            ({"q": "certificate", "tool": "grep"}, "Nothing found"),
            ({"q": "certificate", "model": "simulated/default"}, "7 hits in 2 sessions"),
            ({"q": "certificate", "since": "2000-01-01"}, "7 hits in 2 sessions"),
        ],
    )
    def test_words_and_filters_narrow(self, page, sessions, asked, count):
        assert count in Page(page.get("/search", asked)).text

    def test_archived_sessions_are_found(self, page, sessions):
        from agents.services.sessions import archive_session

        factories.stop(sessions[0])
        archive_session(sessions[0])
        assert "1 hit in 1 session" in Page(page.get("/search", {"q": "expired"})).text
        assert "1 hit in 1 session" in Page(page.get("/search", {"q": "expired", "status": "archived"})).text

    def test_nothing_found_says_what_to_try(self, page, sessions):
        shown = Page(page.get("/search", {"q": "zeppelin", "tool": "grep"}))
        assert "Nothing found" in shown.text
        assert "/search?q=zeppelin" in shown.hrefs()

    def test_only_what_to_leave_out_is_nothing_to_look_for(self, page, sessions):
        assert "Nothing to look for" in Page(page.get("/search", {"q": "-certificate"})).text

    def test_too_many_hits_are_said_to_be_the_newest(self, page, sessions, monkeypatch):
        monkeypatch.setattr(services, "MOST_RANKED", 4)
        monkeypatch.setattr(services, "NEWEST", 2)
        text = Page(page.get("/search", {"q": "certificate"})).text
        assert "More than 4 hits: these are the newest 2, in 1 session" in text

    def test_a_search_that_would_take_too_long_says_so(self, page, sessions, monkeypatch):
        def give_up(*args):
            raise services.TooBroad

        monkeypatch.setattr(services, "find_in_workspace", give_up)
        answer = page.get("/search", {"q": "certificate"})
        assert answer.status_code == 200
        assert "That would take too long" in Page(answer).text

    def test_pages_of_sessions(self, page, workspace, monkeypatch):
        monkeypatch.setattr(views, "SESSIONS_SHOWN", 2)
        for number in range(5):
            session = factories.make_session(workspace, title=f"work {number}")
            factories.write_one(session, "agent.message", {"content": "needle"})
        index()
        met, address = [], "?q=needle"
        while address:
            shown = Page(page.get("/search" + address))
            met += [link["href"] for link in shown.find_all("a", class_="found-title")]
            address = next((link["href"] for link in shown.find_all("a", rel="next")), "")
        assert len(met) == len(set(met)) == 5

    @pytest.mark.parametrize("number", ["0", "-1", "x", "99999999999999999999", "٣", "1.5", ""])
    def test_an_odd_page_is_some_page(self, page, sessions, number):
        assert page.get("/search", {"q": "certificate", "page": number}).status_code == 200

    def test_htmx_gets_the_results_as_they_stand_in_the_page(self, page, sessions):
        whole = page.get("/search", {"q": "certificate"})
        fragment = page.get("/search", {"q": "certificate"}, headers={"HX-Request": "true"})
        assert "<html" not in fragment.content.decode()
        assert same(fragment, whole)

    def test_another_workspace_has_its_own(self, page, elsewhere, sessions):
        session = factories.make_session(elsewhere, title="zeppelin plans")
        factories.write_one(session, "agent.message", {"content": "the zeppelin"})
        index()
        text = Page(page.get("/search", {"q": "zeppelin"})).text
        assert "Nothing found" in text
        assert "plans" not in text

    @pytest.mark.parametrize("n", [2, 15])
    def test_it_takes_the_same_queries_however_much_is_found(self, page, workspace, django_assert_num_queries, n):
        for number in range(n):
            session = factories.make_session(workspace, title=f"needle {number}")
            factories.write(session, *(("agent.message", {"content": "needle"}) for _ in range(3)))
        index()
        with django_assert_num_queries(23):
            assert page.get("/search", {"q": "needle"}).status_code == 200

    @pytest.mark.parametrize("text", [*PAYLOADS, "\x00", "a" * 5_000, '"' * 50, "\ud800".encode("utf-8", "replace")])
    def test_whatever_is_typed_is_only_text(self, page, sessions, text):
        answer = page.get("/search", {"q": text})
        assert answer.status_code == 200
        assert "<script>window" not in answer.content.decode()

    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_what_is_found_is_only_text(self, page, workspace, payload):
        session = factories.make_session(workspace, title=payload)
        hostile_events(session, payload)
        index()
        words = "".join(letter if letter.isalnum() else " " for letter in payload).split()
        shown = Page(page.get("/search", {"q": " OR ".join(words[:6]) or payload}))
        assert shown.problems == []
        assert not [tag for tag, _ in shown.elements if tag in ("iframe", "base", "style", "template", "math")]
        assert not [name for _, given in shown.elements for name in given if name.startswith("on")]
        assert "<script>window" not in shown.source
        assert not set("\u202e\u2066\u2069\x1b\x9b") & set(shown.text)


class TestWithin:
    def test_hits_stand_in_the_order_of_the_log(self, page, sessions):
        _, second = sessions
        address = f"/sessions/{second.public_id}/search"
        shown = Page(page.get(address, {"q": "certificate"}, headers={"HX-Request": "true"}))
        assert "6 hits" in shown.text
        wanted = list(second.events.filter(type="agent.message").order_by("seq").values_list("public_id", flat=True))
        links = [href for href in shown.hrefs() if "?event=" in href]
        assert links == [f"/sessions/{second.public_id}?event={event}#event-{event}" for event in wanted]
        assert "<html" not in shown.source

    def test_best_first_when_asked(self, page, sessions):
        _, second = sessions
        (best,) = factories.write(second, ("agent.message", {"content": "certificate"}))
        index()
        asked = {"q": "certificate", "order": "rank"}
        shown = Page(page.get(f"/sessions/{second.public_id}/search", asked))
        assert best.public_id in next(href for href in shown.hrefs() if "?event=" in href)

    def test_it_is_a_page_of_its_own_without_scripts(self, page, sessions):
        first, _ = sessions
        shown = Page(page.get(f"/sessions/{first.public_id}/search", {"q": "expired"}))
        assert "Search in this session" in shown.text
        assert shown.find_all("input", id="find-words", value="expired")
        assert "1 hit" in shown.text

    def test_kinds_tools_errors_and_agents_narrow(self, page, sessions):
        first, _ = sessions
        child = factories.make_child(first)
        factories.write_one(first, "agent.message", {"content": "12 lines"}, thread=child)
        index()
        address = f"/sessions/{first.public_id}/search"
        assert "2 hits" in Page(page.get(address, {"q": "lines"})).text
        assert "1 hit" in Page(page.get(address, {"q": "lines", "tool": "grep"})).text
        assert "1 hit" in Page(page.get(address, {"q": "lines", "thread": child.public_id})).text
        assert "1 hit" in Page(page.get(address, {"q": "lines", "kind": "tool_output"})).text
        assert "Nothing in this session" in Page(page.get(address, {"q": "lines", "errors": "1"})).text

    def test_nothing_typed_empties_the_list(self, page, sessions):
        first, _ = sessions
        answer = page.get(f"/sessions/{first.public_id}/search", {"q": " "}, headers={"HX-Request": "true"})
        assert answer.content.strip() == b""

    def test_pages_of_hits_keep_what_was_asked(self, page, sessions, monkeypatch):
        monkeypatch.setattr(views, "SHOWN_WITHIN", 4)
        _, second = sessions
        address = f"/sessions/{second.public_id}/search"
        shown = Page(page.get(address, {"q": "certificate", "kind": "message"}))
        assert "1 to 4 of 6 hits" in shown.text
        (later,) = shown.find_all("a", rel="next")
        assert "5 to 6 of 6 hits" in Page(page.get(later["href"])).text
        assert "kind=message" in later["href"]

    def test_another_workspaces_session_is_not_there(self, page, elsewhere):
        session = factories.make_session(elsewhere)
        assert page.get(f"/sessions/{session.public_id}/search", {"q": "x"}).status_code == 404
