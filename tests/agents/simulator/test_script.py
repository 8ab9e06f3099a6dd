"""The `simulated/tools` script: one instruction is one step, and the report says what every tool returned."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.simulator.conversation import Conversation, ToolCall
from agents.simulator.script import parse_script, run_script
from agents.simulator.steps import Call, Step
from tests.agents.simulator.driver import Sandbox, ask, drive, say
from tests.agents.simulator.team_driver import Team

MODEL = "simulated/tools"
SPAWN = "spawn_agent"


def calls(line):
    return [call for answer in parse_script(line).answers for call in answer.calls]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bash: echo hi | wc -c", ToolCall("bash", {"command": "echo hi | wc -c"})),
        ("write: a.txt | one\\ntwo", ToolCall("write", {"file_path": "a.txt", "content": "one\ntwo"})),
        ("write: a.txt | a | b", ToolCall("write", {"file_path": "a.txt", "content": "a | b"})),
        ("write: a.txt |", ToolCall("write", {"file_path": "a.txt", "content": ""})),
        ("read: /a/b.txt", ToolCall("read", {"file_path": "/a/b.txt"})),
        ("read: b.txt | 3-9", ToolCall("read", {"file_path": "b.txt", "view_range": [3, 9]})),
        ("read: b.txt | 3--1", ToolCall("read", {"file_path": "b.txt", "view_range": [3, -1]})),
        (
            "edit: a.txt | x\\\\n | y",
            ToolCall("edit", {"file_path": "a.txt", "old_string": "x\\n", "new_string": "y"}),
        ),
        ("glob: **/*.py", ToolCall("glob", {"pattern": "**/*.py"})),
        ("grep: err(or)? | /mnt", ToolCall("grep", {"pattern": "err(or)?", "path": "/mnt"})),
        ('custom: get_weather {"city": "Oslo"}', ToolCall("get_weather", {"city": "Oslo"})),
        ("custom: ping", ToolCall("ping", {})),
        (
            "spawn: Ann | bash: echo hi\\nsay: a | b",
            ToolCall(SPAWN, {"agent": "Ann", "task": "bash: echo hi\nsay: a | b"}),
        ),
        ("wait:", ToolCall("wait_for_agents", {})),
        ("wait: any", ToolCall("wait_for_agents", {"mode": "any"})),
        ("wait: all 5s", ToolCall("wait_for_agents", {"mode": "all", "timeout_s": 5.0})),
        ("wait: 1, 2", ToolCall("wait_for_agents", {"thread_ids": ["1", "2"]})),
        ("send: 2 | more\\nwork", ToolCall("send_to_agent", {"thread_id": "2", "message": "more\nwork"})),
        ("stop: sthr_1", ToolCall("stop_agent", {"thread_id": "sthr_1"})),
        ("list:", ToolCall("list_agents", {})),
        ("parent: how far?", ToolCall("send_to_parent", {"message": "how far?"})),
    ],
)
def test_every_instruction_becomes_the_call_it_names(line, expected):
    assert calls(line) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        *("bash:", "write: a.txt", "edit: a | b", "read:", "read: a | x", "custom:", "custom: t {", "custom: t []"),
        *("spawn: Ann", "spawn: | x", "wait: some", "send: 1", "stop:"),
    ],
)
def test_a_bad_instruction_is_named_in_the_report_and_not_run(tmp_path, line):
    run = drive(MODEL, f"bash: echo one\n{line}", Sandbox(tmp_path))
    assert "Not understood, line 2:" in run.text
    assert len(run.answers) == 2


def test_each_line_is_one_step_and_the_report_has_results_and_error_flags(tmp_path):
    sandbox = Sandbox(tmp_path)
    script = (
        "think: one file first\nsay: I begin.\nwrite: /workspace/a.txt | hello\\n\n"
        "read: /workspace/a.txt\nread: /workspace/none.txt\nsay: That was all."
    )
    run = drive(MODEL, script, sandbox)
    assert [name for name, _ in sandbox.calls] == ["write", "read", "read"]
    assert len(run.answers) == 4
    assert [b["type"] for b in run.answers[0].content] == ["thinking", "text", "tool_use"]
    assert run.text == (
        "Simulated model: 3 calls, 1 with an error.\n"
        "1. write: /workspace/a.txt | hello\\n -> ok\n"
        "   wrote 6 bytes to /workspace/a.txt\n"
        "2. read: /workspace/a.txt -> ok\n"
        "   hello\n"
        "3. read: /workspace/none.txt -> error\n"
        "   read: /workspace/none.txt: no such file or directory\n"
        "That was all."
    )


@pytest.mark.parametrize("group", ["  bash: echo {0}", "- bash: echo {0}"])
def test_a_parallel_group_is_one_answer(tmp_path, group):
    script = "\n".join(["parallel:", group.format(1), group.format(2), "bash: echo 3"])
    run = drive(MODEL, script, Sandbox(tmp_path))
    assert [a.stop_reason for a in run.answers] == ["tool_use", "tool_use", "end_turn"]
    assert len(run.answers[0].content) == 2


def test_an_indented_script_is_read_like_any_other(tmp_path):
    run = drive(MODEL, "    parallel:\n      bash: echo 1\n    bash: echo 2", Sandbox(tmp_path))
    assert len(run.answers) == 3


def test_a_script_that_only_speaks_is_answered_with_just_that(tmp_path):
    assert drive(MODEL, "say: hello", Sandbox(tmp_path)).text == "hello"


def test_plain_text_is_answered_with_how_to_write_a_script(tmp_path):
    run = drive(MODEL, "Please help me", Sandbox(tmp_path))
    assert "simulated model" in run.text
    assert "bash: echo hello" in run.text


def test_a_newer_message_replaces_the_script(tmp_path):
    sandbox = Sandbox(tmp_path)
    first = drive(MODEL, "bash: echo one", sandbox)
    second = drive(MODEL, "bash: echo two", sandbox, messages=first.messages)
    assert "two" in second.text
    assert "one" not in second.text


def test_a_long_script_goes_on_after_its_conversation_was_compacted(tmp_path):
    sandbox = Sandbox(tmp_path)
    script = "\n".join(f"bash: echo {number}; seq 1 800" for number in range(12))
    run = drive("simulated/tools-small-window", script, sandbox)
    assert run.compactions >= 1
    assert [given["command"].split(";")[0] for _, given in sandbox.calls] == [f"echo {n}" for n in range(12)]
    assert "12 calls, 0 with an error" in run.text


# Working with other agents.


def test_a_script_of_a_lead_names_threads_by_number(tmp_path):
    team = Team(Sandbox(tmp_path), MODEL, {"Ann": MODEL, "Bob": MODEL})
    script = (
        "parallel:\n  spawn: Ann | bash: echo from-ann\\nparent: half way\n  spawn: Bob | say: from bob\nwait:\n"
        "send: 2 | say: bob again\nwait: 2\nstop: 1\nlist:\nsay: That was all."
    )
    words = team.say(script)
    ann, bob = team.children
    assert [name for name, _ in ann.calls] == ["bash", "send_to_parent"]
    assert ("send_to_agent", {"thread_id": bob.thread_id, "message": "say: bob again"}) in team.lead.calls
    assert ("wait_for_agents", {"thread_ids": [bob.thread_id]}) in team.lead.calls
    assert (ann.status, bob.status) == ("terminated", "idle")
    assert "7 calls, 0 with an error" in words
    assert words.index("Message from Ann:\n   half way") < words.index("Message from Bob:\n   from bob")
    assert "from-ann" in words
    assert words.endswith("Message from Bob:\n   bob again\nThat was all.")


def test_threads_of_earlier_messages_keep_their_numbers(tmp_path):
    team = Team(Sandbox(tmp_path), MODEL, {"Ann": MODEL})
    team.say("spawn: Ann | say: one\nwait:")
    words = team.say("send: 1 | say: two\nwait:")
    assert len(team.children) == 1
    assert "2 calls, 0 with an error" in words
    assert words.endswith("Message from Ann:\n   two")


def test_a_report_after_the_turn_starts_the_lead_once_more(tmp_path):
    team = Team(Sandbox(tmp_path), MODEL, {"Ann": MODEL})
    words = team.say("spawn: Ann | say: late news\nsay: I do not wait.")
    assert len(team.lead.answers) == 3
    assert "Message from Ann:\n   late news" in words


def test_a_thread_that_was_never_started_is_left_to_the_tool_to_refuse():
    for line, field in (("send: 3 | x", "thread_id"), ("stop: 3", "thread_id")):
        answer = ask(MODEL, [say(line)], ("send_to_agent", "stop_agent"))[-1]
        assert answer.content[0]["input"][field] == "3"


words = st.sampled_from(
    ["bash", "write", "read", "edit", "glob", "grep", "custom", "say", "think", "parallel", "spawn", "wait", "send"]
)
lines = st.one_of(
    st.text(max_size=40),
    st.builds(
        lambda pad, word, rest: f"{pad}{word}:{rest}",
        st.sampled_from(["", "  ", "- "]),
        words,
        st.one_of(
            st.text(max_size=30), st.sampled_from([" a | b", " a | b | c", ' t {"a": 1}', " a | 1-2", " any 2s"])
        ),
    ),
)
texts = st.lists(lines, max_size=12).map("\n".join)
steps = st.lists(
    st.builds(
        Step,
        text=st.text(max_size=10),
        calls=st.lists(
            st.builds(
                Call,
                name=st.text(max_size=5),
                input=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
                result=st.one_of(st.none(), st.text(max_size=30)),
                is_error=st.booleans(),
            ),
            max_size=3,
        ).map(tuple),
    ),
    max_size=6,
).map(tuple)


@settings(deadline=None)
@given(texts, steps)
def test_any_text_and_any_results_give_an_answer(text, made):
    script = parse_script(text)
    assert all(answer.calls for answer in script.answers)
    reply = run_script(Conversation(text, text, made))
    assert reply.text or reply.calls
    assert len(reply.calls) > 0 if len(made) < len(script.answers) else reply.calls == ()


@settings(deadline=None)
@given(texts)
def test_every_instruction_line_is_either_run_said_or_reported(text):
    script = parse_script(text)
    spoken = [*script.answers, script.closing]
    found = len(script.problems) + sum(len(a.calls) + len(a.say) + len(a.think) for a in spoken)
    for answer in script.answers:
        assert len(answer.labels) == len(answer.calls)
    assert (found == 0) == script.is_empty
