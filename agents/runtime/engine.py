"""Driving a thread: claim it, take one step after another, give it back.

After a commit the same call goes on with its thread until the thread waits or ends, or has had its share of steps or
seconds. All state is in the database: whatever happens to a worker, the next one goes on from the last commit.
"""

from __future__ import annotations

import logging
import time

from django.db import connection

from agents.errors import NotFound
from agents.models import Thread
from agents.runtime import interrupts, leases, limits, model_step, recovery, tool_step, workspace
from agents.runtime.leases import Fenced, Run

logger = logging.getLogger(__name__)

WORK = {
    Thread.Phase.READY: model_step.take,
    Thread.Phase.BACKOFF: model_step.take,
    Thread.Phase.TOOL_BATCH: tool_step.take,
}


def advance(thread_pk: int) -> bool:
    """Drive the thread for a while, when it has work and nobody else does.

    Returns:
        True when it has more work right now: somebody should look at it again.
    """
    run = leases.claim(thread_pk)
    if run is None:
        return False
    try:
        run.thread = Thread.objects.filter(pk=run.thread_pk).first()
        run.place = workspace.workplace(run.session_pk)
        recovery.recover(run)
        _take_steps(run)
    except Fenced:
        logger.info("fenced thread=%s epoch=%s", run.thread_pk, run.epoch)
    except NotFound:
        logger.info("thread gone thread=%s", run.thread_pk)
    finally:
        more = leases.release(run)
        if not connection.in_atomic_block:
            connection.close()
    return more


def _take_steps(run: Run) -> None:
    deadline = time.monotonic() + limits.SECONDS_PER_ADVANCE
    for _ in range(limits.STEPS_PER_ADVANCE):
        if run.lost or time.monotonic() > deadline:
            return
        thread = run.thread  # as of this run's last commit; interrupts are looked at under the lock
        if thread is None or thread.runnable_at is None:
            return
        if thread.interrupt_pending:
            interrupts.finish(run)
            continue
        work = WORK.get(Thread.Phase(thread.phase))
        if work is None:
            return
        work(run)
