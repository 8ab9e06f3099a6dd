"""The tools an agent has, as its model sees them, and what its policies say of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TOOLSET = "agent_toolset_20260401"
WEB_TOOLS = ("web_fetch", "web_search")


def _schema(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


_STRING = {"type": "string"}

# Input schemas as the SDK's `beta_managed_agents_agent_toolset20260401_*_input` types have them.
BUILT_IN: dict[str, dict[str, Any]] = {
    "bash": {
        "description": (
            "Run a command in this thread's own persistent bash shell, in /workspace at first. Exit codes are named in "
            "the result. `timeout_ms` limits the run (default 120000); `restart: true` opens a fresh shell."
        ),
        "input_schema": _schema([], command=_STRING, restart={"type": "boolean"}, timeout_ms={"type": "integer"}),
    },
    "read": {
        "description": "Read a text file with line numbers, or an image. `view_range` is [first, last] line; last <= 0 "
        "means to the end.",
        "input_schema": _schema(
            ["file_path"], file_path=_STRING, view_range={"type": "array", "items": {"type": "integer"}}
        ),
    },
    "write": {
        "description": "Create or replace a file with this content.",
        "input_schema": _schema(["file_path", "content"], file_path=_STRING, content=_STRING),
    },
    "edit": {
        "description": "Replace a string in a file. It must occur exactly once unless `replace_all` is true.",
        "input_schema": _schema(
            ["file_path", "old_string", "new_string"],
            file_path=_STRING,
            old_string=_STRING,
            new_string=_STRING,
            replace_all={"type": "boolean"},
        ),
    },
    "glob": {
        "description": "List files matching a glob pattern, newest first.",
        "input_schema": _schema(["pattern"], pattern=_STRING, path=_STRING),
    },
    "grep": {
        "description": "Search files for a regular expression.",
        "input_schema": _schema(["pattern"], pattern=_STRING, path=_STRING),
    },
}


@dataclass(frozen=True)
class Permission:
    """What the policies say of one call. `evaluation` is the wire object, None when refused before any policy."""

    verdict: str
    evaluation: dict[str, Any] | None
    reason: str = ""


def _toolset(snapshot: dict[str, Any]) -> dict[str, Any] | None:
    return next((tool for tool in snapshot["tools"] if tool["type"] == TOOLSET), None)


def _config(toolset: dict[str, Any], name: str) -> dict[str, Any]:
    """A tool's own settings over the toolset's defaults."""
    default = toolset.get("default_config") or {}
    own: dict[str, Any] = next((config for config in toolset.get("configs") or [] if config.get("name") == name), {})
    policy = own.get("permission_policy") or default.get("permission_policy") or {"type": "always_allow"}
    enabled = own.get("enabled")
    if enabled is None:
        enabled = default.get("enabled", True)
    return {"enabled": enabled, "policy": policy["type"]}


def custom_tools(snapshot: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {tool["name"]: tool for tool in snapshot["tools"] if tool["type"] == "custom"}


def definitions(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    """Tool definitions for the model, in a stable order. Web tools are left out: nothing here could answer them."""
    tools: list[dict[str, Any]] = []
    toolset = _toolset(snapshot)
    if toolset is not None:
        for name, spec in BUILT_IN.items():
            if _config(toolset, name)["enabled"]:
                tools.append({"name": name, **spec})
    for name, tool in custom_tools(snapshot).items():
        tools.append({"name": name, "description": tool["description"], "input_schema": tool["input_schema"]})
    return tools


def has_sandbox_tools(snapshot: dict[str, Any]) -> bool:
    toolset = _toolset(snapshot)
    return toolset is not None and any(_config(toolset, name)["enabled"] for name in BUILT_IN)


def permission(snapshot: dict[str, Any], name: str) -> Permission:
    """What happens to a call of tool `name`: allow, ask or deny."""
    toolset = _toolset(snapshot)
    if toolset is None or name not in (*BUILT_IN, *WEB_TOOLS):
        return Permission("deny", None, f"There is no tool named {name}.")
    config = _config(toolset, name)
    if not config["enabled"]:
        return Permission("deny", None, f"The tool {name} is not enabled for this agent.")
    verdict = "ask" if config["policy"] == "always_ask" else "allow"
    return Permission(verdict, {"type": config["policy"]})
