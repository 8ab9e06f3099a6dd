"""Which `anthropic-beta` values a request needs, by the first segment of its path under `/v1/`."""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest

from agents.errors import Invalid, NotFound

MANAGED_AGENTS = "managed-agents-2026-04-01"
AGENT_MEMORY = "agent-memory-2026-07-22"
DREAMING = "dreaming-2026-04-21"
USER_PROFILES = "user-profiles-2026-08-18"
DAYBREAK = "daybreak-2026-11-22"

MANAGED_AGENTS_FAMILIES = {"agents", "environments", "sessions", "vaults", "deployments", "deployment_runs"}
NEEDED = {
    **dict.fromkeys(MANAGED_AGENTS_FAMILIES, (MANAGED_AGENTS,)),
    "memory_stores": (AGENT_MEMORY, MANAGED_AGENTS),  # either, never both
    "dreams": (DREAMING,),
    "user_profiles": (USER_PROFILES,),
}


@cache
def sdk_betas() -> frozenset[str]:
    """Every value the SDK knows. Imports it (2.5 s the first time), so only asked for unusual values."""
    from typing import get_args

    from anthropic.types.anthropic_beta_param import AnthropicBetaParam

    return frozenset(value for member in get_args(AnthropicBetaParam) for value in get_args(member))


def parse_betas(header: str) -> frozenset[str]:
    """The values of one or several comma-separated headers. An unknown one is an error that names it."""
    values = frozenset(value.strip() for value in header.split(",") if value.strip())
    unusual = values - {MANAGED_AGENTS, AGENT_MEMORY, DREAMING, DAYBREAK}
    unknown = sorted(unusual - sdk_betas()) if unusual else []
    if unknown:
        named = ", ".join(f"`{value[:80]}`" for value in unknown[:5])
        raise Invalid(f"Unexpected value(s) {named} for the `anthropic-beta` header. Remove or correct them.")
    return values


def check_betas(family: str, betas: frozenset[str]) -> None:
    """Without its beta value an endpoint does not exist."""
    if family == "memory_stores" and {AGENT_MEMORY, MANAGED_AGENTS} <= betas:
        raise Invalid(
            f"Send either `{AGENT_MEMORY}` or `{MANAGED_AGENTS}` in the `anthropic-beta` header of memory store "
            "requests, not both."
        )
    needed = NEEDED.get(family)
    if needed and not betas.intersection(needed):
        raise NotFound(f"Not found. Endpoints under /v1/{family} need the header `anthropic-beta: {needed[0]}`.")


def require_beta(request: HttpRequest, beta: str, *, why: str) -> None:
    """For a parameter that needs a beta value its endpoint does not."""
    if beta not in parse_betas(request.headers.get("anthropic-beta", "")):
        raise Invalid(f"{why} needs the header `anthropic-beta: {beta}`.")
