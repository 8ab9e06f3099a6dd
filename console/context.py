"""What every page's template sees."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from console.access import current_membership, memberships_of
from console.pages import person_name

THEMES = ("light", "dark")


def console(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    return {
        "now": timezone.now(),
        "theme": theme_of(request),
        "membership": current_membership(request) if signed_in else None,
        "memberships": memberships_of(request) if signed_in else [],
        "person": person_name(user) if signed_in else "",
        "section": _section(request),
    }


def theme_of(request: HttpRequest) -> str:
    """The chosen theme; empty follows the system."""
    chosen = request.COOKIES.get("theme", "")
    return chosen if chosen in THEMES else ""


def _section(request: HttpRequest) -> str:
    """The part of the navigation a page belongs to."""
    return request.path.strip("/").split("/", 1)[0] or "home"
