"""The picture's payload: numbers without bodies, within limits, for those who may see the session."""

from __future__ import annotations

import gzip
import json
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from agents.models import Event, Session, Thread
from agents.timeline import reading
from agents.timeline.kinds import KINDS
from agents.timeline.reading import timeline_of
from console.story import picture, told
from console.story.picture import view_of
from console.story.rows import lanes_of
from tests import factories
from tests.console import teams

SECRET = "what the agent said stays out of the picture"


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Sessions of other tests had the same keys."""
    reading.kept.clear()


@pytest.fixture
def get(page: Any) -> Any:
    def get(session: Session, query: str = "", **headers: str) -> Any:
        return page.get(f"/sessions/{session.public_id}/picture{query}", headers=headers)

    return get


@pytest.fixture
def drawn(get: Any) -> Any:
    """`drawn(session, query)`: the payload, its items as objects with the kind's name."""

    def drawn(session: Session, query: str = "") -> Any:
        answer = get(session, query)
        assert answer.status_code == 200, answer.content
        sent = SimpleNamespace(**answer.json())
        columns = {name: values or [0] * len(sent.items["seq"]) for name, values in sent.items.items()}
        assert len({len(values) for values in columns.values()}) == 1
        rows = [SimpleNamespace(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        for row in rows:
            row.kind = KINDS[row.kind]
        sent.rows = rows
        return sent

    return drawn


@pytest.fixture
def team(workspace: Any) -> Session:
    """A lead that asked three agents: one has reported, one asks a person, one works; the lead waits for them."""
    lead = teams.make_lead(workspace, *(teams.make_member(workspace, name) for name in ("north", "south", "east")))
    session = factories.make_session(workspace, agent=lead, title="Triage", says="Find every cause.")
    factories.take_up(session)
    north, south, east = (teams.delegate(session, name, SECRET) for name in ("north", "south", "east"))
    teams.report(session, north, SECRET)
    teams.ask(session, south, {"command": "rm -rf build"}, SECRET)
    teams.refuse(session, "spawn_agent", "There is no such agent.")
    teams.wait(session, north, south, east)
    session.refresh_from_db()
    return session


def kinds_of(sent: Any) -> set[str]:
    return {row.kind for row in sent.rows}


class TestWhatIsDrawn:
    def test_every_event_that_is_no_copy_is_in_it_once(self, drawn, team):
        copies = set(team.events.values_list("seq", flat=True)) - set(
            told.without_copies(Event.objects.filter(session=team)).values_list("seq", flat=True)
        )
        assert copies
        carried = [seq for row in drawn(team).rows if not row.flags & 4 for seq in {row.seq, row.seq + row.ended}]
        assert sorted(carried) == sorted(set(range(1, team.last_seq + 1)) - copies)

    def test_lanes_threads_and_arrows_tell_who_asked_whom(self, drawn, team):
        sent = drawn(team)
        assert [lane["name"] for lane in sent.lanes] == ["lead", "north", "south", "east"]
        assert sent.threads["name"] == ["lead", "north", "south", "east"]
        assert sent.threads["lane"] == [0, 1, 2, 3]
        arrows = list(zip(sent.arrows["sender"], sent.arrows["receiver"], strict=True))
        assert sorted(arrows) == [(0, 1), (0, 2), (0, 3), (1, 0)]
        assert kinds_of(sent) >= {"user", "sent", "received", "model", "said", "tool", "wait_person", "wait_agents"}

    def test_what_waits_is_open_and_grows_with_the_clock(self, drawn, team):
        Session.objects.filter(pk=team.pk).update(status="running")
        sent = drawn(team)
        waits = [row for row in sent.rows if row.kind in ("wait_agents", "wait_person")]
        assert [row.length for row in waits] == [-1, -1]
        assert sent.now >= sent.extent[1]

    def test_what_was_never_ended_does_not_grow_in_a_session_that_is_over(self, drawn, team):
        Session.objects.filter(pk=team.pk).update(status="idle", stop_reason={"type": "end_turn"})
        assert drawn(team).now is None

    def test_errors_and_marks_are_named_one_by_one(self, drawn, workspace):
        session = factories.make_imported(workspace, events=40, failure=17)
        error = factories.write_one(session, "session.error", {"error": {"message": "x"}})
        sent = drawn(session)
        assert sent.errors["seq"] == [error.seq]
        assert (sent.marks["kind"], sent.marks["seq"]) == (["failure"], [session.annotations.get().event.seq])

    def test_a_failed_call_is_an_error_a_told_failure_is_not(self, drawn, workspace):
        session = factories.make_session(workspace, says="Go")
        use = factories.write_one(session, "agent.tool_use", {"name": "bash", "input": {}})
        said = json.dumps({"is_error": True})
        content = factories.text(f'the file holds {said} and "is_error":true')
        factories.write_one(session, "agent.tool_result", {"content": content, "is_error": False}, cause=use)
        assert drawn(session).errors["seq"] == []
        use = factories.write_one(session, "agent.tool_use", {"name": "bash", "input": {}})
        wrong = factories.write_one(session, "agent.tool_result", {"content": content, "is_error": True}, cause=use)
        assert drawn(session).errors["seq"] == [wrong.seq]

    def test_a_result_that_names_its_call_only_in_the_record_of_calls_finds_it(self, drawn, workspace):
        """A refused call's result is caused by the person's answer."""
        session = factories.make_session(workspace, says="Go")
        call = factories.ask(session)
        answer = factories.write_one(session, "user.tool_confirmation", {"result": "deny"}, cause=call.use_event)
        result = factories.write_one(session, "agent.tool_result", {"is_error": True}, cause=answer)
        call.result_event = result
        call.save()
        (tool,) = [row for row in drawn(session).rows if row.kind == "tool"]
        assert tool.seq + tool.ended == result.seq

    def test_imported_results_find_the_call_they_name(self, drawn, workspace):
        session = factories.make_imported(workspace, events=2, has_times=True)
        uses = [factories.write_one(session, "agent.tool_use", {"name": "bash"}) for _ in range(2)]
        for use in reversed(uses):
            factories.write_one(session, "agent.tool_result", {"content": [], "tool_use_id": use.public_id})
        tools = {row.seq: row.ended for row in drawn(session).rows if row.kind == "tool"}
        assert tools == {uses[0].seq: 3, uses[1].seq: 1}

    def test_a_session_without_times_is_drawn_by_order(self, drawn, workspace):
        session = factories.make_imported(workspace, events=10)
        sent = drawn(session)
        assert (sent.by_order, sent.has_times, sent.now) == (True, False, None)
        assert [row.start for row in sent.rows] == list(range(11))

    def test_others_are_when_asked(self, drawn, team):
        assert not drawn(team).by_order
        assert drawn(team, "?draw=order").by_order

    def test_an_empty_session_has_an_empty_picture(self, drawn, workspace):
        sent = drawn(factories.make_session(workspace))
        assert (sent.last_seq, sent.rows, len(sent.lanes)) == (0, [], 1)

    def test_ended_agents_fold_when_asked_and_unfold(self, drawn, team):
        Thread.objects.filter(session=team, agent_name__in=("north", "east")).update(status="terminated")
        assert [lane["folded"] for lane in drawn(team).lanes] == [False] * 4
        folded = drawn(team, "?fold=ended")
        assert [lane["name"] for lane in folded.lanes] == ["lead", "south", "2 ended agents"]
        assert folded.threads["lane"] == [0, 2, 1, 2]


class TestLimits:
    def test_no_text_of_the_log_is_in_it(self, get, team):
        answer = get(team)
        assert SECRET.encode() not in answer.content
        assert b"rm -rf" not in answer.content

    def test_names_are_made_harmless(self, drawn, workspace):
        session = factories.make_session(workspace)
        factories.make_child(session, "\x1b[31mred\u202e</script>")
        assert drawn(session).lanes[1]["name"] == "red‹U+202E›</script>"

    def test_much_is_bucketed_and_the_cut_is_announced(self, drawn, workspace, monkeypatch):
        session = factories.make_imported(workspace, events=400, has_times=True)
        monkeypatch.setattr(picture, "MAX_ITEMS", 100)
        sent = drawn(session, "?width=60")
        assert sent.buckets == 60
        assert sum(row.count for row in sent.rows) == 401
        assert sent.notices == ["Bucketed: 401 steps in 60 columns, the most telling on top; zoom in to see each."]
        close = drawn(session, "?width=60&from=100000&to=300000")
        assert (close.buckets, close.notices) == (0, [])
        assert 20 <= len(close.rows) <= 40

    def test_of_a_very_long_log_the_last_part_is_read(self, drawn, workspace, monkeypatch):
        session = factories.make_imported(workspace, events=300, has_times=True)
        monkeypatch.setattr(reading, "MAX_EVENTS", 100)
        sent = drawn(session)
        assert len(sent.rows) == 100
        assert sent.notices == ["Only the last 100 of 301 events are drawn."]

    def test_listed_errors_end_somewhere_and_say_so(self, drawn, workspace, monkeypatch):
        monkeypatch.setattr(picture, "MAX_LISTED", 3)
        monkeypatch.setattr(picture, "MAX_ARROWS", 2)
        session = factories.make_session(workspace)
        factories.write(session, *[("session.error", {})] * 5)
        for _ in range(3):
            teams.delegate(session)
        sent = drawn(session)
        assert len(sent.errors["seq"]) == 3
        assert len(sent.arrows["sent"]) == 2
        assert sent.notices == ["1 older messages have no arrow here.", "The first 3 errors are listed; 2 are not."]

    @pytest.mark.parametrize("n", [1, 60])
    def test_it_takes_the_same_queries_however_long_the_log_is(self, get, workspace, django_assert_num_queries, n):
        session = factories.make_session(workspace, says="Go")
        for _ in range(n):
            factories.turn(session)
        factories.make_child(session)
        with django_assert_num_queries(9):
            assert get(session).status_code == 200

    @pytest.mark.parametrize(
        "accepts, packed", [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False)]
    )
    def test_it_travels_packed_when_that_is_accepted(self, get, team, accepts, packed):
        answer = get(team, **{"Accept-Encoding": accepts})
        assert (answer.headers.get("Content-Encoding") == "gzip") == packed
        body = gzip.decompress(answer.content) if packed else answer.content
        assert json.loads(body)["last_seq"] == team.last_seq
        assert "Accept-Encoding" in answer["Vary"]
        assert answer["Cache-Control"] == "private, no-store"

    @pytest.mark.parametrize(
        "bad",
        ["from=x", "to=nan", "from=inf", "to=1e99", "width=-1", "width=1.5", "after=x", "after=٣", "find=" + "9" * 40],
    )
    def test_bad_numbers_are_refused(self, get, team, bad):
        assert get(team, f"?{bad}").status_code == 400

    @pytest.mark.parametrize(
        "odd",
        ["from=5&to=1", "width=0", "width=999999", "after=99999999", "from=-1e9&to=1e9", "draw=x&fold=y", "find=0"],
    )
    def test_odd_numbers_are_drawn_somehow(self, get, team, odd):
        assert get(team, f"?{odd}").status_code == 200


class TestWhoMaySee:
    def test_nobody_of_another_workspace(self, get, elsewhere):
        assert get(factories.make_session(elsewhere)).status_code == 404

    def test_nobody_without_signing_in(self, client, team):
        assert client.get(f"/sessions/{team.public_id}/picture").status_code == 302

    def test_there_is_no_other_session(self, page):
        assert page.get("/sessions/sesn_unknown/picture").status_code == 404


class TestGrowing:
    def test_only_what_is_new_or_changed_is_sent(self, drawn, workspace):
        session = factories.make_session(workspace, says="Go")
        use = factories.write_one(session, "agent.tool_use", {"name": "bash"})
        before = drawn(session)
        assert [row.length for row in before.rows if row.kind == "tool"] == [-1]
        factories.write_one(session, "agent.tool_result", {"is_error": False}, cause=use)
        said = factories.write_one(session, "agent.message")
        news = drawn(session, f"?after={before.last_seq}")
        assert news.after == before.last_seq
        assert {(row.kind, row.seq) for row in news.rows} >= {("tool", use.seq), ("said", said.seq)}
        assert "user" not in kinds_of(news)
        assert drawn(session, f"?after={news.last_seq}").rows == []

    def test_only_new_rows_are_read(self, get, team, django_assert_num_queries):
        get(team)
        with timeline_of(team) as kept:
            before = kept.built
            seen = len(before.event_seq)
        factories.write_one(team, "agent.message")
        team.refresh_from_db()
        with django_assert_num_queries(1), timeline_of(team) as kept:
            assert kept.built is before
            assert len(kept.built.event_seq) == seen + 1

    def test_a_copy_that_comes_later_than_its_original_is_left_out_too(self, drawn, team):
        drawn(team)
        teams.ask(team, team.threads.get(agent_name="east"), {"command": "ls"})
        factories.write_one(team, "agent.message")
        sent = drawn(team)
        uses = [row for row in sent.rows if row.kind == "tool" and row.thread == 0 and row.length == -1]
        assert uses == []

    def test_too_much_at_once_is_sent_as_a_whole(self, drawn, workspace, monkeypatch):
        session = factories.make_imported(workspace, events=60)
        monkeypatch.setattr(picture, "MAX_ITEMS", 10)
        sent = drawn(session, "?after=1")
        assert sent.after is None
        assert sum(row.count for row in sent.rows) == 61

    def test_timelines_are_given_up_when_they_take_too_much_room(self, drawn, workspace, monkeypatch):
        first, second = (factories.make_imported(workspace, events=20) for _ in range(2))
        monkeypatch.setattr(reading, "KEPT_BYTES", 1)
        drawn(first)
        drawn(second)
        assert [key for key, _ in reading.kept.readings] == [second.pk]
        assert len(drawn(first).rows) == 21


class TestLanesOfThePage:
    def test_the_page_lists_the_lanes_that_the_payload_draws(self, drawn, team):
        Thread.objects.filter(session=team, agent_name="north").update(status="terminated")
        for fold in ("none", "ended"):
            view = view_of(team, lanes_of(team), by_order=False, fold=fold)
            sent = drawn(team, f"?fold={fold}")
            assert [lane.name for lane in view.lanes] == [lane["name"] for lane in sent.lanes]
            statuses = [[thread.status.kind for thread in lane.threads] for lane in view.lanes]
            assert statuses == [[agent["status"] for agent in lane["agents"]] for lane in sent.lanes]

    def test_a_lane_says_in_words_what_its_agents_did(self, page, workspace):
        session = factories.make_session(workspace, says="Go")
        factories.turn(session)
        factories.turn(session)
        factories.write_one(session, "session.error", {"error": {"type": "x", "message": "Overloaded"}})
        factories.stop(session)
        words = "2 model requests, 2 tool calls, 2 messages, 1 error"
        assert words in page.get(f"/sessions/{session.public_id}").content.decode()
        session.refresh_from_db()
        assert picture.payload(session, lanes_of(session), picture.Asked())["lanes"][0]["summary"] == words

    def test_many_agents_one_after_the_other_share_a_lane(self, drawn, workspace):
        session = factories.make_session(workspace, says="Go")
        for _ in range(6):
            child = teams.delegate(session, "north")
            teams.report(session, child, "Done.", kind="failure")
        sent = drawn(session, "?fold=none")
        (lane,) = sent.lanes[1:]
        assert [agent["name"] for agent in lane["agents"]] == ["north", "north 2", "north 3", "north 4"]
        assert (lane["unnamed"], lane["agents"][0]["status"]) == (2, "failed")


def test_a_hundred_thousand_events_are_read_in_about_a_second(workspace):
    from bench import logs

    session = factories.make_session(workspace, says="Go")
    connection.ensure_connection()
    logs.write_log(connection.connection, session.pk, events=100_000, helpers=25)
    session.refresh_from_db()
    began = time.perf_counter()
    with timeline_of(session) as read:
        took = time.perf_counter() - began
        assert len(read.built.event_seq) > 60_000
        assert read.built.size_bytes < 20_000_000
    assert took < 4.0  # measured 1 s on two quiet cores; tests share them


def test_times_are_milliseconds_since_the_first_event(drawn, workspace):
    session = factories.make_session(workspace, says="Go")
    session.events.update(created_at=F("created_at") - timedelta(seconds=90))
    factories.write_one(session, "agent.message")
    sent = drawn(session)
    assert sent.extent[0] == 0
    assert 89_000 < sent.extent[1] < 120_000
