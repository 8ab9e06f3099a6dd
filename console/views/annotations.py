"""Marking steps: everybody who may see a session may say what they think of a step of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import trigger_client_event

from agents.errors import DaybreakError, NotFound
from agents.models import Annotation, Event, Session
from agents.services import annotations as services
from console.access import MemberRequest, member_required
from console.pages import person_name
from console.story import rows as story
from console.story.told import told_events
from console.views.session import get_session


@require_POST
@member_required
def annotate(request: MemberRequest, session_id: str, event_id: str) -> HttpResponse:
    found = get_session(request, session_id)
    event = told_events(found).filter(public_id=event_id).first()
    if event is None:
        raise Http404("This session has no such event.")
    given = _given(request)
    name = person_name(request.user)
    return _act(
        request, found, event, given, lambda: services.add_annotation(event, by=request.user, name=name, **given)
    )


@require_POST
@member_required
def change(request: MemberRequest, session_id: str, annotation_id: int) -> HttpResponse:
    found, annotation = _find(request, session_id, annotation_id)
    given = _given(request)
    return _act(
        request,
        found,
        annotation.event,
        {**given, "pk": annotation.pk},
        lambda: services.change_annotation(annotation, by=request.membership, **given),
    )


@require_POST
@member_required
def remove(request: MemberRequest, session_id: str, annotation_id: int) -> HttpResponse:
    found, annotation = _find(request, session_id, annotation_id)
    return _act(
        request,
        found,
        annotation.event,
        {"pk": annotation.pk},
        lambda: services.remove_annotation(annotation, by=request.membership),
    )


def _find(request: MemberRequest, session_id: str, annotation_id: int) -> tuple[Session, Annotation]:
    found = get_session(request, session_id)
    return found, services.find_annotation(found, annotation_id)


def _given(request: MemberRequest) -> dict[str, str]:
    return {name: request.POST.get(name, "") for name in ("kind", "category", "text")}


def _act(
    request: MemberRequest, found: Session, event: Event, given: dict[str, Any], act: Callable[[], object]
) -> HttpResponse:
    """Do it, and answer with the step's marks; where there are no scripts, with the way back to the step."""
    error, status = "", 200
    try:
        act()
    except NotFound:
        raise
    except DaybreakError as exc:
        error, status = exc.message, 422  # htmx swaps no 403; the sentence says who may
    if request.htmx:
        return _fragment(request, found, event, given, error, status)
    if error:
        messages.error(request, error)
    url = reverse("console:session", args=[found.public_id])
    return redirect(f"{url}?event={event.public_id}#event-{event.public_id}")


def _fragment(
    request: MemberRequest, found: Session, event: Event, given: dict[str, Any], error: str, status: int
) -> HttpResponse:
    """The step's marks, and beside it all that shows them: its row in the story and the line above it."""
    lanes = story.lanes_of(found)
    row = story.RowMaker(found, lanes).rows([event])[0]
    context = {
        "session": found,
        "event_id": event.public_id,
        "annotations": row.annotations,
        "mark_error": error,
        "mark_values": given if error else {},
        "place": "",
    }
    html = render_to_string("console/sessions/_annotate.html", context, request=request)
    if not error:
        shown = {
            "session": found,
            "row": row,
            "focused": event.public_id,
            "swap": True,
            "annotations": story.annotated_events(found),
        }
        html += render_to_string("console/sessions/_annotations.html", shown, request=request)
        html += render_to_string("console/sessions/_event.html", shown, request=request)
    answer = HttpResponse(html, status=status)
    if not error:
        failed = any(mark.kind == Annotation.Kind.FAILURE for mark in row.annotations)
        marked = {"seq": event.seq, "id": event.public_id, "failure": failed, "marks": len(row.annotations)}
        trigger_client_event(answer, "daybreak:marked", marked)
    return answer
