"""The story of a session: which piece of it a request asks for, as part of the page or by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import BadRequest
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from agents.models import Event, Session
from console.access import MemberRequest, find, member_required
from console.pages import page
from console.story import rows as story
from console.story import told

EVERYTHING = "all"  # the value of ?events= that lists routine events too
DAMAGED = "This page address is damaged. Start again from the session's own address."


@dataclass(frozen=True)
class Story:
    """A piece of the log as rows, and how it was chosen. `focused` is the event that a permalink names."""

    thread: story.Lane | None
    everything: bool
    focused: Event | None
    window: story.Window
    rows: list[story.EventRow]


@dataclass(frozen=True)
class RowsPage:
    session: Session
    window: story.Window
    rows: list[story.EventRow]
    focused: str
    edges: str


def get_session(request: MemberRequest, session_id: str) -> Session:
    """The session of the member's workspace. Raises Http404 for any other."""
    return find(request, Session.objects.select_related("agent", "environment", "created_by"), session_id)


@require_safe
@member_required
def rows(request: MemberRequest, session_id: str) -> HttpResponse:
    """One piece of the story, to be put where the page has a gap: before, after or around a place."""
    found = get_session(request, session_id)
    piece = story_of(request, found, story.lanes_of(found), at="start")
    edges = "earlier" if "before" in request.GET else "later" if "after" in request.GET else "both"
    shown = RowsPage(found, piece.window, piece.rows, piece.focused.public_id if piece.focused else "", edges)
    return page(request, "console/sessions/_rows.html", shown)


def story_of(request: HttpRequest, found: Session, lanes: dict[int, story.Lane], *, at: str) -> Story:
    """What the address asks for. `at` is where to begin when it does not say: at the start or the end.

    An event that is asked for is always among the rows, whatever the story would leave out.
    """
    thread, everything = _chosen_thread(request, lanes), request.GET.get("events") == EVERYTHING
    focused = _focused(request, found)
    if focused and thread and focused.thread_id != thread.thread.pk:
        thread = None
    events = told.shown_events(found, thread=thread.thread if thread else None, everything=everything)
    if focused and not everything and not events.filter(pk=focused.pk).exists():
        events = _with(events, found, focused)
    window = _window(request, events, focused, at)
    return Story(thread, everything, focused, window, story.RowMaker(found, lanes).rows(window.events))


def begins_at_end(request: HttpRequest, at: str) -> bool:
    """Whether the last row is what the reader sees first: when no place is asked for, or the end."""
    asked = any(name in request.GET for name in ("event", "seq", "before", "after"))
    return not asked and (request.GET.get("at") or at) == "end"


def _with(events: Any, found: Session, focused: Event) -> Any:
    return Event.objects.filter(Q(pk__in=events.values("pk")) | Q(pk=focused.pk), session=found)


def _chosen_thread(request: HttpRequest, lanes: dict[int, story.Lane]) -> story.Lane | None:
    wanted = request.GET.get("thread")
    if not wanted:
        return None
    for lane in lanes.values():
        if lane.public_id == wanted:
            return lane
    raise Http404("This session has no such thread.")


def _focused(request: HttpRequest, found: Session) -> Event | None:
    """The event that the address names: by its id, or as the last that happened up to a place of the log."""
    events = told.told_events(found)
    if "seq" in request.GET:
        return events.filter(seq__lte=number(request, "seq")).order_by("-seq").first()
    wanted = request.GET.get("event")
    if not wanted:
        return None
    event = events.filter(public_id=wanted).first()
    if event is None:
        raise Http404("This session has no such event.")
    return event


def _window(request: HttpRequest, events: Any, focused: Event | None, at: str) -> story.Window:
    if "after" in request.GET:
        return story.window_from(events, number(request, "after") + 1)
    if "before" in request.GET:
        return story.window_until(events, number(request, "before"))
    if focused is not None:
        return story.window_around(events, focused.seq)
    at = request.GET.get("at") or at
    return story.window_until(events, None) if at == "end" else story.window_from(events, 1)


def number(request: HttpRequest, name: str) -> int:
    """A place in the log out of the address. Raises BadRequest for what is no number."""
    try:
        given = int(request.GET[name])
    except ValueError as exc:
        raise BadRequest(DAMAGED) from exc
    return min(max(given, 0), 2**62)
