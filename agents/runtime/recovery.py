"""Going on after a worker died: what it left open is closed or picked up, and nothing runs twice."""

from __future__ import annotations

from agents.models import Step, Thread
from agents.runtime import limits
from agents.runtime.interrupts import close_open_spans
from agents.runtime.leases import Run, fenced_log
from agents.runtime.retries import stop_turn

ASKING = (Thread.Phase.MODEL_REQUEST, Thread.Phase.COMPACTING)


def recover(run: Run) -> None:
    """Bring a freshly claimed thread into a state from which a step can be taken.

    A model request that was under way is lost: its span is closed as an error and it is asked again. A tool batch
    needs nothing here: `tool_step` asks the sandbox what became of each call.
    """
    if run.thread is None or (run.thread.phase not in ASKING and run.takeovers < limits.MAX_TAKEOVERS):
        return
    with fenced_log(run) as (log, thread):
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
