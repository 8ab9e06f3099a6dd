"""Starting a thread's next turn, and what makes one start."""

from __future__ import annotations

from agents.models import Event, Thread
from agents.services import hints, log_sql, status
from agents.services.log import Log

RECEIVED = "agent.thread_message_received"
# By the place on its thread's stream: see `UNTAKEN` in mail.py.
NEW_MAIL = """
SELECT 1 FROM agents_event
WHERE thread_id = $1 AND position > $2 AND type = 'agent.thread_message_received' LIMIT 1
"""
QUEUED_MESSAGE = """
SELECT 1 FROM agents_event
WHERE session_id = $2 AND thread_id = $1 AND type = 'user.message' AND processed_at IS NULL AND visible LIMIT 1
"""


def make_ready(log: Log, thread: Thread, *, cause: Event | int | None) -> None:
    """Start a turn: the thread is running and a worker may claim it."""
    thread.phase = Thread.Phase.READY
    thread.runnable_at = log.now
    thread.turn_no += 1
    thread.tool_rounds = thread.model_attempts = thread.bad_calls_in_a_row = 0
    log.touch(thread, "phase", "runnable_at", "turn_no", "tool_rounds", "model_attempts", "bad_calls_in_a_row")
    status.set_running(log, thread, cause=cause)


def can_start(thread: Thread) -> bool:
    """Whether a message starts a turn at once: nothing is under way, waited for, or about to be stopped."""
    resting = thread.status == Thread.Status.IDLE and thread.phase == Thread.Phase.IDLE
    return resting and not thread.interrupt_pending and not thread.closing


def start_if_resting(log: Log, thread: Thread, *, cause: Event | int | None) -> bool:
    """Start a turn for a message that has come, unless the thread takes it up later by itself."""
    if not can_start(thread):
        return False
    make_ready(log, thread, cause=cause)
    hints.wake(thread.pk)
    return True


def look_again(log: Log, thread: Thread) -> None:
    """End a thread's wait for agents: it has something to do again."""
    if thread.phase == Thread.Phase.WAITING_AGENTS:
        thread.runnable_at = log.now
        log.touch(thread, "runnable_at")
        status.set_running(log, thread)
        hints.wake(thread.pk)


def has_queued_message(thread: Thread) -> bool:
    """Whether a client has said something that no turn has taken up."""
    return bool(log_sql.execute(QUEUED_MESSAGE, [thread.pk, thread.session_id]))


def has_new_mail(thread: Thread, *, after_seq: int = 0) -> bool:
    """Whether another agent has sent something (after this `seq`) that no turn has taken up."""
    return bool(log_sql.execute(NEW_MAIL, [thread.pk, max(thread.mail_seq, after_seq)]))
