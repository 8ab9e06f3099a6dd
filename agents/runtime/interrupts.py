"""Ending a turn because somebody asked: every open span closed, every call answered, the thread idle."""

from __future__ import annotations

from typing import Any

from agents.models import Event, ModelAttempt, Step, Thread, ToolCall
from agents.providers.base import Cancellation
from agents.runtime.leases import Run, fenced_log
from agents.sandbox import client as sandbox
from agents.services import budgets, status, threads
from agents.services.calls import answer_open_calls
from agents.services.log import Log
from agents.services.turns import has_new_mail, make_ready

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
        mark_interrupts(log, thread)
        asked_at = thread.interrupt_seq
        thread.interrupts_handled_seq = asked_at
        thread.phase, thread.runnable_at, thread.takeovers = Thread.Phase.IDLE, None, 0
        log.touch(thread, "interrupts_handled_seq", "phase", "runnable_at", "takeovers")
        if thread.closing:
            _end_for_good(log, thread, cause)
            return
        if not ended_already:
            threads.rest(log, thread, {"type": "end_turn"}, cause=cause)
        start_queued_turn(log, thread, after_seq=asked_at)
    run.cancellation = Cancellation()


def _end_for_good(log: Log, child: Thread, cause: int) -> None:
    status.set_thread_idle(log, child, {"type": "end_turn"}, cause=cause)
    status.set_thread_terminated(log, child, cause=cause)
    threads.after_child(log, None)


def mark_interrupts(log: Log, thread: Thread) -> None:
    """Record interrupts as processed which this thread was the last to carry out."""
    for event in Event.objects.filter(
        session=log.session, type="user.interrupt", processed_at__isnull=True, seq__lte=thread.interrupt_seq
    ).select_related("thread"):
        if not _others_still_stopping(log, thread, event.seq):
            log.mark_processed(event)


def end_running_calls(run: Run) -> None:
    """End the commands that this thread has in its sandbox, whoever started them. No lock is held meanwhile."""
    running = ToolCall.objects.filter(thread_id=run.thread_pk, state=ToolCall.State.RUNNING, kind=ToolCall.Kind.AGENT)
    for exec_id in list(running.values_list("exec_id", flat=True)):
        sandbox.cancel(run.workplace.spec, exec_id)
        sandbox.acknowledge(run.workplace.spec, exec_id)


def _others_still_stopping(log: Log, thread: Thread, seq: int) -> bool:
    others = log.session.threads.exclude(pk=thread.pk).filter(interrupt_seq__gte=seq)
    return any(other.interrupt_pending for other in others)


def close_open_spans(log: Log, thread: Thread, state: Step.State, error: str) -> None:
    """End model requests that will never be answered: each start has exactly one end."""
    log.flush()
    open_steps = Step.objects.filter(thread=thread, state=Step.State.STARTED)
    for attempt in ModelAttempt.objects.filter(step__in=open_steps, ended_at__isnull=True).select_related(
        "start_event"
    ):
        if attempt.start_event is not None:
            end_span(log, thread, attempt.start_event, usage={}, is_error=True)
        attempt.ended_at, attempt.error_type = log.now, error
        attempt.save(update_fields=["ended_at", "error_type"])
    open_steps.update(state=state, ended_at=log.now)
    budgets.settle(log, thread)


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


def start_queued_turn(log: Log, thread: Thread, *, after_seq: int = 0) -> None:
    """When messages came meanwhile, the next turn starts at once; for agents' messages, if after `after_seq`."""
    waiting = (
        Event.objects.filter(thread=thread, type="user.message", processed_at__isnull=True).order_by("seq").first()
    )
    if waiting is not None:
        make_ready(log, thread, cause=waiting)
    elif log.session.thread_count > 1 and has_new_mail(thread, after_seq=after_seq):
        make_ready(log, thread, cause=None)
