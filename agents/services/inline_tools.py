"""The tools of an agent that a lead defines for one task: chosen from the lead's own, never wider.

The lead's model writes such a definition, and what it read may have told it what to write. So an inline agent has no
tool that its lead lacks, and asks a person wherever the lead would have to.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.errors import Invalid
from agents.services.toolsets import AGENT_TOOLSET, ALWAYS_ALLOW, ALWAYS_ASK, BUILT_IN_TOOLS

Wire = dict[str, Any]
SHOWN_ERRORS = 3


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Policy(_Given):
    type: Literal["always_allow", "always_ask"]


class _Config(_Given):
    enabled: bool | None = None
    permission_policy: _Policy | None = None


class _ToolConfig(_Config):
    name: str
    type: str | None = None


class _Toolset(_Given):
    type: Literal["agent_toolset_20260401"]
    default_config: _Config | None = None
    configs: list[_ToolConfig] = []


class _MCPToolset(_Given):
    type: Literal["mcp_toolset"]
    mcp_server_name: str
    default_config: _Config | None = None
    configs: list[_ToolConfig] = []


class _CustomTool(_Given):
    """The lead's custom tool of this name: whoever answers its calls knows no other."""

    type: Literal["custom"]
    name: str


class _Effort(_Given):
    type: Literal["low", "medium", "high", "xhigh", "max"]


class _Model(_Given):
    id: str
    effort: Literal["low", "medium", "high", "xhigh", "max"] | _Effort | None = None


class _InlineAgent(_Given):
    name: str
    system: str
    model: str | _Model | None = None
    tools: list[Annotated[_Toolset | _MCPToolset | _CustomTool, Field(discriminator="type")]] | None = None


def parse_inline(given: object) -> Wire:
    """`given`, which a model wrote, as a definition of known shape, without what it left out.

    Raises Invalid with up to three sentences on what is wrong.
    """
    try:
        return _InlineAgent.model_validate(given).model_dump(exclude_none=True, exclude_defaults=True)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_context=False, include_input=False)
        sentences = [f"{'.'.join(map(str, e['loc'])) or 'agent'}: {e['msg']}"[:300] for e in errors[:SHOWN_ERRORS]]
        raise Invalid("; ".join(sentences) + ".") from exc


def chosen_tools(lead_tools: list[Wire], given: list[Wire]) -> list[Wire]:
    """`given`, as `parse_inline` returns it, kept within `lead_tools`, which are written out.

    Raises Invalid for a tool that the lead does not have.
    """
    return [_chosen(f"tools.{i}", lead_tools, tool) for i, tool in enumerate(given)]


def _chosen(path: str, lead_tools: list[Wire], given: Wire) -> Wire:
    own = next((tool for tool in lead_tools if _identity(tool) == _identity(given)), None)
    if own is None:
        name = " ".join(_identity(given))[:200]
        raise Invalid(f"{path}: you do not have {name} yourself, so an agent that you define cannot have it.")
    if given["type"] == "custom":
        return own
    _check_names(path, given)
    default = _narrowed(own["default_config"], given.get("default_config", {}))
    own_configs = {config["name"]: config for config in own["configs"]}
    given_configs = {config["name"]: config for config in given.get("configs", [])}
    configs = []
    for name in dict.fromkeys([*own_configs, *given_configs]):
        mine: Wire = own_configs.get(name) or own["default_config"]
        wish = {**given.get("default_config", {}), **given_configs.get(name, {})}
        configs.append({**mine, "name": name, **_narrowed(mine, wish)})
    return {**own, "default_config": default, "configs": configs}


def _identity(tool: Wire) -> tuple[str, ...]:
    if tool["type"] == "custom":
        return ("the custom tool", tool["name"])
    if tool["type"] == AGENT_TOOLSET:
        return (AGENT_TOOLSET,)
    return ("the mcp_toolset of", tool["mcp_server_name"])


def _check_names(path: str, given: Wire) -> None:
    names = [config["name"] for config in given.get("configs", [])]
    for i, name in enumerate(names):
        if given["type"] == AGENT_TOOLSET and name not in BUILT_IN_TOOLS:
            raise Invalid(f"{path}.configs.{i}.name: must be one of {', '.join(BUILT_IN_TOOLS)}.")
        if name in names[:i]:
            raise Invalid(f"{path}.configs.{i}.name: {name[:80]!r} is configured more than once.")


def _narrowed(own: Wire, wish: Wire) -> Wire:
    """On only when both say so, and asking when either does."""
    asks = ALWAYS_ASK in (own["permission_policy"], wish.get("permission_policy"))
    policy = dict(ALWAYS_ASK if asks else ALWAYS_ALLOW)
    return {"enabled": own["enabled"] and wish.get("enabled", True), "permission_policy": policy}
