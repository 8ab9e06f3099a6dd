"""Why a step happened: every answer from a stored cause, every item a link, and nothing guessed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.ids import EVENT, new_id
from agents.ingestion.model import CHAT, ImportedEvent, ImportedSession, ImportedThread
from agents.models import Event, Session
from agents.services.ingestion import import_session
from console.story.causes import Chain, Link, condense, effects_of
from console.story.rows import lanes_of
from console.story.why import why_of
from console.story.words import known_types
from tests import factories
from tests.agents.runtime.teams import CHILD, LEAD, models, says, spawn, start_team, wait  # noqa: F401
from tests.agents.runtime.teams import settle as drive
from tests.console import teams
from tests.console.hostile import PAYLOADS, hostile_events
from tests.console.html import Page, same
from tests.live import committed_db  # noqa: F401

MOST_QUERIES = 18


def path(session, event=None, rest=""):
    query = f"?event={event.public_id}" if event is not None else rest
    return f"/sessions/{session.public_id}/why{query}"


def why(session, event):
    return why_of(event, session, lanes_of(session))


def card(page, session, event):
    answer = page.get(path(session, event), headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return Page(answer)


@pytest.fixture
def session(workspace):
    return factories.make_session(workspace, title="Triage", says="Find the cause.")


def answered(session, answer="The disk was full."):
    """A turn that answers the session's first message, with its causes."""
    asked = session.events.get(type="user.message")
    factories.take_up(session)
    start = factories.write_one(session, "span.model_request_start", cause=asked)
    factories.write_one(session, "agent.thinking", private={"thinking": "Look at **errors** first."}, cause=start)
    payload = {"name": "grep", "input": {"pattern": "ERROR"}, "evaluated_permission": "allow"}
    use = factories.write_one(session, "agent.tool_use", payload, cause=start)
    found = {"tool_use_id": use.public_id, "content": factories.text("12 lines"), "is_error": False}
    result = factories.write_one(session, "agent.tool_result", found, cause=use)
    again = factories.write_one(session, "span.model_request_start", cause=result)
    said = factories.write_one(session, "agent.message", {"content": factories.text(answer)}, cause=again)
    return asked, start, use, result, again, said


class TestCard:
    def test_a_tool_call_says_what_it_answers_and_what_came_of_it(self, session):
        asked, start, use, result, *_ = answered(session)
        found = why(session, use)
        assert found.instruction.public_id == asked.public_id
        assert found.trigger is None  # the instruction came right before
        assert (found.thought.text, found.thought.is_same_answer) == ("Look at **errors** first.", True)
        assert result.public_id in [row.public_id for row in found.effects]
        assert [step.row.seq for step in found.steps] == [start.seq, asked.seq]
        assert found.unknown == ""
        assert found.request_seq == start.seq

    def test_a_message_after_a_result_names_both_the_result_and_the_instruction(self, session):
        asked, _, use, result, _, said = answered(session)
        found = why(session, said)
        assert found.instruction.seq == asked.seq
        assert found.trigger.seq == result.seq
        assert not found.thought.is_same_answer
        assert [step.row.seq for step in found.steps][-1] == asked.seq
        assert use.seq in [step.row.seq for step in found.steps]

    def test_a_message_from_a_person_began_it(self, page, session):
        asked, _, use, *_ = answered(session)
        found = why(session, asked)
        assert (found.instruction, found.trigger, found.thought, found.unknown) == (None, None, None, "")
        assert use.seq in [row.seq for row in found.effects]
        assert "Nothing: it began here." in card(page, session, asked).text

    def test_each_item_is_a_link_with_who_what_and_when(self, page, session):
        asked, _, use, result, *_ = answered(session)
        shown = card(page, session, use)
        links = {link.get("data-event"): link for link in shown.find_all("a") if link.get("data-event")}
        for event in (asked, result):
            assert links[event.public_id]["href"] == (
                f"/sessions/{session.public_id}?event={event.public_id}#event-{event.public_id}"
            )
            assert links[event.public_id]["data-seq"] == str(event.seq)
        assert "Ana asked Find the cause." in shown.text
        assert "Look at **errors** first." in shown.text
        assert "No memory store was attached." in shown.text
        assert "Download as JSON" in shown.text

    def test_a_place_in_the_log_finds_the_event_at_or_before_it(self, page, session):
        *_, said = answered(session)
        hidden = factories.write_one(session, "daybreak.event_processed", {"event_id": "x"}, visible=False)
        answer = page.get(path(session, rest=f"?seq={hidden.seq}"))
        assert Page(answer).find_all("article", class_="why")[0]["data-event"] == said.public_id

    @pytest.mark.parametrize("rest", ["", "?event=sevt_none", "?seq=0", "?seq=x", "?seq=" + "9" * 60])
    def test_what_names_no_event_is_not_found(self, page, session, rest):
        assert page.get(path(session, rest=rest)).status_code == 404

    def test_the_fragment_stands_unchanged_in_the_page_without_scripts(self, page, session):
        _, _, use, *_ = answered(session)
        fragment = page.get(path(session, use), headers={"HX-Request": "true"})
        whole = page.get(path(session, use))
        assert same(fragment, whole)
        assert Page(whole).find_all("session-inspector")

    def test_only_members_of_the_workspace_see_it(self, client, session, elsewhere):
        _, _, use, *_ = answered(session)
        client.force_login(factories.make_member(elsewhere, name="eve"))
        assert client.get(path(session, use)).status_code == 404


