"""Files that are broken, hostile or merely odd: never an exception, never a silent loss, always storable events."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.ingestion import detect
from agents.ingestion.model import CHAT, CLAUDE_CODE, FORMATS, ImportReport
from agents.ingestion.ordering import merge_threads
from tests.agents.ingestion.claude_files import SESSION, assistant, read_all, text, tool_result, tool_use, user, write
from tests.api import strict

quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    "type uuid parentUuid sessionId agentId isSidechain isMeta timestamp message content toolUseResult role id name "
    "input text prompt usage model attachment subtype error history messages traj tool_calls function arguments "
    "mistake_step mistake_agent tool_use_id source media_type data system_prompt trial task_id tool_call_id"
).split()
WORDS = (
    "user assistant system tool attachment text image document tool_use tool_result thinking summary progress main "
    "queued_command compact_boundary api_error Task Agent SendMessage base64 url u1 u2 a1 2026-01-01T00:00:00Z 3 human"
).split()
# JSON made of the words these formats are made of: it gets much further into the converters than arbitrary JSON.
near_misses = st.recursive(
    st.sampled_from(WORDS) | json_values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=7),
    max_leaves=25,
)


def near_line(fields):
    return st.dictionaries(st.sampled_from(KEYS), near_misses, max_size=8).map(lambda odd: {**fields, **odd})


lines = st.one_of(
    json_values.map(json.dumps),
    near_misses.map(json.dumps),
    near_line(user("u1", [text("hello")])).map(json.dumps),
    near_line(assistant("a1", tool_use("t1", "Task", prompt="hello"), parent="u1")).map(json.dumps),
    near_line(user("u2", [tool_result("t1", [text("done")])], parent="a1")).map(json.dumps),
    st.text(max_size=30).map(lambda words: words.replace("\n", " ")),
)


def check_storable(session):
    """Everything is strictly on the wire, refers to what is there, and fits PostgreSQL."""
    ids = [event.external_id for event in session.events]
    keys = [thread.key for thread in session.threads]
    assert len(set(ids)) == len(ids)
    assert len(set(keys)) == len(keys)
    assert session.threads[0].parent is None
    created = set()
    for thread in session.threads:
        assert thread.parent is None or thread.parent in keys
        created.add(thread.key)
    for event in session.events:
        assert event.thread in created
        assert {value for name, value in event.payload.items() if name.endswith("session_thread_id")} <= created
        assert len(event.external_id) <= 300
        if not event.visible:
            assert event.type.startswith("daybreak.")
            continue
        wire = {**event.payload, "id": "sevt_1", "type": event.type, "processed_at": "2026-01-01T00:00:00Z"}
        strict.check(strict.EVENTS, wire)
    stored = json.dumps(
        [session.external_id, session.title, session.metadata, session.notes]
        + [[e.external_id, e.payload, e.private, e.cause] for e in session.events]
        + [[t.key, t.agent_name, t.model] for t in session.threads]
        + [[a.text, a.category] for a in session.annotations],
        ensure_ascii=False,
        allow_nan=False,
    )
    assert "\\u0000" not in stored
    stored.encode()


@quickly
@given(content=st.lists(lines, max_size=8), format_name=st.sampled_from([None, *FORMATS]))
def test_arbitrary_lines_never_raise_and_every_line_is_accounted_for(tmp_path, content, format_name):
    path = tmp_path / "odd.jsonl"
    path.write_text("\n".join(content), errors="surrogatepass")

    sessions, report = read_all(path, format_name)

    for session in sessions:
        check_storable(session)
    assert report.lines == report.imported_lines + report.broken_lines + report.skipped_lines.total()


@quickly
@given(noise=st.lists(lines, max_size=6), place=st.integers(0, 6))
def test_a_valid_line_survives_whatever_surrounds_it(tmp_path, noise, place):
    valid = user("the-valid-one", [text("I am still here")], sessionId="valid-session")
    content = [*noise[:place], json.dumps(valid), *noise[place:]]
    path = tmp_path / "odd.jsonl"
    path.write_text("\n".join(content), errors="surrogatepass")

    sessions, _ = read_all(path, CLAUDE_CODE)

    (session,) = [session for session in sessions if session.external_id == "valid-session"]
    found = [event for event in session.events if event.external_id == "the-valid-one"]
    assert [event.payload["content"] for event in found] == [[text("I am still here")]]


@quickly
@given(value=near_misses | json_values)
def test_arbitrary_json_files_never_raise(tmp_path, value):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(value))

    for format_name in (None, CHAT, CLAUDE_CODE):
        sessions, report = read_all(path, format_name)
        for session in sessions:
            check_storable(session)
        assert sessions or report.skipped


messages = st.lists(
    st.dictionaries(
        st.sampled_from(("role", "name", "content", "tool_calls", "tool_call_id", "function_call")),
        near_misses | st.sampled_from(("user", "tool", "A (-> B)", "A (thought)", "(-> )", "main")),
        min_size=1,
    ),
    min_size=1,
    max_size=5,
)


@quickly
@given(history=messages, step=st.integers(-2, 7) | near_misses, as_history=st.booleans())
def test_odd_conversations_never_raise(tmp_path, history, step, as_history):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps({"history": history, "mistake_step": step} if as_history else history))

    for session in read_all(path)[0]:
        check_storable(session)


@quickly
@given(data=st.binary(max_size=200), suffix=st.sampled_from((".json", ".jsonl", ".txt")))
def test_arbitrary_bytes_never_raise(tmp_path, data, suffix):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(data)

    sessions, _ = read_all(path)

    for session in sessions:
        check_storable(session)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"type": "user", ', "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ('{"n": NaN}', "NaN is not a JSON value"),
        ('{"n": 1e999}', "a number is out of range"),
        ('{"n": ' + "9" * 5000 + "}", ""),
        ('{"a": ' + "[" * 500 + "]" * 500 + "}", "nested"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested"),
    ],
)
def test_a_broken_line_is_counted_and_named_and_the_rest_is_imported(tmp_path, line, reason):
    path = write(tmp_path / "s.jsonl", user("u1", "before"), line, user("u2", "after", second=1))

    (session,), report = read_all(path)

    assert [event.external_id for event in session.events][:2] == ["u1", "u2"]
    if reason:
        assert report.broken_lines == 1
        assert (report.problems[0].path, report.problems[0].line) == (path, 2)
        assert reason in report.problems[0].reason
        assert str(report.problems[0]).startswith(f"{path}:2: ")


def test_a_line_that_is_not_utf_8_is_counted_and_named(tmp_path):
    path = write(tmp_path / "s.jsonl", user("u1", "before"))
    path.write_bytes(path.read_bytes() + b'{"text": "\xff"}\n')

    (session,), report = read_all(path)

    assert len(session.events) == 1
    assert report.problems[0].reason == "not UTF-8 text"


def test_a_line_that_is_too_long_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.ingestion.source.MAX_LINE_BYTES", 2_000)
    path = write(tmp_path / "s.jsonl", user("u1", "x" * 9_000), user("u2", "short"))

    (session,), report = read_all(path)

    assert [event.external_id for event in session.events] == ["u2"]
    assert [problem.line for problem in report.problems] == [1]


def test_a_file_that_is_too_large_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.ingestion.source.MAX_FILE_BYTES", 10)
    path = tmp_path / "big.json"
    path.write_text(json.dumps([{"role": "user", "content": "hello there"}]))

    sessions, report = read_all(path)

    assert sessions == []
    assert [problem.path for problem in report.problems] == [path]


def test_pipes_folders_and_links_to_nowhere_are_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "s.jsonl", user("u1", "fine"))

    (session,), report = read_all(tmp_path)

    assert session.external_id == SESSION
    assert sorted(problem.path.name for problem in report.problems) == ["gone.jsonl", "pipe.jsonl"]


def test_a_link_back_to_its_own_folder_is_not_followed(tmp_path):
    (tmp_path / "again").symlink_to(tmp_path)
    write(tmp_path / "s.jsonl", user("u1", "fine"))

    assert read_all(tmp_path)[1].files == 1


def test_a_file_name_that_is_not_utf_8_can_be_imported_and_named(tmp_path):
    name = os.fsdecode(b"run-\xff.json")
    (tmp_path / name).write_text(json.dumps({"task_id": 1, "trial": 0, "traj": [{"role": "user", "content": "x"}]}))
    (tmp_path / os.fsdecode(b"bad-\xff.json")).write_text("{")

    (session,), report = read_all(tmp_path)

    check_storable(session)
    str(report.problems[0]).encode()


def test_very_long_ids_are_shortened_and_stay_different(tmp_path):
    path = write(tmp_path / "s.jsonl", *(user("u" * 5_000 + str(n), "hi", agentId="a" * 900 + str(n)) for n in (1, 2)))

    (session,), _ = read_all(path)

    check_storable(session)
    assert len(session.threads) == 3


@given(parents=st.lists(st.integers(-1, 12), max_size=12), agents=st.lists(st.integers(0, 3), min_size=12))
@quickly
def test_whatever_points_to_whatever_every_event_comes_out_once(tmp_path, parents, agents):
    content = [
        user(f"u{n}", f"text {n}", parent=f"u{parent}", second=(n * 7) % 5)
        | ({"agentId": f"agent{agents[n]}"} if agents[n] else {})
        for n, parent in enumerate(parents)
    ]
    sessions, _ = read_all(write(tmp_path / "s.jsonl", *content))

    ids = [event.external_id for session in sessions for event in session.events]
    assert {f"u{n}" for n in range(len(parents))} <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_line_that_takes_the_id_of_another_lines_block_keeps_its_own_event(tmp_path):
    two = assistant("a1", text("one"))
    two["message"]["content"].append(text("two"))

    (session,), _ = read_all(write(tmp_path / "s.jsonl", two, user("a1#1", "three", parent="a1", second=1)))

    check_storable(session)
    assert {e.payload["content"][0]["text"] for e in session.events if "content" in e.payload} == {
        "one",
        "two",
        "three",
    }


@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "image/png"},
        {"type": "base64", "media_type": "image/png", "data": 5},
        {"type": "url", "url": None},
        {"type": "floppy"},
        {"type": ["base64"]},
        "a.png",
    ],
)
@pytest.mark.parametrize("kind", ["image", "document"])
def test_a_block_whose_source_is_not_whole_is_kept_as_text(tmp_path, kind, source):
    (session,), _ = read_all(write(tmp_path / "s.jsonl", user("u1", [{"type": kind, "source": source}])))

    check_storable(session)
    (block,) = session.events[0].payload["content"]
    assert block["type"] == "text"
    assert json.loads(block["text"]) == {"type": kind, "source": source}


def test_sub_agents_that_started_each_other_end_under_the_primary(tmp_path):
    def starts(line, other, agent):
        call = assistant(f"{line}1", tool_use(f"t-{line}", "Task", prompt="x"), agentId=agent, message_id=line)
        answer = {"agentId": other, "status": "completed"}
        return call, user(f"{line}2", [tool_result(f"t-{line}", "ok")], agentId=agent, toolUseResult=answer)

    (session,), _ = read_all(write(tmp_path / "s.jsonl", *starts("p", "bb", "aa"), *starts("q", "aa", "bb")))

    check_storable(session)
    assert {thread.key: thread.parent for thread in session.threads} == {"main": None, "aa": "main", "bb": "main"}


def test_threads_that_wait_for_each_other_are_still_merged():
    from agents.ingestion.model import ImportedEvent

    def event(name, thread, cause):
        return ImportedEvent(name, thread, "agent.thinking", {}, cause=cause)

    merged = merge_threads(
        [[event("a1", "a", "b2"), event("a2", "a", None)], [event("b1", "b", "a2"), event("b2", "b", None)]]
    )

    assert sorted(e.external_id for e in merged) == ["a1", "a2", "b1", "b2"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", json.dumps(user("u1", "x")), CLAUDE_CODE),
        ("a.jsonl", json.dumps({"messages": [{"role": "user", "content": "x"}]}), CHAT),
        ("a.jsonl", "{broken\n" + json.dumps(user("u1", "x")), CLAUDE_CODE),
        ("a.json", json.dumps([{"role": "user", "content": "x"}]), CHAT),
        ("a.json", json.dumps([{"task_id": 1, "traj": [{"role": "user", "content": "x"}]}]), CHAT),
        ("a.json", "{}", None),
        ("a.json", "{", None),
        ("a.jsonl", "", None),
        ("a.txt", "hello", None),
    ],
)
def test_the_format_is_found_by_what_a_file_says(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)

    assert detect.detect_format(tmp_path / name) == expected
    assert detect.detect_format(tmp_path) == expected


def test_a_folder_of_both_formats_is_read_file_by_file(tmp_path):
    write(tmp_path / "s.jsonl", user("u1", "x"))
    write(tmp_path / "chats.jsonl", {"messages": [{"role": "user", "content": "x"}]})
    Path(tmp_path / "chat.json").write_text(json.dumps([{"role": "user", "content": "x"}]))
    report = ImportReport()

    sessions = list(detect.read(tmp_path, None, report))

    assert sorted(session.format for session in sessions) == [CHAT, CHAT, CLAUDE_CODE]
    assert report.expected == 3


def test_a_folder_without_anything_to_import_is_named(tmp_path):
    sessions, report = read_all(tmp_path)

    assert sessions == []
    assert [problem.path for problem in report.problems] == [tmp_path]
