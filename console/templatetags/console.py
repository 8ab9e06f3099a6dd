"""Template tags and filters of the console. They wrap console.formats, console.text and console.markdown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from console import definition_text, formats, icons, text
from console.markdown import MAX_CHARACTERS, render_markdown

register = template.Library()

register.filter("count", formats.count)
register.filter("tokens", formats.tokens)
register.filter("cost", formats.cost)
register.filter("duration", formats.duration)
register.filter("size", formats.size)
register.filter("short_id", formats.short_id)
register.filter("visible", text.visible)
register.filter("exact", formats.exact)


@register.filter
def plural(number: int, one: str) -> str:
    """{{ 3|plural:"event" }} -> 3 events; {{ 2|plural:"reply,replies" }} -> 2 replies."""
    singular, _, many = one.partition(",")
    return formats.plural(number, singular, many)


@register.filter
def markdown(value: str) -> SafeString:
    """An agent's or a person's Markdown. The one place where their text becomes HTML, behind the sanitiser."""
    shown, left_out = text.cut(value, MAX_CHARACTERS)
    if left_out:
        return format_html('<pre class="text">{}</pre>', text.visible(shown))
    return mark_safe(render_markdown(value))  # noqa: S308 (sanitised by an allow-list)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """A drawing of ours, inline so that it takes the text's colour. Decorative unless it has a label."""
    return icons.svg(name, label)


@register.simple_tag(takes_context=True)
def ago(context: dict[str, Any], moment: datetime | None, missing: str = "–") -> str | SafeString:
    """A relative time with the exact one on hover."""
    if moment is None:
        return missing
    now = context.get("now") or timezone.now()
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        formats.exact(moment),
        formats.age(moment, now),
    )


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: object) -> str:
    """The current query string with some parameters changed; empty values are left out."""
    parameters = context["request"].GET.copy()
    for name, value in changes.items():
        parameters.pop(name, None)
        if value not in ("", None, False):
            parameters[name] = str(value)
    return "?" + parameters.urlencode() if parameters else "?"


@register.simple_tag
def quickstart(base_url: str) -> str:
    return definition_text.quickstart(base_url)


@register.simple_tag
def read_session(session_id: str, base_url: str) -> str:
    return definition_text.read_session(session_id, base_url)


@register.filter
def member_may(membership: Any, role: str) -> bool:
    return bool(membership and membership.may(role))


@register.filter
def at(rows: Any, index: int) -> Any:
    """The item of a list at a place, for two lists that belong together."""
    return rows[index]
