"""The sessions list, its filters, and starting a session."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from agents.errors import Invalid
from agents.models import File, Session
from agents.services import sessions as services
from console.views import sessions as views
from tests import factories
from tests.console.html import Page, same


def listed(page, **filters):
    """The titles of the rows, in order."""
    shown = Page(page.get("/sessions", filters))
    ids = [
        row["id"].removeprefix("session-") for row in shown.find_all("tr") if row.get("id", "").startswith("session-")
    ]
    names = dict(Session.objects.values_list("public_id", "title"))
    return [names[public_id] for public_id in ids]


class TestList:
    def test_it_says_what_it_is_while_it_is_empty(self, page):
        shown = Page(page.get("/sessions"))
        assert "No sessions yet" in shown.text
        assert "A session is one run of an agent" in shown.text
        assert "/sessions/new" in shown.hrefs()

    def test_a_row_shows_how_the_session_stands(self, page, workspace):
        session = factories.make_session(workspace, title="Draft the NDA")
        factories.turn(session)
        factories.stop(session)
        Session.objects.filter(pk=session.pk).update(
            input_tokens=1_200_000, list_cost_nanousd=3_100_000_000, thread_count=26
        )
        text = Page(page.get("/sessions")).text
        assert "done Draft the NDA simulated Scout v1, 26 agents" in text
        assert "1.20 M $3.10 – just now" in text

    def test_imported_work_shows_no_numbers_that_nobody_recorded(self, page, workspace):
        factories.make_imported(workspace, title="A chat", failure=2)
        text = Page(page.get("/sessions")).text
        assert "recorded A chat imported marked as failed" in text
        assert "Who&When v1, 2 agents – – – –" in text

    def test_newest_first(self, page, workspace):
        for title in ("one", "two", "three"):
            factories.make_session(workspace, title=title)
        assert listed(page) == ["three", "two", "one"]

    def test_another_workspace_has_its_own(self, page, workspace, elsewhere):
        factories.make_session(workspace, title="mine")
        factories.make_session(elsewhere, title="theirs")
        assert listed(page) == ["mine"]

    def test_a_session_without_a_title_can_still_be_opened(self, page, workspace):
        session = factories.make_session(workspace, title=None)
        shown = Page(page.get("/sessions"))
        assert "Untitled session" in shown.text
        assert f"/sessions/{session.public_id}" in shown.hrefs()

    def test_htmx_gets_the_list_as_it_stands_in_the_page(self, page, workspace):
        factories.make_session(workspace)
        whole = page.get("/sessions?status=idle")
        fragment = page.get("/sessions?status=idle", headers={"HX-Request": "true"})
        assert "<html" not in fragment.content.decode()
        assert same(fragment, whole)

    @pytest.mark.parametrize("n", [2, 40])
    def test_it_takes_the_same_queries_however_many_there_are(self, page, workspace, django_assert_num_queries, n):
        for _ in range(n):
            factories.make_session(workspace)
        with django_assert_num_queries(13):
            assert page.get("/sessions").status_code == 200


class TestFilters:
    @pytest.fixture
    def several(self, workspace):
        factories.make_session(workspace, title="idle one")
        factories.run(factories.make_session(workspace, title="running one"))
        factories.stop(factories.make_session(workspace, title="done one"))
        factories.stop(factories.make_session(workspace, title="failed one"), "retries_exhausted")
        factories.ask(factories.make_session(workspace, title="waiting one"))
        services.archive_session(factories.make_session(workspace, title="archived one"))
        factories.make_imported(workspace, title="imported one")

    @pytest.mark.parametrize("kind", ["idle", "running", "failed", "waiting", "archived"])
    def test_by_status(self, page, several, kind):
        assert listed(page, status=kind) == [f"{kind} one"]

    def test_done_includes_what_was_recorded_elsewhere(self, page, several):
        assert listed(page, status="done") == ["imported one", "done one"]

    def test_archived_sessions_only_show_when_asked_for(self, page, several):
        assert "archived one" not in listed(page)

    @pytest.mark.parametrize("source, found", [("imported", ["imported one"]), ("here", None)])
    def test_by_source(self, page, several, source, found):
        rows = listed(page, source=source)
        assert rows == found if found else "imported one" not in rows

    def test_by_agent(self, page, workspace, several):
        other = factories.make_agent(workspace, name="Other")
        factories.make_session(workspace, agent=other, title="of the other")
        assert listed(page, agent=other.public_id) == ["of the other"]

    def test_by_part_of_the_title_in_any_case(self, page, several):
        assert listed(page, q="AILED o") == ["failed one"]

    def test_by_either_end_of_the_id(self, page, several):
        session = Session.objects.get(title="done one")
        assert listed(page, q=session.public_id[:14]) == ["done one"]
        assert listed(page, q=session.public_id[-4:]) == ["done one"]

    def test_by_the_id_in_the_source(self, page, several):
        assert listed(page, q=Session.objects.get(title="imported one").external_id) == ["imported one"]

    @pytest.mark.parametrize("text", ["100%", "a_b", "\\", "'; --", "(", "\u202e", "x" * 300])
    def test_text_is_only_text(self, page, workspace, text):
        factories.make_session(workspace, title="plain")
        assert listed(page, q=text) in ([], ["plain"])
        assert page.get("/sessions", {"q": text}).status_code == 200

    def test_a_percent_sign_finds_itself_only(self, page, workspace):
        factories.make_session(workspace, title="100% sure")
        factories.make_session(workspace, title="1000 sure")
        assert listed(page, q="0%") == ["100% sure"]

    def test_a_value_nobody_offers_is_no_filter(self, page, several):
        assert listed(page, status="nonsense") == listed(page)

    def test_what_was_chosen_stays_chosen(self, page, several):
        shown = Page(page.get("/sessions", {"status": "failed", "q": "one"}))
        assert any("selected" in option for option in shown.find_all("option", value="failed"))
        assert shown.find_all("input", name="q", value="one")

    def test_nothing_found_offers_the_way_back(self, page, several):
        shown = Page(page.get("/sessions", {"q": "zzz"}))
        assert "No session matches" in shown.text
        assert "/sessions" in shown.hrefs()


class TestPages:
    @pytest.fixture
    def many(self, workspace, monkeypatch):
        monkeypatch.setattr(views, "PAGE_SIZE", 3)
        for n in range(7):
            factories.make_session(workspace, title=f"session {n}")

    def test_walking_through_them_keeps_the_filters(self, page, many):
        met, path = [], "/sessions?q=session"
        while path:
            shown = Page(page.get(path))
            met += [row["id"] for row in shown.find_all("tr") if row.get("id", "").startswith("session-")]
            older = [link["href"] for link in shown.find_all("a", rel="next")]
            path = f"/sessions{older[0]}" if older else ""
            assert not path or "q=session" in path
        assert len(met) == len(set(met)) == 7

    def test_the_way_back_leads_back(self, page, many):
        first = Page(page.get("/sessions"))
        second = page.get("/sessions" + first.find_all("a", rel="next")[0]["href"])
        back = page.get("/sessions" + Page(second).find_all("a", rel="prev")[0]["href"])
        assert [r["id"] for r in Page(back).find_all("tr") if "id" in r] == [
            r["id"] for r in first.find_all("tr") if "id" in r
        ]

    def test_a_damaged_address_is_a_400_with_a_sentence(self, page, many):
        answer = page.get("/sessions?page=garbage")
        assert answer.status_code == 400
        assert "This page address is damaged" in Page(answer).text


class TestNewSession:
    def post(self, page, workspace, **given):
        agent = factories.make_agent(workspace)
        environment = factories.make_environment(workspace)
        values = {"agent": agent.public_id, "environment": environment.public_id, **given}
        return page.post("/sessions/new", values)

    def test_it_starts_with_an_agent(self, page):
        shown = Page(page.get("/sessions/new"))
        assert "First, an agent" in shown.text
        assert "/agents/new" in shown.hrefs()

    def test_then_an_environment(self, page, workspace):
        factories.make_agent(workspace)
        shown = Page(page.get("/sessions/new"))
        assert "an environment" in shown.text
        assert "/environments/new" in shown.hrefs()

    def test_agents_of_imported_logs_are_not_offered(self, page, workspace):
        factories.make_imported(workspace)
        assert "First, an agent" in Page(page.get("/sessions/new")).text

    def test_the_form_knows_where_one_came_from(self, page, workspace):
        factories.make_agent(workspace, name="First")
        second = factories.make_agent(workspace, name="Second")
        factories.make_environment(workspace)
        shown = Page(page.get("/sessions/new", {"agent": second.public_id}))
        (option,) = shown.find_all("option", value=second.public_id)
        assert "selected" in option

    def test_with_a_message_the_session_runs(self, page, workspace):
        answer = self.post(page, workspace, title="Find it", message="Look here\r\nand there")
        session = Session.objects.get()
        assert answer["Location"] == f"/sessions/{session.public_id}"
        assert (session.title, session.status, session.created_by.username) == ("Find it", "running", "ana")
        event = session.events.get(type="user.message")
        assert event.data["content"] == [{"type": "text", "text": "Look here\nand there"}]
        assert event.private_data["by"] == "ana"

    def test_without_one_it_waits(self, page, workspace):
        self.post(page, workspace, message="  ")
        session = Session.objects.get()
        assert (session.status, session.title, session.event_count) == ("idle", None, 0)

    def test_files_are_mounted_by_their_names(self, page, workspace):
        uploads = [SimpleUploadedFile("a b.log", b"one"), SimpleUploadedFile("a b.log", b"two")]
        self.post(page, workspace, uploads=uploads)
        session = Session.objects.get()
        mounts = {r.mount_path: r.file.size_bytes for r in session.resources.select_related("file")}
        assert mounts == {"/mnt/session/uploads/a b.log": 3, "/mnt/session/uploads/a b (2).log": 3}

    def test_what_is_refused_is_said_and_nothing_is_kept(self, page, workspace, monkeypatch):
        def refuse(*args, **kwargs):
            raise Invalid("environment_id: it was archived a moment ago.")

        monkeypatch.setattr(views, "create_session", refuse)
        environment = factories.make_environment(workspace)
        agent = factories.make_agent(workspace)
        form = {"agent": agent.public_id, "environment": environment.public_id, "message": "kept text"}
        answer = page.post("/sessions/new", {**form, "uploads": [SimpleUploadedFile("x.log", b"one")]})
        shown = Page(answer)
        assert answer.status_code == 422
        assert "it was archived a moment ago" in shown.text
        assert "kept text" in shown.text
        assert not Session.objects.exists()
        assert not File.objects.exists()

    def test_an_agent_of_another_workspace_cannot_be_chosen(self, page, workspace, elsewhere):
        foreign = factories.make_agent(elsewhere)
        answer = self.post(page, workspace, agent=foreign.public_id)
        assert answer.status_code == 422
        assert "not one of the available choices" in Page(answer).text
        assert not Session.objects.exists()
