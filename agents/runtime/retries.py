"""What happens when a model request fails: another attempt later, or the end of the turn."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.conf import settings

from agents.errors import ProviderError
from agents.models import Event, Step, Thread
from agents.providers.base import Usage
from agents.runtime import limits
from agents.runtime.attempts import Attempt, finish_record
from agents.runtime.interrupts import close_open_spans, end_span, mark_interrupts
from agents.runtime.leases import Run, fenced_log
from agents.services import budgets, provider_holds, status, threads
from agents.services.calls import answer_open_calls
from agents.services.log import Log, clean_text


def record_failure(run: Run, attempt: Attempt, error: ProviderError) -> None:
    """Close the failed attempt in the log, then wait for the next one or give up."""
    with fenced_log(run) as (log, thread):
        end = end_span(log, thread, attempt.start, usage={}, is_error=True)
        finish_record(log, attempt, usage=Usage(), error=error)
        held_until = _hold_all(log, attempt, error)
        if thread.interrupt_pending:
            thread.phase, thread.runnable_at = Thread.Phase.READY, log.now  # `interrupts.finish` comes next
            log.touch(thread, "phase", "runnable_at")
            return
        if not error.retryable or thread.model_attempts >= settings.DAYBREAK_MODEL_ATTEMPTS:
            stop_turn(log, thread, error.wire_type, error.message, cause=end)
            return
        append_error(log, thread, error.wire_type, error.message, "retrying", cause=end)
        delay = timedelta(seconds=retry_delay_s(thread.model_attempts, error.retry_after_s))
        thread.phase = Thread.Phase.BACKOFF
        thread.runnable_at = provider_holds.turn_after(held_until, thread) if held_until else log.now + delay
        log.touch(thread, "phase", "runnable_at")
        status.set_rescheduling(log, thread, cause=end)


def wait_for_provider(log: Log, thread: Thread) -> bool:
    """Whether the thread has to wait because its provider told another user of the key to. No attempt is made then."""
    until = provider_holds.held_until(provider_holds.key_of(log.session, thread.agent_snapshot["model"]["id"]))
    if until is None:
        return False
    budgets.settle(log, thread)  # others may go on with what was kept for it
    thread.phase, thread.runnable_at = Thread.Phase.BACKOFF, provider_holds.turn_after(until, thread)
    log.touch(thread, "phase", "runnable_at")
    if thread.status != Thread.Status.RESCHEDULING:
        status.set_rescheduling(log, thread, private={"held_until": until.isoformat()})
    return True


def _hold_all(log: Log, attempt: Attempt, error: ProviderError) -> datetime | None:
    """A provider that says how long to wait means everybody who uses its key. Returns until when."""
    if not error.retryable or not error.retry_after_s:
        return None
    seconds = min(error.retry_after_s, limits.MAX_RETRY_AFTER_S)
    return provider_holds.hold(provider_holds.key_of(log.session, attempt.record.model), seconds)


def retry_delay_s(attempts: int, retry_after_s: float | None) -> float:
    """Seconds before the next attempt: what the vendor asked for, else doubling with up to a quarter of jitter."""
    if retry_after_s is not None:
        return min(max(retry_after_s, 0.0), limits.MAX_RETRY_AFTER_S)
    base = settings.DAYBREAK_RETRY_BASE_S * 2 ** (attempts - 1)
    return min(base, limits.MAX_RETRY_DELAY_S) * random.uniform(1.0, 1.25)  # noqa: S311 (jitter)


def append_error(
    log: Log, thread: Thread, type_: str, message: str, retry_status: str, *, cause: Event | None = None
) -> Event:
    error = {"type": type_, "message": clean_text(message), "retry_status": {"type": retry_status}}
    return log.append(thread, "session.error", {"error": error}, cause=cause)


def stop_turn(log: Log, thread: Thread, type_: str, message: str, *, cause: Event | None = None) -> None:
    """End the turn for good: queued inputs are flushed, open calls answered, the thread idle. A child ends with it."""
    close_open_spans(log, thread, Step.State.FAILED, "stopped")
    error = append_error(log, thread, type_, message, "exhausted", cause=cause)
    for event in Event.objects.filter(
        thread=thread, type__in=("user.message", "system.message"), processed_at__isnull=True
    ).order_by("seq"):
        event.thread = thread
        log.mark_processed(event)
    answer_open_calls(log, thread, f"The turn was ended: {message}", cause=error)
    thread.phase, thread.model_attempts, thread.takeovers = Thread.Phase.IDLE, 0, 0
    thread.runnable_at = log.now if thread.interrupt_pending else None  # an interrupt is still to be recorded
    log.touch(thread, "phase", "runnable_at", "model_attempts", "takeovers")
    if thread.is_primary:
        status.set_idle(log, thread, {"type": "retries_exhausted"}, cause=error)
        return
    if thread.interrupt_pending:
        mark_interrupts(log, thread)
    threads.fail(log, thread, message, cause=error)
