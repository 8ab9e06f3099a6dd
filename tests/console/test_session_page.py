"""The page of one session: every event in words, the right part of a long log, and what a person can do."""

from __future__ import annotations

import re

import pytest

from agents.models import Event, File, Session, ToolCall
from agents.services import blobs
from agents.services import sessions as services
from console.story import rows as story
from console.story import told
from console.views import session as views
from tests import factories
from tests.console.html import Page, same


def path(session, rest=""):
    return f"/sessions/{session.public_id}{rest}"


def shown_seqs(answer):
    return [int(row["data-seq"]) for row in Page(answer).find_all("li") if "data-seq" in row]


@pytest.fixture
def worked(workspace):
    """A session that was asked something, worked, and finished."""
    session = factories.make_session(workspace, title="Find the cause", says="Why did it fail?")
    factories.turn(session, "The disk was **full**.")
    return factories.stop(session)


class TestHeader:
    def test_it_says_how_the_session_stands(self, page, worked):
        Session.objects.filter(pk=worked.pk).update(input_tokens=1_200, list_cost_nanousd=0)
        text = Page(page.get(path(worked))).text
        for fact in ("done", "simulated", "Scout v1", "simulated/default", "1 agent", "1 tool call", "1.20 k tokens"):
            assert fact in text
        assert "$0.00" in text

    def test_errors_are_counted_when_there_are_any(self, page, worked):
        assert "1 error" not in Page(page.get(path(worked))).text
        factories.write_one(worked, "session.error", {"error": {"type": "x", "message": "Overloaded"}})
        assert "1 error" in Page(page.get(path(worked))).text

    def test_a_session_of_another_tool_says_so(self, page, workspace):
        session = factories.make_imported(workspace)
        text = Page(page.get(path(session))).text
        assert "Imported from chat logs: a record to read, not to run" in text
        assert "The source has no times" in text
        assert "Message the agent" not in text

    def test_the_network_that_is_off_is_mentioned(self, page, worked, settings):
        settings.DAYBREAK_SANDBOX_NETWORK = "off"
        assert "no network: this server keeps it off" in Page(page.get(path(worked, "/inspect/session"))).text
        settings.DAYBREAK_SANDBOX_NETWORK = "host"
        assert "no network" not in Page(page.get(path(worked, "/inspect/session"))).text


