"""What the lines of a Claude Code session mean, on small sessions of known content."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agents.ingestion.model import PRIMARY
from tests.agents.ingestion.claude_files import (
    SESSION,
    assistant,
    only,
    read_all,
    read_one,
    text,
    tool_result,
    tool_use,
    types,
    user,
    write,
)

START = datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_one_turn_becomes_messages_a_model_request_and_a_paired_tool_call(tmp_path):
    path = write(
        tmp_path / f"{SESSION}.jsonl",
        user("u1", "List the files.", cwd="/srv/site", gitBranch="main", version="2.1.0"),
        assistant("a1", {"type": "thinking", "thinking": "ls will do", "signature": "x"}, parent="u1", second=2),
        assistant("a2", tool_use("toolu_1", "Bash", command="ls"), parent="a1", second=3, tokens=(10, 40)),
        user("u2", [tool_result("toolu_1", "a.txt")], parent="a2", second=4, toolUseResult={"stdout": "a.txt"}),
        assistant("a3", text("One file."), parent="u2", second=6, message_id="msg_2"),
    )

    session = read_one(path)

    assert types(session) == [
        "user.message",
        "span.model_request_start",
        "agent.thinking",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
    ]
    thinking, used, result = only(session, "agent.thinking"), session.events[3], only(session, "agent.tool_result")
    assert thinking.payload == {}
    assert thinking.private == {"thinking": "ls will do"}
    assert used.payload == {"name": "Bash", "input": {"command": "ls"}}
    assert result.payload["tool_use_id"] == used.external_id == result.cause
    assert result.payload["content"] == [{"type": "text", "text": "a.txt"}]
    assert result.private == {"tool_use_result": {"stdout": "a.txt"}}
    assert session.title == "List the files."
    assert session.metadata == {"cwd": "/srv/site", "git_branch": "main", "claude_code_version": "2.1.0"}
    assert session.has_times
    assert [event.at for event in session.events][-1] == START + timedelta(seconds=6)


def test_usage_is_counted_once_per_model_message_at_its_final_value(tmp_path):
    path = write(
        tmp_path / "s.jsonl",
        user("u1", "Go."),
        assistant("a1", text("One."), parent="u1", tokens=(10, 1)),
        assistant("a2", text("Two."), parent="a1", tokens=(10, 99)),
        assistant("a3", text("Three."), parent="a2", message_id="msg_2", tokens=(20, 5)),
    )

    ends = [event for event in read_one(path).events if event.type == "span.model_request_end"]

    usages = [event.payload["model_usage"] for event in ends]
    assert [(usage["input_tokens"], usage["output_tokens"]) for usage in usages] == [(10, 99), (20, 5)]
    assert usages[0]["cache_creation_input_tokens"] == 7
    assert ends[0].private["model"] == "claude-opus-4-7"


def test_a_request_starts_when_the_line_it_answers_was_written_and_says_so(tmp_path):
    path = write(tmp_path / "s.jsonl", user("u1", "Go."), assistant("a1", text("Done."), parent="u1", second=9))

    start = only(read_one(path), "span.model_request_start")

    assert start.at == START
    assert start.private["at_from"] == "the line before"
    assert start.cause == "u1"


def test_a_line_waits_for_its_parent_that_stands_later_in_the_file(tmp_path):
    path = write(
        tmp_path / "s.jsonl",
        user("u1", "first"),
        user("u3", "third", parent="u2", second=3),
        user("u2", "second", parent="u1", second=2),
        user("u4", "fourth", parent="u3", second=4),
    )

    assert [event.external_id for event in read_one(path).events] == ["u1", "u2", "u3", "u4"]


@pytest.mark.parametrize("parents", [("u2", "u1"), ("u1", "u2"), ("gone", "gone")])
def test_circles_and_missing_parents_lose_nothing(tmp_path, parents):
    path = write(
        tmp_path / "s.jsonl", user("u1", "one", parent=parents[0]), user("u2", "two", parent=parents[1], second=1)
    )

    assert {event.external_id for event in read_one(path).events} == {"u1", "u2"}


LAYOUTS = {"beside": "agent-ab12.jsonl", "below": f"{SESSION}/subagents/agent-ab12.jsonl"}


def delegation(folder, layout, *, prompt="Count the tests.", status="completed", result=True):
    """A session whose agent starts one sub-agent, in one of the two layouts."""
    lines = [
        user("u1", "How many tests?"),
        assistant(
            "a1",
            tool_use("toolu_t", "Task", prompt="Count the tests.", subagent_type="Explore", description="count"),
            parent="u1",
            second=1,
        ),
    ]
    if result:
        answer = {"agentId": "ab12", "status": status}
        lines.append(user("u2", [tool_result("toolu_t", [text("42")])], parent="a1", second=9, toolUseResult=answer))
    write(folder / f"{SESSION}.jsonl", *lines)
    write(
        folder / LAYOUTS[layout],
        user("c1", prompt, second=2, agentId="ab12"),
        assistant("c2", text("There are 42."), parent="c1", second=8, agentId="ab12", message_id="msg_c"),
    )
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_task_call_becomes_a_thread_with_its_prompt_and_its_report(tmp_path, layout):
    session = read_one(delegation(tmp_path, layout))

    assert [(t.key, t.agent_name, t.parent) for t in session.threads] == [
        (PRIMARY, "Claude Code", None),
        ("ab12", "Explore", PRIMARY),
    ]
    assert types(session, "ab12") == [
        "agent.thread_message_received",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "agent.thread_message_sent",
    ]
    created = only(session, "session.thread_created")
    assert created.thread == PRIMARY
    assert created.payload == {"agent_name": "Explore", "session_thread_id": "ab12"}
    sent, received, report_sent, report = [e for e in session.events if "thread_message" in e.type]
    assert sent.payload == {
        "content": [text("Count the tests.")],
        "to_session_thread_id": "ab12",
        "to_agent_name": "Explore",
    }
    assert received.payload == {"content": [text("Count the tests.")], "from_session_thread_id": PRIMARY}
    assert sent.private["message_id"] == received.private["message_id"]
    assert report_sent.payload == {"content": [text("42")], "to_session_thread_id": PRIMARY}
    assert report.payload == {
        "content": [text("42")],
        "from_session_thread_id": "ab12",
        "from_agent_name": "Explore",
    }
    assert report_sent.private["message_id"] == report.private["message_id"] != sent.private["message_id"]
    assert types(session).count("agent.tool_use") == types(session).count("agent.tool_result") == 1


def test_a_running_sub_agent_is_recognised_by_its_prompt(tmp_path):
    session = read_one(delegation(tmp_path, "beside", result=False))

    sent, received = [e for e in session.events if "thread_message" in e.type]
    assert sent.private["message_id"] == received.private["message_id"]


@pytest.mark.parametrize("status", ["async_launched", "running"])
def test_a_result_that_only_says_the_sub_agent_started_is_no_report(tmp_path, status):
    session = read_one(delegation(tmp_path, "beside", status=status))

    assert types(session).count("agent.thread_message_received") == 1


def test_no_arrow_is_drawn_to_a_prompt_that_nobody_in_the_log_sent(tmp_path):
    session = read_one(delegation(tmp_path, "beside", prompt="Warmup", result=False))

    assert "agent.thread_message_sent" not in types(session)
    assert only(session, "agent.thread_message_received").private == {"sender": "not in the log"}
    assert session.notes == ["No call in the log started these sub-agents: ab12."]


def test_the_files_of_sub_agents_make_a_session_when_its_own_file_is_gone(tmp_path):
    delegation(tmp_path, "beside")
    (tmp_path / f"{SESSION}.jsonl").unlink()

    session = read_one(tmp_path)

    assert session.external_id == SESSION
    assert [thread.key for thread in session.threads] == [PRIMARY, "ab12"]
    assert types(session)[:2] == ["session.thread_created", "agent.thread_message_received"]
    assert session.notes == ["The main conversation is not in the source; only its sub-agents are."]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_session_file_given_alone_brings_its_sub_agents(tmp_path, layout):
    delegation(tmp_path, layout)
    write(tmp_path / "agent-other.jsonl", user("x1", "hi", agentId="other", sessionId="another-session"))

    (session,), report = read_all(tmp_path / f"{SESSION}.jsonl")

    assert [thread.key for thread in session.threads] == [PRIMARY, "ab12"]
    assert report.files == 2


def test_a_meta_file_names_a_sub_agent_that_no_call_names(tmp_path):
    delegation(tmp_path, "below", prompt="Warmup", result=False)
    (tmp_path / LAYOUTS["below"]).with_suffix(".meta.json").write_text('{"agentType": "general-purpose"}')

    assert read_one(tmp_path).threads[1].agent_name == "general-purpose"


def test_one_file_may_hold_several_sessions_and_several_files_one(tmp_path):
    write(tmp_path / "a.jsonl", user("u1", "one"), user("u2", "two", sessionId="second"))
    write(tmp_path / "b.jsonl", user("u3", "three", sessionId="second", second=5))

    sessions, _ = read_all(tmp_path)

    assert {s.external_id: [e.external_id for e in s.events] for s in sessions} == {
        SESSION: ["u1"],
        "second": ["u2", "u3"],
    }


def test_early_sidechains_in_the_sessions_own_file_are_threads_of_their_own(tmp_path):
    path = write(
        tmp_path / "s.jsonl",
        user("u1", "Go."),
        assistant("a1", tool_use("toolu_t", "Task", prompt="Look."), parent="u1", second=1),
        user("c1", "Look.", second=2) | {"isSidechain": True},
        assistant("c2", text("Seen."), parent="c1", second=3, message_id="msg_c") | {"isSidechain": True},
        user("u2", [tool_result("toolu_t", [text("Seen.")])], parent="a1", second=4),
    )

    session = read_one(path)

    child = session.threads[1]
    assert child.parent == PRIMARY
    assert "agent.message" in types(session, child.key)
    assert types(session).count("agent.thread_message_sent") == 2


def test_what_the_harness_wrote_is_not_put_into_the_persons_mouth(tmp_path):
    path = write(
        tmp_path / "s.jsonl",
        user("u1", "Caveat: generated while running local commands.", isMeta=True),
        user("u2", "<command-name>/clear</command-name>", parent="u1", second=1),
        user("u3", "<local-command-stdout>done</local-command-stdout>", parent="u2", second=2),
        user("u4", "<bash-input>ls</bash-input>", parent="u3", second=3),
        user("u5", [text("[Request interrupted by user for tool use]")], parent="u4", second=4),
        user("u6", "Now fix it.", parent="u5", second=5),
    )

    session = read_one(path)

    assert types(session) == [
        "system.message",
        "user.message",
        "system.message",
        "user.message",
        "user.interrupt",
        "user.message",
    ]
    assert [e.private for e in session.events][:4] == [
        {"speaker": "Claude Code", "is_meta": True},
        {"kind": "slash_command"},
        {"speaker": "Claude Code", "kind": "output"},
        {"kind": "shell"},
    ]
    assert session.title == "Now fix it."


def test_compaction_and_its_summary_are_one_event_and_one_message(tmp_path):
    boundary = user("b1", None, second=1) | {"type": "system", "subtype": "compact_boundary"}
    boundary["compactMetadata"] = {"trigger": "auto", "preTokens": 150_000}
    with_boundary = write(
        tmp_path / "new.jsonl", boundary, user("u1", "So far ...", parent="b1", second=2, isCompactSummary=True)
    )
    without = write(tmp_path / "old" / "old.jsonl", user("u1", "So far ...", isCompactSummary=True))

    assert types(read_one(with_boundary)) == ["agent.thread_context_compacted", "system.message"]
    assert types(read_one(without)) == ["agent.thread_context_compacted", "system.message"]
    compacted = [only(read_one(path), "agent.thread_context_compacted") for path in (with_boundary, without)]
    assert [event.private for event in compacted] == [
        {"pre_compaction_tokens": 150_000, "trigger": "auto"},
        {"summary": "So far ..."},
    ]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("API Error: 529 overloaded", "model_overloaded_error"),
        ("API Error: 429 slow down", "model_rate_limited_error"),
        ("API Error: something else", "model_request_failed_error"),
    ],
)
def test_a_failed_request_is_an_error_and_no_message(tmp_path, message, kind):
    failed = assistant("a1", text(message), parent="u1", model="<synthetic>", isApiErrorMessage=True)
    retried = user("s1", None, parent="u1", second=1) | {"type": "system", "subtype": "api_error"}
    retried["error"] = {"message": message, "status": 500}
    session = read_one(write(tmp_path / "s.jsonl", user("u1", "Go."), retried, failed))

    errors = [e.payload["error"] for e in session.events if e.type == "session.error"]

    assert types(session) == ["user.message", "session.error", "session.error"]
    assert {error["type"] for error in errors} == {kind}
    assert sorted(error["retry_status"]["type"] for error in errors) == ["exhausted", "retrying"]


def test_tools_of_mcp_servers_are_told_apart(tmp_path):
    path = write(
        tmp_path / "s.jsonl",
        assistant("a1", tool_use("toolu_1", "mcp__github__list_issues", repo="x")),
        user("u1", [tool_result("toolu_1", "none", is_error=True)], parent="a1", second=1),
    )

    session = read_one(path)

    used, result = only(session, "agent.mcp_tool_use"), only(session, "agent.mcp_tool_result")
    assert used.payload == {"name": "list_issues", "mcp_server_name": "github", "input": {"repo": "x"}}
    assert result.payload["mcp_tool_use_id"] == used.external_id
    assert result.payload["is_error"] is True


def test_images_stay_images_and_unknown_blocks_are_kept_as_text(tmp_path):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    reference = {"type": "tool_reference", "tool_name": "TaskCreate"}
    path = write(
        tmp_path / "s.jsonl",
        user("u1", [image, text("What is this?")]),
        assistant("a1", tool_use("toolu_1", "ToolSearch"), parent="u1", second=1),
        user("u2", [tool_result("toolu_1", [reference])], parent="a1", second=2),
    )

    session = read_one(path)

    assert only(session, "user.message").payload["content"] == [image, text("What is this?")]
    (block,) = only(session, "agent.tool_result").payload["content"]
    assert block["type"] == "text"
    assert "TaskCreate" in block["text"]


def test_a_message_to_a_named_sub_agent_is_sent_and_received_only_when_it_arrived(tmp_path):
    delegation(tmp_path, "beside")
    path = tmp_path / f"{SESSION}.jsonl"
    start = tool_use("toolu_t", "Agent", prompt="Count the tests.", name="alice")
    write(
        path,
        user("u1", "Go."),
        assistant("a1", start, parent="u1", second=1),
        assistant("a2", tool_use("toolu_m", "SendMessage", to="alice", message="Again."), parent="a1", second=3),
        assistant("a3", tool_use("toolu_n", "SendMessage", to="nobody", message="Hm."), parent="a2", second=4),
    )

    session = read_one(tmp_path)

    sent = [e for e in session.events if e.type == "agent.thread_message_sent"]
    assert [e.payload["content"][0]["text"] for e in sent] == ["Count the tests.", "Again."]
    assert types(session).count("agent.thread_message_received") == 1


def test_what_a_person_typed_while_the_agent_worked_is_a_message(tmp_path):
    queued = user("q1", None, second=1) | {"type": "attachment"}
    queued["attachment"] = {"type": "queued_command", "prompt": "Also run the linter."}

    session = read_one(write(tmp_path / "s.jsonl", user("u1", "Go."), queued))

    assert session.events[1].payload == {"content": [text("Also run the linter.")]}


def test_a_summary_line_is_the_title_of_the_conversation_it_points_to(tmp_path):
    write(tmp_path / f"{SESSION}.jsonl", user("u1", "please fix"))
    write(
        tmp_path / "later.jsonl",
        {"type": "summary", "summary": "Linting Fixes", "leafUuid": "u1"},
        user("u9", "next", sessionId="later"),
    )

    sessions, report = read_all(tmp_path)

    assert {s.external_id: s.title for s in sessions} == {SESSION: "Linting Fixes", "later": "next"}
    assert report.skipped_lines == {"summary": 1}


def test_lines_without_times_give_a_session_without_times(tmp_path):
    lines = [user("u1", "one"), user("u2", "two", parent="u1")]
    for line in lines:
        del line["timestamp"]

    session = read_one(write(tmp_path / "s.jsonl", *lines))

    assert not session.has_times
    assert [event.at for event in session.events] == [None, None]
    assert [event.external_id for event in session.events] == ["u1", "u2"]


def test_the_same_line_in_two_files_counts_once(tmp_path):
    write(tmp_path / "a.jsonl", user("u1", "one"))
    write(tmp_path / "b.jsonl", user("u1", "one"), user("u2", "two", second=1))

    (session,), report = read_all(tmp_path)

    assert [event.external_id for event in session.events] == ["u1", "u2"]
    assert report.skipped_lines == {"repeated line": 1}


def test_different_lines_under_one_id_are_both_kept(tmp_path):
    path = write(tmp_path / "a.jsonl", user("u1", "one"), user("u1", "another"))

    events = read_one(path).events

    assert len({event.external_id for event in events}) == 2


def test_nul_and_lone_surrogates_are_replaced_and_marked(tmp_path):
    path = write(tmp_path / "s.jsonl", user("u1", "a\x00b"), user("u2", "\udc80 c", second=1), user("u3", "fine 😀"))

    events = read_one(path).events

    assert [(e.payload["content"][0]["text"], e.private) for e in events] == [
        ("a\ufffdb", {"sanitised": True}),
        ("\ufffd c", {"sanitised": True}),
        ("fine 😀", None),
    ]
