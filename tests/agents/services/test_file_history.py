"""The history of a session's files: recorded once, in order, whoever tells it, and read with few queries."""

from __future__ import annotations

import base64
import hashlib
import threading
from itertools import count
from typing import Any

import pytest
from django.db import connection

from agents.ids import EXEC, new_id
from agents.models import Blob, FileVersion, SeenFile, Session, Thread, ToolCall
from agents.sandbox.client import FileBase, FileChange
from agents.services import file_history
from agents.services.file_differences import MAX_LINES, difference_between
from agents.services.sessions import delete_session
from tests.factories import write_one
from tests.runs import start_session

PATH = "/workspace/plan.md"
_moments = count(1_790_000_000_000_000)


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture
def session(workspace) -> Session:
    return start_session(workspace, None)


@pytest.fixture
def second(session) -> Thread:
    primary = session.primary_thread
    return Thread.objects.create(
        session=session, parent=primary, agent_name="Second", agent_snapshot=primary.agent_snapshot, ordinal=1
    )


def changed(thread: Thread | None, content: str | None, *, before: str | None = None, **values: Any) -> FileChange:
    """A change as the sandbox tells it; `content` None removes the file."""
    data = (content or "").encode()
    given = {
        "path": PATH,
        "change": "write",
        "base": None if before is None else sha(before),
        "state": "" if content is None else sha(content),
        "size": len(data),
        "thread": thread.public_id if thread else "",
        "exec_id": "",
        "at_us": next(_moments),
        "data": None if content is None else base64.b64encode(data).decode(),
    }
    return FileChange(**{**given, **values})


def record(thread: Thread, *changes: FileChange, **seen: Any) -> None:
    file_history.record(thread.session_id, thread.pk, changes, **seen)


def states(session: Session, path: str = PATH) -> list[tuple[int, str]]:
    return [(row.number, row.sha256) for row in file_history.history(session, path)]


def make_call(thread: Thread) -> ToolCall:
    use = write_one(thread.session, "agent.tool_use", {"name": "write", "input": {}}, thread=thread)
    return ToolCall.objects.create(
        session=thread.session,
        thread=thread,
        use_event=use,
        name="write",
        state="running",
        exec_id=new_id(EXEC),
        input_sha256="0" * 64,
    )


# Writing


def test_a_version_names_thread_call_event_and_base(session, second):
    call = make_call(second)
    record(session.primary_thread, changed(session.primary_thread, "one"))
    record(second, changed(second, "two", exec_id=call.exec_id))

    first, last = file_history.history(session, PATH)
    assert (last.number, last.thread, last.call, last.call.use_event) == (2, second, call, call.use_event)
    assert (first.base_sha256, last.base_sha256) == ("", first.sha256)
    assert first.is_kept and file_history.content(first.sha256) == b"one"


def test_what_was_recorded_is_not_recorded_again(session, second):
    first, other = changed(session.primary_thread, "one"), changed(second, "two", before="one")
    back = changed(second, "one", before="two")
    record(session.primary_thread, first)
    record(second, first, other, back)
    record(session.primary_thread, first, other)
    record(second, other, back)

    assert states(session) == [(1, sha("one")), (2, sha("two")), (3, sha("one"))]


def test_a_state_that_is_on_record_is_no_news(session):
    record(session.primary_thread, changed(session.primary_thread, "one"))
    record(session.primary_thread, changed(None, "one", change="found"))
    record(session.primary_thread, changed(None, None, change="found", path="/workspace/never-was.md"))

    assert states(session) == [(1, sha("one"))]
    assert states(session, "/workspace/never-was.md") == []


def test_a_removal_and_a_new_beginning_are_versions(session):
    thread = session.primary_thread
    record(thread, changed(thread, "one"), changed(thread, None, before="one"), changed(thread, "two"))

    assert states(session) == [(1, sha("one")), (2, ""), (3, sha("two"))]
    assert file_history.history(session, PATH)[2].base_sha256 == ""


