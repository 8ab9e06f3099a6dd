"""Definitions as text: YAML to read and compare, Python to paste."""

from __future__ import annotations

from typing import Any

import yaml

from console.text import visible

_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# The database does not keep the order of keys, so there is one for reading.
_KEYS = (
    *("type", "id", "name", "description", "model", "system", "enabled", "permission_policy", "default_config"),
    *("tools", "configs", "mcp_servers", "skills", "multiagent", "metadata", "execution_identity"),
)
_PLACES = {key: place for place, key in enumerate(_KEYS)}


class _Readable(_Dumper):
    """Long texts as blocks, so that a changed line of a prompt is a changed line of the document."""


def _text(dumper: Any, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Readable.add_representer(str, _text)


def as_yaml(definition: Any) -> str:
    """The definition to read: keys in their own order, nothing folded."""
    return yaml.dump(_clean(definition), Dumper=_Readable, sort_keys=False, allow_unicode=True, width=2**31 - 1)


def _clean(value: Any) -> Any:
    """Texts without what a YAML block cannot hold and a reader cannot see."""
    if isinstance(value, str):
        return "\n".join(line.rstrip() for line in visible(value).replace("\t", "    ").split("\n"))
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (_PLACES.get(key, len(_PLACES)), key))
        return {visible(key): _clean(value[key]) for key in keys}
    return value


def as_python(value: Any, indent: int = 0) -> str:
    """A literal to paste, one item per line once it is longer than a line."""
    short = _quoted(value) if isinstance(value, str) else repr(value)
    if len(short) + indent <= 76 or not isinstance(value, dict | list) or not value:
        return short
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        items = [f"{pad}{_quoted(key)}: {as_python(item, indent + 4)}," for key, item in value.items()]
        return "{\n" + "\n".join(items) + "\n" + " " * indent + "}"
    items = [f"{pad}{as_python(item, indent + 4)}," for item in value]
    return "[\n" + "\n".join(items) + "\n" + " " * indent + "]"


def _quoted(text: str) -> str:
    """A string literal in double quotes where that needs no escaping."""
    return repr(text) if '"' in text else '"' + repr("'" + text)[2:]


def sdk_call(call: str, arguments: dict[str, Any], base_url: str, *, result: str) -> str:
    """The same act through the official SDK."""
    lines = [
        "import anthropic",
        "",
        f'client = anthropic.Anthropic(base_url={_quoted(base_url)}, api_key="dbk_…")',
        f"{result} = client.beta.{call}(",
    ]
    lines += [f"    {name}={as_python(value, 4)}," for name, value in arguments.items()]
    return "\n".join([*lines, ")", f"print({result}.id)"])


def quickstart(base_url: str) -> str:
    """The SDK's quickstart against this server."""
    return f"""\
import anthropic

client = anthropic.Anthropic(base_url={_quoted(base_url)}, api_key="dbk_…")
agent = client.beta.agents.create(
    name="First agent",
    model="simulated/default",
    tools=[{{"type": "agent_toolset_20260401"}}],
)
environment = client.beta.environments.create(name="First environment")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
hello = {{"type": "user.message", "content": [{{"type": "text", "text": "Say hello."}}]}}
with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(session.id, events=[hello])
    for event in stream:
        print(event.type)
        if event.type == "session.status_idle":
            break"""


def read_session(session_id: str, base_url: str) -> str:
    """Reading one session with the SDK."""
    return f"""\
import anthropic

client = anthropic.Anthropic(base_url={_quoted(base_url)}, api_key="dbk_…")
for event in client.beta.sessions.events.list({_quoted(session_id)}):
    print(event.type)"""
