"""The tools of an agent: what may be configured, and the written-out form in which it is stored.

Plain dictionaries in the API's shapes go in and come out; nothing here touches the database.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from agents.errors import Invalid

Wire = dict[str, Any]

AGENT_TOOLSET = "agent_toolset_20260401"
BUILT_IN_TOOLS = ("bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search")
WEB_TOOLS = ("web_fetch", "web_search")
MAX_TOOLS = 256
MAX_MCP_SERVERS = 20
MAX_SERVER_NAME_CHARS = 255
MAX_URL_CHARS = 2048
MAX_DOMAINS = 64
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
ALWAYS_ALLOW = {"type": "always_allow"}
ALWAYS_ASK = {"type": "always_ask"}


def write_out_mcp_servers(servers: list[Wire] | None) -> list[Wire]:
    servers = servers or []
    if len(servers) > MAX_MCP_SERVERS:
        raise Invalid(f"mcp_servers: holds {len(servers)} servers; the most is {MAX_MCP_SERVERS}.")
    for i, server in enumerate(servers):
        if not 1 <= len(server["name"]) <= MAX_SERVER_NAME_CHARS:
            raise Invalid(f"mcp_servers.{i}.name: must have 1 to {MAX_SERVER_NAME_CHARS} characters.")
        _check_url(f"mcp_servers.{i}.url", server["url"])
    _check_distinct("mcp_servers", [server["name"] for server in servers])
    return [{"type": "url", "name": server["name"], "url": server["url"]} for server in servers]


def write_out_tools(tools: list[Wire] | None, mcp_servers: list[Wire]) -> list[Wire]:
    """`tools` with every default filled in, after checking them against each other and the declared MCP servers."""
    tools = tools or []
    custom = [tool["name"] for tool in tools if tool["type"] == "custom"]
    written = [_write_out_tool(f"tools.{i}", tool, custom) for i, tool in enumerate(tools)]
    if sum(_tool_count(tool) for tool in written) > MAX_TOOLS:
        raise Invalid(f"tools: holds more than {MAX_TOOLS} tools across all toolsets.")
    toolsets = [tool for tool in written if tool["type"] == AGENT_TOOLSET]
    if len(toolsets) > 1:
        raise Invalid(f"tools: lists {AGENT_TOOLSET} more than once.")
    _check_distinct("tools", custom + (list(BUILT_IN_TOOLS) if toolsets else []))
    _check_servers_are_used([tool["mcp_server_name"] for tool in written if tool["type"] == "mcp_toolset"], mcp_servers)
    return written


def _write_out_tool(path: str, tool: Wire, custom: list[str]) -> Wire:
    if tool["type"] == "custom":
        return _custom_tool(path, tool)
    if tool["type"] == "mcp_toolset":
        default, configs = _configs(path, tool, ALWAYS_ASK)
        name = tool["mcp_server_name"]
        return {"type": "mcp_toolset", "mcp_server_name": name, "default_config": default, "configs": configs}
    default, configs = _configs(path, tool, ALWAYS_ALLOW)
    for i, (config, given) in enumerate(zip(configs, tool.get("configs", []), strict=True)):
        if given.get("type", given["name"]) != given["name"]:
            raise Invalid(f"{path}.configs.{i}.type: must be the same as the name, or absent.")
        config["type"] = given["name"]
        if given["name"] in WEB_TOOLS:
            config.update(_web_options(f"{path}.configs.{i}", given, custom))
    return {"type": AGENT_TOOLSET, "default_config": default, "configs": configs}


def _custom_tool(path: str, tool: Wire) -> Wire:
    if not TOOL_NAME.fullmatch(tool["name"]):
        raise Invalid(f"{path}.name: must be 1 to 128 letters, digits, underscores or hyphens.")
    for name, schema in (tool["input_schema"].get("properties") or {}).items():
        if not isinstance(schema, dict | bool):
            raise Invalid(f"{path}.input_schema.properties.{name}: must be a JSON Schema.")
    return {
        "type": "custom",
        "name": tool["name"],
        "description": tool["description"],
        "input_schema": tool["input_schema"],
    }


def _configs(path: str, tool: Wire, default_policy: Wire) -> tuple[Wire, list[Wire]]:
    """The written-out `default_config` and `configs`; a config inherits from the default what it leaves open."""
    default = _config(f"{path}.default_config", tool.get("default_config") or {}, True, default_policy)
    configs = [
        {
            "name": given["name"],
            **_config(f"{path}.configs.{i}", given, default["enabled"], default["permission_policy"]),
        }
        for i, given in enumerate(tool.get("configs", []))
    ]
    for i, config in enumerate(configs):
        if not config["name"]:
            raise Invalid(f"{path}.configs.{i}.name: must not be empty.")
    _check_distinct(f"{path}.configs", [config["name"] for config in configs])
    return default, configs


def _config(path: str, given: Wire, enabled: bool, policy: Wire) -> Wire:
    chosen = given.get("permission_policy") or policy
    if chosen["type"] == "auto":
        raise Invalid(f"{path}.permission_policy: `auto` is not built yet. Use `always_allow` or `always_ask`.")
    given_enabled = given.get("enabled")
    return {"enabled": enabled if given_enabled is None else given_enabled, "permission_policy": dict(chosen)}


def _tool_count(tool: Wire) -> int:
    if tool["type"] == AGENT_TOOLSET:
        return len(BUILT_IN_TOOLS)
    return 1 if tool["type"] == "custom" else len(tool["configs"])


def _check_servers_are_used(named: list[str], mcp_servers: list[Wire]) -> None:
    declared = {server["name"] for server in mcp_servers}
    for name in named:
        if name not in declared:
            raise Invalid(f"tools: an mcp_toolset names the server {name!r}, which mcp_servers does not declare.")
        if named.count(name) > 1:
            raise Invalid(f"tools: more than one mcp_toolset names the server {name!r}.")
    unused = sorted(declared - set(named))
    if unused:
        raise Invalid(f"mcp_servers: no mcp_toolset in tools refers to {', '.join(map(repr, unused))}.")


# Web tools


def _web_options(path: str, given: Wire, custom: list[str]) -> Wire:
    options: Wire = {}
    if "allowed_domains" in given and "blocked_domains" in given:
        raise Invalid(f"{path}: give allowed_domains or blocked_domains, not both.")
    for key in ("allowed_domains", "blocked_domains"):
        if key in given:
            _check_domains(f"{path}.{key}", given[key])
            options[key] = given[key]
    if given.get("max_content_tokens") is not None:
        if given["max_content_tokens"] <= 0:
            raise Invalid(f"{path}.max_content_tokens: must be greater than 0.")
        options["max_content_tokens"] = given["max_content_tokens"]
    if given.get("user_location") is not None:
        options["user_location"] = {key: value for key, value in given["user_location"].items() if value is not None}
    if given["name"] == "web_fetch":
        sources = given.get("url_sources")
        options["url_sources"] = None if sources is None else _url_sources(f"{path}.url_sources", sources, custom)
    return options


def _check_domains(path: str, domains: list[str]) -> None:
    if not 1 <= len(domains) <= MAX_DOMAINS:
        raise Invalid(f"{path}: must list 1 to {MAX_DOMAINS} domains; leave it out for no limit.")
    for i, domain in enumerate(domains):
        if not _is_plain_host(domain):
            raise Invalid(
                f"{path}.{i}: {domain[:80]!r} is not a plain host name such as docs.example.com "
                "(no scheme, port, path, wildcard or address)."
            )


def _is_plain_host(text: str) -> bool:
    labels = text.split(".")
    if len(text) > 253 or len(labels) < 2 or not all(HOST_LABEL.fullmatch(label) for label in labels):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return not labels[-1].isdigit()
    return False


def _url_sources(path: str, given: Wire, custom: list[str]) -> Wire:
    names = {"client_tool_results": custom, "server_tool_results": list(WEB_TOOLS), "user_input": []}
    sources = {key: _url_source(f"{path}.{key}", given.get(key), known) for key, known in names.items()}
    if all(source == {"type": "none"} for source in sources.values()):
        raise Invalid(f"{path}: with all three sources set to none, nothing could ever be fetched.")
    return sources


def _url_source(path: str, given: str | Wire | None, known: list[str]) -> Wire | None:
    if given is None:
        return None
    source: Wire = {"type": given} if isinstance(given, str) else given
    for tool in source.get("tools", []):
        if tool["name"] not in known:
            raise Invalid(f"{path}: {tool['name'][:80]!r} is not a tool this source can name.")
    return source


# Shared checks


def _check_url(path: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(url) > MAX_URL_CHARS or any(c.isspace() for c in url):
        raise Invalid(f"{path}: must be an http or https address of at most {MAX_URL_CHARS} characters.")


def _check_distinct(path: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise Invalid(f"{path}: the name {repeated[0][:80]!r} is used more than once.")
