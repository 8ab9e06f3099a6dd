"""Every event of the wire has a sentence, and no payload can make a page fail."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.story.content import tool_gist
from console.story.detail import parts_of
from console.story.words import Context, known_types, who_of, words_for

CONTEXT = Context(tools={"sevt_1": "bash"}, agents={"sthr_main": "lead", "sthr_n": "north"}, primary="sthr_main")


def content(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def wire_types() -> set[str]:
    """The types of the SDK's own union of session events."""
    from anthropic.types.beta.sessions import beta_managed_agents_session_event as module

    union = get_args(module.BetaManagedAgentsSessionEvent)[0]
    return {get_args(member.model_fields["type"].annotation)[0] for member in get_args(union)}


def test_every_type_of_the_sdk_has_its_sentence():
    assert wire_types() <= known_types()


@pytest.mark.parametrize(
    "type_, data, private, sentence",
    [
        ("user.message", {"content": content("Hi *there*")}, {}, "asked Hi *there*"),
        ("user.message", {"content": [*content("See"), {"type": "image"}]}, {}, "asked See (1 image)"),
        ("user.interrupt", {}, {}, "interrupted every agent"),
        ("user.interrupt", {"session_thread_id": "sthr_n"}, {}, "interrupted north"),
        ("user.tool_confirmation", {"tool_use_id": "sevt_1", "result": "allow"}, {}, "allowed bash"),
        (
            "user.tool_confirmation",
            {"tool_use_id": "sevt_1", "result": "deny", "deny_message": "too risky"},
            {},
            "refused bash too risky",
        ),
        (
            "user.custom_tool_result",
            {"custom_tool_use_id": "sevt_1", "content": content("21 C")},
            {},
            "answered bash 21 C",
        ),
        ("agent.message", {"content": content("**Done**\n\n# Next")}, {}, "said Done Next"),
        ("agent.thinking", {}, {"thinking": "First, look."}, "thought First, look."),
        ("agent.thinking", {}, {}, "thought (the text was not recorded)"),
        ("agent.tool_use", {"name": "bash", "input": {"command": "ls -l"}}, {}, "ran bash $ ls -l"),
        (
            "agent.tool_use",
            {"name": "bash", "input": {"command": "rm"}, "evaluated_permission": "ask"},
            {},
            "asks to run bash $ rm",
        ),
        (
            "agent.tool_use",
            {"name": "grep", "input": {"pattern": "E", "path": "/l"}, "evaluated_permission": "deny"},
            {},
            "was refused grep “E” in /l",
        ),
        (
            "agent.mcp_tool_use",
            {"name": "search", "mcp_server_name": "docs", "input": {"q": "x"}},
            {},
            "ran search on docs x",
        ),
        (
            "agent.custom_tool_use",
            {"name": "weather", "input": {"city": "Oslo"}},
            {},
            "asks the client to run weather Oslo",
        ),
        ("agent.tool_result", {"tool_use_id": "sevt_1", "content": content("ok")}, {}, "got the result of bash ok"),
        (
            "agent.tool_result",
            {"tool_use_id": "sevt_1", "content": content("no"), "is_error": True},
            {},
            "got an error from bash no",
        ),
        (
            "agent.thread_message_sent",
            {"to_session_thread_id": "sthr_n", "to_agent_name": "north", "content": content("go")},
            {},
            "asked north go",
        ),
        (
            "agent.thread_message_sent",
            {"to_session_thread_id": "sthr_main", "content": content("found it")},
            {},
            "reported to lead found it",
        ),
        (
            "agent.thread_message_received",
            {"from_session_thread_id": "sthr_n", "content": content("hi")},
            {},
            "heard from north hi",
        ),
        ("session.status_idle", {"stop_reason": {"type": "end_turn"}}, {}, "finished its turn"),
        (
            "session.status_idle",
            {"stop_reason": {"type": "requires_action", "event_ids": ["a", "b"]}},
            {},
            "waits for an answer 2 open calls",
        ),
        ("session.thread_created", {"session_thread_id": "sthr_n", "agent_name": "north"}, {}, "started north"),
        (
            "session.error",
            {"error": {"type": "x", "message": "Overloaded", "retry_status": {"type": "retrying"}}},
            {},
            "met an error and tries again Overloaded",
        ),
        ("session.updated", {"title": "New"}, {}, "changed the title “New”"),
        (
            "session.usage",
            {"usage": {"input_tokens": 1200, "output_tokens": 34, "list_cost": {"amount": "310"}}},
            {},
            "has used so far 1.20 k tokens in, 34 out, $3.10",
        ),
        (
            "span.model_request_end",
            {"model_usage": {"input_tokens": 100, "cache_read_input_tokens": 300, "output_tokens": 5}},
            {},
            "got its model's answer 400 tokens in (75 % cached), 5 out",
        ),
        (
            "span.outcome_evaluation_end",
            {"result": "needs_revision", "explanation": "No prices."},
            {},
            "asked for another revision No prices.",
        ),
        ("workflow_run.created", {"name": "plan", "phases": [1, 2]}, {}, "planned the workflow “plan” 2 phases"),
        ("someday.new_type", {"a": 1}, {}, "someday.new_type {'a': 1}"),
    ],
)
def test_sentences(type_, data, private, sentence):
    words = words_for(type_, data, private, CONTEXT)
    assert f"{words.says} {words.text}".strip() == sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("content", "input", "name", "error", "stop_reason", "stop_details", "usage", "model_usage", "tool_use_id"),
        *("phases", "result", "iteration", "agent", "title", "session_thread_id", "deny_message", "rubric"),
    ]
)


@given(
    st.sampled_from(sorted(known_types()) + ["other.type"]), st.dictionaries(KEYS, JSON), st.dictionaries(KEYS, JSON)
)
def test_no_payload_makes_telling_fail(type_, data, private):
    words = words_for(type_, data, private, CONTEXT)
    assert words.says
    assert "\n" not in words.says + words.text
    assert who_of(type_, private, "agent")
    list(parts_of(type_, data, private))


@pytest.mark.parametrize(
    "type_, private, who",
    [
        ("user.message", {"by": "Ana"}, "Ana"),
        ("user.message", {}, "Client"),
        ("agent.message", {}, "scout"),
        ("session.status_idle", {}, "Session"),
        ("span.outcome_evaluation_end", {}, "Grader"),
        ("session.error", {}, "scout"),
    ],
)
def test_who_did_it(type_, private, who):
    assert who_of(type_, private, "scout") == who


@pytest.mark.parametrize(
    "name, given, gist",
    [
        ("bash", {"command": "make\ntest"}, "$ make test"),
        ("bash", {"restart": True}, "restart the shell"),
        ("read", {"file_path": "/a", "view_range": [1, 9]}, "/a, lines 1 to 9"),
        ("write", {"file_path": "/a", "content": "x\ny"}, "/a, 2 lines"),
        ("Edit", {"file_path": "/a", "old_string": "x", "new_string": "y"}, "/a"),
        ("glob", {"pattern": "*.py"}, "“*.py”"),
        ("bash", {"no": "command"}, "command"),
        ("odd", {"a": 1, "b": [2]}, '{"a": 1, "b": [2]}'),
        ("odd", "text", "text"),
        ("odd", {}, ""),
    ],
)
def test_what_a_tool_was_asked(name, given, gist):
    assert tool_gist(name, given) == gist
