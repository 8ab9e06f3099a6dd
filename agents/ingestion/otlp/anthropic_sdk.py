"""The spans of the official SDK: `anthropic.<api.method>`, tool runs and tool runners.

They follow the GenAI conventions; what is their own is which calls they are, and that a tool run belongs to an event.
"""

from __future__ import annotations

from agents.ingestion.otlp import genai
from agents.ingestion.otlp.reading import Kind, Reading
from agents.ingestion.otlp.span import Span

PREFIX = "anthropic."


def kind_of(span: Span) -> Kind | None:
    if not span.name.startswith(PREFIX) or "gen_ai.provider.name" not in span.attributes:
        return None
    if span.name.startswith(("anthropic.tool_use", "anthropic.custom_tool_use", "anthropic.mcp_tool_use")):
        return "tool"
    if span.name == "anthropic.messages.tool_runner":
        return "agent"
    return "model" if span.name in ("anthropic.messages.create", "anthropic.messages.stream") else "other"


def read(span: Span, kind: Kind) -> Reading:
    reading = genai.read(span, kind)
    if kind == "agent":
        reading.name = "tool runner"
    return reading
