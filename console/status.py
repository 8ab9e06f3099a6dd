"""How a session stands, as one word with a shape and a colour; and the same as a filter over many sessions."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from agents.models import Session, Thread

NEEDS_PERSON = ("requires_action", "budget_reached")
GAVE_UP = ("retries_exhausted", "refusal")


@dataclass(frozen=True)
class Status:
    """`kind` picks shape and colour, `word` is shown, `detail` says it in a sentence."""

    kind: str
    word: str
    detail: str


RUNNING = Status("running", "running", "Agents are working.")
RETRYING = Status("retrying", "retrying", "A request failed; Daybreak waits before it tries again.")
WAITING = Status("waiting", "waiting for you", "An agent waits for an answer before it can go on.")
AT_BUDGET = Status("waiting", "at its budget", "The budget is used up. Raise it to go on.")
GAVE_UP_STATUS = Status("failed", "failed", "The last turn was given up after repeated errors.")
REFUSED = Status("failed", "refused", "The model refused to go on.")
TERMINATED = Status("failed", "terminated", "An error ended this session for good.")
DONE = Status("done", "done", "The last turn is finished. A new message starts another.")
RECORDED = Status("done", "recorded", "Imported from a log of another tool; it can be read, not run.")
IDLE = Status("idle", "idle", "Nothing has been asked yet.")
ARCHIVED = Status("archived", "archived", "Kept for reading; it takes no more messages.")

LABELS = {
    "running": "Running",
    "retrying": "Retrying",
    "waiting": "Waiting for a person",
    "failed": "Failed",
    "done": "Done",
    "idle": "Idle, nothing asked yet",
    "archived": "Archived",
}


def status_of(session: Session) -> Status:
    if session.archived_at is not None:
        return ARCHIVED
    if session.status == Session.Status.TERMINATED:
        return RECORDED if session.is_imported else TERMINATED
    if session.status == Session.Status.RUNNING:
        return RUNNING
    if session.status == Session.Status.RESCHEDULING:
        return RETRYING
    return _at_rest((session.stop_reason or {}).get("type"), imported=session.is_imported)


def status_of_thread(thread: Thread, *, imported: bool = False) -> Status:
    if thread.archived_at is not None:
        return ARCHIVED
    if thread.status == Thread.Status.RUNNING:
        return RUNNING
    if thread.status == Thread.Status.RESCHEDULING:
        return RETRYING
    if imported:
        return RECORDED
    if thread.status == Thread.Status.TERMINATED:
        return Status("archived", "ended", "This thread has ended.")
    return _at_rest((thread.stop_reason or {}).get("type"), imported=imported)


def _at_rest(stop_reason: str | None, *, imported: bool) -> Status:
    by_reason = {
        "requires_action": WAITING,
        "budget_reached": AT_BUDGET,
        "retries_exhausted": GAVE_UP_STATUS,
        "refusal": REFUSED,
    }
    if stop_reason in by_reason:
        return by_reason[stop_reason]
    if imported:
        return RECORDED
    return DONE if stop_reason else IDLE


def with_kind(kind: str) -> Q:
    """The sessions whose `status_of` has this kind. Every session belongs to exactly one."""
    if kind == "archived":
        return Q(archived_at__isnull=False)
    return Q(archived_at__isnull=True) & _unarchived(kind)


def _unarchived(kind: str) -> Q:
    at_rest = Q(status=Session.Status.IDLE)
    terminated = Q(status=Session.Status.TERMINATED)
    imported = ~Q(imported_format="")
    gave_up = Q(stop_reason__type__in=GAVE_UP)
    special = Q(stop_reason__type__in=NEEDS_PERSON + GAVE_UP)
    asked = Q(stop_reason__type__isnull=False)
    conditions = {
        "running": Q(status=Session.Status.RUNNING),
        "retrying": Q(status=Session.Status.RESCHEDULING),
        "waiting": at_rest & Q(stop_reason__type__in=NEEDS_PERSON),
        "failed": (at_rest & gave_up) | (terminated & ~imported),
        "done": (at_rest & asked & ~special) | (at_rest & imported & ~asked) | (terminated & imported),
        "idle": at_rest & ~imported & ~asked,
    }
    return conditions[kind]