class TestStory:
    def test_it_is_told_in_words_and_in_order(self, page, worked):
        text = Page(page.get(path(worked))).text
        lines = [
            "Ana asked Why did it fail?",
            "Scout asked its model simulated/default, 400 tokens in (75 % cached), 20 out",
            "Scout thought I should look first.",
            "Scout said The disk was full.",
            "Scout ran grep “ERROR”",
            "Scout got the result of grep 12 lines",
            "Session finished its turn",
        ]
        places = [text.find(line.replace("simulated/default, ", "")) for line in lines]
        assert -1 not in places
        assert places == sorted(places)

    def test_routine_is_left_out_unless_asked_for(self, page, worked):
        story_, every = page.get(path(worked)), page.get(path(worked, "?events=all"))
        assert "has used so far" not in Page(story_).text
        assert "has used so far" in Page(every).text
        visible = Event.objects.filter(session=worked, visible=True)
        assert shown_seqs(every) == list(visible.order_by("seq").values_list("seq", flat=True))
        assert set(shown_seqs(story_)) < set(shown_seqs(every))

    def test_marks_of_our_own_are_never_shown(self, page, worked):
        hidden = factories.write_one(worked, "daybreak.event_processed", {"event_id": "x"}, visible=False)
        answer = page.get(path(worked, "?events=all"))
        assert hidden.seq not in shown_seqs(answer)
        assert page.get(path(worked, f"/events/{hidden.public_id}")).status_code == 404
        assert page.get(path(worked, f"?event={hidden.public_id}")).status_code == 404

    def test_one_thread_at_a_time(self, page, worked):
        child = factories.make_child(worked, "north")
        said = factories.write_one(worked, "agent.message", {"content": factories.text("From afar")}, thread=child)
        whole, only = page.get(path(worked)), page.get(path(worked, f"?thread={child.public_id}"))
        assert said.seq in shown_seqs(whole)
        assert len(shown_seqs(whole)) > 1
        assert shown_seqs(only) == [said.seq]
        assert "only north" in Page(only).text

    def test_a_queued_message_is_marked_until_it_is_taken_up(self, page, workspace):
        session = factories.make_session(workspace, says="First")
        queued = factories.write_one(
            session, "user.message", {"content": factories.text("Second")}, queued=True, processed=False
        )
        assert Page(page.get(path(session))).text.count("queued") == 2  # the first was not taken up either
        Event.objects.filter(pk=queued.pk).update(processed_at=queued.created_at)
        assert Page(page.get(path(session))).text.count("queued") == 1

    def test_what_people_marked_leads_to_its_event(self, page, workspace):
        session = factories.make_imported(workspace, failure=3)
        event = session.annotations.get().event
        shown = Page(page.get(path(session)))
        assert f"Wrong tool event {event.seq} annotators" in shown.text
        assert f"?event={event.public_id}#event-{event.public_id}" in shown.hrefs()

    def test_before_anything_happened_it_says_what_to_do(self, page, workspace):
        shown = Page(page.get(path(factories.make_session(workspace))))
        assert "Nothing has happened yet" in shown.text
        assert "write one below" in shown.text

    def test_without_times_there_are_no_durations(self, page, workspace):
        session = factories.make_imported(workspace, has_times=False)
        shown = Page(page.get(path(session)))
        assert "Drawn by order" in shown.text
        assert not re.search(r"\+\d", shown.text)
        assert "data-took" not in shown.source

    def test_with_times_places_on_the_clock_are_shown(self, page, workspace):
        session = factories.make_imported(workspace, has_times=True)
        assert "+50.0" in Page(page.get(path(session))).text