@pytest.mark.parametrize("data", [None, "not base64!", base64.b64encode(b"something else").decode()])
def test_bytes_that_are_not_what_they_are_said_to_be_are_not_kept(session, data):
    record(session.primary_thread, changed(session.primary_thread, "one", data=data))

    (version,) = file_history.history(session, PATH)
    assert not version.is_kept and version.sha256 == sha("one")
    assert file_history.content(version.sha256) is None
    assert file_history.difference(version) is None


@pytest.mark.parametrize("path", ["/workspace/" + "x" * 1_000, "/workspace/a\0b", "/workspace/\ud800", ""])
def test_a_path_that_cannot_be_stored_is_left_out(session, path):
    record(session.primary_thread, changed(None, "one", path=path), path=path, seen=sha("one"))

    assert not FileVersion.objects.exists() and not SeenFile.objects.exists()
    assert file_history.base_of(session.pk, session.primary_thread.pk, path) is None


def test_threads_and_calls_of_other_sessions_are_not_named(workspace, session):
    stranger = start_session(workspace, None).primary_thread
    call = make_call(stranger)
    record(session.primary_thread, changed(stranger, "one", exec_id=call.exec_id))

    (version,) = file_history.history(session, PATH)
    assert version.thread is None and version.call is None


def test_a_deleted_session_gets_no_history(session):
    thread = session.primary_thread
    change = changed(thread, "one")
    record(thread, change)
    delete_session(session)

    file_history.record(session.pk, thread.pk, [change])
    assert not FileVersion.objects.exists()


def test_what_a_thread_has_seen_moves_with_its_own_changes_only(session, second):
    primary = session.primary_thread
    record(primary, changed(primary, "one"), path=PATH, seen=sha("one"))
    record(second, path=PATH, seen=sha("one"))
    record(primary, changed(primary, "two", change="command"))

    seen = dict(SeenFile.objects.values_list("thread_id", "sha256"))
    assert seen == {primary.pk: sha("two"), second.pk: sha("one")}
    record(second, changed(primary, "one", change="command"), path=PATH, seen=sha("one"))
    assert SeenFile.objects.count() == 2


def test_many_threads_record_at_once_and_leave_no_gap(committed_db, workspace):
    session = start_session(workspace, None)
    primary = session.primary_thread
    threads = [
        Thread.objects.create(
            session=session, parent=primary, agent_name=f"T{n}", agent_snapshot=primary.agent_snapshot, ordinal=n
        )
        for n in range(1, 7)
    ]
    everything = [changed(thread, f"{thread.agent_name} {n}") for n in range(4) for thread in threads]
    problems: list[BaseException] = []

    def tell(thread: Thread) -> None:
        try:
            for upto in range(len(threads), len(everything) + 1, len(threads)):
                record(thread, *everything[:upto], path=PATH, seen=everything[upto - 1].state)
        except BaseException as problem:  # noqa: BLE001 (handed over to the test)
            problems.append(problem)
        finally:
            connection.close()

    workers = [threading.Thread(target=tell, args=(thread,)) for thread in threads]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert problems == []
    assert states(session) == [(number, change.state) for number, change in enumerate(everything, start=1)]


# What is on record


def test_while_there_is_one_thread_nothing_is_checked(session):
    primary = session.primary_thread
    record(primary, changed(primary, "one"), path=PATH, seen=sha("one"))

    assert file_history.base_of(session.pk, primary.pk, PATH) is None


def test_what_is_on_record_is_the_threads_view_and_the_latest_state(session, second):
    primary = session.primary_thread
    record(primary, changed(primary, "one"), path=PATH, seen=sha("one"))
    record(second, changed(second, "two"), path=PATH, seen=sha("two"))

    mine = file_history.base_of(session.pk, primary.pk, PATH)
    assert mine == FileBase(PATH, seen=sha("one"), state=sha("two"), writer=second.public_id)
    assert file_history.base_of(session.pk, second.pk, "/workspace/new.md") == FileBase("/workspace/new.md")


