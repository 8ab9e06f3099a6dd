"""The tools with which agents work together: what the model is told of them, and what counts as a usable input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.services.multiagent import CHILD_TOOLS, LEAD_TOOLS
from agents.services.rosters import Roster, roster_of

MAX_TASK_CHARS = 100_000
MAX_FILES = 50
MAX_PATH_CHARS = 4_096
MAX_WAIT_S = 7 * 24 * 3600

_STRING = {"type": "string"}
_AGENT_NAME = {"type": "string", "description": "A name from the list of agents."}
_INLINE_AGENT = {
    "type": "object",
    "description": "An agent made for this task alone. What is left out is as you are.",
    "properties": {
        "name": _STRING,
        "system": _STRING,
        "model": _STRING,
        "tools": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["name", "system"],
}


def _tool(name: str, description: str, required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": description, "input_schema": schema}


def _spawn_agent(roster: Roster) -> dict[str, Any]:
    named = {**_AGENT_NAME, "enum": list(roster.members)} if roster.members else None
    kinds = [kind for kind in (named, _INLINE_AGENT if roster.inline_allowed else None) if kind]
    return _tool(
        "spawn_agent",
        "Start an agent on a task, in a thread of its own that works at the same time as you. It sees nothing of your "
        "conversation: give it the objective, what you expect back, its limits, and the files it needs. Its last "
        "message comes to you as its report. Returns the thread's id at once.",
        ["agent", "task"],
        agent=kinds[0] if len(kinds) == 1 else {"anyOf": kinds},
        task=_STRING,
        files={"type": "array", "items": _STRING, "description": "Paths in the shared file system to look at."},
    )


SEND_TO_AGENT = _tool(
    "send_to_agent",
    "Send a message to an agent you have started: an answer, or a follow-up task. It remembers what it did before.",
    ["thread_id", "message"],
    thread_id=_STRING,
    message=_STRING,
)
LIST_AGENTS = _tool("list_agents", "List the agents you can start, and the threads you have started.", [])
WAIT_FOR_AGENTS = _tool(
    "wait_for_agents",
    "Wait until agents have finished: all of those that work, or the threads you name; with mode any, until one has. "
    "Their reports follow as messages.",
    [],
    thread_ids={"type": "array", "items": _STRING},
    mode={"type": "string", "enum": ["any", "all"]},
    timeout_s={"type": "number"},
)
STOP_AGENT = _tool(
    "stop_agent",
    "End an agent's work for good. Its thread is closed and its place is free.",
    ["thread_id"],
    thread_id=_STRING,
)
SEND_TO_PARENT = _tool(
    "send_to_parent",
    "Send a message to the agent that gave you your task while you go on working. Your last message is sent to it by "
    "itself as your report. To ask a question, end your turn with it: you will be answered.",
    ["message"],
    message=_STRING,
)
SHARED_FILES = (
    "When another agent has changed a file since you read it, write and edit fail and show you the difference."
)


@dataclass(frozen=True)
class Team:
    """A thread's part in its session's team."""

    is_child: bool
    roster: Roster | None

    @property
    def tool_names(self) -> tuple[str, ...]:
        if self.is_child:
            return CHILD_TOOLS
        return LEAD_TOOLS if self.roster is not None else ()

    def definitions(self) -> list[dict[str, Any]]:
        """Tool definitions for the model, in a stable order."""
        if self.is_child:
            return [SEND_TO_PARENT]
        if self.roster is None:
            return []
        return [_spawn_agent(self.roster), SEND_TO_AGENT, LIST_AGENTS, WAIT_FOR_AGENTS, STOP_AGENT]

    def notes(self) -> str:
        """What the system prompt says of the team; empty for an agent that works alone."""
        if self.is_child:
            return (
                "You work for another agent, the lead, which gave you your task. Other agents may work at the same "
                "time on the same files. Your last message goes to the lead as your report: say what you found or "
                "did, and name the files.\n" + SHARED_FILES
            )
        if self.roster is None:
            return ""
        lines = [
            "You can have other agents work for you at the same time, on the same files. Give each a task with an "
            "objective, the output you expect, its boundaries and its files. Their reports come to you as messages.",
        ]
        if self.roster.members:
            lines.append("The agents you can start:")
        for name, member in self.roster.members.items():
            description = " ".join((member.get("description") or "").split())
            lines.append(f"- {name}: {description}" if description else f"- {name}")
        if self.roster.inline_allowed:
            lines.append("You can also define an agent of your own when you start it.")
        lines.append(SHARED_FILES)
        return "\n".join(lines)


def team_of(snapshot: dict[str, Any], *, is_child: bool) -> Team:
    """The part that an agent with this snapshot plays. Children never delegate: teams are one level deep."""
    return Team(is_child=is_child, roster=None if is_child else roster_of(snapshot))


def problem_with(name: str, value: dict[str, Any]) -> str:
    """Why the input of a call cannot be used, as a sentence the model can act on; empty when it can."""
    required, allowed = _FIELDS[name]
    missing = [field for field in required if field not in value]
    if missing:
        return f"{name}: the field {missing[0]} is missing. It takes {', '.join(allowed)}."
    unknown = sorted(field for field in value if field not in allowed)
    if unknown:
        return f"{name}: there is no field {unknown[0][:80]!r}. It takes {', '.join(allowed) or 'no fields'}."
    for field, given in value.items():
        if problem := _CHECKS[field](given):
            return f"{name}: {field} {problem}"
    return ""


def _text(given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        return "must be text that is not empty."
    return "" if len(given) <= MAX_TASK_CHARS else f"must have at most {MAX_TASK_CHARS:,} characters."


def _agent(given: object) -> str:
    if isinstance(given, dict):
        return "" if all(isinstance(key, str) for key in given) else "must have text as keys."
    return _text(given)


def _texts(given: object) -> str:
    if not isinstance(given, list) or not all(isinstance(item, str) and item.strip() for item in given):
        return "must be a list of texts."
    if len(given) > MAX_FILES or any(len(item) > MAX_PATH_CHARS for item in given):
        return f"must have at most {MAX_FILES} entries of at most {MAX_PATH_CHARS:,} characters."
    return ""


def _mode(given: object) -> str:
    return "" if given in ("any", "all") else "must be any or all."


def _seconds(given: object) -> str:
    good = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= MAX_WAIT_S
    return "" if good else f"must be a number of seconds from 0 to {MAX_WAIT_S}."


_CHECKS = {
    "agent": _agent,
    "task": _text,
    "files": _texts,
    "thread_id": _text,
    "message": _text,
    "thread_ids": _texts,
    "mode": _mode,
    "timeout_s": _seconds,
}
_FIELDS: dict[str, tuple[list[str], list[str]]] = {
    "spawn_agent": (["agent", "task"], ["agent", "task", "files"]),
    "send_to_agent": (["thread_id", "message"], ["thread_id", "message"]),
    "list_agents": ([], []),
    "wait_for_agents": ([], ["thread_ids", "mode", "timeout_s"]),
    "stop_agent": (["thread_id"], ["thread_id"]),
    "send_to_parent": (["message"], ["message"]),
}