class TestLongLogs:
    @pytest.fixture
    def long(self, workspace):
        session = factories.make_session(workspace, title="Long")
        said = [("agent.message", {"content": factories.text(f"line {n}")}) for n in range(1, 501)]
        factories.write(session, *said)
        return factories.stop(session)

    def test_a_finished_session_is_read_from_its_start(self, page, long):
        assert shown_seqs(page.get(path(long))) == list(range(1, story.PAGE_SIZE + 1))

    def test_one_that_runs_or_failed_from_its_end(self, page, long):
        factories.stop(long, "retries_exhausted")
        long.refresh_from_db()
        assert shown_seqs(page.get(path(long)))[-1] == long.last_seq
        assert len(shown_seqs(page.get(path(long)))) == story.PAGE_SIZE

    def test_later_and_earlier_meet_every_event_once(self, page, long):
        met, address = [], path(long)
        while address:
            answer = page.get(address)
            met += shown_seqs(answer)
            later = [li["hx-get"] for li in Page(answer).find_all("li") if li.get("data-edge") == "later"]
            address = later[0].replace("/rows", "") if later else ""
        events = told.shown_events(long)
        assert met == list(events.order_by("seq").values_list("seq", flat=True))
        back = page.get(path(long, "?before=401"))
        assert shown_seqs(back) == list(range(401 - story.PAGE_SIZE, 401))

    def test_the_pieces_by_themselves_meet_every_event_once(self, page, long):
        met, address = [], path(long, "/rows?after=0")
        while address:
            piece = page.get(address)
            assert "<html" not in piece.content.decode()
            met += shown_seqs(piece)
            later = [li["hx-get"] for li in Page(piece).find_all("li") if li.get("data-edge") == "later"]
            assert not [li for li in Page(piece).find_all("li") if li.get("data-edge") == "earlier"]
            address = later[0] if later else ""
        assert met == list(told.shown_events(long).order_by("seq").values_list("seq", flat=True))

    @pytest.mark.parametrize("asked", ["seq=321", "event"])
    def test_a_piece_around_a_place_has_both_edges(self, page, long, asked):
        event = long.events.get(seq=321)
        piece = page.get(path(long, "/rows?" + (asked if "=" in asked else f"event={event.public_id}")))
        assert 321 in shown_seqs(piece)
        assert [li["data-edge"] for li in Page(piece).find_all("li") if "data-edge" in li] == ["earlier", "later"]
        (row,) = [row for row in Page(piece).find_all("li") if "data-focused" in row]
        assert row["data-seq"] == "321"

    def test_a_permalink_opens_the_right_page_and_marks_the_event(self, page, long):
        event = long.events.get(seq=321)
        answer = page.get(path(long, f"?event={event.public_id}"))
        assert 321 in shown_seqs(answer)
        assert shown_seqs(answer)[0] > 300
        (row,) = [row for row in Page(answer).find_all("li") if "data-focused" in row]
        assert row["id"] == f"event-{event.public_id}"

    def test_a_permalink_to_a_routine_event_shows_it_alone_of_its_kind(self, page, worked):
        event = worked.events.get(type="session.usage")
        shown = shown_seqs(page.get(path(worked, f"?event={event.public_id}")))
        assert set(shown) - set(shown_seqs(page.get(path(worked)))) == {event.seq}

    def test_a_permalink_outside_the_chosen_thread_shows_all_threads(self, page, long):
        child = factories.make_child(long)
        event = long.events.get(seq=100)
        answer = page.get(path(long, f"?event={event.public_id}&thread={child.public_id}"))
        assert 100 in shown_seqs(answer)

    def test_the_picture_leads_to_events(self, page, long):
        event = long.events.get(seq=321)
        assert page.get(path(long, "?seq=321"))["Location"] == (
            f"/sessions/{long.public_id}?event={event.public_id}#event-{event.public_id}"
        )

    @pytest.mark.parametrize("bad", ["?after=x", "?before=1e9", "?seq=-1", "?seq=٣", "?after=" + "9" * 5000])
    def test_a_damaged_address_is_refused(self, page, long, bad):
        assert page.get(path(long, bad)).status_code == 400

    @pytest.mark.parametrize(
        "odd", ["?after=99999999999999999999", "?before=-5", "?at=nowhere", "?events=some", "?draw=x"]
    )
    def test_an_odd_address_still_shows_a_page(self, page, long, odd):
        assert page.get(path(long, odd)).status_code == 200

    def test_ten_thousand_events_make_a_small_page(self, page, workspace):
        session = factories.make_imported(workspace, events=10_000, title="Huge")
        answer = page.get(path(session))
        shown = Page(answer)
        assert len(shown_seqs(answer)) == story.PAGE_SIZE
        assert len(shown.elements) < 2_500
        assert len(answer.content) < 300_000

    @pytest.mark.parametrize("n", [1, 30])
    def test_it_takes_the_same_queries_however_long_it_is(self, page, workspace, django_assert_num_queries, n):
        session = factories.make_session(workspace, says="Go")
        for _ in range(n):
            factories.turn(session)
            factories.make_child(session)
        factories.stop(session)
        with django_assert_num_queries(13):
            assert page.get(path(session)).status_code == 200


class TestFragments:
    def test_the_header_and_the_rows_stand_in_the_page_as_they_are_sent_alone(self, page, worked, rf):
        from django.http import HttpResponse
        from django.template.loader import render_to_string

        whole = page.get(path(worked))
        worked.refresh_from_db()
        header = render_to_string("console/sessions/_header.html", {"header": views.header_of(worked)})
        assert same(HttpResponse(header), whole)
        lanes = story.lanes_of(worked)
        events = list(told.shown_events(worked).order_by("seq"))
        for row in story.RowMaker(worked, lanes).rows(events):
            fragment = render_to_string("console/sessions/_event.html", {"row": row, "session": worked})
            assert same(HttpResponse(fragment), whole)

    def test_an_opened_event_stands_in_its_own_page(self, page, worked):
        for event in worked.events.filter(visible=True):
            address = path(worked, f"/events/{event.public_id}")
            assert same(page.get(address, headers={"HX-Request": "true"}), page.get(address)), event.type

    def test_the_message_form_stands_in_the_page(self, page, worked):
        fragment = page.post(path(worked, "/messages"), {"text": " "}, headers={"HX-Request": "true"})
        whole = page.post(path(worked, "/messages"), {"text": " "})
        assert fragment.status_code == whole.status_code == 422
        assert same(fragment, whole)


