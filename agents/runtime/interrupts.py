"""Ending a turn because somebody asked: every open span closed, every call answered, the thread idle."""

from __future__ import annotations

from typing import Any

from agents.models import Event, ModelAttempt, Step, Thread, ToolCall
from agents.providers.base import Cancellation
from agents.runtime.leases import Run, fenced_log
from agents.sandbox import client as sandbox
from agents.services import log_sql, status
from agents.services.events import make_ready
from agents.services.log import Log

INTERRUPTED = "The call was interrupted before it finished. Its effects, if any, are unknown."


def finish(run: Run) -> None:
    """Write the end of an interrupted turn, then start the next one when a message is waiting."""
    end_running_calls(run)
    with fenced_log(run) as (log, thread):
        if not thread.interrupt_pending:
            return
        ended_already = thread.phase == Thread.Phase.IDLE and thread.status == Thread.Status.IDLE
        close_open_spans(log, thread, Step.State.FAILED, "interrupted")
        cause = thread.interrupt_seq
        answer_open_calls(log, thread, INTERRUPTED, cause=cause)
        for event in Event.objects.filter(
            session=log.session, type="user.interrupt", processed_at__isnull=True, seq__lte=thread.interrupt_seq
        ).select_related("thread"):
            if not _others_still_stopping(log, thread, event.seq):
                log.mark_processed(event)
        thread.interrupts_handled_seq = thread.interrupt_seq
        thread.phase, thread.runnable_at = Thread.Phase.IDLE, None
        log.touch(thread, "interrupts_handled_seq", "phase", "runnable_at")
        thread.takeovers = 0
        log.touch(thread, "takeovers")
        if not ended_already:
            status.set_idle(log, thread, {"type": "end_turn"}, cause=cause)
        start_queued_turn(log, thread)
    run.cancellation = Cancellation()


def end_running_calls(run: Run) -> None:
    """End the commands that this thread has in its sandbox, whoever started them. No lock is held meanwhile."""
    running = ToolCall.objects.filter(thread_id=run.thread_pk, state=ToolCall.State.RUNNING)
    for exec_id in list(running.values_list("exec_id", flat=True)):
        sandbox.cancel(run.workplace.spec, exec_id)
        sandbox.acknowledge(run.workplace.spec, exec_id)


def _others_still_stopping(log: Log, thread: Thread, seq: int) -> bool:
    others = log.session.threads.exclude(pk=thread.pk).filter(interrupt_seq__gte=seq)
    return any(other.interrupt_pending for other in others)


def close_open_spans(log: Log, thread: Thread, state: Step.State, error: str) -> None:
    """End model requests that will never be answered: each start has exactly one end."""
    log.flush_changes()
    open_steps = Step.objects.filter(thread=thread, state=Step.State.STARTED)
    for attempt in ModelAttempt.objects.filter(step__in=open_steps, ended_at__isnull=True).select_related(
        "start_event"
    ):
        if attempt.start_event is not None:
            end_span(log, thread, attempt.start_event, usage={}, is_error=True)
        attempt.ended_at, attempt.error_type = log.now, error
        attempt.save(update_fields=["ended_at", "error_type"])
    open_steps.update(state=state, ended_at=log.now)


def end_span(
    log: Log,
    thread: Thread,
    start: Event,
    *,
    usage: dict[str, int],
    is_error: bool,
    private: dict[str, Any] | None = None,
) -> Event:
    """Close a model request span. `usage` names wire counts; what it lacks is zero."""
    counts = {
        name: usage.get(name, 0)
        for name in (
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
            "input_tokens",
            "output_tokens",
        )
    }
    payload = {"model_request_start_id": start.public_id, "model_usage": counts, "is_error": is_error}
    return log.append(thread, "span.model_request_end", payload, private=private, cause=start)


def answer_open_calls(log: Log, thread: Thread, text: str, *, cause: Event | int | None) -> None:
    """Give every unanswered call an error result, so that the next request is well formed."""
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
    if call.kind == ToolCall.Kind.MCP:
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
    )
    call.state, call.is_error, call.ended_at = ToolCall.State.DONE, is_error, log.now
    call.result_event = row
    log.change(call, "state", "is_error", "ended_at", "result_event", "result_sha256")
    return row


def start_queued_turn(log: Log, thread: Thread) -> None:
    """When messages were queued meanwhile, the next turn starts at once."""
    waiting = (
        Event.objects.filter(thread=thread, type="user.message", processed_at__isnull=True).order_by("seq").first()
    )
    if waiting is not None:
        make_ready(log, thread, cause=waiting)