# Reading


@pytest.mark.parametrize("files", [2, 40])
def test_the_files_of_a_session_are_listed_with_one_query(session, second, files, django_assert_num_queries):
    for number in range(files):
        for thread in (session.primary_thread, second):
            call = make_call(thread)
            record(
                thread,
                changed(thread, f"{thread.agent_name} {number}", path=f"/workspace/{number:02}", exec_id=call.exec_id),
            )
    with django_assert_num_queries(1):
        listed = file_history.paths(session)
        told = [
            (file.path, file.versions, file.last.thread.agent_name, file.last.call.use_event.seq) for file in listed
        ]
    assert len(told) == files and told[0][:3] == ("/workspace/00", 2, "Second")
    with django_assert_num_queries(1):
        assert all(row.thread and row.call.use_event.type for row in file_history.history(session, "/workspace/00"))


def test_the_difference_of_a_version_is_to_the_state_it_was_made_from(session, second):
    record(session.primary_thread, changed(session.primary_thread, "one\ntwo\n"))
    record(second, changed(second, "one\n2\n", before="one\ntwo\n"), changed(second, None, before="one\n2\n"))

    first, edited, removed = file_history.history(session, PATH)
    assert file_history.difference(first).text == "@@ -0,0 +1,2 @@\n+one\n+two"
    assert file_history.difference(edited).text == "@@ -1,2 +1,2 @@\n one\n-two\n+2"
    assert file_history.difference(removed).text == "@@ -1,2 +0,0 @@\n-one\n-2"
    Blob.objects.filter(sha256=edited.sha256).delete()
    assert file_history.difference(edited) is None


# Differences


def applied(before: str, difference: str) -> str:
    """The text after a difference, made by following it line by line."""
    marked = difference.replace("\n\\ No newline at end of file", "\0")
    old, new, at = [f"{line}\n" for line in before.split("\n")], [], 0
    old[-1] = old[-1].removesuffix("\n")
    for line in marked.split("\n") if marked else []:
        if line.startswith("@@"):
            start, _, length = line.split()[1].removeprefix("-").partition(",")
            begin = int(start) - (length != "0")
            new += old[at:begin]
            at = begin
            continue
        text = line[1:-1] if line.endswith("\0") else f"{line[1:]}\n"
        if line[0] in " -":
            assert old[at] == text
            at += 1
        if line[0] in " +":
            new.append(text)
    return "".join(new + old[at:])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("", "a"),
        ("a\n", "a"),
        ("a", ""),
        ("a\nb\nc\n", "a\nB\nc\n"),
        ("same\n" * 50 + "x\n" + "same\n" * 50 + "y\n", "same\n" * 49 + "x\n" + "same\n" * 51 + "z"),
        ("".join(f"{n}\n" for n in range(100)), "".join(f"{n}\n" for n in range(100) if n % 30)),
        ("\u2028one\x0bline\r\n", "\u2028one\x0bother\r\n"),
    ],
)
def test_a_difference_leads_from_one_text_to_the_other(before, after):
    difference = difference_between(before.encode(), after.encode())

    assert difference.complete
    assert applied(before, difference.text) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("".join(f"{n}\n" for n in range(5_000)), "".join(f"{-n}\n" for n in range(5_000))),
        ("x\n" * 100_000, "y\n" + "x\n" * 50_000 + "y\n"),
        ("x" * 200_000, "y" * 200_000),
        ("ab\n" * 300 + "q\n", "r\n" + "ba\nab\n" * 150),
    ],
)
def test_a_difference_is_bounded(before, after):
    difference = difference_between(before.encode(), after.encode())

    assert not difference.complete
    assert len(difference.text) <= 20_000 and difference.text.count("\n") < MAX_LINES


@pytest.mark.parametrize("data", [b"\xff\xfe", b"nul\0byte"])
def test_what_is_no_text_has_no_difference(data):
    assert difference_between(data, b"text") is None
    assert difference_between(b"text", data) is None