class TestActing:
    def test_a_message_is_sent_by_its_writer(self, page, worked):
        answer = page.post(path(worked, "/messages"), {"text": "And why?\r\nReally?"})
        assert answer["Location"] == path(worked, "?at=end#end")
        event = worked.events.filter(type="user.message").last()
        assert event.data["content"] == factories.text("And why?\nReally?")
        assert event.private_data["by"] == "ana"
        worked.refresh_from_db()
        assert worked.status == "running"

    def test_htmx_gets_an_empty_form_back(self, page, worked):
        answer = page.post(path(worked, "/messages"), {"text": "And why?"}, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert "And why?" not in answer.content.decode()
        assert Page(answer).find_all("form", id="message-form")

    def test_a_refused_message_stays_in_its_field(self, page, workspace):
        session = factories.make_session(workspace)
        factories.ask(session)
        answer = page.post(path(session, "/messages"), {"text": "Never mind, go on"})
        shown = Page(answer)
        assert answer.status_code == 422
        assert "waits for answers to tool calls" in shown.text
        assert "Never mind, go on" in shown.text

    def test_an_interrupt_reaches_the_session(self, page, workspace):
        session = factories.make_session(workspace, says="Count to a million")
        page.post(path(session, "/interrupt"))
        event = session.events.get(type="user.interrupt")
        assert event.private_data["by"] == "ana"
        assert session.primary_thread.interrupt_pending

    def test_a_thread_that_is_not_there_cannot_be_interrupted(self, page, worked):
        answer = page.post(path(worked, "/interrupt"), {"thread": "sthr_none"}, follow=True)
        assert "this session has no thread sthr_none" in Page(answer).text

    def test_allowing_a_tool_call(self, page, workspace):
        session = factories.make_session(workspace)
        call = factories.ask(session, "bash", {"command": "rm -rf build"})
        shown = Page(page.get(path(session)))
        assert "Scout asks to run bash" in shown.text
        assert "rm -rf build" in shown.text
        page.post(path(session, f"/answers/{call.use_event.public_id}"), {"result": "allow", "deny_message": ""})
        call.refresh_from_db()
        assert (call.decision, call.decided_by, call.state) == ("allow", "ana", "ready")
        assert "asks to run bash" not in Page(page.get(path(session))).text.split("Story")[0]

    def test_refusing_it_with_a_reason(self, page, workspace):
        session = factories.make_session(workspace)
        call = factories.ask(session)
        page.post(
            path(session, f"/answers/{call.use_event.public_id}"), {"result": "deny", "deny_message": "Too risky"}
        )
        call.refresh_from_db()
        assert (call.decision, call.deny_message) == ("deny", "Too risky")
        assert "refused bash Too risky" in Page(page.get(path(session))).text

    def test_the_second_answer_loses(self, page, workspace):
        session = factories.make_session(workspace)
        call = factories.ask(session)
        address = path(session, f"/answers/{call.use_event.public_id}")
        page.post(address, {"result": "allow"})
        answer = page.post(address, {"result": "deny"}, follow=True)
        assert "was answered already" in Page(answer).text
        call.refresh_from_db()
        assert call.decision == "allow"

    def test_an_answer_without_a_decision_is_none(self, page, workspace):
        session = factories.make_session(workspace)
        call = factories.ask(session)
        answer = page.post(path(session, f"/answers/{call.use_event.public_id}"), {}, follow=True)
        assert "Choose whether the agent may run the tool" in Page(answer).text
        call.refresh_from_db()
        assert call.state == ToolCall.State.WAITING

    def test_a_custom_tool_can_be_answered_by_hand(self, page, workspace):
        tool = {
            "type": "custom",
            "name": "weather",
            "description": "Weather of a city",
            "input_schema": {"type": "object", "properties": {}},
        }
        agent = factories.make_agent(workspace, tools=[tool])
        session = factories.make_session(workspace, agent=agent)
        call = factories.ask(session, "weather", {"city": "Oslo"}, kind="custom")
        assert "waits for the client to run weather" in Page(page.get(path(session))).text
        page.post(path(session, f"/answers/{call.use_event.public_id}"), {"content": "21 C", "is_error": "on"})
        event = session.events.get(type="user.custom_tool_result")
        assert event.data["content"] == factories.text("21 C")
        assert event.data["is_error"] is True

    def test_archiving_keeps_it_for_reading(self, page, worked):
        page.post(path(worked, "/archive"))
        shown = Page(page.get(path(worked)))
        assert "archived" in shown.text
        assert "it takes no more messages" in shown.text
        assert not shown.find_all("form", id="message-form")

    def test_a_running_session_is_neither_archived_nor_deleted(self, page, workspace):
        session = factories.make_session(workspace, says="Go")
        for act in ("archive", "delete"):
            answer = page.post(path(session, f"/{act}"), follow=True)
            assert "Interrupt it and wait until it is idle" in Page(answer).text
        session.refresh_from_db()
        assert session.archived_at is None

    def test_deleting_it_leads_back_to_the_list(self, page, worked):
        answer = page.post(path(worked, "/delete"), follow=True)
        assert "“Find the cause” was deleted" in Page(answer).text
        assert page.get(path(worked)).status_code == 404

    def test_every_act_that_cannot_be_undone_asks_first(self, page, worked):
        shown = Page(page.get(path(worked)))
        for name in ("archive-session", "delete-session"):
            assert shown.find_all("dialog", id=name)

    def test_nothing_can_be_sent_to_imported_work(self, page, workspace):
        session = factories.make_imported(workspace)
        answer = page.post(path(session, "/messages"), {"text": "Hello"})
        assert answer.status_code == 422
        assert session.events.count() == session.event_count


class TestFiles:
    @pytest.fixture
    def delivered(self, worked):
        content = b"<script>alert(1)</script>"
        return File.objects.create(
            workspace=worked.workspace,
            session=worked,
            kind=File.Kind.OUTPUT,
            filename="report.html",
            mime_type="text/html",
            size_bytes=len(content),
            sha256=blobs.store_bytes(content),
            path="/mnt/session/outputs/report.html",
        )

    def test_what_was_delivered_can_be_taken_away(self, page, worked, delivered):
        shown = Page(page.get(path(worked, "/inspect/session")))
        address = path(worked, f"/outputs/{delivered.public_id}")
        assert address in shown.hrefs()
        answer = page.get(address)
        assert answer.content == b"<script>alert(1)</script>"
        assert answer["Content-Disposition"].startswith("attachment")
        assert "text/html" not in answer["Content-Type"]
        assert "sandbox" in answer["Content-Security-Policy"]

    def test_uploads_are_named_but_not_given_out(self, page, worked):
        File.objects.create(
            workspace=worked.workspace,
            session=worked,
            kind=File.Kind.MOUNT,
            filename="in.log",
            mime_type="text/plain",
            size_bytes=1,
            sha256=blobs.store_bytes(b"x"),
        )
        mount = worked.files.get(filename="in.log")
        assert page.get(path(worked, f"/outputs/{mount.public_id}")).status_code == 404

    def test_without_files_it_says_where_they_would_come_from(self, page, worked):
        assert "/mnt/session/outputs" in Page(page.get(path(worked, "/inspect/session"))).text


def test_an_archived_session_can_still_be_read(page, worked):
    services.archive_session(worked)
    assert "Why did it fail?" in Page(page.get(path(worked))).text
