"""Who the agents of a session may put to work, read from its snapshot. Nothing here touches the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.errors import Invalid
from agents.services import multiagent
from agents.services.definitions import MAX_NAME_CHARS, changed_definition
from agents.services.inline_tools import chosen_tools, parse_inline

Wire = dict[str, Any]


@dataclass(frozen=True)
class Roster:
    """The agents a lead may start threads of.

    Attributes:
        members: the snapshot of a member's thread, by the name under which the lead calls it.
        inline_allowed: whether the lead may also define agents of its own, see `inline_member`.
    """

    members: dict[str, Wire]
    inline_allowed: bool


def roster_of(snapshot: Wire) -> Roster | None:
    """The roster of a session's agent; None when it cannot delegate."""
    team = snapshot.get("multiagent")
    if not multiagent.can_delegate(team):
        return None
    members = [member for _, member in multiagent.roster(team)]
    names = _distinct([member["name"] for member in members])
    return Roster(dict(zip(names, members, strict=True)), multiagent.allows_inline(team))


def _distinct(names: list[str]) -> list[str]:
    """The names in order. A repeated one gets the first number, from 2 on, that no other name has."""
    taken: set[str] = set()
    found = []
    for name in names:
        chosen, number = name, 2
        while chosen in taken or (chosen != name and chosen in names):
            end = f"-{number}"
            chosen = name[: MAX_NAME_CHARS - len(end)] + end
            number += 1
        taken.add(chosen)
        found.append(chosen)
    return found


def models_of(snapshot: Wire) -> list[str]:
    """The ids of the models that a session may run: the lead's and its members', each once.

    Inline agents may bring others, which are known when they are started.
    """
    members = [member for _, member in multiagent.roster(snapshot.get("multiagent"))]
    return list(dict.fromkeys(agent["model"]["id"] for agent in [snapshot, *members]))


def inline_member(lead_snapshot: Wire, given: Wire) -> Wire:
    """The snapshot of an agent that the lead defines for one task, as a thread shows it.

    Args:
        lead_snapshot: of the lead's thread or session, which gives what `given` leaves out.
        given: {name, system, model?, tools?}, as a model wrote it. Tools replace the lead's, within the lead's own.

    Raises:
        Invalid: something in `given` cannot be used; the message tells the model what.
    """
    wanted = parse_inline(given)
    if not wanted["name"].isprintable():
        raise Invalid("name: must be a single line of text.")
    if not wanted["system"].strip():
        raise Invalid("system: must say who the agent is and how it works.")
    lead = {key: lead_snapshot[key] for key in multiagent.THREAD_KEYS}
    changes = {**wanted, "description": None, "mcp_servers": lead["mcp_servers"]}
    if "tools" in wanted:
        changes["tools"] = chosen_tools(lead["tools"], wanted["tools"])
        used = {tool.get("mcp_server_name") for tool in changes["tools"]}
        changes["mcp_servers"] = [server for server in lead["mcp_servers"] if server["name"] in used]
    multiagent.check_member_tools("tools", changes.get("tools", lead["tools"]))
    written = changed_definition({**lead, "metadata": {}, "multiagent": None}, changes)
    return {"type": "inline", **{key: written[key] for key in multiagent.THREAD_KEYS}}
