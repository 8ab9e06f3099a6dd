"""A session of several agents: who works for whom, each thing told once, and what a person can do about it."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from agents.models import Session, Thread, ToolCall
from agents.services.log import open_log
from console.status import status_of_thread
from console.story import told
from console.story.rows import lanes_of
from console.story.team import team_of
from console.story.words import Context, words_for
from tests import factories
from tests.console import teams
from tests.console.hostile import PAYLOADS
from tests.console.html import Page
from tests.live import committed_db  # noqa: F401
from tests.worker import local_worker, make_local_worker  # noqa: F401


def path(session, rest=""):
    return f"/sessions/{session.public_id}{rest}"


AGENTS = "/inspect/threads"  # the tab that lists them


def lines(answer):
    """The rows of the story as text: who says what."""
    source = answer.content.decode()
    rows = re.findall(r'<li id="event-.*?</li>', source, re.DOTALL)
    return [Page(re.sub(r'<div class="event-body">.*?</div>', "", row, flags=re.DOTALL)).text for row in rows]


def told_of(answer, text):
    return [line for line in lines(answer) if text in line]


def member_rows(answer):
    source = answer.content.decode()
    return [Page(row).text for row in re.findall(r'<tr id="member-.*?</tr>', source, re.DOTALL)]


@pytest.fixture
def session(workspace):
    return factories.make_session(workspace, title="Triage", says="Find both causes.")


@pytest.fixture
def team(session):
    """A lead with two helpers, one of which has reported."""
    north, south = teams.delegate(session, "north", "Read the **first** log."), teams.delegate(session, "south")
    teams.report(session, north, "The disk was full.")
    return session, north, south


class TestTeam:
    def test_one_agent_alone_is_no_team(self, page, session):
        shown = Page(page.get(path(session, AGENTS)))
        assert not shown.find_all("table", class_="table team-table")
        assert shown.find_all("section", id="team")

    def test_each_agent_has_its_task_its_report_and_how_it_stands(self, page, team):
        session, north, south = team
        lead, first, second = member_rows(page.get(path(session, AGENTS)))
        assert "Scout" in lead and "Find both causes." in lead
        assert "north for Scout finished Read the first log. The disk was full." in first
        assert "south for Scout works Read the log. nothing yet" in second
        links = Page(page.get(path(session, AGENTS))).hrefs()
        assert path(session, f"?thread={north.public_id}#events-title") in links
        assert "3 agents: 2 at work, 1 finished" in Page(page.get(path(session, AGENTS))).text

    def test_a_lead_that_ended_its_turn_waits_for_those_who_work(self, page, team):
        session, _, south = team
        with open_log(session.pk) as log:
            from agents.services import status

            lead = log.primary()
            lead.phase, lead.runnable_at = Thread.Phase.IDLE, None
            log.touch(lead, "phase", "runnable_at")
            status.set_thread_idle(log, lead, {"type": "end_turn"})
        assert "waits for 1 agent" in member_rows(page.get(path(session, AGENTS)))[0]
        teams.report(session, south, "A certificate.")
        assert "Scout finished" in member_rows(page.get(path(session, AGENTS)))[0]

    def test_so_does_one_that_asked_to_wait(self, page, team):
        session, north, south = team
        teams.wait(session, north, south)
        assert "waits for 1 agent" in member_rows(page.get(path(session, AGENTS)))[0]

    @pytest.mark.parametrize(
        "fields, word",
        [
            ({"status": "running", "phase": "model_request"}, "works"),
            ({"status": "running", "phase": "ready", "wanted_nanousd": 5}, "held by the budget"),
            ({"status": "running", "phase": "tool_batch", "closing": True}, "stops"),
            ({"status": "running", "phase": "tool_batch", "interrupt_seq": 9}, "stops"),
            ({"status": "rescheduling", "phase": "backoff"}, "tries again"),
            ({"status": "idle", "phase": "waiting_user"}, "waits for you"),
            ({"status": "idle", "phase": "paused"}, "paused by the budget"),
            ({"status": "idle", "phase": "idle", "stop_reason": {"type": "end_turn"}}, "finished"),
            ({"status": "idle", "phase": "idle", "stop_reason": {"type": "refusal"}}, "refused"),
            ({"status": "idle", "phase": "idle"}, "not asked yet"),
            ({"status": "terminated"}, "ended"),
        ],
    )
    def test_every_way_to_stand_has_its_word(self, fields, word):
        assert status_of_thread(Thread(agent_name="north", **fields)).word == word

    def test_a_thread_that_gave_up_has_failed(self, page, session):
        child = teams.delegate(session)
        teams.report(session, child, "This agent could not finish its task.", kind="failure")
        Thread.objects.filter(pk=child.pk).update(status="terminated", stop_reason=None)
        assert "north for Scout failed" in member_rows(page.get(path(session, AGENTS)))[1]
        assert told_of(page.get(path(session)), "north gave up and told Scout")

    def test_what_a_helper_says_on_the_way_is_no_report(self, page, session):
        child = teams.delegate(session)
        factories.write_one(session, "agent.message", {"content": factories.text("I begin.")}, thread=child)
        assert "so far: I begin." in member_rows(page.get(path(session, AGENTS)))[1]

    def test_imported_work_shows_its_agents_too(self, page, workspace):
        imported = factories.make_imported(workspace, events=6)
        rows = member_rows(page.get(path(imported, AGENTS)))
        assert len(rows) == 2
        assert "recorded" in rows[1] and "line 5" in rows[1]
        assert "Interrupt" not in rows[1]

    def test_agents_below_agents_stand_below_them(self, page, session):
        north = factories.make_child(session, "north")
        factories.make_child(session, "south")
        below = factories.make_child(session, "below")
        Thread.objects.filter(pk=below.pk).update(parent=north)
        rows = member_rows(page.get(path(session, AGENTS)))
        assert [row.split()[0] for row in rows] == ["Scout", "north", "below", "south"]
        assert "below for north" in rows[2]

    def test_nothing_an_agent_calls_itself_or_says_becomes_markup(self, page, session):
        payload = " ".join(PAYLOADS)
        child = teams.delegate(session, payload[:250], payload)
        teams.report(session, child, payload)
        teams.refuse(session, "spawn_agent", payload)
        teams.wait(session, child)
        factories.write_one(session, "daybreak.warning", {"kind": payload, "message": payload}, visible=False)
        for rest in ("", AGENTS, "?events=all", f"?thread={child.public_id}"):
            shown = Page(page.get(path(session, rest)))
            assert shown.problems == []
            assert not [a for _, a in shown.elements if any(name.startswith("on") for name in a)]
            assert all("javascript:" not in href for href in shown.hrefs())
            assert "<script>window" not in shown.source

    @pytest.mark.parametrize("n", [2, 25])
    def test_the_page_takes_the_same_queries_with_25_agents(self, page, session, django_assert_num_queries, n):
        for number in range(n):
            child = teams.delegate(session, f"agent {number}", "Go.")
            teams.report(session, child, "Done.")
        with django_assert_num_queries(13):
            answer = page.get(path(session, AGENTS))
        assert len(member_rows(answer)) == n + 1

    def test_the_fragment_that_is_sent_live_is_the_one_of_the_page(self, page, team):
        from django.http import HttpResponse
        from django.template.loader import render_to_string
        from django.utils import timezone

        from tests.console.html import same

        session, *_ = team
        session.refresh_from_db()
        Thread.objects.filter(session=session).update(active_since=None)
        lanes = lanes_of(session)
        whole = page.get(path(session, AGENTS))
        shown = team_of(session, lanes, timezone.now())
        fragment = render_to_string(
            "console/sessions/_team.html", {"session": session, "team": shown, "may_act": False}
        )
        rows = re.findall(r'<tr id="member-.*?<td role="cell" class="number"', fragment, re.DOTALL)
        assert len(rows) == 3
        for row in rows:
            assert same(HttpResponse(row), whole)


class TestStory:
    def test_a_message_is_told_once_and_by_its_sender(self, page, team):
        session, north, south = team
        answer = page.get(path(session))
        assert len(told_of(answer, "Read the first log.")) == 1
        assert told_of(answer, "Scout started north and asked Read the first log.")
        assert told_of(answer, "north reported to Scout The disk was full.")
        assert not told_of(answer, "heard from")
        assert not told_of(answer, "said The disk was full.")
        assert not told_of(answer, "copy on the session's stream")

    def test_each_half_leads_to_the_other(self, page, team):
        session, north, _ = team
        sent = session.events.get(type=told.SENT, thread=north)
        received = session.events.get(type=told.RECEIVED, cause_seq=sent.seq)
        lead = session.primary_thread
        there = f"?thread={lead.public_id}&event={received.public_id}#event-{received.public_id}"
        back = f"?thread={north.public_id}&event={sent.public_id}#event-{sent.public_id}"
        assert there in Page(page.get(path(session))).hrefs()
        answer = page.get(path(session, there.partition("#")[0]))
        assert back in Page(answer).hrefs()
        assert told_of(answer, "got the report of north")
        detail = Page(page.get(path(session, f"/events/{sent.public_id}")))
        assert "Received by Scout" in detail.text

    def test_one_agents_story_has_both_halves_that_are_its_own(self, page, team):
        session, north, _ = team
        answer = page.get(path(session, f"?thread={north.public_id}"))
        assert told_of(answer, "was asked by Scout") and told_of(answer, "reported to Scout")

    def test_every_event_has_the_copies_and_says_so(self, page, team):
        session, *_ = team
        answer = page.get(path(session, "?events=all"))
        assert told_of(answer, "north finished its turn (copy on the session's stream)")
        visible = set(session.events.filter(visible=True).values_list("seq", flat=True))
        shown = {int(row["data-seq"]) for row in Page(answer).find_all("li") if "data-seq" in row}
        assert visible <= shown

    def test_a_permalink_to_what_the_story_leaves_out_still_opens(self, page, team):
        session, *_ = team
        for event in told.told_events(session):
            answer = page.get(path(session, f"?event={event.public_id}"))
            assert [row["id"] for row in Page(answer).find_all("li") if "data-focused" in row] == [
                f"event-{event.public_id}"
            ]

    def test_a_refused_start_is_told_with_its_reason(self, page, session):
        result = teams.refuse(session, "spawn_agent", "There are 25 agents already, which is the most at a time.")
        answer = page.get(path(session))
        assert told_of(answer, "Scout could not start another agent There are 25 agents already")
        detail = page.get(path(session, f"/events/{result.public_id}"))
        assert "The record, which the API does not show" in Page(detail).text

    def test_a_wait_is_told_while_it_lasts_and_when_it_is_over(self, page, team):
        session, north, south = team
        call = teams.wait(session, north, south)
        assert told_of(page.get(path(session)), "Scout waits for 2 agents: north, south")
        teams.end_wait(session, call, timed_out=True, working=[{"agent": "south"}])
        (line,) = told_of(page.get(path(session)), "Scout waited for 2 agents: north, south")
        assert "Its time was over; 1 agent worked on" in line
        assert re.search(r"\d+ ms|\d s", line)

    def test_a_warning_is_told(self, page, session):
        said = {"kind": "ping_pong", "message": "Scout and north have exchanged more than 10 messages."}
        factories.write_one(session, "daybreak.warning", said, visible=False)
        assert told_of(page.get(path(session)), "Session warns Scout and north have exchanged")

    def test_successful_calls_and_marks_stay_out_of_sight(self, page, team):
        session, *_ = team
        hidden = session.events.filter(visible=False)
        assert hidden.exists()
        answer = page.get(path(session, "?events=all"))
        shown = {int(row["data-seq"]) for row in Page(answer).find_all("li") if "data-seq" in row}
        assert not shown & set(hidden.values_list("seq", flat=True))
        for event in hidden:
            assert page.get(path(session, f"/events/{event.public_id}")).status_code == 404

    def test_pages_meet_every_row_of_a_teams_story_once(self, page, session):
        for number in range(60):
            child = teams.delegate(session, f"agent {number}", f"Task {number}")
            teams.report(session, child, f"Report {number}")
            teams.refuse(session, "send_to_agent", "No such agent.")
            factories.write_one(session, "agent.message", {"content": factories.text("Hm.")})
        met, address = [], path(session, "?at=start")
        while address:
            answer = page.get(address)
            met += [int(row["data-seq"]) for row in Page(answer).find_all("li") if "data-seq" in row]
            later = [li["hx-get"] for li in Page(answer).find_all("li") if li.get("data-edge") == "later"]
            address = later[0].replace("/rows", "") if later else ""
        assert met == list(told.shown_events(session).order_by("seq").values_list("seq", flat=True))
        assert len(met) > 240

    def test_the_reason_why_an_agent_was_started_leads_over_hidden_calls(self, page, session):
        start = factories.write_one(session, "span.model_request_start")
        use = factories.write_one(session, "daybreak.tool_use", {"name": "spawn_agent"}, cause=start, visible=False)
        created = factories.write_one(session, "session.thread_created", {"agent_name": "x"}, cause=use)
        detail = Page(page.get(path(session, f"/events/{created.public_id}")))
        assert f"{path(session)}?event={start.public_id}#event-{start.public_id}" in detail.hrefs()
        back = Page(page.get(path(session, f"/events/{start.public_id}")))
        assert f"{path(session)}?event={created.public_id}#event-{created.public_id}" in back.hrefs()

    @pytest.mark.parametrize(
        "type_, data, private, sentence",
        [
            (told.SENT, {"to_session_thread_id": "sthr_n"}, {"kind": "task"}, "started north 2 and asked"),
            (told.SENT, {"to_session_thread_id": "sthr_n"}, {"kind": "message"}, "wrote to north 2"),
            (told.SENT, {"to_session_thread_id": "sthr_main"}, {"kind": "report"}, "reported to lead"),
            (told.SENT, {"to_session_thread_id": "sthr_main"}, {"kind": "failure"}, "gave up and told lead"),
            (told.SENT, {"to_session_thread_id": "sthr_n"}, {}, "asked north 2"),
            (told.SENT, {"to_agent_name": "elsewhere"}, {}, "asked elsewhere"),
            (told.RECEIVED, {"from_session_thread_id": "sthr_n"}, {"kind": "report"}, "got the report of north 2"),
            (told.WAIT_STARTED, {"session_thread_ids": ["sthr_n"], "mode": "any"}, {}, "waits for 1 agent:"),
            (told.WAIT_STARTED, {"session_thread_ids": 5}, {}, told.WAIT_STARTED),
            (told.TEAM_RESULT, {"is_error": True, "tool_use_id": "x"}, {}, "could not use a tool"),
        ],
    )
    def test_words(self, type_, data, private, sentence):
        context = Context(agents={"sthr_main": "lead", "sthr_n": "north 2"}, primary="sthr_main")
        assert words_for(type_, {"content": [], **data}, private, context).says == sentence


class TestAtWork:
    """Real runs, by the engine."""

    @pytest.fixture
    def lab(self, quiet, local_worker):  # noqa: F811
        return factories.make_workspace()

    @pytest.fixture
    def page(self, lab):
        browser = Client()
        browser.force_login(factories.make_member(lab, name="ana"))
        return browser

    def test_a_helpers_question_is_shown_once_answered_and_told_once(self, page, lab):
        south = teams.make_member(lab, "south", asks=True)
        script = teams.parallel(r"spawn: south | say: It is in the way.\nbash: rm -rf build", "wait:")
        session = teams.settle(teams.start(lab, script, south))
        (call,) = teams.wait_for_questions(session, 1)
        answer = page.get(path(session))
        assert len(Page(answer).find_all("article")) == 1
        for said in ("south asks to run bash", "rm -rf build", "says why It is in the way.", "works on say: It is"):
            assert said in Page(answer).text, said
        assert len(told_of(answer, "asks to run bash")) == 1
        copy = call.crosspost_event
        assert page.get(path(session, f"?event={copy.public_id}")).status_code == 200
        assert "south asks to run bash" in Page(page.get("/")).text
        page.post(path(session, f"/answers/{call.use_event.public_id}"), {"result": "deny", "deny_message": "Keep it"})
        teams.settle(session)
        answer = page.get(path(session))
        assert len(told_of(answer, "ana refused bash for south Keep it")) == 1
        assert len(told_of(answer, "refused bash")) == 1
        assert not Page(answer).find_all("article")
        every = page.get(path(session, "?events=all"))
        assert len(told_of(every, "refused bash")) == 2

    def test_an_agent_is_interrupted_and_ended(self, page, lab):
        script = teams.parallel("spawn: north | bash: sleep 60", "spawn: north | say: Done.")
        session = teams.start(lab, script)
        teams.wait_until(lambda: session.tool_calls.filter(name="bash", state="running").exists())
        child = session.threads.get(ordinal=1)
        page.post(path(session, "/interrupt"), {"thread": child.public_id})
        teams.settle(session)
        assert told_of(page.get(path(session)), "ana interrupted north")
        answer = page.post(path(session, "/threads/end"), {"thread": child.public_id}, follow=True)
        assert "north has ended. What it did stays readable." in Page(answer).text
        child.refresh_from_db()
        assert (child.status, child.archived_at is not None) == ("terminated", True)
        assert "north for lead ended" in member_rows(page.get(path(session, AGENTS)))[1]


class TestEnding:
    def test_a_working_agent_is_not_ended(self, page, team):
        session, _, south = team
        answer = page.post(path(session, "/threads/end"), {"thread": south.public_id}, follow=True)
        assert "A running thread cannot be archived" in Page(answer).text

    def test_nor_the_lead_or_somebody_elses(self, page, team, elsewhere):
        session, *_ = team
        lead = session.primary_thread
        answer = page.post(path(session, "/threads/end"), {"thread": lead.public_id}, follow=True)
        assert "primary thread cannot be archived" in Page(answer).text
        foreign = factories.make_session(elsewhere, agent=factories.make_agent(elsewhere)).primary_thread
        assert page.post(path(session, "/threads/end"), {"thread": foreign.public_id}).status_code == 404

    def test_who_may_only_read_has_no_buttons(self, client, viewer, team):
        session, north, _ = team
        client.force_login(viewer)
        assert not Page(client.get(path(session))).find_all("button", id=f"end-{north.public_id}")
        assert client.post(path(session, "/threads/end"), {"thread": north.public_id}).status_code == 403


class TestQueue:
    def test_a_session_in_which_one_waits_and_others_work_waits_for_you(self, page, session):
        child = teams.delegate(session)
        factories.run(session)
        use = factories.write_one(session, "agent.tool_use", {"name": "bash", "input": {"command": "rm"}}, thread=child)
        ToolCall.objects.create(
            session=session, thread=child, use_event=use, name="bash", state="waiting", exec_id="x", input_sha256="0"
        )
        assert Session.objects.get(pk=session.pk).status == "running"
        assert "waiting for you" in Page(page.get("/sessions?status=waiting")).text
        assert "No session matches" in Page(page.get("/sessions?status=running")).text
        home = Page(page.get("/")).text
        assert "north asks to run bash" in home.split("Running now")[0]
        assert "waiting for you" in Page(page.get(path(session))).text
