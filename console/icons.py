"""The console's drawings: 16 by 16, one stroke, in the colour of the text around them."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

_STROKE = {
    "person": '<circle cx="8" cy="5" r="2.75"/><path d="M2.75 14c.4-3 2.4-4.5 5.25-4.5s4.85 1.5 5.25 4.5"/>',
    "message": '<path d="M2.5 3.5h11v7.5h-6l-3 2.5V11h-2z"/>',
    "thought": '<path d="M4.6 10.5A3.1 3.1 0 0 1 5 4.4a3.3 3.3 0 0 1 6.2.6 2.9 2.9 0 0 1-.4 5.5z"/>'
    '<path d="M5.2 13.6h.01M8 13.2h.01"/>',
    "tool": '<path d="M9.6 6.4 3.2 12.8M12.9 4.6 10.6 6.9 9.1 5.4l2.3-2.3a3.2 3.2 0 0 0-3.9 4.2M13 4.5'
    'a3.2 3.2 0 0 1-4.3 4"/>',
    "result": '<path d="M13.5 4v3.5a2 2 0 0 1-2 2H3M6 6 2.6 9.5 6 13"/>',
    "send": '<path d="M3 12.5 12.5 3M6 3h6.5v6.5"/>',
    "receive": '<path d="M13 3.5 3.5 13M10 13H3.5V6.5"/>',
    "model": '<path d="M8 2.2 9.4 6.6 13.8 8 9.4 9.4 8 13.8 6.6 9.4 2.2 8l4.4-1.4z"/>',
    "session": '<circle cx="8" cy="8" r="5.5"/><path d="M8 5v3.2l2 1.6"/>',
    "usage": '<path d="M3 13V8.5M8 13V3M13 13V6"/>',
    "error": '<path d="M8 2.5 14 13H2zM8 6.7v3M8 11.4h.01"/>',
    "retry": '<path d="M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3"/>',
    "stop": '<rect x="3.5" y="3.5" width="9" height="9" rx="1"/>',
    "check": '<path d="m3 8.5 3.2 3.2L13 4.8"/>',
    "flag": '<path d="M4 14V2.5h8.5L10.5 6l2 3.5H4"/>',
    "branch": '<path d="M4.5 3v10M4.5 9.5c4 0 6-1 6.5-4"/><circle cx="11.2" cy="3.8" r="1.5"/>',
    "compact": '<path d="M3 3.5h10M3 12.5h10M8 1.5v4M6 4l2 2 2-2M8 14.5v-4M6 12l2-2 2 2"/>',
    "event": '<circle cx="8" cy="8" r="2"/>',
    "copy": '<rect x="5.5" y="5.5" width="8" height="8" rx="1"/><path d="M10.5 5.5v-3h-8v8h3"/>',
    "search": '<circle cx="7" cy="7" r="4.25"/><path d="m10.2 10.2 3.6 3.6"/>',
    "down": '<path d="m4 6 4 4 4-4"/>',
    "right": '<path d="m6 4 4 4-4 4"/>',
    "left": '<path d="m10 4-4 4 4 4"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "file": '<path d="M4 2h5l3 3v9H4zM9 2v3h3"/>',
    "download": '<path d="M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.5h10"/>',
    "sun": '<circle cx="8" cy="8" r="2.75"/><path d="M8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6'
    ' 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1"/>',
    "note": '<path d="M3 3h10v7l-3 3H3zM10 13v-3h3"/>',
    "link": '<path d="M6.5 9.5l3-3M7 4.6l1.4-1.4a2.8 2.8 0 0 1 4 4L11 8.6M9 11.4l-1.4 1.4a2.8 2.8 0 0 1-4-4L5 7.4"/>',
}
# Shapes of the states, so that none is told by its colour alone.
_SHAPES = {
    "running": '<circle cx="8" cy="8" r="4.5" fill="currentColor"/>',
    "retrying": '<path d="M8 3.5a4.5 4.5 0 0 1 0 9z" fill="currentColor"/><circle cx="8" cy="8" r="4.5"/>',
    "expecting": '<circle cx="8" cy="8" r="4.5"/><circle cx="8" cy="8" r="1.5" fill="currentColor"/>',
    "idle": '<circle cx="8" cy="8" r="4.25"/>',
    "waiting": '<path d="M8 2.8 13.2 8 8 13.2 2.8 8z" fill="currentColor"/>',
    "failed": '<path d="M8 3 13.5 12.8h-11z" fill="currentColor"/>',
    "done": '<path d="m3.2 8.4 3.2 3.2 6.4-6.8" stroke-width="2"/>',
    "team": '<circle cx="8" cy="4" r="2"/><circle cx="3.5" cy="12" r="1.75"/><circle cx="12.5" cy="12" r="1.75"/>'
    '<path d="M7 5.8 4.3 10.4M9 5.8l2.7 4.6"/>',
    "archived": '<rect x="3.5" y="3.5" width="9" height="9" rx="1.5"/>',
    "simulated": '<rect x="3" y="3" width="10" height="10" rx="1"/>'
    '<path d="M3.4 9.4 9.4 3.4M5 13l8-8M9.6 12.8l3.2-3.2"/>',
    "imported": '<path d="M8 2.5v6.5M5.2 6.4 8 9.2l2.8-2.8M3 9.5v4h10v-4"/>',
    "good": '<path d="m3.2 8.4 3.2 3.2 6.4-6.8" stroke-width="2"/>',
    "failure": '<path d="M8 3 13.5 12.8h-11z" fill="currentColor"/>',
}
_DRAWINGS = {**_STROKE, **_SHAPES}


def svg(name: str, label: str = "") -> SafeString:
    drawing = mark_safe(_DRAWINGS.get(name, _DRAWINGS["event"]))  # noqa: S308 (constants of this module)
    named = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html('<svg class="icon" viewBox="0 0 16 16" width="16" height="16" {}>{}</svg>', named, drawing)
