"""Going on after a worker died: what it left open is closed or picked up, and nothing runs twice."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from agents.models import Step, Thread
from agents.runtime import limits
from agents.runtime.interrupts import close_open_spans, end_running_calls
from agents.runtime.leases import Run, fenced_log
from agents.runtime.retries import stop_turn

ASKING = (Thread.Phase.MODEL_REQUEST, Thread.Phase.COMPACTING)
HAS_WORK = (Thread.Phase.READY, Thread.Phase.BACKOFF, Thread.Phase.TOOL_BATCH, Thread.Phase.WAITING_AGENTS)


def recover(run: Run) -> None:
    """Bring a freshly claimed thread into a state from which a step can be taken.

    A model request that was under way is lost: its span is closed as an error and it is asked again. A tool batch
    needs nothing here: `tool_step` asks the sandbox what became of each call.
    """
    if run.thread is None or (run.thread.phase not in ASKING and run.takeovers < limits.MAX_TAKEOVERS):
        return
    _end_commands(run)
    with fenced_log(run) as (log, thread):
        if thread.interrupt_pending:
            close_open_spans(log, thread, Step.State.FAILED, "interrupted")
        close_open_spans(log, thread, Step.State.LOST, "worker_lost")
        if run.takeovers >= limits.MAX_TAKEOVERS:
            stop_turn(
                log,
                thread,
                "unknown_error",
                f"This step took down its worker {run.takeovers} times in a row, so the turn was ended.",
            )
            return
        if thread.phase in ASKING:
            thread.phase = Thread.Phase.READY
            log.touch(thread, "phase")


def _end_commands(run: Run) -> None:
    """A thread that is given up leaves no command running."""
    if run.takeovers >= limits.MAX_TAKEOVERS:
        end_running_calls(run)


def back_off(run: Run) -> None:
    """A step failed in a way nobody foresaw: try it again a little later, and end the turn after a few times."""
    with fenced_log(run) as (log, thread):
        close_open_spans(log, thread, Step.State.FAILED, "internal_error")
        thread.takeovers += 1
        log.touch(thread, "takeovers")
        if thread.takeovers >= limits.MAX_TAKEOVERS:
            stop_turn(
                log,
                thread,
                "unknown_error",
                f"An internal error ended the turn after {thread.takeovers} tries. The server's log has the details.",
            )
            thread.takeovers = 0
            return
        if thread.phase in ASKING:
            thread.phase = Thread.Phase.READY
        if thread.phase not in HAS_WORK:
            return  # what failed came after its work was done
        thread.runnable_at = log.now + timedelta(seconds=settings.DAYBREAK_RETRY_BASE_S * 2**thread.takeovers)
        log.touch(thread, "phase", "runnable_at")
