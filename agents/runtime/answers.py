"""Writing a model's answer to the log, and deciding what its thread does next."""

from __future__ import annotations

import hashlib
from typing import Any

from agents.ids import EXEC, new_id
from agents.models import Event, Thread, ToolCall
from agents.providers.base import Answer
from agents.runtime import reports, toolset
from agents.runtime.attempts import Attempt, end_answered_span, finish_record
from agents.runtime.context import canonical
from agents.runtime.interrupts import start_queued_turn
from agents.runtime.leases import Run, fenced_log
from agents.runtime.team_tools import team_of
from agents.services import status
from agents.services.calls import TEAM_USE
from agents.services.log import Log, clean
from agents.services.multiagent import CHILD_TOOLS, LEAD_TOOLS
from agents.services.turns import has_new_mail, has_queued_message

TEAM_TOOLS = frozenset((*LEAD_TOOLS, *CHILD_TOOLS))
REFUSAL_CATEGORIES = {"cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms"}


def commit(run: Run, attempt: Attempt, answer: Answer) -> None:
    """The answer, its usage, its tool calls and the thread's next state: one transaction."""
    attempt.report_path = reports.store_long(run, attempt, answer)
    with fenced_log(run) as (log, thread):
        log.step = attempt.step
        start = attempt.start
        content = clean(answer.content)
        _append_thinking(log, thread, content, start, attempt.thinking_id)
        _append_message(log, thread, content, start, attempt.message_id)
        calls = [_append_call(log, thread, block, start) for block in content if block["type"] == "tool_use"]
        end_answered_span(log, thread, attempt, answer)
        attempt.record.stop_reason = answer.stop_reason
        attempt.record.response_id = answer.response_id
        attempt.record.time_to_first_chunk_ms = answer.time_to_first_chunk_ms
        thread.context_tokens = answer.usage.context_tokens + answer.usage.output_tokens
        thread.model_attempts = thread.compactions_in_a_row = thread.takeovers = 0
        log.touch(thread, "context_tokens", "model_attempts", "compactions_in_a_row", "takeovers")
        finish_record(log, attempt, usage=answer.usage)
        _decide(log, thread, calls, answer, attempt)


def _append_thinking(log: Log, thread: Thread, content: list[dict[str, Any]], start: Event, public_id: str) -> None:
    """The wire shows that the agent thought; what it thought is kept beside it."""
    blocks = [block for block in content if block["type"] in ("thinking", "redacted_thinking")]
    if blocks:
        text = "\n\n".join(block.get("thinking", "") for block in blocks).strip()
        private = {"thinking": text, "blocks": blocks}
        log.append(thread, "agent.thinking", {}, private=private, cause=start, public_id=public_id)


def _append_message(log: Log, thread: Thread, content: list[dict[str, Any]], start: Event, public_id: str) -> None:
    texts = [{"type": "text", "text": block["text"]} for block in content if block["type"] == "text"]
    if any(block["text"].strip() for block in texts):
        log.append(thread, "agent.message", {"content": texts}, cause=start, public_id=public_id)


