"""A lead that waits for its agents: when that is over, and what it is told.

A wait is a call that stays open. Nothing is held meanwhile: no worker, no lease. Whoever ends a thread's work looks
whether its lead may go on; a deadline is the time from which the lead may be claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.models import Event, Thread, ToolCall
from agents.services import log_sql
from agents.services.log import Log
from agents.services.mail import ENDS_A_WAIT, untaken
from agents.services.turns import has_queued_message, look_again

STARTED = "daybreak.wait_started"
CHILDREN = """
SELECT id, public_id, agent_name, status, phase FROM agents_thread
WHERE session_id = $1 AND parent_id IS NOT NULL ORDER BY ordinal
"""
LAST_WAIT = """
r.session_id = $2 AND r.thread_id = $1 AND r.type = 'daybreak.wait_started' ORDER BY r.seq DESC LIMIT 1
"""
BLOCKED = {Thread.Phase.WAITING_USER: "a person", Thread.Phase.PAUSED: "the session's budget"}
NOTE = "A message came in meanwhile: it follows. Call wait_for_agents again when you have dealt with it."


@dataclass(frozen=True)
class Child:
    """A child thread as this block leaves it."""

    pk: int
    thread_id: str
    agent: str
    status: str
    phase: str

    @property
    def is_finished(self) -> bool:
        """It has no work, and nothing it waits for: what it had to say has been said."""
        return self.status in (Thread.Status.IDLE, Thread.Status.TERMINATED) and self.phase not in BLOCKED

    def wire(self) -> dict[str, Any]:
        shown = {"thread_id": self.thread_id, "agent": self.agent, "status": self.status}
        return shown if self.phase not in BLOCKED else {**shown, "waiting_for": BLOCKED[Thread.Phase(self.phase)]}


@dataclass(frozen=True)
class Wait:
    """What a lead waits for. `until` is its deadline."""

    thread_ids: frozenset[str]
    mode: str
    until: datetime | None
    started: Event


def children(log: Log) -> list[Child]:
    """The session's child threads in the order they were made."""
    known = {thread.pk: thread for thread in log.known()}
    found = []
    for pk, public_id, name, status, phase in log_sql.execute(CHILDREN, [log.session.pk]):
        if pk in known:
            status, phase = known[pk].status, known[pk].phase
        found.append(Child(pk, public_id, name, status, phase))
    return found


def start(log: Log, lead: Thread, call: ToolCall, *, thread_ids: list[str], mode: str, until: datetime | None) -> Wait:
    """Record that the lead waits from here on."""
    payload = {
        "tool_use_id": call.use_event.public_id,
        "session_thread_ids": thread_ids,
        "mode": mode,
        "until": until.isoformat() if until else None,
    }
    event = log.append(lead, STARTED, payload, cause=call.use_event, visible=False)
    return Wait(frozenset(thread_ids), mode, until, event)


def current(log: Log, lead: Thread) -> Wait:
    """The wait that the lead is in."""
    log.flush()
    event = log_sql.select(Event, LAST_WAIT, lead.pk, log.session.pk)[0]
    data = event.data
    until = datetime.fromisoformat(data["until"]) if data["until"] else None
    return Wait(frozenset(data["session_thread_ids"]), data["mode"], until, event)


def outcome(log: Log, lead: Thread, wait: Wait) -> dict[str, Any] | None:
    """What the lead is told when its wait is over; None while it is not."""
    awaited = [child for child in children(log) if child.thread_id in wait.thread_ids]
    finished = [child for child in awaited if child.is_finished]
    timed_out = wait.until is not None and log.now >= wait.until
    is_over = len(finished) == len(awaited) or (wait.mode == "any" and finished)
    disturbed = False if is_over or timed_out else _is_disturbed(log, lead)
    if not (is_over or timed_out or disturbed):
        return None
    told: dict[str, Any] = {
        "finished": [child.wire() for child in finished],
        "working": [child.wire() for child in awaited if not child.is_finished],
        "timed_out": bool(timed_out and not is_over),
    }
    return {**told, "note": NOTE} if disturbed else told


def _is_disturbed(log: Log, lead: Thread) -> bool:
    log.flush()
    mail = untaken(lead)
    return has_queued_message(lead) or any(event.private_data.get("kind") in ENDS_A_WAIT for event in mail)


def end_if_over(log: Log) -> None:
    """Something changed for the session's children: let the lead go on when that was all it waited for."""
    lead = log.primary()
    if lead.phase != Thread.Phase.WAITING_AGENTS or lead.runnable_at is not None and lead.runnable_at <= log.now:
        return
    if outcome(log, lead, current(log, lead)) is not None:
        look_again(log, lead)
