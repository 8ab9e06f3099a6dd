"""Home: what needs a person, what runs now, what happened lately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Count, Sum
from django.db.models.functions import TruncDate
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.models import Session, ToolCall, Workspace
from console.access import MemberRequest, member_required
from console.pages import page
from console.rows import SessionRow, session_rows
from console.status import with_kind
from console.story.content import tool_gist

SHOWN = 8
RECENT = timedelta(days=30)  # what waits or failed longer ago is found in the list
WEEK = 7
SPARK_HEIGHT = 24


@dataclass(frozen=True)
class Question:
    """A tool call that waits for an answer."""

    session: SessionRow
    call: ToolCall
    gist: str


@dataclass(frozen=True)
class Bar:
    """One day of a small chart: heights in the chart's own units."""

    x: int
    y: float
    height: float
    day: date
    value: int


@dataclass(frozen=True)
class HomePage:
    first_run: bool
    base_url: str
    questions: list[Question]
    waiting: list[SessionRow]
    failed: list[SessionRow]
    running: list[SessionRow]
    latest: list[SessionRow]
    sessions_bars: list[Bar]
    cost_bars: list[Bar]
    sessions_total: int
    cost_total: int


@require_safe
@member_required
def home(request: MemberRequest) -> HttpResponse:
    sessions = Session.objects.in_workspace(request.workspace).for_list()
    latest = list(sessions.order_by("-created_at", "-pk")[:SHOWN])
    recent = sessions.filter(created_at__gt=timezone.now() - RECENT).order_by("-created_at", "-pk")
    waiting = list(recent.filter(with_kind("waiting"))[:SHOWN])
    failed = list(recent.filter(with_kind("failed"))[:SHOWN])
    running = list(recent.filter(with_kind("running") | with_kind("retrying"))[:SHOWN])
    rows = {row.session.pk: row for row in session_rows([*latest, *waiting, *failed, *running])}
    questions = _questions(request.workspace, waiting, rows)
    asking = {question.session.session.pk for question in questions}
    days = _days(request.workspace)
    shown = HomePage(
        first_run=not latest,
        base_url=request.build_absolute_uri("/").rstrip("/"),
        questions=questions,
        waiting=[rows[session.pk] for session in waiting if session.pk not in asking],
        failed=[rows[session.pk] for session in failed],
        running=[rows[session.pk] for session in running],
        latest=[rows[session.pk] for session in latest],
        sessions_bars=bars({day: count for day, (count, _) in days.items()}),
        cost_bars=bars({day: cost for day, (_, cost) in days.items()}),
        sessions_total=sum(count for count, _ in days.values()),
        cost_total=sum(cost for _, cost in days.values()),
    )
    return page(request, "console/home.html", shown)


def _questions(workspace: Workspace, sessions: Iterable[Session], rows: dict[int, SessionRow]) -> list[Question]:
    waiting = ToolCall.objects.filter(session__workspace=workspace, state=ToolCall.State.WAITING)
    calls = waiting.filter(session__in=[session.pk for session in sessions])
    found = list(calls.select_related("use_event", "thread").order_by("use_event__created_at", "pk")[:SHOWN])
    return [
        Question(rows[call.session_id], call, tool_gist(call.name, call.use_event.data.get("input"))) for call in found
    ]


def _days(workspace: Workspace) -> dict[date, tuple[int, int]]:
    """Sessions made and their cost in nano-dollars, for each of the last seven days."""
    today = timezone.now().date()
    first = today - timedelta(days=WEEK - 1)
    rows = (
        Session.objects.in_workspace(workspace)
        .filter(created_at__date__gte=first, created_at__gt=timezone.now() - timedelta(days=WEEK))
        .annotate(day=TruncDate("created_at"))
        .values("day")
        .annotate(count=Count("pk"), cost=Sum("list_cost_nanousd"))
        .order_by("day")
    )
    known = {row["day"]: (row["count"], row["cost"] or 0) for row in rows}
    return {first + timedelta(days=n): known.get(first + timedelta(days=n), (0, 0)) for n in range(WEEK)}


def bars(values: dict[date, int]) -> list[Bar]:
    """A bar per day, the highest as high as the chart."""
    highest = max(values.values(), default=0) or 1
    heights = {day: max(1.0, SPARK_HEIGHT * value / highest) for day, value in values.items()}
    return [
        Bar(n * 12, round(SPARK_HEIGHT - height, 1), round(height, 1), day, values[day])
        for n, (day, height) in enumerate(heights.items())
    ]
