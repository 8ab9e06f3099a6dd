"""What the tabs say: figures that agree with the log, every file version with its maker, every list in pages."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import FileVersion, Session, ToolCall
from agents.services import blobs
from agents.services.log import open_log
from console.story.inspector import events, files, tools
from console.story.inspector import session as session_tab
from console.story.inspector.asked import Asked
from console.story.rows import lanes_of
from tests import factories
from tests.console import teams
from tests.console.html import Page

HTMX = {"HX-Request": "true"}


def path(session, tab, rest=""):
    return f"/sessions/{session.public_id}/inspect/{tab}{rest}"


def asked(session, event=None, **parameters):
    return Asked(session, lanes_of(session), event, parameters)


@pytest.fixture
def session(workspace):
    return factories.make_session(workspace, title="Triage", says="Find the cause.")


def called(session, name="bash", *, seconds=1.0, thread=None, result="ok", given=None, **fields):
    """A finished call with its result."""
    use = factories.write_one(session, "agent.tool_use", {"name": name, "input": given or {}}, thread=thread)
    content = {"tool_use_id": use.public_id, "content": factories.text(result), "is_error": fields.get("is_error")}
    result_event = factories.write_one(session, "agent.tool_result", content, cause=use, thread=thread)
    start = timezone.now()
    return ToolCall.objects.create(
        session=session,
        thread=thread or session.primary_thread,
        use_event=use,
        result_event=result_event,
        name=name,
        state="done",
        exec_id=use.public_id,
        input_sha256="0" * 64,
        started_at=start,
        ended_at=start + timedelta(seconds=seconds),
        **fields,
    )


class TestTools:
    def test_calls_failures_refusals_and_times_by_tool_and_agent(self, session):
        north = teams.delegate(session)
        for seconds in (1.0, 2.0, 9.0):
            called(session, seconds=seconds)
        slow = called(session, seconds=60.0, thread=north)
        failed = called(session, is_error=True, seconds=3.0)
        called(session, "grep", permission="ask", decision="deny", is_error=True)
        body = tools.read(asked(session))
        by_name = {tool.use.name: tool for tool in body.tools}
        bash = by_name["bash"]
        assert (bash.use.calls, bash.use.failed, bash.use.denied) == (5, 1, 0)
        assert (bash.use.median_s, bash.use.longest_s, bash.use.longest_id) == (3.0, 60.0, slow.use_event.public_id)
        assert [failure.event_id for failure in bash.failures] == [failed.result_event.public_id]
        assert {use.lane.label: use.calls for use in bash.agents} == {"Scout": 4, "north": 1}
        assert by_name["grep"].use.denied == 1
        assert by_name["spawn_agent"].is_team
        assert body.calls == 7 and body.failed == 2

    def test_an_imported_log_is_counted_from_its_events(self, workspace, session):
        for error in (False, True):
            use = factories.write_one(session, "agent.tool_use", {"name": "Read", "input": {}})
            factories.write_one(session, "agent.tool_result", {"is_error": error}, cause=use)
        factories.write_one(session, "agent.mcp_tool_use", {"name": "search", "input": {}})
        Session.objects.filter(pk=session.pk).update(imported_format="chat", external_id="x")
        session.refresh_from_db()
        body = tools.read(asked(session))
        found = {tool.use.name: (tool.use.calls, tool.use.failed, tool.use.open) for tool in body.tools}
        assert found == {"Read": (2, 1, 0), "search": (1, 0, 1)}
        assert body.tools[0].use.median_s is not None and len(body.tools[0].failures) == 1

    def test_failures_are_links_and_a_cut_is_said(self, page, session):
        for _ in range(8):
            called(session, is_error=True)
        shown = Page(page.get(path(session, "tools")))
        assert "8 failed" in shown.text and "and 3 more" in shown.text


class TestEvents:
    def test_the_wires_events_in_the_servers_order(self, session):
        factories.turn(session)
        factories.write_one(session, "daybreak.event_processed", {"event_id": "x"}, visible=False)
        body = events.read(asked(session))
        visible = session.events.filter(visible=True).order_by("seq")
        assert [row.seq for row in body.rows] == list(visible.values_list("seq", flat=True))
        assert sum(count.count for count in body.types) == body.total == visible.count()

    def test_by_type_and_by_agent(self, session):
        north = teams.delegate(session)
        factories.write_one(session, "agent.message", {"content": factories.text("Hi")}, thread=north)
        factories.write_one(session, "agent.message", {"content": factories.text("Ho")})
        assert events.read(asked(session, type="agent.message")).total == 2
        body = events.read(asked(session, type="agent.message", thread=north.public_id))
        assert body.total == 1 and [row.lane.label for row in body.rows] == ["north"]
        assert events.read(asked(session, type="no.such")).rows == ()

    def test_pages_meet_every_event_once(self, session):
        said = [("agent.message", {"content": factories.text(f"line {n}")}) for n in range(130)]
        factories.write(session, *said)
        met, after = [], 0
        while True:
            body = events.read(asked(session, after=str(after)))
            met += [row.seq for row in body.rows]
            if not body.after:
                break
            after = body.after
        assert met == list(session.events.filter(visible=True).order_by("seq").values_list("seq", flat=True))
        back = events.read(asked(session, before="101"))
        assert [row.seq for row in back.rows] == [seq for seq in met if 51 <= seq <= 100]

    def test_it_opens_where_something_is_selected(self, session):
        factories.write(session, *[("agent.message", {"content": []}) for _ in range(130)])
        event = session.events.get(seq=100)
        body = events.read(asked(session, event))
        assert [row.seq for row in body.rows if row.is_chosen] == [100] and body.before and not body.rows[0].seq == 1

    def test_one_is_opened_on_demand(self, page, session):
        event = session.events.filter(visible=True).first()
        shown = Page(page.get(path(session, "events", f"?open={event.public_id}"), headers=HTMX))
        assert f'"id": "{event.public_id}"' in shown.text and shown.find_all("copy-text")
        hidden = factories.write_one(session, "daybreak.tool_use", {"name": "x"}, visible=False)
        assert page.get(path(session, "events", f"?open={hidden.public_id}")).status_code == 404

    def test_an_event_of_a_million_characters_is_cut_and_says_so(self, page, session):
        event = factories.write_one(session, "agent.message", {"content": factories.text("<b>" * 400_000)})
        answer = page.get(path(session, "events", f"?open={event.public_id}"), headers=HTMX)
        assert len(answer.content) < 1_000_000 and "more characters are only in the download" in Page(answer).text

    def test_addresses_that_make_no_sense_show_a_page(self, page, session):
        for rest in ("?after=x", "?before=-1", "?after=" + "9" * 40, "?thread=none", "?type=" + "x" * 500):
            assert page.get(path(session, "events", rest)).status_code == 200


class TestSession:
    def test_the_cost_adds_up_to_the_end(self, session):
        for number in range(1, 6):
            usage = {"list_cost_nanousd": 1_000_000 * number, "input_tokens": 100, "output_tokens": 10}
            factories.write_one(session, "span.model_request_end", {}, private={"usage": usage})
        chart = session_tab.cost_chart(session)
        assert chart.is_priced and not chart.by_order
        assert chart.cells[-1].total == 15_000_000 == sum(cell.cost for cell in chart.cells)
        assert sum(cell.requests for cell in chart.cells) == 5
        assert sum(cell.read for cell in chart.cells) == 500
        heights = [cell.y for cell in chart.cells]
        assert heights == sorted(heights, reverse=True) and chart.cells[-1].x == session_tab.WIDTH

    def test_without_prices_tokens_are_drawn_and_without_times_the_order(self, page, session):
        usage = {"list_cost_nanousd": 0, "input_tokens": 100, "output_tokens": 10}
        factories.write_one(session, "span.model_request_end", {}, private={"usage": usage})
        Session.objects.filter(pk=session.pk).update(has_times=False)
        session.refresh_from_db()
        chart = session_tab.cost_chart(session)
        assert chart.by_order and not chart.is_priced
        assert "Tokens over its requests, in order" in Page(page.get(path(session, "session"))).text

    def test_no_request_no_chart(self, page, session):
        assert session_tab.cost_chart(session) is None
        shown = Page(page.get(path(session, "session")))
        assert not shown.find_all("svg", class_="cost-chart")
        for part in ("Delivered", "Read it with the SDK", "Environment", ", version 1"):
            assert part in shown.text

    def test_budget_spent_reserved_and_cache(self, page, session):
        Session.objects.filter(pk=session.pk).update(
            budget_cents=250, list_cost_nanousd=1_200_000_000, input_tokens=100, cache_read_input_tokens=300
        )
        session.threads.update(reserved_nanousd=300_000_000)
        text = Page(page.get(path(session, "session"))).text
        assert "$1.20 at list price" in text and "$2.50; $0.30 of it is reserved" in text
        assert "75 % of it from the cache" in text

    def test_gradings_are_listed(self, page, session):
        factories.write_one(session, "user.define_outcome", {"description": "A table"})
        factories.write_one(
            session, "span.outcome_evaluation_end", {"result": "needs_revision", "explanation": "No prices"}
        )
        text = Page(page.get(path(session, "session"))).text
        assert "set an outcome A table" in text and "asked for another revision No prices" in text


class TestFiles:
    @pytest.fixture
    def versions(self, session):
        """A file that the lead wrote and a helper changed after it was asked to."""
        child = teams.delegate(session, "north", "Fix the <b>table</b>.")
        received = session.events.get(type="agent.thread_message_received")
        first = called(session, "write", given={"file_path": "/workspace/a b.md"})
        start = factories.write_one(session, "span.model_request_start", thread=child, cause=received)
        with open_log(session.pk) as log:
            thread = log.find_thread(child.public_id)
            use = log.append(thread, "agent.tool_use", {"name": "edit", "input": {}}, cause=start)
        second = ToolCall.objects.create(
            session=session,
            thread=child,
            use_event=use,
            name="edit",
            state="done",
            exec_id="e2",
            input_sha256="0" * 64,
        )
        before = ""
        for number, (call, data) in enumerate([(first, b"one\ntwo\n"), (second, b"one\nthree\n")], start=1):
            state = blobs.store_bytes(data)
            FileVersion.objects.create(
                session=session,
                path="/workspace/a b.md",
                number=number,
                change=call.name,
                sha256=state,
                base_sha256=before,
                size_bytes=len(data),
                is_kept=True,
                thread=call.thread,
                call=call,
            )
            before = state
        return session, first, second

    def test_each_path_with_its_last_change(self, versions):
        session, _, second = versions
        (row,) = files.read(asked(session)).paths
        assert (row.path, row.versions, row.writers, row.last_lane.thread.pk) == (
            "/workspace/a b.md",
            2,
            2,
            second.thread_id,
        )

    def test_each_version_with_its_maker_its_event_and_what_it_was_asked(self, versions):
        session, first, second = versions
        rows = files.read(asked(session, path="/workspace/a b.md")).versions
        assert [row.event_id for row in rows] == [first.use_event.public_id, second.use_event.public_id]
        assert rows[0].asked is None  # its cause is not in this log
        assert rows[1].asked.type == "agent.thread_message_sent" and rows[1].lane.label == "north"
        assert rows[1].asked.words.text == "Fix the <b>table</b>."

    def test_the_difference_and_the_bytes(self, page, versions):
        session, *_ = versions
        query = "?path=%2Fworkspace%2Fa%20b.md&version=2"
        shown = Page(page.get(path(session, "files", query), headers=HTMX))
        assert "-two" in shown.text and "+three" in shown.text
        answer = page.get(f"/sessions/{session.public_id}/file-version{query}")
        assert answer.content == b"one\nthree\n"
        assert answer["Content-Disposition"] == 'attachment; filename="a b.md"'
        assert "sandbox" in answer["Content-Security-Policy"] and answer["X-Content-Type-Options"] == "nosniff"
        links = Page(page.get(path(session, "files", "?path=%2Fworkspace%2Fa%20b.md"))).hrefs()
        assert f"/sessions/{session.public_id}/file-version{query}" in links

    @pytest.mark.parametrize("query", ["", "?path=x", "?path=x&version=1", "?path=x&version=" + "9" * 18])
    def test_a_version_that_is_not_there_is_not_found(self, page, versions, query):
        session, *_ = versions
        assert page.get(f"/sessions/{session.public_id}/file-version{query}").status_code == 404

    def test_bytes_that_were_not_kept_are_not_given(self, page, versions):
        session, *_ = versions
        FileVersion.objects.filter(session=session).update(is_kept=False, sha256=hashlib.sha256(b"?").hexdigest())
        query = "?path=%2Fworkspace%2Fa%20b.md&version=2"
        assert page.get(f"/sessions/{session.public_id}/file-version{query}").status_code == 404
        assert "The difference is not known" in Page(page.get(path(session, "files", query), headers=HTMX)).text

    def test_a_refused_change_is_a_conflict(self, page, versions):
        session, *_ = versions
        told = (
            'edit: /workspace/a b.md was changed by agent "north" (sthr_1) since you saw it. '
            "Nothing was changed by this call.\nWhat has changed since you saw it:\n-a"
        )
        call = called(session, "edit", is_error=True, result=told)
        called(session, "edit", is_error=True, result="edit: /workspace/a b.md: the text was not found")
        assert files.read(asked(session)).paths[0].conflicts == 1
        (conflict,) = files.read(asked(session, path="/workspace/a b.md")).conflicts
        assert conflict.event_id == call.result_event.public_id
        assert "1 refused change" in Page(page.get(path(session, "files"))).text

    def test_many_files_and_versions_come_in_pages(self, session):
        FileVersion.objects.bulk_create(
            FileVersion(session=session, path=f"/workspace/{number:03}", number=1, change="command", sha256="a" * 64)
            for number in range(120)
        )
        FileVersion.objects.bulk_create(
            FileVersion(session=session, path="/workspace/many", number=number, change="found", sha256="")
            for number in range(1, 46)
        )
        met, after = [], ""
        while True:
            body = files.read(asked(session, after_path=after))
            met += [row.path for row in body.paths]
            after = body.next_path
            if not after:
                break
        assert len(met) == len(set(met)) == 121 == body.total_paths
        numbers, after_version = [], 0
        while True:
            body = files.read(asked(session, path="/workspace/many", after_version=str(after_version)))
            numbers += [row.number for row in body.versions]
            after_version = body.next_version
            if not after_version:
                break
        assert numbers == list(range(1, 46)) and body.total_versions == 45


def test_memory_says_what_it_will_hold(page, session):
    text = Page(page.get(path(session, "memory"))).text
    assert "No memory store was attached to this session." in text
    assert "lists the stores, which memories each agent read and wrote" in text
