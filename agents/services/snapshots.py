"""The agent a session runs: a version of it, with the session's own overrides, fixed when the session is created."""

from __future__ import annotations

from typing import Any

from agents.errors import Invalid
from agents.models import Agent, Workspace
from agents.services.agents import effective_definition, get_agent, get_version
from agents.services.definitions import new_definition
from agents.services.members import definitions_for_session
from agents.services.multiagent import THREAD_KEYS, roster, session_form, stored_form, thread_form

Wire = dict[str, Any]
OVERRIDABLE = ("model", "system", "tools", "mcp_servers", "skills")


def resolve(workspace: Workspace, reference: str | Wire) -> tuple[Agent, int, Wire]:
    """The agent, its version and the session's snapshot that the `agent` of a create call names.

    Raises NotFound for an unknown agent or version, Invalid for an archived agent, also in the roster, or for overrides
    that break a rule.
    """
    given: Wire = {"id": reference} if isinstance(reference, str) else reference
    agent = get_agent(workspace, given["id"])
    if agent.archived_at is not None:
        raise Invalid(f"agent: {agent.public_id} is archived and takes no new sessions.")
    version = get_version(agent, given.get("version"))
    definition = effective_definition(version)
    if given.get("type") == "agent_with_overrides":
        definition = override(definition, given)
    members = definitions_for_session(definition["multiagent"])
    return agent, version.version, snapshot(agent.public_id, version.version, definition, members)


def override(definition: Wire, overrides: Wire) -> Wire:
    """`definition` with a session's replacements. An absent key inherits; null or empty clears."""
    if "model" in overrides and overrides["model"] is None:
        raise Invalid("agent.model: a session cannot run without a model (agent_model_required).")
    given = {key: overrides[key] for key in OVERRIDABLE if key in overrides}
    return new_definition({**definition, **given})


def snapshot(
    public_id: str, version: int, definition: Wire, members: dict[tuple[str, int], Wire] | None = None
) -> Wire:
    """A session's `agent` on the wire. Metadata stays with the agent itself.

    Args:
        members: the agents of its roster by id and version, each as a thread shows it.
    """
    lead = thread_form(public_id, version, definition)
    return {**lead, "multiagent": session_form(definition["multiagent"], lead=lead, members=members or {})}


def replace_tools(current: Wire, changes: Wire) -> Wire:
    """A session's snapshot with its tools or MCP servers replaced; the agent itself is not touched.

    Copies of the lead in its roster follow, other members stay as they are.
    """
    given: Wire = {key: changes[key] for key in ("tools", "mcp_servers") if key in changes}
    definition = {key: current[key] for key in THREAD_KEYS} | {
        "multiagent": stored_form(current["multiagent"], lead=current)
    }
    members = {(member["id"], member["version"]): member for _, member in roster(current["multiagent"])}
    return snapshot(current["id"], current["version"], new_definition({**definition, **given}), members)
