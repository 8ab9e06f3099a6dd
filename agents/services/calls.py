"""The one result that every tool call gets."""

from __future__ import annotations

from typing import Any

from agents.models import Event, Thread, ToolCall
from agents.services import log_sql
from agents.services.log import Log

# Calls of the tools for working together and their results: the model's own, never on the wire, where the messages
# and thread events that come of them are.
TEAM_USE = "daybreak.tool_use"
TEAM_RESULT = "daybreak.tool_result"


def answer_open_calls(log: Log, thread: Thread, text: str, *, cause: Event | int | None) -> None:
    """Give every unanswered call an error result, so that the next request is well formed."""
    log.flush()
    for call in log_sql.open_calls(thread.pk):
        append_result(log, thread, call, [{"type": "text", "text": text}], is_error=True, cause=cause)


def append_result(
    log: Log,
    thread: Thread,
    call: ToolCall,
    content: list[dict[str, Any]],
    *,
    is_error: bool,
    cause: Event | int | None = None,
) -> Event:
    """Write the one result of a call and close the call."""
    if call.kind == ToolCall.Kind.TEAM:
        type_, reference = TEAM_RESULT, "tool_use_id"
    elif call.kind == ToolCall.Kind.MCP:
        type_, reference = "agent.mcp_tool_result", "mcp_tool_use_id"
    elif call.kind == ToolCall.Kind.CUSTOM:
        # The contract has no agent-side result for a custom tool: the unanswered call is closed on the wire's
        # terms by the same event type a client would have sent.
        type_, reference = "user.custom_tool_result", "custom_tool_use_id"
    else:
        type_, reference = "agent.tool_result", "tool_use_id"
    row = log.append(
        thread,
        type_,
        {reference: call.use_event.public_id, "content": content, "is_error": is_error},
        cause=cause if cause is not None else call.use_event.seq,
        visible=call.kind != ToolCall.Kind.TEAM,
    )
    call.state, call.is_error, call.ended_at = ToolCall.State.DONE, is_error, log.now
    call.result_event = row
    log.change(call, "state", "is_error", "ended_at", "result_event", "result_sha256", "malformed")
    return row
