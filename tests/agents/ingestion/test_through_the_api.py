"""Imported sessions seen through the official SDK: readable like any other, and not runnable."""

from __future__ import annotations

import anthropic
import pytest

from tests.agents.ingestion.claude_files import SESSION, assistant, read_one, text, tool_result, tool_use, user, write

pytestmark = pytest.mark.done_when(4)


@pytest.fixture
def imported(client, workspace, tmp_path):
    """The public id of an imported session with one sub-agent."""
    from agents.services.ingestion import import_session

    write(
        tmp_path / f"{SESSION}.jsonl",
        user("u1", "How many tests?"),
        assistant("a1", tool_use("toolu_t", "Task", prompt="Count.", subagent_type="Explore"), parent="u1", second=1),
        user("u2", [tool_result("toolu_t", [text("42")])], parent="a1", second=9, toolUseResult={"agentId": "ab12"}),
    )
    write(
        tmp_path / "agent-ab12.jsonl",
        user("c1", "Count.", second=2, agentId="ab12"),
        assistant("c2", text("There are 42."), parent="c1", second=8, message_id="msg_c", agentId="ab12"),
    )
    return import_session(workspace, read_one(tmp_path)).session.public_id


def test_the_sdk_reads_the_session_its_threads_and_its_events(client, imported):
    session = client.beta.sessions.retrieve(imported)
    listed = [found.id for found in client.beta.sessions.list()]
    threads = {thread.agent.name: thread for thread in client.beta.sessions.threads.list(imported)}
    events = list(client.beta.sessions.events.list(imported))
    child = list(client.beta.sessions.threads.events.list(threads["Explore"].id, session_id=imported))

    assert listed == [imported]
    assert session.status == "idle"
    assert session.metadata["imported_from"] == "claude-code"
    assert session.usage.output_tokens == 10
    assert session.stats.duration_seconds == 9
    assert threads["Explore"].parent_thread_id == threads["Claude Code"].id
    assert [event.type for event in events] == [
        "user.message",
        "span.model_request_start",
        "agent.tool_use",
        "session.thread_created",
        "agent.thread_message_sent",
        "span.model_request_end",
        "agent.thread_message_received",
        "agent.tool_result",
    ]
    assert events[-1].tool_use_id == events[2].id
    assert events[4].to_session_thread_id == threads["Explore"].id
    assert [event.type for event in child] == [
        "agent.thread_message_received",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "agent.thread_message_sent",
    ]
    assert child[0].from_session_thread_id == threads["Claude Code"].id


def test_an_imported_session_takes_no_events(client, imported):
    message = {"type": "user.message", "content": [{"type": "text", "text": "Go on."}]}

    with pytest.raises(anthropic.BadRequestError, match="imported"):
        client.beta.sessions.events.send(imported, events=[message])


def test_no_session_can_be_started_with_an_imported_agent_or_environment(client, imported):
    session = client.beta.sessions.retrieve(imported)

    with pytest.raises(anthropic.BadRequestError, match="archived"):
        client.beta.sessions.create(agent=session.agent.id, environment_id=session.environment_id)
