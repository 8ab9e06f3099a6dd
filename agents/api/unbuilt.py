"""Endpoints of the contract that Daybreak does not have yet: each answers 501 and names its feature."""

from __future__ import annotations

from typing import Any, NoReturn

from django.urls import URLPattern, path

from agents.api.http import ApiRequest, View, endpoint
from agents.errors import NotBuilt

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
UNBUILT = {
    "environments/<str:environment_id>/work": "The work queue of self-hosted environments is",
    "vaults": "Vaults and their credentials are",
    "deployments": "Deployments are",
    "deployment_runs": "Deployment runs are",
    "memory_stores": "Memory stores are",
    "dreams": "Dreams are",
    "skills": "Skills are",
    "user_profiles": "User profiles are",
    "messages": "Daybreak runs agents and is no model provider: the Messages API is",
}


def not_built(what: str) -> View:
    def refuse(request: ApiRequest, **parts: Any) -> NoReturn:
        raise NotBuilt(f"{what} not built yet. See docs/api-coverage.md for what is.")

    return endpoint(**dict.fromkeys(METHODS, refuse))


urlpatterns: list[URLPattern] = [
    pattern
    for family, what in UNBUILT.items()
    for pattern in (path(family, not_built(what)), path(f"{family}/<path:rest>", not_built(what)))
]
