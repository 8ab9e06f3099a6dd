"""The inspector's tabs: each a link, a fragment and a page; for members only; small and steady whatever the log is."""

from __future__ import annotations

import re

import pytest

from agents.models import Annotation, Session, Thread, ToolCall
from console.story.inspector.tabs import TABS
from tests import factories
from tests.console import teams
from tests.console.hostile import PAYLOADS, hostile_events
from tests.console.html import Page, same

HTMX = {"HX-Request": "true"}
MOST_QUERIES = {
    "summary": 38,
    "why": 26,
    "session": 18,
    "threads": 26,
    "tools": 8,
    "files": 12,
    "memory": 6,
    "context": 26,
    "events": 10,
}


def path(session, tab="", rest=""):
    return f"/sessions/{session.public_id}/inspect/{tab}{rest}"


@pytest.fixture
def session(workspace):
    return factories.make_session(workspace, title="Triage", says="Find the cause.")


@pytest.fixture
def worked(session):
    """A session with a team, tools, errors and marks."""
    factories.turn(session)
    north = teams.delegate(session, "north", "Read the log.")
    teams.report(session, north, "The disk was full.")
    factories.write_one(session, "session.error", {"error": {"type": "x", "message": "Overloaded"}})
    event = session.events.first()
    Annotation.objects.create(session=session, event=event, kind="failure", text="No.", author_name="Ben")
    Thread.objects.filter(session=session).update(active_since=None)  # no clock runs on between two looks
    session.refresh_from_db()
    return session


@pytest.mark.parametrize("tab", TABS)
class TestEveryTab:
    def test_it_is_a_fragment_inside_of_its_page(self, page, worked, tab):
        event = worked.events.filter(type="agent.tool_use").first()
        rest = f"?event={event.public_id}"
        fragment, whole = page.get(path(worked, tab, rest), headers=HTMX), page.get(path(worked, tab, rest))
        assert fragment.status_code == whole.status_code == 200
        assert Page(fragment).problems == [] and Page(whole).problems == []
        assert same(fragment, whole)
        (current,) = [a for a in Page(whole).find_all("a") if "aria-current" in a and "data-tab" in a]
        assert current["data-tab"] == tab
        assert "HX-Request" in whole["Vary"]

    def test_it_shows_a_session_in_which_nothing_happened(self, page, workspace, tab):
        answer = page.get(path(factories.make_session(workspace), tab))
        assert answer.status_code == 200 and Page(answer).problems == []

    @pytest.mark.parametrize("has_times", [False, True])
    def test_it_shows_imported_work(self, page, workspace, tab, has_times):
        session = factories.make_imported(workspace, has_times=has_times, failure=2)
        event = session.events.last()
        shown = Page(page.get(path(session, tab, f"?event={event.public_id}")))
        assert shown.problems == []
        posts = [form["action"] for form in shown.find_all("form") if form.get("method") == "post"]
        assert not [action for action in posts if action.endswith(("/interrupt", "/end")) or "/answers/" in action]

    def test_only_members_see_it(self, client, worked, elsewhere, tab):
        client.force_login(factories.make_member(elsewhere, name="eve"))
        assert client.get(path(worked, tab)).status_code == 404

    def test_one_who_may_only_look_is_offered_no_act(self, client, worked, viewer, tab):
        factories.run(worked)
        factories.ask(worked)
        client.force_login(viewer)
        event = worked.events.filter(type="agent.tool_use").last()
        source = client.get(path(worked, tab, f"?event={event.public_id}")).content.decode()
        for act in ("/interrupt", "/answers/", "/threads/end"):
            assert f'action="/sessions/{worked.public_id}{act}' not in source

    def test_nothing_written_by_others_becomes_markup(self, page, session, tab):
        payload = " ".join(PAYLOADS)
        hostile_events(session, payload)
        child = teams.delegate(session, payload[:250], payload)
        teams.report(session, child, payload)
        teams.wait(session, child)
        event = session.events.filter(visible=True).last()
        shown = Page(page.get(path(session, tab, f"?event={event.public_id}")))
        assert shown.problems == []
        assert not [a for _, a in shown.elements if any(name.startswith("on") for name in a)]
        assert all("javascript:" not in href.lower() for href in shown.hrefs())
        assert not re.search(r"<(script(?! type=.module|.src)|iframe|object|style|base)\b", shown.source, re.I)
        assert "\u202e" not in shown.text and "\x1b" not in shown.text

    def test_an_escaped_nul_harms_nothing(self, page, session, tab):
        text = "a\x00b \\u0000"
        use = factories.write_one(session, "agent.tool_use", {"name": text, "input": {"file_path": text}})
        factories.write_one(session, "agent.tool_result", {"tool_use_id": use.public_id, "is_error": True}, cause=use)
        private = {"usage": {"input_tokens": 5, "list_cost_nanousd": "x"}, "note": text}
        factories.write_one(session, "span.model_request_end", {"model_usage": 5}, private=private)
        for odd in ("5", 5, [1], None, {"list_cost_nanousd": {"a": 1}, "output_tokens": 10**30}):
            factories.write_one(session, "span.model_request_end", {}, private={"usage": odd})
        primary = session.primary_thread
        stop = {"session_thread_id": primary.public_id, "stop_reason": {"type": text}}
        factories.write_one(session, "session.thread_status_idle", stop)
        for imported in ("", "chat"):
            Session.objects.filter(pk=session.pk).update(imported_format=imported, external_id="x")
            assert page.get(path(session, tab)).status_code == 200

    @pytest.mark.parametrize("n", [1, 25])
    def test_it_takes_the_same_queries_however_long_the_log_is(
        self, page, session, tab, n, django_assert_max_num_queries
    ):
        for number in range(n):
            factories.turn(session)
            child = teams.delegate(session, f"agent {number}", "Go.")
            teams.report(session, child, "Done.")
            teams.refuse(session, "spawn_agent", "Too many.")
        event = session.events.filter(type="agent.message").last()
        with django_assert_max_num_queries(MOST_QUERIES[tab]):
            answer = page.get(path(session, tab, f"?event={event.public_id}"), headers=HTMX)
        assert answer.status_code == 200

    def test_ten_thousand_events_make_a_small_page(self, page, workspace, tab):
        session = factories.make_imported(workspace, events=10_000, title="Huge")
        event = session.events.get(seq=9_000)
        answer = page.get(path(session, tab, f"?event={event.public_id}"))
        assert len(answer.content) < 500_000
        assert len(Page(answer).elements) < 3_000


