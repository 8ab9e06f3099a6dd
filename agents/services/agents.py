"""Agents: created, changed in versions that never change themselves, and archived for good.

The API and the console both come through here. Bodies are plain dictionaries in the API's shapes, already parsed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from agents.errors import Conflict, Invalid, NotFound
from agents.models import Agent, AgentVersion, Workspace
from agents.services import members, multiagent
from agents.services.definitions import changed_definition, new_definition

Wire = dict[str, Any]


def get_agent(workspace: Workspace, public_id: str) -> Agent:
    agent = Agent.objects.in_workspace(workspace).filter(public_id=public_id).first()
    if agent is None:
        raise NotFound(f"There is no agent {public_id[:80]!r} in this workspace.")
    return agent


def get_version(agent: Agent, version: int | None = None) -> AgentVersion:
    """One version of an agent, the current one by default."""
    if version is not None and version < 1:
        raise Invalid("version: versions are counted from 1.")
    row = agent.versions.filter(version=agent.version if version is None else version).first()
    if row is None:
        raise NotFound(f"Agent {agent.public_id} has no version {version}.")
    return row


def current_versions(agents: Iterable[Agent]) -> dict[int, AgentVersion]:
    """The current version of each agent, by the agent's primary key, in one query."""
    rows = AgentVersion.objects.filter(agent__in=list(agents), version=F("agent__version"))
    return {row.agent_id: row for row in rows}


@transaction.atomic
def create_agent(workspace: Workspace, *, definition: Wire) -> Agent:
    """A new agent at version 1. `definition` is the body of a create request."""
    written = new_definition(definition)
    written["multiagent"] = members.pin(workspace, written["multiagent"])
    now = timezone.now()
    agent = Agent.objects.create(workspace=workspace, name=written["name"], created_at=now, updated_at=now)
    AgentVersion.objects.create(agent=agent, version=1, definition=written, created_at=now)
    return agent


@transaction.atomic
def update_agent(agent: Agent, *, changes: Wire, expected_version: int | None = None) -> Agent:
    """A new version of `agent`, unless nothing changes.

    Args:
        changes: the body of an update request, without `version`.
        expected_version: refuse when the agent has moved on from it, even when nothing would change.

    Raises:
        Conflict: the agent has another version than expected.
        Invalid: the agent is archived, or the result would break a rule.
    """
    locked = Agent.objects.select_for_update().get(pk=agent.pk)
    if locked.archived_at is not None:
        raise Invalid(f"Agent {locked.public_id} is archived and cannot change. Create a new agent.")
    if expected_version is not None and expected_version < 1:
        raise Invalid("version: must be at least 1.")
    if expected_version is not None and expected_version != locked.version:
        raise Conflict(
            f"Agent {locked.public_id} is at version {locked.version}, not {expected_version}. "
            "Read it again and repeat your change on the current version."
        )
    current = get_version(locked).definition
    changed = changed_definition(current, changes)
    if "multiagent" in changes:
        changed["multiagent"] = members.pin(locked.workspace, changed["multiagent"], owner=locked)
    if changed == current:
        return locked
    locked.version += 1
    locked.name = changed["name"]
    locked.updated_at = timezone.now()
    locked.save(update_fields=["version", "name", "updated_at"])
    AgentVersion.objects.create(agent=locked, version=locked.version, definition=changed, created_at=locked.updated_at)
    return locked


def archive_agent(agent: Agent) -> Agent:
    """No new session may use it; running ones go on. Archiving again changes nothing."""
    Agent.objects.filter(pk=agent.pk, archived_at__isnull=True).update(archived_at=timezone.now())
    agent.refresh_from_db()
    return agent


def effective_definition(version: AgentVersion) -> Wire:
    """A copy of what the version says, every default written out: the base of a session's snapshot."""
    return copy.deepcopy(version.definition)


def agent_wire(agent: Agent, version: AgentVersion) -> Wire:
    """The agent as the API shows it at one version."""
    definition = version.definition
    team = multiagent.public_form(definition["multiagent"], public_id=agent.public_id, version=version.version)
    return {
        "id": agent.public_id,
        "type": "agent",
        "version": version.version,
        **definition,
        "multiagent": team,
        "created_at": agent.created_at,
        "updated_at": version.created_at,
        "archived_at": agent.archived_at,
    }
