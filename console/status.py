"""How a session stands, as one word with a shape and a colour; and the same as a filter over many sessions."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q

from agents.models import Session, Thread, ToolCall
from console import formats

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
ONE_WAITS = Status("waiting", "waiting for you", "An agent waits for an answer while others go on.")
AT_BUDGET = Status("waiting", "at its budget", "The budget is used up. Raise it to go on.")
GAVE_UP_STATUS = Status("failed", "failed", "The last turn was given up after repeated errors.")
REFUSED = Status("failed", "refused", "The model refused to go on.")
TERMINATED = Status("failed", "terminated", "An error ended this session for good.")
DONE = Status("done", "done", "The last turn is finished. A new message starts another.")
RECORDED = Status("done", "recorded", "Imported from a log of another tool; it can be read, not run.")
IDLE = Status("idle", "idle", "Nothing has been asked yet.")
ARCHIVED = Status("archived", "archived", "Kept for reading; it takes no more messages.")

# How one thread of a session stands.
WORKS = Status("running", "works", "A model answers it or a tool runs.")
TRIES_AGAIN = Status("retrying", "tries again", "A request failed; Daybreak waits before it tries again.")
STOPPING = Status("retrying", "stops", "It was told to stop and is putting down what it does.")
HELD = Status("retrying", "held by the budget", "Its next request fits the budget only when others have ended.")
PAUSED = Status("waiting", "paused by the budget", "The budget is used up. Raise it to go on.")
THREAD_WAITS = Status("waiting", "waits for you", "It waits for an answer before it can go on.")
FINISHED = Status("done", "finished", "It has finished what it was asked. A new message starts another turn.")
FAILED = Status("failed", "failed", "It could not finish what it was asked.")
UNASKED = Status("idle", "not asked yet", "Nothing has been asked of it.")
ENDED = Status("archived", "ended", "It has ended for good; what it did stays readable.")

LABELS = {
    "running": "Running",
    "retrying": "Retrying",
    "waiting": "Waiting for a person",
    "failed": "Failed",
    "done": "Done",
    "idle": "Idle, nothing asked yet",
    "archived": "Archived",
}


def status_of(session: Session, *, questions: int = 0) -> Status:
    """How a session stands; `questions` of its calls wait for an answer."""
    if session.archived_at is not None:
        return ARCHIVED
    if session.status == Session.Status.TERMINATED:
        return RECORDED if session.is_imported else TERMINATED
    if session.status in (Session.Status.RUNNING, Session.Status.RESCHEDULING):
        if questions:
            return ONE_WAITS
        return RUNNING if session.status == Session.Status.RUNNING else RETRYING
    return _at_rest((session.stop_reason or {}).get("type"), imported=session.is_imported)


def status_of_thread(thread: Thread, *, imported: bool = False, helpers: int = 0, failed: bool = False) -> Status:
    """How one agent of a session stands.

    Args:
        helpers: how many agents that it has started are not finished yet.
        failed: whether the last it said to its lead was that it could not go on.
    """
    if imported:
        return RECORDED
    if thread.archived_at is not None or thread.status == Thread.Status.TERMINATED:
        return FAILED if failed else ENDED
    if thread.closing or (thread.interrupt_pending and thread.status == Thread.Status.RUNNING):
        return STOPPING
    if thread.phase == Thread.Phase.WAITING_AGENTS:
        return waits_for(helpers)
    if thread.status == Thread.Status.RESCHEDULING:
        return TRIES_AGAIN
    if thread.status == Thread.Status.RUNNING:
        return HELD if thread.wanted_nanousd else WORKS
    return _thread_at_rest(thread, helpers)


def waits_for(helpers: int) -> Status:
    """A lead with nothing to do before its agents have finished."""
    named = formats.plural(helpers, "agent")
    return Status("expecting", f"waits for {named}", f"It goes on when {named} have finished.")


def _thread_at_rest(thread: Thread, helpers: int) -> Status:
    reason = (thread.stop_reason or {}).get("type")
    by_phase = {Thread.Phase.WAITING_USER: THREAD_WAITS, Thread.Phase.PAUSED: PAUSED}
    by_reason = {"requires_action": THREAD_WAITS, "budget_reached": PAUSED, "refusal": REFUSED}
    if found := by_phase.get(Thread.Phase(thread.phase)) or by_reason.get(str(reason)):
        return found
    if reason == "retries_exhausted":
        return FAILED
    if helpers:
        return waits_for(helpers)
    return FINISHED if reason else UNASKED


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
    asks = Q(Exists(ToolCall.objects.filter(session=OuterRef("pk"), state=ToolCall.State.WAITING)))
    working = Q(status__in=(Session.Status.RUNNING, Session.Status.RESCHEDULING))
    at_rest = Q(status=Session.Status.IDLE)
    terminated = Q(status=Session.Status.TERMINATED)
    imported = ~Q(imported_format="")
    gave_up = Q(stop_reason__type__in=GAVE_UP)
    special = Q(stop_reason__type__in=NEEDS_PERSON + GAVE_UP)
    asked = Q(stop_reason__type__isnull=False)
    conditions = {
        "running": Q(status=Session.Status.RUNNING) & ~asks,
        "retrying": Q(status=Session.Status.RESCHEDULING) & ~asks,
        "waiting": (at_rest & Q(stop_reason__type__in=NEEDS_PERSON)) | (working & asks),
        "failed": (at_rest & gave_up) | (terminated & ~imported),
        "done": (at_rest & asked & ~special) | (at_rest & imported & ~asked) | (terminated & imported),
        "idle": at_rest & ~imported & ~asked,
    }
    return conditions[kind]