def test_there_is_no_other_tab(page, worked):
    assert page.get(path(worked, "secrets")).status_code == 404


def test_an_event_that_is_not_there_is_not_found(page, worked):
    assert page.get(path(worked, "context", "?event=sevt_none")).status_code == 404


def test_tabs_keep_what_is_selected(page, worked):
    event = worked.events.filter(type="agent.message").first()
    shown = Page(page.get(path(worked, "tools", f"?event={event.public_id}")))
    links = [a for a in shown.find_all("a") if "data-tab" in a and "hx-get" in a]
    assert len(links) == len(TABS)
    assert all(a["href"].endswith(f"?event={event.public_id}") for a in links)


def test_without_a_selection_why_says_what_to_do(page, worked):
    assert "Select a step in the picture or in the story" in Page(page.get(path(worked, "why"))).text


class TestActing:
    def acts(self, page, session, event):
        return Page(page.get(f"/sessions/{session.public_id}/why?event={event.public_id}", headers=HTMX))

    def test_a_question_is_answered_from_its_event(self, page, session):
        call = factories.ask(session, "bash", {"command": "rm -r build"})
        shown = self.acts(page, session, call.use_event)
        address = f"/sessions/{session.public_id}/answers/{call.use_event.public_id}"
        assert shown.find_all("form", action=address, hx_post=address)
        answer = page.post(address, {"result": "deny", "deny_message": "No"}, headers=HTMX)
        assert answer["HX-Trigger"] == "daybreak:acted"
        call.refresh_from_db()
        assert (call.decision, call.decided_by, call.deny_message) == ("deny", "ana", "No")
        event = session.events.get(type="user.tool_confirmation")
        assert event.private_data["by"] == "ana"
        assert not self.acts(page, session, call.use_event).find_all("form", action=address)

    def test_so_is_a_helpers_by_its_copy(self, page, session):
        child = teams.delegate(session)
        call = teams.ask(session, child, {"command": "rm"})
        address = f"/sessions/{session.public_id}/answers/{call.use_event.public_id}"
        for event in (call.use_event, call.crosspost_event):
            assert self.acts(page, session, event).find_all("form", action=address)

    def test_a_custom_tool_gets_its_result_by_hand(self, page, session):
        call = factories.ask(session, "weather", {"city": "Oslo"}, kind=ToolCall.Kind.CUSTOM)
        shown = self.acts(page, session, call.use_event)
        assert shown.find_all("textarea", name="content")
        page.post(f"/sessions/{session.public_id}/answers/{call.use_event.public_id}", {"content": "21 C"})
        assert session.events.filter(type="user.custom_tool_result").exists()

    def test_the_agent_of_an_event_is_interrupted_or_all_are(self, page, session):
        child = teams.delegate(session)
        said = factories.write_one(session, "agent.message", {"content": factories.text("I look.")}, thread=child)
        shown = self.acts(page, session, said)
        address = f"/sessions/{session.public_id}/interrupt"
        assert len(shown.find_all("form", action=address)) == 2
        assert shown.find_all("input", name="thread", value=child.public_id)
        answer = page.post(address, {"thread": child.public_id}, headers=HTMX)
        assert answer["HX-Trigger"] == "daybreak:acted"
        event = session.events.get(type="user.interrupt")
        assert event.data["session_thread_id"] == child.public_id and event.private_data["by"] == "ana"

    def test_a_resting_agent_can_be_ended_but_not_interrupted(self, page, session):
        child = teams.delegate(session)
        teams.report(session, child, "Done.")
        said = session.events.filter(thread=child, type="agent.message").last()
        shown = self.acts(page, session, said)
        assert shown.find_all("button", data_opens="end-agent", data_value=child.public_id)
        assert not shown.find_all("input", name="thread", value=child.public_id)

    def test_a_message_can_be_written(self, page, session):
        event = session.events.first()
        shown = self.acts(page, session, event)
        assert [a for a in shown.find_all("a") if "data-writes" in a]

    def test_nothing_is_offered_for_imported_or_archived_work(self, page, workspace, session):
        imported = factories.make_imported(workspace)
        factories.stop(session)
        Session.objects.filter(pk=session.pk).update(archived_at=session.created_at)
        for each in (imported, session):
            shown = self.acts(page, each, each.events.filter(visible=True).first())
            assert not shown.find_all("form", action=f"/sessions/{each.public_id}/interrupt")
            assert not [a for a in shown.find_all("a") if "data-writes" in a]

    def test_one_who_may_only_look_is_told_what_it_takes(self, client, session, viewer):
        call = factories.ask(session)
        client.force_login(viewer)
        assert "Answering takes the role operator" in self.acts(client, session, call.use_event).text
