"""Which calls of the SDK this server answers: the SDK's methods laid over the URL table."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import Resolver404, resolve

FAMILIES = (
    "beta.agents",
    "beta.environments",
    "beta.sessions",
    "beta.files",
    "files",
    "beta.models",
    "models",
    "beta.memory_stores",
    "beta.dreams",
    "beta.vaults",
    "beta.deployments",
    "beta.deployment_runs",
    "beta.skills",
    "beta.user_profiles",
    "beta.webhooks",
)
REMARKS = {
    "beta.agents.create": (
        "`skills` and the advisor of `multiagent` answer 501, its `workflows` enabled and the policy `auto` 400. "
        "Left out, `workflows` is disabled."
    ),
    "beta.agents.update": "As for create.",
    "beta.environments.create": "`self_hosted`, `packages` and `allowed_hosts` answer 501.",
    "beta.environments.update": "As for create.",
    "beta.sessions.create": "`vault_ids`, `user.define_outcome`, and resources other than files answer 501.",
    "beta.sessions.list": "The filters `memory_store_id` and `deployment_id` answer 501.",
    "beta.sessions.events.send": "`user.define_outcome` answers 501.",
    "beta.sessions.resources.update": "Files have nothing to update; always 501.",
}
OPEN_STATEMENTS = {
    "8, 9": "The header rules hold; behind them memory stores and dreams answer 501.",
    "37, 49": "The halves about outcomes: `user.define_outcome` answers 501.",
    "44": "The filters `memory_store_id` and `deployment_id` answer 501.",
    "74": "Shown on a custom tool; built-in tools run in the server's own sandbox.",
    "75-86": "Outcomes are not built yet.",
    "100-122": "Memory stores and dreams are not built yet.",
    "123-125": "Webhooks, deployments and vaults are not built yet.",
    "127": "The work queue is not built yet.",
}
ROUTE = re.compile(
    r'self\._(get_api_list|get|post|delete|put|patch)\(\s*(?:path_template\(\s*)?"(/v1/[^"]*)"', re.DOTALL
)
INTRODUCTION = """\
# What of the API is built

Written by `manage.py api_coverage`; a test keeps it up to date. Every method of the managed agents family of the
official SDK {version} stands here with the request it makes. **built** means the endpoint answers as the contract
says, save for the remark; **501** means it answers 501 with a sentence naming what is missing; **no HTTP** means the
method never talks to a server.
"""


@dataclass(frozen=True)
class Call:
    """One method of the SDK."""

    name: str
    method: str
    path: str
    status: str

    @property
    def remark(self) -> str:
        return REMARKS.get(self.name, "")


def sdk_calls() -> list[Call]:
    """Every public method of the families, in the order of `FAMILIES`."""
    import anthropic

    client = anthropic.Anthropic(api_key="unused")
    calls: list[Call] = []
    for family in FAMILIES:
        resource: Any = client
        for part in family.split("."):
            resource = getattr(resource, part)
        calls += _calls_of(resource, family)
    client.close()
    return calls


def _calls_of(resource: Any, name: str) -> Iterator[Call]:
    from anthropic._resource import SyncAPIResource

    for attribute, value in sorted(inspect.getmembers_static(type(resource))):
        if attribute.startswith(("_", "with_")):
            continue
        if not inspect.isfunction(value):
            child = getattr(resource, attribute)
            if isinstance(child, SyncAPIResource):
                yield from _calls_of(child, f"{name}.{attribute}")
            continue
        route = ROUTE.search(inspect.getsource(value))
        if route is None:
            yield Call(f"{name}.{attribute}", "", "", "no HTTP")
            continue
        method = {"get_api_list": "GET"}.get(route[1], route[1].upper())
        yield Call(f"{name}.{attribute}", method, route[2], _status(method, route[2]))


def _status(method: str, path: str) -> str:
    try:
        match = resolve(re.sub(r"\{\w+\}", "some_id", path))
    except Resolver404:
        return "missing"
    handler = getattr(match.func, "handlers", {}).get(method)
    if handler is None:
        return "missing"
    return "501" if handler.__module__ == "agents.api.unbuilt" else "built"


def render() -> str:
    """The page `docs/api-coverage.md`."""
    import anthropic

    calls = sdk_calls()
    counts = {status: sum(call.status == status for call in calls) for status in ("built", "501", "no HTTP")}
    lines = [INTRODUCTION.format(version=anthropic.__version__)]
    lines += [", ".join(f"{count} {status}" for status, count in counts.items()) + ".", ""]
    lines += ["| SDK call | Request | Status | Remark |", "|---|---|---|---|"]
    for call in calls:
        request = f"`{call.method} {call.path}`" if call.path else ""
        lines.append(f"| `{call.name}` | {request} | {call.status} | {call.remark} |")
    lines += ["", "## Statements of the contract's checklist that do not hold yet", ""]
    lines += ["| Statement | Why |", "|---|---|"]
    lines += [f"| {numbers} | {why} |" for numbers, why in OPEN_STATEMENTS.items()]
    return "\n".join(lines) + "\n"
