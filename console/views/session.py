"""The page of one session: how it stands, the picture, the events, and what a person can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.models import Annotation, Event, Session, ToolCall
from agents.services.budgets import CENT_NANOUSD
from console.access import MemberRequest, member_required
from console.forms import MessageForm
from console.pages import page
from console.rows import known_cost, known_tokens, open_questions
from console.status import Status, status_of
from console.story import rows as story
from console.story.content import blocks_of, excerpt
from console.story.detail import Part, parts_of
from console.story.picture import PictureView, view_of
from console.story.team import Said, tasks_of
from console.text import one_line
from console.views.inspector import Inspector, inspector_of
from console.views.story import DAMAGED, EVERYTHING, begins_at_end, get_session, story_of

LIVE_STATES = ("running", "retrying", "waiting")
DEFAULT_ENDS = (*LIVE_STATES, "failed")  # where the end of the log is what a reader wants first


@dataclass(frozen=True)
class Header:
    """How a session stands: refreshed as a whole while it runs."""

    session: Session
    status: Status
    cost: int | None
    budget: int | None  # what the session may cost, in nano-dollars as well
    tokens: int | None
    active_s: float
    running_since: Any
    model: str


@dataclass(frozen=True)
class Pending:
    """A tool call that waits for a person (`asks`) or for the client's answer.

    `why` is what the agent said or thought with the call; `task` what another agent had asked it, for a helper.
    """

    call: ToolCall
    event_id: str
    lane: story.Lane
    parts: tuple[Part, ...]
    asks: bool
    why: str
    task: Said | None


@dataclass(frozen=True)
class SessionPage:
    session: Session
    header: Header
    picture: PictureView
    inspector: Inspector
    window: story.Window
    rows: list[story.EventRow]
    thread: story.Lane | None
    everything: bool
    focused: str
    edges: str
    begins_at_end: bool
    live: bool
    live_rows: bool
    live_url: str
    annotations: list[Annotation]
    pending: list[Pending]
    form: MessageForm
    may_act: bool
    can_receive: bool


@require_safe
@member_required
def session(request: MemberRequest, session_id: str) -> HttpResponse:
    found = get_session(request, session_id)
    if seq := request.GET.get("seq"):
        return redirect(_permalink(found, seq))
    return session_page(request, found)


def session_page(
    request: MemberRequest, found: Session, *, form: MessageForm | None = None, status: int = 200
) -> HttpResponse:
    """The whole page; with a form that has errors when an act was refused."""
    lanes = story.lanes_of(found)
    header = header_of(found)
    at = "end" if header.status.kind in DEFAULT_ENDS else "start"
    piece = story_of(request, found, lanes, at=at)
    can_receive = not found.is_imported and not found.is_terminated
    live_rows = can_receive and not piece.window.has_later
    last_seq = max(piece.window.last_seq, found.last_seq)
    shown = SessionPage(
        session=found,
        header=header,
        picture=view_of(
            found,
            lanes,
            by_order=request.GET.get("draw") == "order",
            fold=request.GET.get("fold", ""),
            chosen=piece.thread.thread.pk if piece.thread else None,
        ),
        inspector=inspector_of(request, found, lanes, tab=request.GET.get("tab", ""), event=piece.focused, lazy=True),
        window=piece.window,
        rows=piece.rows,
        thread=piece.thread,
        everything=piece.everything,
        focused=piece.focused.public_id if piece.focused else "",
        edges="both",
        begins_at_end=begins_at_end(request, at),
        live=can_receive,
        live_rows=live_rows,
        live_url=live_url(found, last_seq, piece.thread, piece.everything, rows=live_rows),
        annotations=story.annotated_events(found),
        pending=pending_of(found, lanes),
        form=form or MessageForm(),
        may_act=request.membership.may("operator"),
        can_receive=can_receive,
    )
    return page(request, "console/sessions/session.html", shown, status=status)


def header_of(found: Session) -> Header:
    now = timezone.now()
    works = found.status in (Session.Status.RUNNING, Session.Status.RESCHEDULING)
    questions = open_questions([found]).get(found.pk, 0) if works else 0
    return Header(
        session=found,
        status=status_of(found, questions=questions),
        cost=known_cost(found),
        budget=None if found.budget_cents is None else found.budget_cents * CENT_NANOUSD,
        tokens=known_tokens(found),
        active_s=found.active_seconds_at(now),
        running_since=found.active_since,
        model=model_of(found.agent_snapshot),
    )


def model_of(definition: dict[str, Any]) -> str:
    model = definition.get("model")
    return str(model.get("id", "")) if isinstance(model, dict) else str(model or "")


def pending_of(found: Session, lanes: dict[int, story.Lane]) -> list[Pending]:
    """The open tool calls of all agents, oldest first. Four queries at most."""
    waiting = found.tool_calls.filter(state=ToolCall.State.WAITING).select_related("use_event")
    calls = list(waiting.order_by("use_event__seq"))
    tasks = tasks_of(found, [call.thread_id for call in calls if not lanes[call.thread_id].thread.is_primary])
    whys = _said_with(found, calls)
    return [_pending(call, lanes, whys.get(call.use_event.cause_seq), tasks.get(call.thread_id)) for call in calls]


def _said_with(found: Session, calls: list[ToolCall]) -> dict[int | None, str]:
    """What an agent said in the answer that holds a call, else what it thought, by the answer's request."""
    requests = {call.use_event.cause_seq for call in calls if call.use_event.cause_seq is not None}
    if not requests:
        return {}
    near = {"seq__gte": min(requests), "seq__lte": max(call.use_event.seq for call in calls)}
    events = Event.objects.filter(session=found, cause_seq__in=requests, **near)
    found_words: dict[int | None, str] = {}
    for event in events.filter(type__in=("agent.message", "agent.thinking")).order_by("type", "seq"):
        said = excerpt(blocks_of(event.data)) or one_line(str(event.private_data.get("thinking") or ""))
        if said:
            found_words.setdefault(event.cause_seq, said)  # messages sort before thoughts
    return found_words


def _pending(call: ToolCall, lanes: dict[int, story.Lane], why: str | None, task: Said | None) -> Pending:
    event = call.use_event
    return Pending(
        call=call,
        event_id=event.public_id,
        lane=lanes[call.thread_id],
        parts=tuple(parts_of(event.type, event.data, {})),
        asks=call.kind != ToolCall.Kind.CUSTOM,
        why=why or "",
        task=task,
    )


def live_url(found: Session, after: int, thread: story.Lane | None, everything: bool, *, rows: bool) -> str:
    """The stream that continues where the page ends."""
    url = reverse("console:session-stream", args=[found.public_id]) + f"?after={after}"
    url += f"&thread={thread.public_id}" if thread else ""
    url += f"&events={EVERYTHING}" if everything else ""
    return url if rows else url + "&rows=none"


def _permalink(found: Session, seq: str) -> str:
    """Where the picture leads to: the event at, or just before, a place of the log."""
    if not seq.isascii() or not seq.isdigit() or len(seq) > 18:
        raise BadRequest(DAMAGED)
    event = Event.objects.filter(session=found, visible=True, seq__lte=int(seq)).order_by("-seq").first()
    url = reverse("console:session", args=[found.public_id])
    return f"{url}?event={event.public_id}#event-{event.public_id}" if event else url
