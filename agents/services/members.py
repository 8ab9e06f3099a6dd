"""The members of an agent's roster, looked up: checked and pinned to a version when the agent is saved."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Q

from agents.errors import Invalid
from agents.models import Agent, AgentVersion, Workspace
from agents.services.multiagent import SELF, check_member_tools, roster, thread_form, with_roster

Wire = dict[str, Any]


def pin(workspace: Workspace, multiagent: Wire | None, *, owner: Agent | None = None) -> Wire | None:
    """The stored form `multiagent` with every member at a version.

    Args:
        owner: the agent this is the roster of, locked, when it exists already.

    Raises:
        Invalid: an entry, which the message names, is unknown, archived, listed twice, has `multiagent` itself, or has
            a custom tool under the name of one that every member gets.
    """
    if multiagent is None:
        return None
    if owner is not None:
        multiagent = with_roster(multiagent, lambda _, entry: _as_self(entry, owner))
    _check_distinct(multiagent, owner)
    found = _look_up(workspace, [entry for _, entry in roster(multiagent) if entry != SELF])
    return with_roster(multiagent, lambda path, entry: _pinned(path, entry, found))


def _as_self(entry: Wire, owner: Agent) -> Wire:
    """A roster that was read and sent back names the agent itself by its id and current version."""
    is_owner = entry != SELF and entry["id"] == owner.public_id
    return dict(SELF) if is_owner and entry.get("version", owner.version) == owner.version else entry


def _check_distinct(multiagent: Wire, owner: Agent | None) -> None:
    itself = owner.public_id if owner is not None else "self"
    places: dict[str, str] = {}
    for path, entry in roster(multiagent):
        name = itself if entry == SELF else entry["id"]
        if name in places:
            raise Invalid(f"{path}: {name[:80]!r} is in the list already, at {places[name]}. List each agent once.")
        places[name] = path


def _look_up(workspace: Workspace, references: list[Wire]) -> dict[str, tuple[Agent, AgentVersion | None]]:
    """The referenced agents of the workspace by id, each with the version that its reference means, if there is it."""
    # An id with a NUL or half a surrogate pair cannot even be asked for.
    wanted = {entry["id"]: entry.get("version") for entry in references if entry["id"].isprintable()}
    agents = {agent.public_id: agent for agent in Agent.objects.in_workspace(workspace).filter(public_id__in=wanted)}
    meant = Q(pk__in=[])
    for public_id, agent in agents.items():
        meant |= Q(agent=agent, version=wanted[public_id] or F("agent__version"))
    versions = {row.agent_id: row for row in AgentVersion.objects.filter(meant)}
    return {public_id: (agent, versions.get(agent.pk)) for public_id, agent in agents.items()}


def _pinned(path: str, entry: Wire, found: dict[str, tuple[Agent, AgentVersion | None]]) -> Wire:
    if entry == SELF:
        return entry
    if entry["id"] not in found:
        raise Invalid(f"{path}: there is no agent {entry['id'][:80]!r} in this workspace.")
    agent, version = found[entry["id"]]
    if agent.archived_at is not None:
        raise Invalid(f"{path}: agent {agent.public_id} is archived and takes no new work. Leave it out.")
    if version is None:
        raise Invalid(f"{path}: agent {agent.public_id} has no version {entry['version']}.")
    if version.definition["multiagent"] is not None:
        raise Invalid(
            f"{path}: agent {agent.public_id} has `multiagent` itself in version {version.version}, and agents "
            "delegate only one level deep. Name an agent without it."
        )
    check_member_tools(path, version.definition["tools"])
    return {"type": "agent", "id": agent.public_id, "version": version.version}


def definitions_for_session(multiagent: Wire | None) -> dict[tuple[str, int], Wire]:
    """The members of a saved roster at their pinned versions, by id and version, as a session's threads show them.

    Raises Invalid when a member was archived since: no new session may use it.
    """
    pins = [(path, entry) for path, entry in roster(multiagent) if entry != SELF]
    meant = Q(pk__in=[])
    for _, entry in pins:
        meant |= Q(agent__public_id=entry["id"], version=entry["version"])
    rows = {row.agent.public_id: row for row in AgentVersion.objects.filter(meant).select_related("agent")}
    for path, entry in pins:
        if rows[entry["id"]].agent.archived_at is not None:
            raise Invalid(
                f"agent.{path}: agent {entry['id']} is archived and takes no new sessions. Take it out of the roster, "
                "or use a version of the lead without it."
            )
    return {(name, row.version): thread_form(name, row.version, row.definition) for name, row in rows.items()}
