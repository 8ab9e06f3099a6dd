"""What filled a window and who waited for whom, on real runs of the engine and on logs made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.models import Event, ModelAttempt, Session, Step, Thread
from agents.providers.base import Answer, Usage
from console.story.inspector import context, threads
from console.story.inspector.asked import Asked
from console.story.rows import lanes_of
from tests import factories
from tests.agents.runtime.teams import CHILD, LEAD, models, says, spawn, start_team, wait  # noqa: F401
from tests.agents.runtime.teams import settle as drive
from tests.console import teams
from tests.console.html import Page
from tests.live import committed_db  # noqa: F401

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def asked(session, event=None, **parameters):
    return Asked(session, lanes_of(session), event, parameters)


def shares(body):
    return {share.kind: share for share in body.composition.shares}


@pytest.fixture
def session(workspace):
    return factories.make_session(workspace, title="Triage", says="Find the cause.")


class TestContext:
    @pytest.fixture
    def team(self, models):  # noqa: F811
        """A lead that thinks, has an agent look, and answers; the agent uses a tool."""
        workspace = factories.make_workspace()
        thinking = {"type": "thinking", "thinking": "Who knows this? " * 20, "signature": "x"}
        used = Usage(input_tokens=50, output_tokens=5, cache_read_input_tokens=150)
        first = says("", spawn("Read the log."))
        models.tell(LEAD, Answer(content=[thinking, *first.content], stop_reason="tool_use", usage=used))
        models.tell(LEAD, says("", wait()), says("It was the disk."))
        models.tell(CHILD, says("I look.", ("bash", {"command": "seq 1 300"})), says("The disk was full. " * 30))
        return drive(start_team(workspace, "Find both causes."))

    def test_a_request_is_taken_apart_by_what_it_holds(self, team):
        said = team.events.filter(type="agent.message", thread=team.primary_thread).last()
        body = context.read(asked(team, said))
        found = shares(body)
        assert not body.is_newest and body.missing == ""
        for kind in ("system", "tools", "user", "agents", "thinking", "calls", "results"):
            assert found[kind].pieces >= 1, kind
        assert found["memory"].pieces == 0
        assert found["agents"].tokens > 100  # the report
        assert sum(share.percent for share in body.composition.shares) == pytest.approx(100, abs=1)
        assert body.composition.tokens == sum(share.tokens for share in body.composition.shares)
        assert body.read_tokens == 10 and body.window

    def test_a_helpers_request_holds_its_tools_output_and_its_task(self, team):
        said = team.events.filter(type="agent.message", thread__parent__isnull=False).last()
        body = context.read(asked(team, said))
        found = shares(body)
        assert found["results"].tokens > 200 and "user" not in found and found["agents"].pieces == 2
        largest = body.composition.largest[0]
        assert any(piece.event and piece.event.type == "agent.tool_use" for piece in body.composition.largest)
        assert largest.tokens >= body.composition.largest[-1].tokens

    def test_what_was_cached_is_the_providers_count(self, team):
        thought = team.events.get(type="agent.thinking")
        body = context.read(asked(team, thought))
        assert (body.usage["cached"], body.usage["fresh"], body.read_tokens) == (150, 50, 200)

    def test_without_a_selection_it_is_the_primary_threads_newest(self, team):
        body = context.read(asked(team))
        newest = team.events.filter(type="span.model_request_start", thread=team.primary_thread).last()
        assert body.request.seq == newest.seq and body.is_newest

    def test_a_summary_says_what_it_stands_for(self, team):
        primary = team.primary_thread
        private = {"summary": "So far…", "pre_compaction_tokens": 9_000}
        factories.write_one(team, "agent.thread_context_compacted", {}, private=private)
        start = factories.write_one(team, "span.model_request_start")
        body = context.read(asked(team, start))
        assert body.compactions[0].before_tokens == 9_000
        dropped = dict(body.dropped)
        assert dropped["messages from people"] == 1 and dropped["tool calls"] == 2 and dropped["thoughts"] == 1
        assert body.composition is None and "was not kept" in body.missing
        assert primary.pk == body.lane.thread.pk


def test_blocks_of_any_shape_are_counted():
    odd: list[Any] = [
        {},
        {"role": "user", "content": "text"},
        {"role": "user", "content": 5},
        {"role": "user", "content": [5, None, {"type": "text"}, {"type": "text", "text": 7}]},
        {"role": "assistant", "content": [{"type": "thinking"}, {"type": "tool_use", "id": [1], "name": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": [3, {"type": "image"}]}, {"type": "image"}]},
    ]
    pieces = [piece for message in odd for piece in context.pieces_of(message)]
    body = context.composition_of(pieces)
    assert body.tokens == sum(share.tokens for share in body.shares)
    assert context.composition_of([]).tokens == 0


def test_messages_from_agents_and_summaries_are_told_from_peoples():
    letter = [{"type": "text", "text": "[Message from the lead]"}, {"type": "text", "text": "Go."}]
    fake = [{"type": "text", "text": "[Message from the lead] Go."}]
    summary = [{"type": "text", "text": context.SUMMARY_INTRODUCTION + "…"}]
    kinds = [context.pieces_of({"role": "user", "content": content})[-1].kind for content in (letter, fake, summary)]
    assert kinds == ["agents", "user", "summary"]


def test_of_imported_work_the_context_is_unknown(page, workspace):
    session = factories.make_imported(workspace)
    event = session.events.last()
    text = Page(page.get(f"/sessions/{session.public_id}/inspect/context?event={event.public_id}")).text
    assert "what filled the window is unknown" in text


class TestThreads:
    def moves(self, session, thread, *moves):
        """Status events of a thread: (seconds, type, reason)."""
        for seconds, type_, reason in moves:
            payload = {"session_thread_id": thread.public_id, "agent_name": thread.agent_name}
            if reason:
                payload["stop_reason"] = {"type": reason}
            event = factories.write_one(session, f"session.thread_status_{type_}", payload, thread=thread)
            Event.objects.filter(pk=event.pk).update(created_at=START + timedelta(seconds=seconds))

    def read(self, session, at=600):
        session.refresh_from_db()
        body = threads.read(asked(session), START + timedelta(seconds=at))
        return body, {row.lane.label: {still.what: still for still in row.standstills} for row in body.threads}

    def test_gaps_are_told_by_what_they_waited_for(self, session):
        child = factories.make_child(session, "north")
        moves = [(1, "running", ""), (10, "idle", "requires_action"), (40, "running", ""), (50, "rescheduled", "")]
        moves += [(55, "running", ""), (60, "idle", "requires_action"), (70, "running", ""), (80, "idle", "end_turn")]
        self.moves(session, child, *moves)
        self.moves(session, session.primary_thread, (1, "running", ""), (100, "idle", "budget_reached"))
        _, found = self.read(session)
        person = found["north"][threads.PERSON]
        assert (person.times, person.total_s, person.longest_s, person.goes_on) == (2, 40.0, 30.0, False)
        assert found["north"][threads.PROVIDER].total_s == 5.0
        budget = found["Scout"][threads.BUDGET]
        assert (budget.total_s, budget.goes_on) == (500.0, True)

    def test_copies_on_the_sessions_stream_are_not_counted_twice(self, session):
        child = factories.make_child(session, "north")
        self.moves(session, child, (10, "idle", "requires_action"), (40, "running", ""))
        payload = {"session_thread_id": child.public_id, "stop_reason": {"type": "requires_action"}}
        factories.write_one(session, "session.thread_status_idle", payload)
        _, found = self.read(session)
        assert threads.PERSON not in found["Scout"] and found["north"][threads.PERSON].times == 1

    def test_a_lead_waits_for_its_agents(self, page, session):
        north, south = teams.delegate(session, "north"), teams.delegate(session, "south")
        call = teams.wait(session, north, south)
        teams.end_wait(session, call)
        type(call).objects.filter(pk=call.pk).update(started_at=START, ended_at=START + timedelta(seconds=12))
        body, found = self.read(session)
        wait_ = found["Scout"][threads.AGENTS]
        assert (wait_.times, wait_.total_s) == (1, 12.0)
        assert wait_.event_id == session.events.get(type="daybreak.wait_started").public_id
        (row,) = body.waits
        assert row.took == "12 s" and "waited for 2 agents" in row.words.says
        text = Page(page.get(f"/sessions/{session.public_id}/inspect/threads")).text
        assert "waited for other agents 12 s" in text and "Who waited for whom" in text

    def test_the_queue_is_what_passed_before_a_worker_began(self, session):
        asked_ = session.events.get(type="user.message")
        Event.objects.filter(pk=asked_.pk).update(created_at=START)
        thread = session.primary_thread
        self.step(session, thread, 1, asked_.seq, begin=4, end=10)
        self.step(session, thread, 2, asked_.seq, begin=30, end=31, attempt=2)  # a retry waits for the provider
        _, found = self.read(session)
        queue = found["Scout"][threads.QUEUE]
        assert (queue.times, queue.total_s) == (1, 4.0)

    def test_how_many_worked_at_once(self, session):
        primary, child = session.primary_thread, factories.make_child(session, "north")
        self.step(session, primary, 1, None, begin=0, end=10)
        self.step(session, child, 1, None, begin=5, end=15)
        self.step(session, primary, 2, None, begin=10, end=20)
        body, _ = self.read(session)
        assert body.parallel == 2

    def step(self, session, thread, no, cause, *, begin, end, attempt=1):
        at, until = START + timedelta(seconds=begin), START + timedelta(seconds=end)
        kinds = {"kind": Step.Kind.MODEL_REQUEST, "state": Step.State.COMMITTED, "epoch": 1, "worker": "w"}
        step = Step.objects.create(
            session=session, thread=thread, no=no, cause_seq=cause, started_at=at, ended_at=until, **kinds
        )
        ModelAttempt.objects.create(step=step, attempt=attempt, model="simulated/default", started_at=at)

    def test_how_full_each_context_is(self, page, session):
        Thread.objects.filter(session=session).update(context_tokens=64_000)
        body, _ = self.read(session)
        (row,) = body.threads
        assert row.window and row.filled == round(100 * 64_000 / row.window)
        shown = Page(page.get(f"/sessions/{session.public_id}/inspect/threads"))
        assert "context 64.0 k of" in shown.text

    def test_a_session_without_times_has_no_waits(self, page, workspace):
        session = factories.make_imported(workspace)
        body = threads.read(asked(session), timezone.now())
        assert all(not row.standstills for row in body.threads) and body.parallel is None
        text = Page(page.get(f"/sessions/{session.public_id}/inspect/threads")).text
        assert "does not record how full contexts were" in text

    def test_the_team_is_there_with_its_places_for_live_news(self, page, session):
        north = teams.delegate(session, "north", "Read it.")
        shown = Page(page.get(f"/sessions/{session.public_id}/inspect/threads"))
        assert shown.find_all("section", id="team") and shown.find_all("tr", id=f"member-{north.public_id}")
        assert Session.objects.get(pk=session.pk).thread_count == 2

    def test_hundreds_of_agents_make_a_small_page(self, page, session):
        primary = session.primary_thread
        Thread.objects.bulk_create(
            Thread(
                public_id=f"sthr_{number}",
                session=session,
                parent=primary,
                agent_name=f"agent {number}",
                agent_snapshot=primary.agent_snapshot,
                ordinal=number,
            )
            for number in range(1, 500)
        )
        first = Page(page.get(f"/sessions/{session.public_id}/inspect/threads"))
        assert len(first.elements) < 4_000 and "440 more agents are not in this table" in first.text
        met, start = [], 0
        while True:
            body = threads.read(asked(session, **{"from": str(start)}), timezone.now())
            met += [row.lane.public_id for row in body.threads]
            start = body.next_agent
            if not start:
                break
        assert len(met) == len(set(met)) == 500
