"""The real logs of ../shared/data, counted straight from the files: nothing here uses the converters' code."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.agents.ingestion.claude_files import read_all
from tests.api import strict

pytestmark = pytest.mark.done_when(4)

USAGE = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def blocks(line: dict) -> list[dict]:
    content = line["message"]["content"]
    return [{"type": "text"}] if isinstance(content, str) else content


@pytest.fixture(scope="module")
def claude_lines(shared_data):
    """The lines of every session with an id, and the files without one."""
    sessions, without = defaultdict(list), []
    for path in sorted((shared_data / "claude-code-log").rglob("*.jsonl")):
        lines = jsonl(path)
        ids = {line["sessionId"] for line in lines if "sessionId" in line}
        if not ids:
            without.append(path)
        for line in lines:
            if "sessionId" in line:
                sessions[line["sessionId"]].append(line)
    return dict(sessions), without


@pytest.fixture(scope="module")
def claude(shared_data):
    return read_all(shared_data / "claude-code-log")


def test_claude_code_gives_one_session_per_session_id_and_names_the_file_without(claude, claude_lines):
    sessions, report = claude
    expected, without = claude_lines

    assert len(expected) == 37
    assert sorted(session.external_id for session in sessions) == sorted(expected)
    assert [problem.path for problem in report.problems] == without
    assert len(without) == 1
    assert report.files == 67


def test_claude_code_threads_tool_calls_and_results_match_the_files(claude, claude_lines):
    expected, _ = claude_lines
    for session in claude[0]:
        lines = expected[session.external_id]
        agents = {line["agentId"] for line in lines if "agentId" in line}
        assert {thread.key for thread in session.threads} == {"main"} | agents
        calls, results, spoken, thoughts = Counter(), Counter(), Counter(), Counter()
        for line in lines:
            thread = line.get("agentId", "main")
            for block in blocks(line) if line["type"] in ("user", "assistant") else []:
                calls[thread] += block["type"] == "tool_use"
                results[thread] += block["type"] == "tool_result"
                spoken[thread] += line["type"] == "assistant" and block["type"] == "text"
                thoughts[thread] += block["type"] == "thinking"
        counts = Counter((event.thread, event.type) for event in session.events)
        for thread in {"main"} | agents:
            assert counts[thread, "agent.tool_use"] == calls[thread]
            assert counts[thread, "agent.tool_result"] == results[thread]
            assert counts[thread, "agent.message"] == spoken[thread]
            assert counts[thread, "agent.thinking"] == thoughts[thread]


def test_claude_code_results_answer_the_calls_they_answer_in_the_files(claude, claude_lines):
    names = {
        (session_id, block["id"]): block["name"]
        for session_id, lines in claude_lines[0].items()
        for line in lines
        if line["type"] == "assistant"
        for block in blocks(line)
        if block["type"] == "tool_use"
    }
    answered = Counter()
    for session in claude[0]:
        by_id = {event.external_id: event for event in session.events}
        places = {event.external_id: place for place, event in enumerate(session.events)}
        for event in session.events:
            if event.type == "agent.tool_result":
                used = by_id[event.payload["tool_use_id"]]
                assert used.thread == event.thread
                assert places[used.external_id] < places[event.external_id]
                assert used.payload["name"] == names[session.external_id, used.private["tool_id"]]
                answered[session.external_id] += 1
    assert answered.total() == len(names) == 663


def test_claude_code_usage_is_counted_once_per_message_id(claude, claude_lines):
    for session in claude[0]:
        final = {}
        for line in claude_lines[0][session.external_id]:
            if line["type"] == "assistant":
                final[line["message"]["id"]] = line["message"]["usage"]
        ends = [e.payload["model_usage"] for e in session.events if e.type == "span.model_request_end"]
        assert len(ends) == len(final)
        for name in USAGE:
            assert sum(end[name] for end in ends) == sum(usage[name] for usage in final.values())


def test_claude_code_people_said_what_they_say_in_the_files(claude, claude_lines):
    """Every turn that came in and is no tool result is one event, whoever it is ascribed to."""
    came_in = ("user.message", "system.message", "user.interrupt", "agent.thread_message_received")
    for session in claude[0]:
        turns = [
            line
            for line in claude_lines[0][session.external_id]
            if line["type"] == "user" and all(block["type"] != "tool_result" for block in blocks(line))
        ]
        events = {event.external_id for event in session.events if event.type in came_in}
        assert {line["uuid"] for line in turns} <= events
        reports = sum(1 for event in events if event.endswith(":report"))
        assert len(events) == len(turns) + reports


def test_claude_code_sub_agents_report_what_their_task_calls_returned(claude, claude_lines):
    reported = Counter()
    for session in claude[0]:
        for line in claude_lines[0][session.external_id]:
            result = line.get("toolUseResult")
            if not isinstance(result, dict) or "agentId" not in result:
                continue
            agent = result["agentId"]
            received = [e for e in session.events if e.payload.get("from_session_thread_id") == agent]
            sent = [e for e in session.events if e.thread == agent and e.type == "agent.thread_message_sent"]
            asked = [e for e in session.events if e.payload.get("to_session_thread_id") == agent]
            words = [block["text"] for block in result["content"]]
            assert [b["text"] for b in received[0].payload["content"]][: len(words)] == words
            assert received[0].private["message_id"] == sent[0].private["message_id"]
            assert asked[0].payload["content"][0]["text"] == result["prompt"]
            reported[session.external_id] += 1
    assert sorted(reported.values()) == [1, 1, 6]


def test_claude_code_parents_come_before_their_children(claude, claude_lines):
    for session in claude[0]:
        parents = {line.get("uuid"): line.get("parentUuid") for line in claude_lines[0][session.external_id]}
        places = {}
        for place, event in enumerate(session.events):
            places.setdefault(event.external_id.split("#")[0], place)
        for child, parent in parents.items():
            if child in places and parent in places:
                assert places[parent] < places[child]


def test_claude_code_every_line_is_imported_or_counted_under_a_name(claude, claude_lines):
    sessions, report = claude
    lines = [line for lines in claude_lines[0].values() for line in lines]
    turns = sum(line["type"] in ("user", "assistant") for line in lines)

    assert report.imported_lines == turns == 1995
    assert report.lines == report.imported_lines + report.skipped_lines.total()
    assert report.broken_lines == 0
    assert all(session.has_times and all(event.at for event in session.events) for session in sessions)


@pytest.fixture(scope="module")
def who_and_when(shared_data):
    sessions, report = read_all(shared_data / "whowhen")
    files = sorted((shared_data / "whowhen").rglob("*.json"))
    assert report.problems == []
    assert len(files) == 128
    by_file = {session.metadata["source_file"]: session for session in sessions}
    return [(json.loads(path.read_text()), by_file[f"{path.parent.name}/{path.name}"]) for path in files]


def speaker(message: dict) -> str:
    return message.get("name") or message["role"].split(" (")[0]


def test_who_and_when_threads_are_its_speakers_and_events_its_messages(who_and_when):
    assert len({session.external_id for _, session in who_and_when}) == 128
    for source, session in who_and_when:
        history = source["history"]
        speakers = list(dict.fromkeys(speaker(message) for message in history))
        assert [thread.key for thread in session.threads] == speakers
        assert [thread.parent for thread in session.threads] == [None, *[speakers[0]] * (len(speakers) - 1)]
        extra = ("session.thread_created", "agent.thread_message_received")
        spoken = [event for event in session.events if event.type not in extra]
        assert [event.payload["content"][0]["text"] for event in spoken] == [m["content"] for m in history]
        assert [event.thread for event in spoken] == [speaker(m) for m in history]
        assert not session.has_times
        assert {event.at for event in session.events} == {None}


def test_who_and_when_draws_an_arrow_exactly_where_a_role_names_the_addressee(who_and_when):
    total = 0
    for source, session in who_and_when:
        addressed = [m["role"].split("(-> ")[1].rstrip(")") for m in source["history"] if "(-> " in m["role"]]
        sent = [event for event in session.events if event.type == "agent.thread_message_sent"]
        received = [event for event in session.events if event.type == "agent.thread_message_received"]
        assert [event.payload["to_session_thread_id"] for event in sent] == addressed
        assert [event.thread for event in received] == addressed
        assert [e.private["message_id"] for e in sent] == [e.private["message_id"] for e in received]
        total += len(sent)
    assert total == 418


def test_who_and_when_labels_are_annotations_on_the_step_they_name(who_and_when):
    disagreeing = []
    for source, session in who_and_when:
        (annotation,) = session.annotations
        event = next(e for e in session.events if e.external_id == annotation.event)
        message = source["history"][int(source["mistake_step"])]
        assert event.payload["content"][0]["text"] == message["content"]
        assert annotation.kind == "failure"
        assert annotation.text.startswith(source["mistake_reason"])
        if speaker(message) != source["mistake_agent"]:
            disagreeing.append(session)
            assert source["mistake_agent"] in session.notes[0]
            assert speaker(message) in session.notes[0]
        else:
            assert session.notes == []
    assert len(disagreeing) == 3


def test_tau_bench_runs_match_the_file(shared_data):
    (path,) = (shared_data / "tau-bench").glob("*.json")
    runs = json.loads(path.read_text())
    sessions, report = read_all(path)

    assert report.problems == []
    assert len(sessions) == len({session.external_id for session in sessions}) == len(runs) == 140
    for run, session in zip(runs, sessions, strict=True):
        assert session.external_id.endswith(f"/{run['task_id']}/{run['trial']}")
        assert session.metadata["reward"] == str(run["reward"])
        roles = Counter(message["role"] for message in run["traj"])
        calls = [c for m in run["traj"] for c in m.get("tool_calls") or []]
        counts = Counter(event.type for event in session.events)
        assert counts["user.message"] == roles["user"]
        assert counts["system.message"] == roles["system"]
        assert counts["agent.message"] == sum(m["role"] == "assistant" and bool(m["content"]) for m in run["traj"])
        assert counts["agent.tool_use"] == len(calls)
        assert counts["agent.tool_result"] == roles["tool"]
        used = [event for event in session.events if event.type == "agent.tool_use"]
        assert [e.payload["input"] for e in used] == [json.loads(c["function"]["arguments"]) for c in calls]
        by_id = {event.external_id: event for event in used}
        results = [event for event in session.events if event.type == "agent.tool_result"]
        answers = [m for m in run["traj"] if m["role"] == "tool"]
        for event, answer in zip(results, answers, strict=True):
            assert by_id[event.payload["tool_use_id"]].payload["name"] == answer["name"]
            assert event.payload["content"][0]["text"] == answer["content"]
        assert [thread.key for thread in session.threads] == ["main"]


@pytest.mark.parametrize("part", ["claude-code-log", "whowhen", "tau-bench"])
def test_every_event_is_one_the_sdk_knows(shared_data, part):
    """With an id and a time added, each event passes the SDK's response models, strictly."""
    sessions, _ = read_all(shared_data / part)
    seen = Counter()
    for session in sessions:
        ids = set()
        for event in session.events:
            at = "2026-01-01T00:00:00Z" if event.at is None else event.at.isoformat()
            strict.check(
                strict.EVENTS, {**event.payload, "id": event.external_id, "type": event.type, "processed_at": at}
            )
            ids.add(event.external_id)
            seen[event.type] += 1
        assert len(ids) == len(session.events)
    assert seen.total() > 1000


@pytest.mark.parametrize("part", ["claude-code-log", "whowhen", "tau-bench"])
def test_references_lead_to_events_and_threads_of_the_same_session(shared_data, part):
    sessions, _ = read_all(shared_data / part)
    for session in sessions:
        keys = {thread.key for thread in session.threads}
        seen = set()
        for event in session.events:
            assert event.thread in keys
            for name in ("session_thread_id", "to_session_thread_id", "from_session_thread_id"):
                assert event.payload.get(name, session.threads[0].key) in keys
            for name in ("tool_use_id", "model_request_start_id"):
                assert event.payload.get(name) in seen | {None}
            assert event.cause in seen | {None}
            seen.add(event.external_id)


def test_reading_twice_gives_the_same(shared_data):
    def digest() -> str:
        sessions, _ = read_all(shared_data / "claude-code-log")
        return hashlib.sha256(repr(sessions).encode()).hexdigest()

    assert digest() == digest()
