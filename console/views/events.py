"""One event of a session: opened in the list, on a page of its own, and raw. And the files a session delivered."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from agents.api.files import attachment
from agents.models import Event, File, Session
from console.access import MemberRequest, member_required
from console.pages import page
from console.story.detail import EventDetail, detail_of, wire_text
from console.story.rows import lanes_of
from console.story.told import told_events
from console.views.session import get_session


@dataclass(frozen=True)
class EventPage:
    session: Session
    detail: EventDetail
    earlier: str
    later: str


def get_event(found: Session, event_id: str) -> Event:
    event = told_events(found).filter(public_id=event_id).first()
    if event is None:
        raise Http404("This session has no such event.")
    return event


@require_safe
@member_required
def event(request: MemberRequest, session_id: str, event_id: str) -> HttpResponse:
    found = get_session(request, session_id)
    chosen = get_event(found, event_id)
    around = told_events(found)
    before = around.filter(seq__lt=chosen.seq).order_by("-seq").values_list("public_id", flat=True)
    after = around.filter(seq__gt=chosen.seq).order_by("seq").values_list("public_id", flat=True)
    shown = EventPage(
        session=found,
        detail=detail_of(chosen, found, lanes_of(found)),
        earlier="" if request.htmx else before.first() or "",
        later="" if request.htmx else after.first() or "",
    )
    template = "console/sessions/_event_detail.html" if request.htmx else "console/sessions/event.html"
    return page(request, template, shown)


@require_safe
@member_required
def event_raw(request: MemberRequest, session_id: str, event_id: str) -> HttpResponse:
    """The whole event as the API gives it, for download: never cut, never rendered."""
    chosen = get_event(get_session(request, session_id), event_id)
    response = HttpResponse(wire_text(chosen), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{chosen.public_id}.json"'
    return response


@require_safe
@member_required
def output(request: MemberRequest, session_id: str, file_id: str) -> HttpResponseBase:
    """A file the session delivered, always as a download: it may be HTML or SVG."""
    found = get_session(request, session_id)
    file = found.files.unexpired().filter(public_id=file_id, kind=File.Kind.OUTPUT).first()
    if file is None:
        raise Http404("This session delivered no such file.")
    return attachment(file)