class TestPermission:
    def test_policy_who_when_and_words(self, page, session):
        call = factories.ask(session, "bash", {"command": "rm -r build"})
        assert why(session, call.use_event).permission.says == "It waits for a person to allow it."
        address = f"/sessions/{session.public_id}/answers/{call.use_event.public_id}"
        page.post(address, {"result": "deny", "deny_message": "Not on a Friday"})
        found = why(session, call.use_event).permission
        assert (found.says, found.words, found.policy) == ("ana refused it.", "Not on a Friday", "always_ask")
        assert found.waited
        answer = session.events.get(type="user.tool_confirmation")
        assert found.answer.public_id == answer.public_id
        assert "ana refused it." in card(page, session, answer).text

    def test_a_call_that_policy_allows_asked_nobody(self, session):
        call = factories.ask(session)
        type(call).objects.filter(pk=call.pk).update(permission="allow", state="done")
        assert "nobody was asked" in why(session, call.use_event).permission.says

    def test_one_that_policy_refuses_says_why(self, session):
        call = factories.ask(session)
        type(call).objects.filter(pk=call.pk).update(
            permission="deny", state="done", deny_message="There is no tool named rm."
        )
        found = why(session, call.use_event).permission
        assert "Refused without asking" in found.says and found.words == "There is no tool named rm."

    def test_a_custom_tool_is_the_clients(self, page, session):
        call = factories.ask(session, "weather", {"city": "Oslo"}, kind="custom")
        assert "Its answer has not come yet" in why(session, call.use_event).permission.says
        page.post(f"/sessions/{session.public_id}/answers/{call.use_event.public_id}", {"content": "21 C"})
        assert "ana gave the answer" in why(session, call.use_event).permission.says

    def test_a_closed_question_was_decided_by_nobody(self, session):
        call = factories.ask(session)
        type(call).objects.filter(pk=call.pk).update(state="done")
        assert "Nobody decided" in why(session, call.use_event).permission.says

    def test_messages_have_no_permission(self, session):
        *_, said = answered(session)
        assert why(session, said).permission is None


