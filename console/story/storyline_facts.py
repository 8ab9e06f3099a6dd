"""What a storyline is told from: a fixed number of queries, each with a bound, whatever the session is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Max, Min, Q

from agents.models import Annotation, Event, File, FileVersion, Session, ToolCall
from agents.services.mail import SENT
from agents.services.turns import RECEIVED
from console.rows import known_cost, open_questions
from console.status import Status, status_of
from console.story.inspector import tools
from console.story.inspector.asked import Asked
from console.story.rows import EventRow, Lane, RowMaker
from console.story.told import COPIED_ANSWERS

MOST_MOMENTS = 20_000  # that are looked at; what is told is far less
MOST_QUESTIONS = 60
MOST_TOLD_THREADS = 60
_ASKED = ("user.message", RECEIVED)
_SAID = "agent.message"
MOMENTS = (
    "user.message",
    "user.interrupt",
    "user.define_outcome",
    "span.outcome_evaluation_end",
    "session.error",
    "session.status_terminated",
)


@dataclass(frozen=True)
class Moment:
    """An event that may be worth a sentence, without its body."""

    seq: int
    type: str
    thread: int


@dataclass(frozen=True)
class Worker:
    """One agent's part: what it was asked first, what it said last, and how often it spoke and used which tool."""

    lane: Lane
    asked: int | None
    reported: int | None
    said: int | None
    messages: int
    tools: tuple[tuple[str, int], ...] = ()
    failed_calls: int = 0
    files: int = 0


@dataclass(frozen=True)
class Question:
    """A call that waited for a person or a client. `waited_s` is None while it waits, or where times are unknown."""

    call: ToolCall
    waited_s: float | None
    by: str


@dataclass(frozen=True)
class Facts:
    """Everything that a storyline tells of. `rows` holds the sentences of single events by `seq`."""

    session: Session
    lanes: Mapping[int, Lane]
    status: Status
    cost: int | None
    calls: int
    failed_calls: int
    moments: Sequence[Moment]
    workers: Mapping[int, Worker]
    questions: Sequence[Question]
    more_questions: int
    outputs: Sequence[File]
    changed_paths: int
    marks: Sequence[Annotation]
    rows: dict[int, EventRow] = field(default_factory=dict)


def gather(session: Session, lanes: Mapping[int, Lane]) -> Facts:
    """All but the rows of single events, which `rows_for` reads once it is known which are told."""
    used = tools.read(Asked(session, lanes))
    changed = FileVersion.objects.filter(session=session, thread__isnull=False).order_by()
    files = dict(changed.values_list("thread_id").annotate(Count("path", distinct=True)))
    works = session.status in (Session.Status.RUNNING, Session.Status.RESCHEDULING)
    questions, more = _questions(session)
    moments = Event.objects.filter(session=session, type__in=MOMENTS, visible=True).order_by("seq")
    return Facts(
        session=session,
        lanes=lanes,
        status=status_of(session, questions=open_questions([session]).get(session.pk, 0) if works else 0),
        cost=known_cost(session),
        calls=sum(tool.use.calls for tool in used.tools if not tool.is_team),
        failed_calls=sum(tool.use.failed for tool in used.tools if not tool.is_team),
        moments=[Moment(*row) for row in moments.values_list("seq", "type", "thread_id")[:MOST_MOMENTS]],
        workers=_workers(session, lanes, used, files),
        questions=questions,
        more_questions=more,
        outputs=list(session.files.filter(kind=File.Kind.OUTPUT).order_by("path", "pk")[:20]),
        changed_paths=FileVersion.objects.filter(session=session).order_by().values("path").distinct().count(),
        marks=list(
            session.annotations.filter(kind=Annotation.Kind.FAILURE).select_related("event").order_by("event__seq")[:10]
        ),
    )


def rows_for(session: Session, lanes: Mapping[int, Lane], seqs: set[int]) -> dict[int, EventRow]:
    events = list(Event.objects.filter(session=session, seq__in=seqs).order_by("seq"))
    return {row.seq: row for row in RowMaker(session, lanes).rows(events)}


def _workers(
    session: Session, lanes: Mapping[int, Lane], used: tools.ToolsBody, files: Mapping[int, int]
) -> dict[int, Worker]:
    calls: dict[int, list[tuple[str, int]]] = defaultdict(list)
    failed: dict[int, int] = defaultdict(int)
    for tool in used.tools:
        for use in tool.agents:
            if use.lane is not None and not tool.is_team:
                calls[use.lane.thread.pk].append((use.name, use.calls))
                failed[use.lane.thread.pk] += use.failed
    events = Event.objects.filter(session=session, type__in=(*_ASKED, SENT, _SAID)).order_by()
    found = events.values("thread_id").annotate(
        asked=Min("seq", filter=Q(type__in=_ASKED)),
        reported=Max("seq", filter=Q(type=SENT)),
        said=Max("seq", filter=Q(type=_SAID)),
        messages=Count("pk", filter=Q(type=_SAID)),
    )
    nothing: dict[str, Any] = {"asked": None, "reported": None, "said": None, "messages": 0}
    names = ("thread_id", *nothing)
    places = {row[0]: dict(zip(nothing, row[1:], strict=True)) for row in found.values_list(*names)}
    return {
        pk: Worker(
            lane,
            **places.get(pk, nothing),
            tools=tuple(sorted(calls[pk], key=lambda item: (-item[1], item[0]))),
            failed_calls=failed[pk],
            files=files.get(pk, 0),
        )
        for pk, lane in lanes.items()
    }


def _questions(session: Session) -> tuple[list[Question], int]:
    """Calls that a person or a client had to answer, in order, and how many more there are. Three queries."""
    asked = session.tool_calls.filter(Q(permission="ask") | Q(kind=ToolCall.Kind.CUSTOM))
    calls = list(asked.select_related("use_event").order_by("use_event__seq")[:MOST_QUESTIONS])
    total = asked.count()
    if not calls:
        return [], 0
    uses = {call.use_event.seq: call for call in calls}
    events = Event.objects.filter(session=session, type__in=COPIED_ANSWERS, cause_seq__in=uses)
    answers = {event.cause_seq: event for event in events if event.thread_id == uses[event.cause_seq or 0].thread_id}
    return [_question(session, call, answers.get(call.use_event.seq)) for call in calls], total - len(calls)


def _question(session: Session, call: ToolCall, answer: Event | None) -> Question:
    if answer is None:
        return Question(call, None, call.decided_by)
    waited = (answer.created_at - call.use_event.created_at).total_seconds() if session.has_times else None
    return Question(call, waited, call.decided_by or str(answer.private_data.get("by") or ""))
