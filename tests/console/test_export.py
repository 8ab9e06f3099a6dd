"""Taking a session away: complete, valid line by line, in little memory, and only by those who may see it."""

from __future__ import annotations

import json
import tracemalloc
from io import StringIO
from itertools import islice

import httpx2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from agents.models import Event, Session
from agents.services import annotations, export
from agents.services.export import export_lines
from console.views.export import next_chunk
from tests import factories
from tests.console.hostile import PAYLOADS, hostile_events
from tests.live import committed_db, live_url, server  # noqa: F401


def lines_of(session: Session) -> list[dict]:
    return [json.loads(line) for line in export_lines(session)]


def parts(session: Session) -> tuple[dict, list[dict], list[dict], dict]:
    head, *middle, end = lines_of(session)
    events = [line for line in middle if "daybreak" in line]
    return head, events, middle[len(events) :], end


def check_complete(session: Session) -> None:
    """Every event of the log, in order, as the API gives it and with what is known beside it."""
    head, events, marks, end = parts(session)
    rows = list(Event.objects.filter(session=session).order_by("seq").select_related("thread"))
    assert [line["id"] for line in events] == [row.public_id for row in rows]
    assert [line["daybreak"]["seq"] for line in events] == list(range(1, len(rows) + 1))
    for line, row in zip(events, rows, strict=True):
        beside = line["daybreak"]
        assert line["type"] == row.type
        assert {name: line[name] for name in row.data} == row.data
        assert (beside["private"] or {}) == row.private_data
        assert (beside["thread_id"], beside["cause_seq"]) == (row.thread.public_id, row.cause_seq)
    assert {line["daybreak"]["thread_id"] for line in events} <= {thread["id"] for thread in head["threads"]}
    assert end == {"type": "daybreak.end", "events": len(rows), "annotations": len(marks)}
    assert head["session"]["id"] == session.public_id
    assert head["session"]["last_seq"] == len(rows)


@pytest.fixture
def session(workspace):
    made = factories.make_session(workspace, title="Take me along")
    factories.turn(made)
    child = factories.make_child(made)
    sent = factories.write_one(made, "agent.thread_message_sent", {"content": factories.text("go")})
    factories.write_one(made, "agent.thread_message_received", {"content": "go"}, thread=child, cause=sent)
    factories.write_one(made, "daybreak.warning", {"message": "ours only"}, visible=False)
    return factories.stop(made)


class TestLines:
    def test_all_of_a_session(self, session, ana):
        event = session.events.get(type="agent.message")
        annotations.add_annotation(event, by=ana, name="ana", kind="failure", category="Wrong", text="No\nsuch file")
        check_complete(session)
        head, events, (mark,), _ = parts(session)
        assert head["format"] == "daybreak.session.v1"
        assert (head["agent"]["name"], len(head["threads"])) == ("Scout", 2)
        assert head["threads"][1]["parent_thread_id"] == head["threads"][0]["id"]
        assert (mark["event_id"], mark["kind"], mark["text"], mark["author"]) == (
            event.public_id,
            "failure",
            "No\nsuch file",
            "ana",
        )
        assert any(not line["daybreak"]["visible"] for line in events)
        assert any((line["daybreak"]["private"] or {}).get("thinking") for line in events)

    def test_an_imported_session(self, workspace):
        session = factories.make_imported(workspace, has_times=True, failure=2)
        check_complete(session)
        head, events, (mark,), _ = parts(session)
        assert (head["session"]["imported_format"], head["session"]["has_times"]) == ("chat", True)
        assert all(line["daybreak"]["external_id"] for line in events)
        assert mark["written_here"] is False

    def test_a_session_in_which_nothing_has_happened(self, workspace):
        session = factories.make_session(workspace)
        head, *_, end = lines_of(session)
        assert head["session"]["title"] == "A session"
        assert end["events"] == session.last_seq

    @pytest.mark.parametrize("payload", [*PAYLOADS[::3], "\u2028 and \u2029 and \x85", "line\r\nend\x0b\x0c"])
    def test_hostile_text_stays_on_its_line(self, workspace, payload):
        session = factories.make_session(workspace, title=payload)
        hostile_events(session, payload)
        text = "".join(export_lines(session))
        assert text.isascii()
        assert len(text.splitlines()) == text.count("\n")
        check_complete(session)

    def test_a_payload_that_is_no_object_is_given_as_it_is(self, session):
        event = session.events.get(type="agent.message")
        Event.objects.filter(pk=event.pk).update(payload="[" * 100_000)
        _, events, _, _ = parts(session)
        (line,) = (line for line in events if line["id"] == event.public_id)
        assert line["daybreak"]["payload"] == "[" * 100_000

    def test_batches_leave_no_seam(self, session, monkeypatch):
        monkeypatch.setattr(export, "BATCH", 2)
        check_complete(session)
        monkeypatch.setattr(export, "BATCH_BYTES", 1)
        check_complete(session)

    def test_what_is_written_meanwhile_is_left_for_the_next_time(self, session):
        lines = export_lines(session)
        begun = list(islice(lines, 2))
        last = Session.objects.get(pk=session.pk).last_seq
        factories.write_one(session, "agent.message", {"content": "later"})
        rest = [json.loads(line) for line in lines]
        assert rest[-1]["events"] == last
        assert len(begun) + len(rest) == last + 2

    def test_memory_does_not_grow_with_the_session(self, workspace):
        session = factories.make_session(workspace)
        (event,) = factories.write(session, ("agent.message", {"content": "x" * 1_000}))
        count = 20_000
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO agents_event (public_id, session_id, seq, thread_id, type, payload, position, visible,"
                " created_at, processed_at) SELECT 'sevt_x' || n, session_id, seq + n, thread_id, type, payload,"
                " position + n, true, created_at, created_at FROM agents_event, generate_series(1, %s) n WHERE id = %s",
                [count, event.pk],
            )
        Session.objects.filter(pk=session.pk).update(last_seq=event.seq + count)
        lines = export_lines(session)
        next(lines)
        tracemalloc.start()
        size = total = 0
        for line in lines:
            size += len(line)
            total += 1
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == count + event.seq + 1
        assert size > 25_000_000
        assert peak < 8_000_000