class TestTeams:
    @pytest.fixture
    def team(self, models):  # noqa: F811
        """A lead that had one agent look at a file, and an agent that did: run by the engine."""
        workspace = factories.make_workspace()
        models.tell(LEAD, says("", spawn("Read the log.")), says("", wait()), says("North found it."))
        models.tell(CHILD, says("I look.", ("bash", {"command": "echo found"})), says("The disk was full."))
        session = start_team(workspace, "Find both causes.")
        drive(session)
        return session

    def test_a_report_leads_back_to_the_person(self, team):
        session = team
        assert session.status == "idle"
        said = session.events.filter(type="agent.message", thread=session.primary_thread).last()
        found = why(session, said)
        asked = session.events.get(type="user.message")
        assert found.instruction.seq == asked.seq
        steps = [step.row for step in found.steps]
        assert steps[-1].seq == asked.seq
        assert any(row.type == "agent.thread_message_sent" for row in steps)
        assert found.unknown == ""
        assert [row.seq for row in steps] == sorted((row.seq for row in steps), reverse=True)

    def test_a_helpers_step_was_asked_for_by_its_lead(self, team):
        session = team
        use = session.events.get(type="agent.tool_use", thread__parent__isnull=False)
        found = why(session, use)
        assert found.instruction.type == "agent.thread_message_sent"
        assert found.instruction.words.text == "Read the log."
        assert found.instruction.lane.thread.is_primary
        assert found.steps[-1].row.type == "user.message"
        assert found.permission is not None
        result = session.events.get(type="agent.tool_result")
        assert result.seq in [row.seq for row in found.effects]

    def test_every_event_of_a_real_run_has_its_card(self, team, django_assert_max_num_queries):
        session, lanes = team, lanes_of(team)
        for event in session.events.order_by("seq"):
            with django_assert_max_num_queries(MOST_QUERIES):
                found = why_of(event, session, lanes)
            for row in (found.instruction, found.trigger, *(step.row for step in found.steps)):
                assert row is None or row.seq < event.seq
            assert all(row.seq > event.seq for row in found.effects)
            if found.unknown:
                assert event.cause_seq is None or found.steps or event.visible is False or found.nearby is not None

    def test_a_copy_on_the_sessions_stream_is_the_agents_own_step(self, session):
        child = teams.delegate(session, "north", "Tidy up.")
        call = teams.ask(session, child, {"command": "rm -r build"}, "It is old.")
        found = why(session, Event.objects.get(pk=call.crosspost_event_id))
        assert found.call == call
        assert found.permission.says == "It waits for a person to allow it."
        assert "copy on the session's stream" in found.row.words.says
        assert found.lane.label == "north" and found.row.lane.thread.is_primary
        assert not why(session, call.use_event).effects  # the copy is no effect

    def test_files_that_came_of_a_call_are_named(self, session):
        from agents.models import FileVersion

        call = factories.ask(session, "write", {"file_path": "/workspace/a.md", "content": "x"})
        FileVersion.objects.create(
            session=session, path="/workspace/a.md", number=1, change="write", sha256="a" * 64, size_bytes=1, call=call
        )
        assert [version.path for version in why(session, call.use_event).files] == ["/workspace/a.md"]


class TestImported:
    def test_without_causes_the_order_is_shown_and_said(self, page, workspace):
        session = factories.make_imported(workspace, events=6)
        event = session.events.order_by("seq").last()
        found = why(session, event)
        assert found.unknown == "The source does not record why; shown is the order."
        assert len(found.nearby) == 3 and not found.steps and found.instruction is None
        shown = card(page, session, event)
        assert "The source does not record why; shown is the order." in shown.text
        assert "The source does not record what the agent remembered." in shown.text

    def test_with_the_sources_own_causes_they_are_followed(self, workspace):
        lines = [
            ImportedEvent("e1", "main", "user.message", {"content": factories.text("Go")}),
            ImportedEvent("e2", "main", "agent.tool_use", {"name": "grep", "input": {}}, cause="e1"),
            ImportedEvent(
                "e3", "main", "agent.tool_result", {"tool_use_id": "e2", "content": factories.text("ok")}, cause="e2"
            ),
            ImportedEvent("e4", "main", "agent.message", {"content": factories.text("Done")}),
        ]
        imported = ImportedSession("x", CHAT, "Log", "Log", [ImportedThread("main", "lead")], lines, [], False, {}, [])
        session = import_session(workspace, imported).session
        use, result, said = list(session.events.order_by("seq"))[1:]
        found = why(session, result)
        assert found.unknown == "" and found.instruction.words.text == "Go"
        assert found.permission.says == "The source does not record who allowed it."
        assert why(session, said).unknown.startswith("The source does not record why")
        assert why(session, use).effects[0].seq == result.seq

    def test_a_who_and_when_log_has_a_card_for_every_step(self, workspace, shared_data):
        from agents.ingestion import chat
        from agents.ingestion.model import ImportReport

        file = sorted((shared_data / "whowhen").rglob("*.json"))[0]
        (imported,) = list(chat.read([file], ImportReport()))[:1]
        session = import_session(workspace, imported).session
        lanes = lanes_of(session)
        for event in session.events.order_by("seq"):
            found = why_of(event, session, lanes)
            assert found.row.seq == event.seq
            assert found.unknown or found.steps or event.type == "user.message"

    def test_a_claude_code_log_leads_a_sub_agents_steps_back_to_the_person(self, workspace, shared_data):
        from tests.agents.ingestion.claude_files import read_all

        sessions, _ = read_all(shared_data / "claude-code-log")
        imported = max((one for one in sessions if len(one.threads) > 4), key=lambda one: len(one.events))
        session = import_session(workspace, imported).session
        lanes = lanes_of(session)
        led_back = 0
        for event in session.events.exclude(thread=session.primary_thread).order_by("seq")[:150]:
            found = why_of(event, session, lanes)
            origin = found.steps[-1].row if found.steps else found.row
            assert bool(found.unknown) != origin.type.startswith(("user.", "system."))
            asked = found.instruction
            led_back += asked is not None and asked.type == "agent.thread_message_sent" and asked.seq < event.seq
        assert led_back > 50


