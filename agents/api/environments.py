"""`/v1/environments`, without the work queue."""

from __future__ import annotations

from typing import Any

from django.urls import path

from agents.api.http import ApiRequest, endpoint, read_json
from agents.api.pages import paginate
from agents.api.schemas import parse, parse_query
from agents.models import Environment
from agents.services import environments

Wire = dict[str, Any]


def create_environment(request: ApiRequest) -> Wire:
    definition = parse("environments.create", read_json(request))
    return environments.environment_wire(environments.create_environment(request.workspace, definition=definition))


def list_environments(request: ApiRequest) -> Wire:
    query = parse_query(request, "environments.list")
    rows = Environment.objects.in_workspace(request.workspace)
    if not query.get("include_archived"):
        rows = rows.unarchived()
    return paginate(rows, query, name="environments").wire(environments.environment_wire)


def retrieve_environment(request: ApiRequest, environment_id: str) -> Wire:
    return environments.environment_wire(environments.get_environment(request.workspace, environment_id))


def update_environment(request: ApiRequest, environment_id: str) -> Wire:
    changes = parse("environments.update", read_json(request))
    environment = environments.get_environment(request.workspace, environment_id)
    return environments.environment_wire(environments.update_environment(environment, changes=changes))


def delete_environment(request: ApiRequest, environment_id: str) -> Wire:
    environment = environments.get_environment(request.workspace, environment_id)
    environments.delete_environment(environment)
    return {"id": environment.public_id, "type": "environment_deleted"}


def archive_environment(request: ApiRequest, environment_id: str) -> Wire:
    environment = environments.get_environment(request.workspace, environment_id)
    return environments.environment_wire(environments.archive_environment(environment))


urlpatterns = [
    path("environments", endpoint(GET=list_environments, POST=create_environment), name="environments"),
    path(
        "environments/<str:environment_id>",
        endpoint(GET=retrieve_environment, POST=update_environment, DELETE=delete_environment),
        name="environment",
    ),
    path(
        "environments/<str:environment_id>/archive",
        endpoint(POST=archive_environment),
        name="environment-archive",
    ),
]
