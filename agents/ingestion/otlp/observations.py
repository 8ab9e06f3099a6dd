"""Langfuse's own attributes: on spans its SDKs send, and on those read from its trace export."""

from __future__ import annotations

from agents.ingestion.otlp import genai, langfuse, openinference, vercel
from agents.ingestion.otlp.messages import parsed, read_calls, read_messages
from agents.ingestion.otlp.reading import Kind, Reading, first, text, usage
from agents.ingestion.otlp.span import Span

_KINDS: dict[str, Kind] = {"generation": "model", "agent": "agent", "tool": "tool"}
_USED = (
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.observation.type",
    "langfuse.session.id",
)
_COUNTERS = {
    "in": ("input", "input_tokens", "prompt_tokens", "promptTokens"),
    "out": ("output", "output_tokens", "completion_tokens", "completionTokens"),
    "read": ("input_cache_read", "prompt_details.cache_read", "cache_read_input_tokens", "input_cached_tokens"),
    "written": ("input_cache_creation", "cache_creation_input_tokens", "prompt_details.cache_write"),
}


def kind_of(span: Span) -> Kind | None:
    """Langfuse's word comes first; its SPAN says nothing, so others are asked."""
    named = span.attributes.get(langfuse.TYPE)
    if not isinstance(named, str):
        return None
    return _KINDS.get(named.lower()) or openinference.kind_of(span) or genai.kind_of(span) or _by_content(span)


def _by_content(span: Span) -> Kind:
    """LangChain's tools come as plain spans whose output is a tool's message."""
    output = parsed(span.attributes.get(langfuse.OUTPUT))
    return "tool" if isinstance(output, dict) and output.get("type") == "tool" else "other"


def read(span: Span, kind: Kind) -> Reading:
    reading = _underlying(span, kind)
    given, made = first(span, langfuse.INPUT), first(span, langfuse.OUTPUT)
    if kind == "model":
        reading.model = text(span, langfuse.MODEL) or reading.model
        reading.inputs = reading.inputs or read_messages(_structured(given), "user")
        reading.outputs = reading.outputs or read_calls(made) or read_messages(made, "assistant")
        if counts := parsed(first(span, langfuse.USAGE)):
            reading.usage = _usage(counts) or reading.usage
    elif kind == "tool":
        inner = parsed(given)
        reading.name = reading.name or span.name
        if reading.arguments is None:
            reading.arguments = inner["input"] if isinstance(inner, dict) and set(inner) == {"input"} else inner
        reading.result = made if reading.result is None else reading.result
    elif kind == "agent":
        reading.inputs = reading.inputs or [m for m in read_messages(given, "user") if m.role == "user"]
        reading.outputs = reading.outputs or [m for m in read_messages(made, "assistant") if m.role == "assistant"]
    else:
        reading.content = reading.content or given is not None or made is not None
        return reading
    reading.used = (*reading.used, *_USED, langfuse.USAGE, langfuse.MODEL)
    return reading


def _underlying(span: Span, kind: Kind) -> Reading:
    if openinference.kind_of(span) is not None:
        return openinference.read(span, kind)
    if vercel.kind_of(span) is not None:
        return vercel.read(span, kind)
    return genai.read(span, kind)


def _structured(value: object) -> object:
    """Some integrations flatten a whole conversation into one text: that text is no message."""
    if isinstance(value, str) and value.startswith(("system: ", "developer: ", "user: ")):
        return _unflattened(value)
    return value


def _unflattened(value: str) -> list[dict[str, str]]:
    """`role: text` at the beginning of a line starts a message."""
    messages: list[dict[str, str]] = []
    for line in value.split("\n"):
        role, colon, rest = line.partition(": ")
        if colon and role in ("system", "developer", "user", "assistant", "tool"):
            messages.append({"role": role, "content": rest})
        elif messages:
            messages[-1]["content"] += f"\n{line}"
    return [message for message in messages if message["content"] != "None"]


def _usage(counts: object) -> dict[str, int]:
    if not isinstance(counts, dict):
        return {}
    found = {
        name: next((counts[key] for key in keys if type(counts.get(key)) is int and 0 <= counts[key] <= 10**9), 0)
        for name, keys in _COUNTERS.items()
    }
    return usage(found["in"], found["out"], found["read"], found["written"])