def _append_call(log: Log, thread: Thread, block: dict[str, Any], start: Event) -> ToolCall:
    """One tool use: its event, and the row that follows it to its result."""
    name, value = block["name"], block["input"] if isinstance(block["input"], dict) else {}
    kind = _kind(thread, name)
    call = ToolCall(
        session=log.session,
        thread=thread,
        kind=kind,
        name=name[:200],
        exec_id=new_id(EXEC),
        turn_no=thread.turn_no,
        input_sha256=hashlib.sha256(canonical([name, value])).hexdigest(),
        state=ToolCall.State.WAITING,
    )
    payload: dict[str, Any] = {"name": name, "input": value}
    if kind == ToolCall.Kind.TEAM:
        call.state = ToolCall.State.READY
        event = log.append(thread, TEAM_USE, payload, cause=start, visible=False)
    elif kind == ToolCall.Kind.CUSTOM:
        event = log.append(thread, "agent.custom_tool_use", payload, cause=start)
    else:
        permission = toolset.permission(thread.agent_snapshot, name)
        call.permission, call.deny_message = permission.verdict, permission.reason
        if permission.verdict != "ask":
            call.state = ToolCall.State.READY
        payload["evaluated_permission"] = permission.verdict
        if permission.evaluation is not None:
            payload["evaluation"] = permission.evaluation
        event = log.append(thread, "agent.tool_use", payload, cause=start)
    if call.state == ToolCall.State.WAITING and not thread.is_primary:
        shown = {**payload, "session_thread_id": thread.public_id}
        call.crosspost_event = log.append(log.primary(), event.type, shown, cause=event)
    call.use_event = event
    log.add(call)
    return call


def _kind(thread: Thread, name: str) -> ToolCall.Kind:
    if name in TEAM_TOOLS and name in team_of(thread.agent_snapshot, is_child=not thread.is_primary).tool_names:
        return ToolCall.Kind.TEAM
    return ToolCall.Kind.CUSTOM if name in toolset.custom_tools(thread.agent_snapshot) else ToolCall.Kind.AGENT


def _decide(log: Log, thread: Thread, calls: list[ToolCall], answer: Answer, attempt: Attempt) -> None:
    """What the thread does after this answer."""
    if calls:
        thread.tool_rounds += 1
        thread.phase = Thread.Phase.TOOL_BATCH
        log.touch(thread, "tool_rounds", "phase")
        if not thread.interrupt_pending and all(call.state == ToolCall.State.WAITING for call in calls):
            wait_for_client(log, thread)
        return
    if answer.stop_reason == "pause_turn" or thread.interrupt_pending:
        # An interrupt is written by `interrupts.finish`, which comes next.
        thread.phase = Thread.Phase.READY
        log.touch(thread, "phase")
        return
    thread.phase, thread.runnable_at = Thread.Phase.IDLE, None
    log.touch(thread, "phase", "runnable_at")
    if answer.stop_reason != "refusal" and (has_queued_message(thread) or _has_mail(log, thread)):
        thread.phase, thread.runnable_at, thread.tool_rounds = Thread.Phase.READY, log.now, 0
        log.touch(thread, "tool_rounds")
        if not thread.is_primary:
            reports.hand_in(log, thread, answer, attempt)
    elif thread.is_primary:
        _end_turn(log, thread, answer, attempt.start)
    else:
        reports.end_turn(log, thread, answer, attempt)
        if answer.stop_reason == "refusal":
            start_queued_turn(log, thread)  # what its lead has sent meanwhile


def _end_turn(log: Log, thread: Thread, answer: Answer, start: Event) -> None:
    if answer.stop_reason == "refusal":
        status.set_idle(log, thread, {"type": "refusal"}, stop_details=_refusal(answer), cause=start)
        start_queued_turn(log, thread)
    else:
        status.set_idle(log, thread, {"type": "end_turn"}, cause=start)


def _has_mail(log: Log, thread: Thread) -> bool:
    return log.session.thread_count > 1 and has_new_mail(thread)


def wait_for_client(log: Log, thread: Thread) -> None:
    """Nothing to do before a person or a client answers: no worker, no lease, no process."""
    thread.phase, thread.runnable_at = Thread.Phase.WAITING_USER, None
    log.touch(thread, "phase", "runnable_at")
    event_ids = status.waiting_ids(log, thread, on_session=False)
    status.set_idle(log, thread, {"type": "requires_action", "event_ids": event_ids})


def _refusal(answer: Answer) -> dict[str, Any]:
    details = answer.stop_details or {}
    category = details.get("category")
    return {
        "type": "refusal",
        "category": category if category in REFUSAL_CATEGORIES else None,
        "explanation": details.get("explanation"),
    }
