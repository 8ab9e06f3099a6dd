"""The words for spans of traces: what another tool recorded, and no event of ours says."""

from __future__ import annotations

import json
from typing import Any

from console import formats
from console.story.words import Context, Words, tells
from console.text import one_line

_SHOWN = ("attributes", "events", "links", "resource", "scope", "notes", "span", "trace")
_SAYS = {"tool": "ran a tool in", "model": "asked a model in", "agent": "ran an agent in"}
_TELLING = (
    "input.value",
    "langfuse.observation.input",
    "gen_ai.tool.name",
    "gen_ai.request.model",
    "http.route",
    "output.value",
    "langfuse.observation.output",
)


@tells("daybreak.span")
def _span(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    name = one_line(str(data.get("name") or "a span"), 120)
    attributes = private.get("attributes") or {}
    told = [str(data["error"])] if data.get("error") else []
    told += [str(attributes[key]) for key in _TELLING if attributes.get(key)][:1]
    took = private.get("duration_ms")
    if isinstance(took, int | float) and took >= 1:
        told.append(formats.duration(took / 1000))
    text = one_line(" · ".join(told))
    if data.get("is_error"):
        return Words("error", f"failed in {name}", text, tone="failed")
    return Words("event", f"{_SAYS.get(str(private.get('kind')), 'recorded')} {name}", text, tone="quiet")


def span_text(private: dict[str, Any]) -> str:
    """What a span carried that its event does not say, as JSON; empty for events that no span told."""
    if not isinstance(private.get("span"), str) or not isinstance(private.get("trace"), str):
        return ""
    told = {name: private[name] for name in _SHOWN if private.get(name)}
    return json.dumps(told, indent=2, ensure_ascii=False)
