"""The agent a session runs: a version of it, with the session's own overrides, fixed when the session is created."""

from __future__ import annotations

from typing import Any

from agents.errors import Invalid
from agents.models import Agent, Workspace
from agents.services.agents import effective_definition, get_agent, get_version
from agents.services.definitions import new_definition

Wire = dict[str, Any]
OVERRIDABLE = ("model", "system", "tools", "mcp_servers", "skills")


def resolve(workspace: Workspace, reference: str | Wire) -> tuple[Agent, int, Wire]:
    """The agent, its version and the session's snapshot that the `agent` of a create call names.

    Raises NotFound for an unknown agent or version, Invalid for an archived agent or overrides that break a rule.
    """
    given: Wire = {"id": reference} if isinstance(reference, str) else reference
    agent = get_agent(workspace, given["id"])
    if agent.archived_at is not None:
        raise Invalid(f"agent: {agent.public_id} is archived and takes no new sessions.")
    version = get_version(agent, given.get("version"))
    definition = effective_definition(version)
    if given.get("type") == "agent_with_overrides":
        definition = override(definition, given)
    return agent, version.version, snapshot(agent.public_id, version.version, definition)


def override(definition: Wire, overrides: Wire) -> Wire:
    """`definition` with a session's replacements. An absent key inherits; null or empty clears."""
    if "model" in overrides and overrides["model"] is None:
        raise Invalid("agent.model: a session cannot run without a model (agent_model_required).")
    given = {key: overrides[key] for key in OVERRIDABLE if key in overrides}
    return new_definition({**definition, **given})


def snapshot(public_id: str, version: int, definition: Wire) -> Wire:
    """A session's `agent` on the wire. Metadata stays with the agent itself."""
    kept = {key: value for key, value in definition.items() if key != "metadata"}
    return {"id": public_id, "type": "agent", "version": version, **kept}


def replace_tools(current: Wire, changes: Wire) -> Wire:
    """A session's snapshot with its tools or MCP servers replaced; the agent itself is not touched."""
    definition = {key: value for key, value in current.items() if key not in ("id", "type", "version")}
    given: Wire = {key: changes[key] for key in ("tools", "mcp_servers") if key in changes}
    changed = new_definition({**definition, **given, "metadata": {}})
    return snapshot(current["id"], current["version"], changed)