class TestHostile:
    @pytest.mark.parametrize("number", range(0, len(PAYLOADS), 6))
    def test_nothing_written_by_others_becomes_markup(self, page, session, number):
        hostile_events(session, " ".join(PAYLOADS[number : number + 6]))
        for event in session.events.filter(visible=True):
            shown = card(page, session, event)
            assert shown.problems == []
            assert not [a for _, a in shown.elements if any(name.startswith("on") for name in a)]
            assert all("javascript:" not in href.lower() for href in shown.hrefs())
            assert not re.search(r"<(script|iframe|object|style|base|meta|form action)", shown.source, re.I)
            assert "\u202e" not in shown.text and "\x1b" not in shown.text

    def test_escaped_nul_and_very_long_text_are_shown_harmlessly(self, page, session):
        long = "a\x00b " + "x" * 1_000_000
        use = factories.write_one(session, "agent.tool_use", {"name": long, "input": {"command": long}})
        said = factories.write_one(session, "agent.message", {"content": factories.text(long)}, cause=use)
        for event in (use, said):
            answer = page.get(path(session, event))
            assert answer.status_code == 200 and len(answer.content) < 5_000_000
            assert b"\x00" not in answer.content

    @pytest.mark.parametrize("type_", sorted(known_types()))
    def test_every_type_with_odd_content_has_a_card(self, session, type_):
        for payload in ({}, {"content": 5, "error": 1, "input": [], "stop_reason": "x", "evaluation": 3}):
            event = factories.write_one(session, type_, payload, private={"kind": [1], "thinking": 4})
            assert why(session, event).row.seq == event.seq


class TestQueries:
    @pytest.mark.parametrize("n", [1, 60])
    def test_a_long_log_takes_no_more(self, session, n, django_assert_max_num_queries):
        cause = session.events.get(type="user.message")
        for _ in range(n):
            start = factories.write_one(session, "span.model_request_start", cause=cause)
            use = factories.write_one(session, "agent.tool_use", {"name": "bash", "input": {}}, cause=start)
            cause = factories.write_one(session, "agent.tool_result", {"tool_use_id": use.public_id}, cause=use)
        lanes = lanes_of(session)
        with django_assert_max_num_queries(MOST_QUERIES):
            found = why_of(cause, session, lanes)
        assert found.instruction.type == "user.message"
        assert len(found.steps) <= 4
        assert n == 1 or found.steps[-1].skipped == 3 * n - 4


# Broken logs


links = st.lists(st.one_of(st.none(), st.integers(-3, 40)), min_size=1, max_size=25)
TYPES = ["user.message", "agent.message", "agent.tool_use", "agent.tool_result", "span.model_request_start"]
TYPES += ["agent.thread_message_sent", "agent.thread_message_received", "daybreak.tool_use", "session.status_running"]


@given(causes=links, types=st.lists(st.sampled_from(TYPES), min_size=25, max_size=25))
def test_effects_are_found_whatever_the_causes_are(causes, types):
    made = [Link(n + 2, cause, type_, 1, True) for n, (cause, type_) in enumerate(zip(causes, types, strict=False))]
    found = effects_of(Link(1, None, "user.message", 1, True), made)
    assert all(link.cause_seq is not None and link.cause_seq < link.seq for link in found)
    chain = Chain(tuple(made))
    shown = condense(chain.told)
    assert len(shown) <= 13
    assert sum(step.skipped for step in shown) + len(shown) <= len(chain.told) or not shown


@given(causes=links, types=st.lists(st.sampled_from(TYPES), min_size=25, max_size=25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_causes_never_raise_or_loop(session, causes: list[Any], types: list[str]):
    Event.objects.filter(session=session, seq__gt=1).delete()
    primary = session.primary_thread
    Event.objects.bulk_create(
        Event(
            public_id=new_id(EVENT),
            session=session,
            thread=primary,
            seq=n + 2,
            position=n + 2,
            type=type_,
            payload="{}",
            cause_seq=cause,
        )
        for n, (cause, type_) in enumerate(zip(causes, types, strict=False))
    )
    Session.objects.filter(pk=session.pk).update(last_seq=len(causes) + 1)
    lanes = lanes_of(session)
    for event in Event.objects.filter(session=session):
        found = why_of(event, session, lanes)
        steps = [step.row.seq for step in found.steps]
        assert steps == sorted(steps, reverse=True) and all(seq < event.seq for seq in steps)
