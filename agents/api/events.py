"""`/v1/sessions/{id}/events` and `/v1/sessions/{id}/threads`: sending and reading."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path

from agents.api import schemas
from agents.api.http import ApiRequest, endpoint, read_json
from agents.api.pages import BY_POSITION, created_within, paginate
from agents.api.sessions import sender
from agents.api.traces import remember_trace
from agents.api.wire import event_fragment, thread_wire
from agents.errors import NotFound
from agents.models import Event, Session, Thread
from agents.models.events import QUEUED_POSITION
from agents.services import events, sessions, threads


def send_events(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    values = schemas.parse("events.send", read_json(request))
    rows = events.send_events(session, events=values["events"], by=sender(request))
    remember_trace(request, session)
    return {"data": [event_fragment(row) for row in rows]}


def list_session_events(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    return _page(session.primary_thread, schemas.parse_query(request, "events.list"))


def list_thread_events(request: ApiRequest, session_id: str, thread_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    return _page(get_thread(session, thread_id), schemas.parse_query(request, "threads.events.list"))


def _page(thread: Thread, query: dict[str, Any]) -> dict[str, Any]:
    rows: QuerySet[Event] = Event.objects.filter(thread=thread, visible=True)
    if "types" in query:
        rows = rows.filter(type__in=query["types"])
    rows = created_within(rows, query, field="processed_at")
    # Not NEWEST: a stream is ordered by where each event stands in it, not by when its row was made. What is still
    # queued has no place yet: it is shown at the young end, and no cursor ever points at it.
    placed = rows.filter(position__lt=QUEUED_POSITION)
    page = paginate(placed, query, name=f"events:{thread.public_id}", fields=BY_POSITION, default_order="asc")
    body = page.wire(event_fragment)
    newest_first = query.get("order") == "desc"
    if ("page" not in query) if newest_first else (page.next_page is None):
        queued = [event_fragment(row) for row in rows.filter(position__gte=QUEUED_POSITION).order_by("position")]
        body["data"] = [*reversed(queued), *body["data"]] if newest_first else [*body["data"], *queued]
    return body


def get_thread(session: Session, thread_id: str) -> Thread:
    thread = session.threads.select_related("parent").filter(public_id=thread_id).first()
    if thread is None:
        raise NotFound(f"This session has no thread {thread_id}.")
    return thread


def list_threads(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    query = schemas.parse_query(request, "threads.list")
    rows = session.threads.select_related("parent")
    if "statuses" in query:
        rows = rows.filter(status__in=query["statuses"])
    page = paginate(rows, query, name=f"threads:{session_id}", fields=("ordinal", "id"), default_order="asc")
    return page.wire(lambda thread: _thread(session, thread))


def retrieve_thread(request: ApiRequest, session_id: str, thread_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    return _thread(session, get_thread(session, thread_id))


def archive_thread(request: ApiRequest, session_id: str, thread_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    thread = get_thread(session, thread_id)
    return _thread(session, threads.archive_thread(session, thread))


def _thread(session: Session, thread: Thread) -> dict[str, Any]:
    return thread_wire(thread, session, thread.parent.public_id if thread.parent else None)


_SESSION = "sessions/<str:session_id>"
urlpatterns = [
    path(f"{_SESSION}/events", endpoint(GET=list_session_events, POST=send_events), name="session-events"),
    path(f"{_SESSION}/threads", endpoint(GET=list_threads), name="session-threads"),
    path(f"{_SESSION}/threads/<str:thread_id>", endpoint(GET=retrieve_thread), name="session-thread"),
    path(f"{_SESSION}/threads/<str:thread_id>/archive", endpoint(POST=archive_thread), name="session-thread-archive"),
    path(f"{_SESSION}/threads/<str:thread_id>/events", endpoint(GET=list_thread_events), name="session-thread-events"),
]
