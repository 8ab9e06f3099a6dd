"""Each convention by itself: the same small story, told in the words of whoever recorded it."""

from __future__ import annotations

import json

import pytest

from agents.ingestion.otlp import sessions
from agents.ingestion.otlp.span import Span

pytestmark = pytest.mark.done_when(1)

TRACE = "0af7651916cd43dd8448eb211c80319c"
START = 1_760_000_000


def made(number, name, parent=0, *, at=0, took=1, status=0, events=(), **attributes):
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    start = (START + at) * 10**9
    span = Span(TRACE, f"{number:016x}", f"{parent:016x}" if parent else "", name, 1, start, start + took * 10**9)
    span.status, span.attributes, span.events = status, named, list(events)
    return span


def told(*spans):
    (session,) = [sessions.convert(key, group) for key, group in sessions.group(spans).items()]
    return session


def types(session, thread=None):
    return [event.type for event in session.events if thread in (None, event.thread)]


def one(session, kind):
    (event,) = [event for event in session.events if event.type == kind]
    return event


def said(event):
    return "".join(block["text"] for block in event.payload["content"])


@pytest.mark.parametrize(
    "read, written",
    [
        ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
        ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
        ("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
    ],
)
def test_every_spelling_of_cached_tokens_counts_them_once(read, written):
    chat = made(1, "chat m", gen_ai__operation__name="chat", gen_ai__usage__input_tokens=100)
    chat.attributes |= {read: 60, written: 30, "gen_ai.usage.output_tokens": 7}

    usage = one(told(chat), "span.model_request_end").payload["model_usage"]

    assert usage == {
        "input_tokens": 10,
        "output_tokens": 7,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
    }


def test_the_first_conventions_put_messages_into_span_events():
    events = [
        {"name": "gen_ai.system.message", "time": 0, "attributes": {"content": "Be brief."}},
        {"name": "gen_ai.user.message", "time": 0, "attributes": {"content": "Why?"}},
        {"name": "gen_ai.choice", "time": 0, "attributes": {"message": '{"content": "Because."}', "index": 0}},
    ]
    session = told(made(1, "chat m", events=events, gen_ai__operation__name="chat"))

    assert types(session)[:2] == ["system.message", "user.message"]
    assert said(one(session, "user.message")) == "Why?"
    assert said(one(session, "agent.message")) == "Because."


def test_thinking_images_and_calls_inside_an_answer_keep_their_order():
    parts = [
        {"type": "reasoning", "content": "Let me see."},
        {"type": "text", "content": "I look."},
        {"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": "it"}},
    ]
    chat = made(
        1,
        "chat m",
        gen_ai__operation__name="chat",
        gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": parts}]),
    )
    session = told(chat)

    assert types(session)[1:-1] == ["agent.thinking", "agent.message", "agent.tool_use"]
    assert one(session, "agent.thinking").private["thinking"] == "Let me see."
    assert one(session, "agent.tool_use").payload == {"name": "look", "input": {"at": "it"}}


def test_openinference_numbers_its_messages():
    model = made(2, "ChatAnthropic", 1, at=1, openinference__span__kind="LLM", llm__model_name="claude-x")
    model.attributes |= {
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.contents.0.message_content.type": "text",
        "llm.input_messages.0.message.contents.0.message_content.text": "Weather?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "t1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city": "Bern"}',
        "llm.token_count.prompt": 40,
        "llm.token_count.completion": 4,
        "llm.token_count.prompt_details.cache_read": 30,
        "llm.cost.total": 0.01,
    }
    tool = made(3, "weather", 1, at=3, status=2, openinference__span__kind="TOOL", tool__name="weather")
    tool.attributes |= {"tool.id": "t1", "input.value": '{"city": "Bern"}', "output.value": "no such city"}
    session = told(made(1, "planner", openinference__span__kind="AGENT", took=9), model, tool)

    assert [thread.agent_name for thread in session.threads] == ["planner"]
    assert said(one(session, "user.message")) == "Weather?"
    assert one(session, "agent.tool_use").payload["input"] == {"city": "Bern"}
    assert one(session, "agent.tool_result").payload["is_error"] is True
    assert one(session, "span.model_request_end").payload["model_usage"]["input_tokens"] == 10
    assert one(session, "span.model_request_end").private["attributes"] == {"llm.cost.total": 0.01}


def test_claude_codes_sub_agents_are_threads_and_its_waits_are_told():
    session = told(
        made(1, "claude_code.interaction", user_prompt="Count the files.", session__id="s-7", took=30),
        made(2, "claude_code.llm_request", 1, at=1, model="claude-x", input_tokens=5, cache_read_tokens=50),
        made(
            3,
            "claude_code.tool",
            1,
            at=3,
            took=20,
            tool_name="Task",
            tool_use_id="t1",
            tool_input='{"prompt": "Look around.", "subagent_type": "Explore"}',
            tool_output="There are two.",
        ),
        made(4, "claude_code.llm_request", 3, at=5, model="claude-y", output_tokens=3),
        made(5, "claude_code.tool", 3, at=7, took=9, tool_name="Bash", full_command="ls"),
        made(6, "claude_code.tool.blocked_on_user", 5, at=8, took=5, decision="accept"),
    )

    assert session.external_id == "s-7"
    assert [(thread.agent_name, thread.model) for thread in session.threads][1] == ("Explore", "claude-y")
    child = session.threads[1].key
    assert types(session, child) == [
        "agent.thread_message_received",
        "span.model_request_start",
        "span.model_request_end",
        "agent.tool_use",
        "daybreak.span",
        "agent.tool_result",
    ]
    assert said(one(session, "agent.thread_message_sent")) == "Look around."
    first = next(event for event in session.events if event.type == "span.model_request_end")
    assert first.payload["model_usage"]["cache_read_input_tokens"] == 50
    assert first.payload["model_usage"]["input_tokens"] == 5


def test_a_failed_request_is_an_error_told_once_for_all_who_wrap_it():
    session = told(
        made(1, "GET /chat", status=2, took=9),
        made(2, "invoke_agent a", 1, status=2, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="a", took=8),
        made(3, "chat m", 2, at=1, status=2, gen_ai__operation__name="chat", error__type="overloaded_error"),
    )

    assert one(session, "session.error").payload["error"]["message"] == "overloaded_error"
    assert one(session, "span.model_request_end").payload["is_error"] is True


def test_evaluations_become_annotations_of_what_they_are_about():
    event = {
        "name": "gen_ai.evaluation.result",
        "time": 0,
        "attributes": {
            "gen_ai.evaluation.name": "helpful",
            "gen_ai.evaluation.score.label": "pass",
            "gen_ai.evaluation.explanation": "It answers.",
        },
    }
    messages = json.dumps([{"role": "assistant", "content": "Yes."}])
    chat = made(1, "chat m", events=[event], gen_ai__operation__name="chat", gen_ai__output__messages=messages)
    session = told(chat)

    (annotation,) = session.annotations
    assert (annotation.category, annotation.text) == ("helpful", "pass: It answers.")
    assert annotation.event == one(session, "agent.message").external_id


def test_unknown_attributes_stay_with_the_event_of_their_span():
    chat = made(1, "chat m", gen_ai__operation__name="chat", shop__order=17)
    chat.resource, chat.scope = {"service.name": "shop"}, "my.library"

    private = one(told(chat), "span.model_request_end").private

    assert private["attributes"] == {"shop.order": 17}
    assert (private["resource"], private["scope"]) == ({"service.name": "shop"}, "my.library")