class TestPage:
    def test_it_comes_as_a_file(self, page, session):
        answer = page.get(f"/sessions/{session.public_id}/export")
        assert answer.status_code == 200
        assert answer["Content-Disposition"] == f'attachment; filename="{session.public_id}.jsonl"'
        assert answer["Content-Type"].startswith("application/jsonl")
        assert answer.streaming
        assert "no-store" in answer["Cache-Control"]

    def test_chunks_are_the_lines(self, session, monkeypatch):
        monkeypatch.setattr("console.views.export.CHUNK", 700)
        lines, chunks = export_lines(session), []
        while chunk := next_chunk(lines):
            chunks.append(chunk)
        assert len(chunks) > 3
        assert b"".join(chunks).decode() == "".join(export_lines(session))

    def test_strangers_find_nothing(self, page, elsewhere):
        theirs = factories.make_session(elsewhere)
        assert page.get(f"/sessions/{theirs.public_id}/export").status_code == 404
        assert Client().get(f"/sessions/{theirs.public_id}/export")["Location"].startswith("/sign-in")
        assert page.post(f"/sessions/{theirs.public_id}/export").status_code == 405

    def test_it_streams_from_a_real_server(self, committed_db, server, quiet):  # noqa: F811
        workspace = factories.make_workspace()
        session = factories.make_session(workspace)
        for _ in range(3):
            factories.turn(session)
        browser = Client()
        browser.force_login(factories.make_member(workspace, "viewer"))
        cookies = {"sessionid": browser.cookies["sessionid"].value}
        answer = httpx2.get(f"{server}/sessions/{session.public_id}/export", cookies=cookies)
        assert answer.status_code == 200
        assert answer.text == "".join(export_lines(session))


class TestCommand:
    def test_to_a_file_of_its_own_name(self, session, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        call_command("export_session", session.public_id, stderr=StringIO())
        written = tmp_path / f"{session.public_id}.jsonl"
        assert written.read_text(encoding="utf-8") == "".join(export_lines(session))
        assert list(tmp_path.iterdir()) == [written]

    def test_to_standard_output(self, session):
        out = StringIO()
        call_command("export_session", session.public_id, "--output", "-", stdout=out)
        assert out.getvalue() == "".join(export_lines(session))

    def test_what_goes_wrong_is_said_in_a_sentence(self, session, tmp_path):
        with pytest.raises(CommandError, match="There is no session"):
            call_command("export_session", "sesn_none")
        with pytest.raises(CommandError, match="Cannot write"):
            call_command("export_session", session.public_id, "--output", str(tmp_path / "no" / "such"))

    def test_half_a_file_is_not_left_behind(self, session, tmp_path, monkeypatch):
        def breaks(found):
            yield "{}\n"
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("console.management.commands.export_session.export_lines", breaks)
        with pytest.raises(CommandError, match="No space left"):
            call_command("export_session", session.public_id, "--output", str(tmp_path / "x.jsonl"))
        assert list(tmp_path.iterdir()) == []
