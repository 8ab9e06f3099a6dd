"""`/v1/agents`."""

from __future__ import annotations

from typing import Any

from django.urls import path

from agents.api.http import ApiRequest, endpoint, read_json
from agents.api.pages import created_within, paginate
from agents.api.schemas import parse, parse_query
from agents.models import Agent
from agents.services import agents

Wire = dict[str, Any]


def _current(agent: Agent) -> Wire:
    return agents.agent_wire(agent, agents.get_version(agent))


def create_agent(request: ApiRequest) -> Wire:
    definition = parse("agents.create", read_json(request))
    return _current(agents.create_agent(request.workspace, definition=definition))


def list_agents(request: ApiRequest) -> Wire:
    query = parse_query(request, "agents.list")
    rows = Agent.objects.in_workspace(request.workspace)
    if not query.get("include_archived"):
        rows = rows.unarchived()
    page = paginate(created_within(rows, query), query, name="agents")
    versions = agents.current_versions(page.rows)
    return page.wire(lambda agent: agents.agent_wire(agent, versions[agent.pk]))


def retrieve_agent(request: ApiRequest, agent_id: str) -> Wire:
    query = parse_query(request, "agents.retrieve")
    agent = agents.get_agent(request.workspace, agent_id)
    return agents.agent_wire(agent, agents.get_version(agent, query.get("version")))


def update_agent(request: ApiRequest, agent_id: str) -> Wire:
    changes = parse("agents.update", read_json(request))
    agent = agents.get_agent(request.workspace, agent_id)
    expected = changes.pop("version", None)
    return _current(agents.update_agent(agent, changes=changes, expected_version=expected))


def archive_agent(request: ApiRequest, agent_id: str) -> Wire:
    return _current(agents.archive_agent(agents.get_agent(request.workspace, agent_id)))


def list_versions(request: ApiRequest, agent_id: str) -> Wire:
    query = parse_query(request, "agents.versions.list")
    agent = agents.get_agent(request.workspace, agent_id)
    page = paginate(agent.versions.all(), query, name=f"versions of {agent.public_id}", fields=("version",))
    return page.wire(lambda version: agents.agent_wire(agent, version))


urlpatterns = [
    path("agents", endpoint(GET=list_agents, POST=create_agent), name="agents"),
    path("agents/<str:agent_id>", endpoint(GET=retrieve_agent, POST=update_agent), name="agent"),
    path("agents/<str:agent_id>/archive", endpoint(POST=archive_agent), name="agent-archive"),
    path("agents/<str:agent_id>/versions", endpoint(GET=list_versions), name="agent-versions"),
]
