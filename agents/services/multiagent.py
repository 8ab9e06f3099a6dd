"""`multiagent`: which other agents an agent may put to work, in its three forms, without the database.

As asked for, it has the shapes of the API's parameters. As stored in a version, every default is written out, members
are references with a version, and the agent itself is `{"type": "self"}`, so that its next version needs no new roster.
As a session shows it, members stand there with their whole definitions. `agents/services/members.py` looks members up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.errors import Invalid, NotBuilt

Wire = dict[str, Any]

COORDINATOR = "coordinator"
SWITCHES = "multiagent_20261001"
MAX_MEMBERS = 20  # per list
LEAD_TOOLS = ("spawn_agent", "send_to_agent", "list_agents", "wait_for_agents", "stop_agent")
CHILD_TOOLS = ("send_to_parent",)
ENABLED: Wire = {"type": "enabled"}
DISABLED: Wire = {"type": "disabled"}
SELF: Wire = {"type": "self"}

# What a session's thread keeps of an agent's definition: neither metadata nor a roster.
THREAD_KEYS = ("name", "description", "model", "system", "tools", "mcp_servers", "skills", "execution_identity")


def write_out(given: Wire | None) -> Wire | None:
    """The stored form of what was asked for. A reference that names no version has none yet: `members.pin` adds it."""
    if given is None:
        return None
    if given["type"] == COORDINATOR:
        agents = _entries("multiagent.agents", given["agents"])
        if not agents:
            raise Invalid("multiagent.agents: must list at least one agent.")
        return {"type": COORDINATOR, "agents": agents}
    if (given.get("advisor") or DISABLED)["type"] == "enabled":
        raise NotBuilt("An advisor (multiagent.advisor) is not built yet. Leave it out or disabled.")
    if (given.get("workflows") or DISABLED)["type"] == "enabled":
        raise Invalid(
            "multiagent.workflows: workflow runs (`workflows`) cannot be enabled here. Leave it out or disabled."
        )
    return {
        "type": SWITCHES,
        "advisor": dict(DISABLED),
        "subagents": _subagents(given.get("subagents") or ENABLED),
        "workflows": dict(DISABLED),
    }


def _subagents(given: Wire) -> Wire:
    if given["type"] == "disabled":
        return dict(DISABLED)
    inline = {"type": (given.get("inline_agents") or ENABLED)["type"]}
    predefined = _entries("multiagent.subagents.predefined_agents", given.get("predefined_agents") or [])
    if inline == DISABLED and not predefined:
        raise Invalid(
            "multiagent.subagents: with inline_agents disabled, predefined_agents must list at least one agent. "
            "List one, or set subagents to disabled."
        )
    return {"type": "enabled", "inline_agents": inline, "predefined_agents": predefined}


def _entries(path: str, given: list[str | Wire]) -> list[Wire]:
    if len(given) > MAX_MEMBERS:
        raise Invalid(
            f"{path}.{MAX_MEMBERS}: is one too many. There are {len(given)} entries; the most is {MAX_MEMBERS}."
        )
    return [_entry(f"{path}.{i}", entry) for i, entry in enumerate(given)]


def _entry(path: str, given: str | Wire) -> Wire:
    if isinstance(given, str):
        return {"type": "agent", "id": given}
    if given["type"] == "advisor":
        raise NotBuilt(f"An advisor ({path}) is not built yet. Leave the entry out.")
    if given["type"] == "self":
        return dict(SELF)
    if "version" not in given:
        return {"type": "agent", "id": given["id"]}
    if given["version"] < 1:
        raise Invalid(f"{path}.version: versions are counted from 1.")
    return {"type": "agent", "id": given["id"], "version": given["version"]}


def merge(stored: Wire | None, given: Wire | None) -> Wire | None:
    """What an update asks for: a configuration with switches is laid over a stored one, anything else replaces."""
    if given is None or stored is None or given["type"] != SWITCHES:
        return given
    return _laid_over(stored, given)


def _laid_over(stored: Any, given: Any) -> Any:
    """Level by level: an absent key keeps, null stays and becomes the default, another `type` or a list replaces."""
    if not isinstance(stored, dict) or not isinstance(given, dict) or stored["type"] != given["type"]:
        return given
    return {**stored, **{key: _laid_over(stored.get(key), value) for key, value in given.items()}}


# The roster of any form


def can_delegate(multiagent: Wire | None) -> bool:
    if multiagent is None:
        return False
    return multiagent["type"] == COORDINATOR or multiagent["subagents"]["type"] == "enabled"


def allows_inline(multiagent: Wire | None) -> bool:
    """Whether the agent may make up agents of its own when it delegates."""
    if multiagent is None or multiagent["type"] == COORDINATOR or not can_delegate(multiagent):
        return False
    return bool(multiagent["subagents"]["inline_agents"]["type"] == "enabled")


def roster(multiagent: Wire | None) -> list[tuple[str, Wire]]:
    """Each member with the path an error names, such as `multiagent.agents.3`."""
    if multiagent is None or not can_delegate(multiagent):
        return []
    if multiagent["type"] == COORDINATOR:
        return [(f"multiagent.agents.{i}", member) for i, member in enumerate(multiagent["agents"])]
    predefined = multiagent["subagents"]["predefined_agents"]
    return [(f"multiagent.subagents.predefined_agents.{i}", member) for i, member in enumerate(predefined)]


def with_roster(multiagent: Wire, change: Callable[[str, Wire], Wire]) -> Wire:
    """A copy whose members are what `change(path, member)` makes of them."""
    members = [change(path, member) for path, member in roster(multiagent)]
    if not can_delegate(multiagent):
        return dict(multiagent)
    if multiagent["type"] == COORDINATOR:
        return {**multiagent, "agents": members}
    return {**multiagent, "subagents": {**multiagent["subagents"], "predefined_agents": members}}


def check_tool_names(tools: list[Wire], multiagent: Wire | None) -> None:
    """Custom tools may not take the names of the tools that agents work together with. Takes the stored form."""
    if not can_delegate(multiagent):
        return
    for i, tool in enumerate(tools):
        if tool["type"] == "custom" and tool["name"] in LEAD_TOOLS:
            raise Invalid(
                f"tools.{i}.name: an agent with `multiagent` has a tool {tool['name']} already. Rename yours."
            )
    for path, member in roster(multiagent):
        if member == SELF:
            check_member_tools(path, tools)


def check_member_tools(path: str, tools: list[Wire]) -> None:
    for tool in tools:
        if tool["type"] == "custom" and tool["name"] in CHILD_TOOLS:
            raise Invalid(
                f"{path}: this agent has a custom tool {tool['name']}, which is the name of a tool that every member "
                "has already. Rename the custom tool."
            )


# On the wire


def public_form(multiagent: Wire | None, *, public_id: str, version: int) -> Wire | None:
    """The stored form as the agent shows it: `self` is the agent itself, at the version that is shown."""
    if multiagent is None:
        return None
    itself = {"type": "agent", "id": public_id, "version": version}
    return with_roster(multiagent, lambda _, member: dict(itself if member == SELF else member))


def thread_form(public_id: str, version: int, definition: Wire) -> Wire:
    """An agent as a session's thread shows it."""
    return {"id": public_id, "type": "agent", "version": version, **{key: definition[key] for key in THREAD_KEYS}}


def session_form(multiagent: Wire | None, *, lead: Wire, members: dict[tuple[str, int], Wire]) -> Wire | None:
    """The stored form with whole definitions: `members` by id and version, and the lead's own for `self`.

    The lead's own is what the session made of it, so copies of the lead follow the session's overrides.
    """
    if multiagent is None:
        return None

    def whole(_: str, member: Wire) -> Wire:
        return lead if member == SELF else members[member["id"], member["version"]]

    return with_roster(multiagent, whole)


def stored_form(multiagent: Wire | None, *, lead: Wire) -> Wire | None:
    """Back from the session's form: a member with the lead's id and version is a copy of the lead."""
    if multiagent is None:
        return None
    own = (lead["id"], lead["version"])

    def reference(_: str, member: Wire) -> Wire:
        found = (member["id"], member["version"])
        return dict(SELF) if found == own else {"type": "agent", "id": found[0], "version": found[1]}

    return with_roster(multiagent, reference)
