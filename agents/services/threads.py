"""Child threads: made, followed, and ended."""

from __future__ import annotations

from typing import Any

from agents.errors import Invalid
from agents.ids import THREAD, new_id
from agents.models import Event, Session, Thread, ToolCall
from agents.services import hints, log_sql, mail, status, waits
from agents.services.calls import answer_open_calls
from agents.services.log import INTERRUPT_CHANNEL, Log, notify, open_log
from agents.services.turns import start_if_resting

MAX_CHILDREN = 25  # that are not terminated; idle ones count
MAX_THREADS_EVER = 500  # made in one session
STOP_REQUESTED = "daybreak.stop_requested"
ARCHIVED = "The thread was archived before this call was carried out."
STOPPED = "The agent was stopped before this call was carried out."


def free_places(log: Log) -> int:
    """How many more children may be started now."""
    taken = sum(child.status != Thread.Status.TERMINATED for child in waits.children(log))
    return MAX_CHILDREN - taken


def spawn(
    log: Log, lead: Thread, call: ToolCall, *, name: str, snapshot: dict[str, Any], content: list[dict[str, Any]]
) -> Thread:
    """A new child with its task, running. Order on the session's stream: created, message sent, running."""
    child = Thread(
        public_id=new_id(THREAD),
        session=log.session,
        parent=lead,
        agent_name=name,
        agent_snapshot=snapshot,
        ordinal=log.session.thread_count,
        created_at=log.now,
        updated_at=log.now,
    )
    log_sql.insert([child])
    log.own(child)
    payload = {"session_thread_id": child.public_id, "agent_name": name}
    created = log.append(lead, "session.thread_created", payload, cause=call.use_event)
    task = mail.send(log, lead, child, content, kind=mail.TASK, cause=created)
    start_if_resting(log, child, cause=task)
    warn_of_mcp(log, child)
    return child


def warn_of_mcp(log: Log, thread: Thread) -> None:
    """Say on the thread's stream which of its agent's servers it goes on without."""
    for server in thread.agent_snapshot["mcp_servers"]:
        error = {
            "type": "mcp_connection_failed_error",
            "mcp_server_name": server["name"],
            "message": "Connections to MCP servers are not built yet; the session goes on without this one.",
            "retry_status": {"type": "exhausted"},
        }
        log.append(thread, "session.error", {"error": error})


def report(log: Log, child: Thread, content: list[dict[str, Any]], *, kind: str, cause: Event | int | None) -> Event:
    """Tell the lead what became of a child's turn. Follow with `after_child`."""
    return mail.send(log, child, log.primary(), content, kind=kind, cause=cause)


def rest(
    log: Log,
    thread: Thread,
    stop_reason: dict[str, Any],
    *,
    stop_details: dict[str, Any] | None = None,
    cause: Event | int | None = None,
) -> None:
    """A thread's turn ends with nothing to tell anybody."""
    status.set_thread_idle(log, thread, stop_reason, cause=cause)
    if not thread.is_primary:
        waits.end_if_over(log)
    status.settle_session(log, stop_details=stop_details, cause=cause)


def fail(log: Log, child: Thread, message: str, *, cause: Event | int | None) -> None:
    """A child's turn was ended by an error: its thread ends with it, and the lead is told why."""
    text = f"This agent could not finish its task: {message} Its thread has ended."
    came = report(log, child, [{"type": "text", "text": text}], kind=mail.FAILURE, cause=cause)
    status.set_thread_idle(log, child, {"type": "retries_exhausted"}, cause=cause)
    status.set_thread_terminated(log, child, cause=cause)
    after_child(log, came)


def after_child(log: Log, came: Event | None) -> None:
    """A child has stopped working: let the lead take up its report, and the session settle.

    The child's own status must have been written before.
    """
    lead = log.primary()
    if came is not None:
        start_if_resting(log, lead, cause=came)
    waits.end_if_over(log)
    status.settle_session(log)


def stop(log: Log, child: Thread, *, cause: Event | int | None) -> None:
    """End a child for good: at once when it rests, else as soon as its worker has let go of what it does."""
    if child.status == Thread.Status.TERMINATED or child.closing:
        return
    if child.status == Thread.Status.IDLE and not child.interrupt_pending:
        _end_idle(log, child, STOPPED)
        return
    row = log.append(child, STOP_REQUESTED, {}, cause=cause, visible=False)
    child.interrupt_seq, child.closing, child.runnable_at = row.seq, True, log.now
    log.touch(child, "interrupt_seq", "closing", "runnable_at")
    notify(INTERRUPT_CHANNEL, str(child.pk))
    hints.wake(child.pk)


def archive_thread(session: Session, thread: Thread) -> Thread:
    """End an idle child for good and free its place. Archiving again changes nothing.

    A child that waits for a person counts as idle: its calls are answered as interrupted.
    """
    if thread.is_primary:
        raise Invalid("The primary thread cannot be archived by itself. Archive the session instead.")
    if session.is_imported:
        raise Invalid("This thread belongs to an imported session. It can be read, not archived.")
    with open_log(session.pk) as log:
        child = log.find_thread(thread.public_id)
        if child is None:
            raise Invalid(f"This session has no thread {thread.public_id}.")
        if child.archived_at is None:
            if child.status in status.WORKING or child.interrupt_pending:
                raise Invalid("A running thread cannot be archived. Interrupt it and wait until it is idle.")
            child.archived_at = log.now
            log.touch(child, "archived_at")
            if child.status != Thread.Status.TERMINATED:
                _end_idle(log, child, ARCHIVED)
    thread.refresh_from_db()
    return thread


def _end_idle(log: Log, child: Thread, reason: str) -> None:
    was_blocked = child.phase in (Thread.Phase.WAITING_USER, Thread.Phase.PAUSED)
    child.lease_epoch += 1  # whoever still holds it has nothing more to write
    log.touch(child, "lease_epoch")
    answer_open_calls(log, child, reason, cause=None)
    status.set_thread_terminated(log, child)
    waits.end_if_over(log)
    if was_blocked:
        status.settle_session(log)
