"""Template filters for what people say of steps. They wrap agents.services.annotations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import template

from agents.models import Annotation
from agents.services import annotations as services

register = template.Library()


@register.filter
def agreements(marks: Iterable[Annotation]) -> list[services.Agreement]:
    """How far people agree, once more than one has judged."""
    return services.agreements(marks)


@register.filter
def may_change(mark: Annotation, membership: Any) -> bool:
    return bool(membership) and services.can_change(mark, membership)


@register.filter
def mark_categories(membership: Any) -> list[str]:
    """What marks were called before in this workspace; one query."""
    return services.categories(membership.workspace) if membership else []


@register.filter
def mark_kinds(_: Any) -> list[tuple[str, str]]:
    return [(value, label) for value, label in Annotation.Kind.choices]
