"""`/v1/sessions`"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path

from agents.api import schemas
from agents.api.http import ApiRequest, endpoint, read_json
from agents.api.pages import created_within, paginate
from agents.api.traces import remember_trace
from agents.api.wire import session_wire
from agents.errors import Invalid, NotBuilt
from agents.models import Session
from agents.services import sessions


def sender(request: ApiRequest) -> str:
    """Who a client's event came from, for the record."""
    return f"API key {request.api_key.name}"


def create_session(request: ApiRequest) -> dict[str, Any]:
    values = schemas.parse("sessions.create", read_json(request))
    session = sessions.create_session(request.workspace, values=values, sender=sender(request))
    remember_trace(request, session)
    return session_wire(session)


def list_sessions(request: ApiRequest) -> dict[str, Any]:
    query = schemas.parse_query(request, "sessions.list")
    rows = created_within(_filtered(request, query), query)
    page = paginate(rows, query, name="sessions", both_ways=True)
    return page.wire(session_wire, both_ways=True)


def _filtered(request: ApiRequest, query: dict[str, Any]) -> QuerySet[Session]:
    rows = (
        Session.objects.in_workspace(request.workspace)
        .select_related("environment")
        .prefetch_related("resources__file")
    )
    if not query.get("include_archived"):
        rows = rows.filter(archived_at__isnull=True)
    if "agent_version" in query and "agent_id" not in query:
        raise Invalid("agent_version: give agent_id with it.")
    if "agent_id" in query:
        rows = rows.filter(agent__public_id=query["agent_id"])
    if "agent_version" in query:
        rows = rows.filter(agent_version=query["agent_version"])
    if "statuses" in query:
        rows = rows.filter(status__in=query["statuses"])
    if "deployment_id" in query:
        raise NotBuilt("Deployments (deployment_id) are not built yet.")
    if "memory_store_id" in query:
        raise NotBuilt("Memory stores (memory_store_id) are not built yet.")
    return rows


def retrieve_session(request: ApiRequest, session_id: str) -> dict[str, Any]:
    return session_wire(sessions.get_session(request.workspace, session_id))


def update_session(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    changes = schemas.parse("sessions.update", read_json(request))
    return session_wire(sessions.update_session(session, changes=changes))


def archive_session(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    return session_wire(sessions.archive_session(session))


def delete_session(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    sessions.delete_session(session)
    return {"id": session.public_id, "type": "session_deleted"}


urlpatterns = [
    path("sessions", endpoint(GET=list_sessions, POST=create_session), name="sessions"),
    path(
        "sessions/<str:session_id>",
        endpoint(GET=retrieve_session, POST=update_session, DELETE=delete_session),
        name="session",
    ),
    path("sessions/<str:session_id>/archive", endpoint(POST=archive_session), name="session-archive"),
]
