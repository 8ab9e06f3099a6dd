"""`/v1/sessions/{id}/resources`"""

from __future__ import annotations

from typing import Any

from django.urls import path

from agents.api import schemas
from agents.api.http import ApiRequest, endpoint, read_json
from agents.api.pages import paginate
from agents.api.wire import resource_wire
from agents.errors import Invalid, NotBuilt
from agents.services import resources, sessions


def list_resources(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    query = schemas.parse_query(request, "resources.list")
    rows = session.resources.select_related("file")
    return paginate(rows, query, name=f"resources:{session_id}", default_order="asc").wire(resource_wire)


def add_resource(request: ApiRequest, session_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    values = schemas.parse("resources.add", read_json(request))
    return resource_wire(resources.add_resource(session, values))


def retrieve_resource(request: ApiRequest, session_id: str, resource_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    return resource_wire(resources.get_resource(session, resource_id))


def update_resource(request: ApiRequest, session_id: str, resource_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    resources.get_resource(session, resource_id)
    raise NotBuilt("Only repository tokens can be updated, and repositories are not built yet.")


def delete_resource(request: ApiRequest, session_id: str, resource_id: str) -> dict[str, Any]:
    session = sessions.get_session(request.workspace, session_id)
    if session.is_terminated:
        raise Invalid("The resources of an archived or terminated session cannot be changed.")
    resources.remove_resource(resources.get_resource(session, resource_id))
    return {"id": resource_id, "type": "session_resource_deleted"}


urlpatterns = [
    path(
        "sessions/<str:session_id>/resources",
        endpoint(GET=list_resources, POST=add_resource),
        name="session-resources",
    ),
    path(
        "sessions/<str:session_id>/resources/<str:resource_id>",
        endpoint(GET=retrieve_resource, POST=update_resource, DELETE=delete_resource),
        name="session-resource",
    ),
]
