"""Which events of a log a reader is told of.

The log of a team says some things twice, for programs that follow one stream: a child's question, its status and the
answer to it stand on its own stream and, copied, on the session's; a message is sent on one stream and received on
another. And what agents do to work together is kept beside the wire. The story tells each thing once: copies are left
out, and of the events beside the wire those are let in that a person would miss.

Everything here is a condition on rows in the order of `seq`, so pages, counts, permalinks and live updates agree.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from agents.models import Event, Session, Thread, ToolCall
from agents.services.calls import TEAM_RESULT
from agents.services.mail import SENT
from agents.services.turns import RECEIVED
from agents.services.waits import STARTED as WAIT_STARTED

WARNING = "daybreak.warning"
SPAN = "daybreak.span"  # of a trace; what it is about, an ordinary event may not say
REPORT_WITHIN = 8  # events after the message that it repeats: both are written at once
CREATED = "session.thread_created"
# Bookkeeping that a reader of the story can do without; "every event" shows it.
ROUTINE = (
    "session.status_running",
    "session.thread_status_running",
    "session.thread_status_idle",
    "session.usage",
    "span.model_request_end",
    "span.outcome_evaluation_ongoing",
)
COPIED = (
    "agent.tool_use",
    "agent.mcp_tool_use",
    "agent.custom_tool_use",
    "session.thread_status_running",
    "session.thread_status_idle",
    "session.thread_status_rescheduled",
    "session.thread_status_terminated",
)
COPIED_ANSWERS = ("user.tool_confirmation", "user.custom_tool_result", "user.tool_result")


def told_events(session: Session) -> QuerySet[Event]:
    """Every event that has a place on a page: all of the wire's, and what a person would miss of the others."""
    return Event.objects.filter(_is_told(), session=session)


def shown_events(session: Session, *, thread: Thread | None = None, everything: bool = False) -> QuerySet[Event]:
    """The events a reader asked for: the story, or every event, of all agents or of one."""
    events = told_events(session)
    if thread is not None:
        events = events.filter(thread=thread)
    if everything:
        return events
    bare_thought = Q(type="agent.thinking", private__isnull=True)
    events = without_copies(events.exclude(type__in=ROUTINE).exclude(bare_thought).exclude(_is_reported()))
    return events if thread is not None else events.exclude(_is_told_by_the_sender())


def without_copies(events: QuerySet[Event]) -> QuerySet[Event]:
    """Without what the session's stream repeats of its agents' own."""
    return events.exclude(_is_copy())


def _is_told() -> Q:
    """Refused delegation, a stopped agent, a wait and a warning are worth a line; successes show in what they did."""
    call = ToolCall.objects.filter(result_event=OuterRef("pk")).filter(Q(is_error=True) | Q(name="stop_agent"))
    return Q(visible=True) | Q(type__in=(WAIT_STARTED, WARNING, SPAN)) | Q(Exists(call), type=TEAM_RESULT)


def _is_copy() -> Q:
    """A copy names as its cause the event of the same type on the agent's own stream; an answer, the copied call."""
    original = Event.objects.filter(session=OuterRef("session"), seq=OuterRef("cause_seq"), type=OuterRef("type"))
    original = original.exclude(thread=OuterRef("thread"))
    call = ToolCall.objects.filter(session=OuterRef("session"), crosspost_event__seq=OuterRef("cause_seq"))
    of_session = Q(thread__parent__isnull=True)
    return of_session & (Q(Exists(original), type__in=COPIED) | Q(Exists(call), type__in=COPIED_ANSWERS))


def _is_reported() -> Q:
    """The last words of a turn that went to the lead as its report: the report says them."""
    report = _sent().filter(
        thread=OuterRef("thread"),
        cause_seq=OuterRef("cause_seq"),
        seq__gt=OuterRef("seq"),
        seq__lte=OuterRef("seq") + REPORT_WITHIN,
    )
    return Q(Exists(report), type="agent.message", thread__parent__isnull=False)


def _is_told_by_the_sender() -> Q:
    """A received message whose sending is in the log, and a thread whose first task is."""
    by_cause = _sent().filter(seq=OuterRef("cause_seq"))
    task = _sent().filter(seq=OuterRef("seq") + 1, cause_seq=OuterRef("seq"))
    return Q(Exists(by_cause), type=RECEIVED) | Q(Exists(task), type=CREATED)


def _sent() -> QuerySet[Event]:
    return Event.objects.filter(session=OuterRef("session"), type=SENT)
