"""Driving a thread: claim it, take one step after another, give it back.

After a commit the same call goes on with its thread until the thread waits or ends, or has had its share of steps or
seconds. All state is in the database: whatever happens to a worker, the next one goes on from the last commit.
"""

from __future__ import annotations

import logging
import time

from django.db import connection

from agents.models import Thread
from agents.runtime import interrupts, leases, limits, model_step, recovery, tool_step
from agents.runtime.leases import Fenced, Run
from agents.runtime.outages import is_outage
from agents.services import log_sql
from agents.services.log import SessionGone

logger = logging.getLogger(__name__)

WORK = {
    Thread.Phase.READY: model_step.take,
    Thread.Phase.BACKOFF: model_step.take,
    Thread.Phase.TOOL_BATCH: tool_step.take,
    Thread.Phase.WAITING_AGENTS: tool_step.take,
}
UNTIL_LATER = (Thread.Phase.BACKOFF, Thread.Phase.WAITING_AGENTS)


def advance(thread_pk: int) -> bool:
    """Drive the thread for a while, when it has work and nobody else does.

    Returns:
        True when it has more work right now: somebody should look at it again.
    """
    try:
        run = leases.claim(thread_pk)
        return False if run is None else _drive(run)
    except Exception as exc:
        if not is_outage(exc):
            raise
        logger.warning("the database is away thread=%s: %s", thread_pk, exc)  # the sweep finds the thread again
        return False
    finally:
        if not connection.in_atomic_block:
            connection.close()


def _drive(run: Run) -> bool:
    try:
        _work(run)
        return leases.release(run)
    except Exception as exc:
        if is_outage(exc):
            # Whether the last commit arrived is unknown: whoever claims the thread next reads what is there.
            leases.held_runs.cut_off(run)
        else:
            leases.held_runs.remove(run)  # nobody renews the lease: that it runs out counts against the step
        raise


def _work(run: Run) -> None:
    try:
        recovery.recover(run)
        _take_steps(run)
    except Fenced:
        logger.info("fenced thread=%s epoch=%s", run.thread_pk, run.epoch)
    except SessionGone:
        logger.info("session gone thread=%s", run.thread_pk)
    except Exception as exc:
        if is_outage(exc):
            raise
        logger.exception("a step failed thread=%s", run.thread_pk)
        _after_failure(run)


def _after_failure(run: Run) -> None:
    """Never repeat a failing step without end: try again a little later, and give up after a few times."""
    try:
        recovery.back_off(run)
    except (Fenced, SessionGone):
        logger.info("fenced thread=%s epoch=%s", run.thread_pk, run.epoch)


def _take_steps(run: Run) -> None:
    deadline = time.monotonic() + limits.SECONDS_PER_ADVANCE
    for _ in range(limits.STEPS_PER_ADVANCE):
        if run.lost or leases.held_runs.draining or time.monotonic() > deadline:
            return
        thread = run.thread  # as of this run's last commit; interrupts are looked at under the lock
        if thread is None or thread.runnable_at is None:
            return
        if thread.interrupt_pending:
            interrupts.finish(run)
            continue
        work = WORK.get(Thread.Phase(thread.phase))
        if work is None or not _is_here(run, thread):
            return
        work(run)
        if run.cancellation.cancelled and not run.lost:
            run.thread = _read_thread(run)  # an interrupt came in the middle of the step
        elif run.thread is not None and run.thread.phase in UNTIL_LATER:
            return  # not before its time: the claim looks at the clock


def _is_here(run: Run, thread: Thread) -> bool:
    """Tool calls run on the host where the session's sandbox is."""
    return thread.phase != Thread.Phase.TOOL_BATCH or run.workplace.session.sandbox_host in ("", leases.HOST)


def _read_thread(run: Run) -> Thread | None:
    return next(iter(log_sql.select(Thread, "r.id = $1", run.thread_pk)), None)
