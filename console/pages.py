"""Small things every view shares."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def page(request: HttpRequest, template: str, context: Any, *, status: int = 200) -> HttpResponse:
    """Render a template with exactly the fields of its context dataclass."""
    return render(request, template, dict(vars(context)), status=status)


def person_name(user: Any) -> str:
    """How a person is named on pages and in the log."""
    return user.get_full_name() or user.get_username()
