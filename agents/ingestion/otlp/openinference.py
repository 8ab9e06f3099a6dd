"""OpenInference: `openinference.span.kind` and flattened messages."""

from __future__ import annotations

import re

from agents.ingestion.otlp.messages import Message, Part, parsed, read_messages
from agents.ingestion.otlp.reading import Kind, Reading, count, first, numbered, text, usage
from agents.ingestion.otlp.span import Span

_KINDS: dict[str, Kind] = {"LLM": "model", "AGENT": "agent", "TOOL": "tool"}
# BeeAI gives each of its framework's signals a span of its own, in the kind of whatever sent it.
_SIGNAL = re.compile(r"(?:agent|tool)\..*\.(?:update|partial_update|start|success|finish|error|retry)-\d+")
_CALL = re.compile(r"tool\..*\.start-\d+")
_USED = (
    "openinference.span.kind",
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.token_count.",
    "llm.model_name",
    "tool.name",
    "tool.parameters",
    "tool_call.",
    "session.id",
)
_VALUES = ("input.value", "input.mime_type", "output.value", "output.mime_type")


def kind_of(span: Span) -> Kind | None:
    named = span.attributes.get("openinference.span.kind")
    if not isinstance(named, str):
        return None
    if _SIGNAL.fullmatch(span.name) and not _CALL.fullmatch(span.name):
        return "other"
    return _KINDS.get(named.upper(), "other")


def read(span: Span, kind: Kind) -> Reading:
    if kind == "model":
        return _model(span)
    if kind == "tool":
        return _tool(span)
    if kind == "agent":
        return _agent(span)
    return Reading("other", span.name, content=first(span, "input.value", "output.value") is not None)


def _model(span: Span) -> Reading:
    inputs = read_messages(numbered(span, "llm.input_messages."), "user")
    outputs = read_messages(numbered(span, "llm.output_messages."), "assistant")
    prompts = [p["text"] for p in numbered(span, "llm.prompts.") if isinstance(p.get("text"), str)]
    if not inputs and prompts:
        inputs = [Message("user", [Part("text", prompt)]) for prompt in prompts]
    output = first(span, "output.value")
    return Reading(
        "model",
        model=text(span, "llm.model_name"),
        inputs=inputs or _messages(first(span, "input.value"), "user"),
        outputs=outputs or _messages(output, "assistant"),
        usage=usage(
            count(span, "llm.token_count.prompt"),
            count(span, "llm.token_count.completion"),
            count(span, "llm.token_count.prompt_details.cache_read"),
            count(span, "llm.token_count.prompt_details.cache_write"),
        ),
        details={"reasoning_tokens": count(span, "llm.token_count.completion_details.reasoning")},
        used=(*_USED, *_VALUES),
    )


def _messages(value: object, role: str) -> list[Message]:
    return read_messages(value, "assistant" if role == "assistant" else "user")


def _tool(span: Span) -> Reading:
    name = text(span, "tool.name", "tool_call.function.name")
    called = re.fullmatch(r"tool\.(.*)\.start-\d+", span.name)
    return Reading(
        "tool",
        name=name or (called[1] if called else span.name),
        call_id=text(span, "tool.id", "tool_call.id"),
        arguments=parsed(first(span, "input.value", "tool_call.function.arguments", "tool.parameters")),
        result=first(span, "output.value"),
        failed=span.failed,
        used=(*_USED, *_VALUES),
    )


def _agent(span: Span) -> Reading:
    return Reading(
        "agent",
        name=text(span, "agent.name", "graph.node.name") or span.name,
        inputs=[m for m in _messages(first(span, "input.value"), "user") if m.role == "user"],
        outputs=[m for m in _messages(first(span, "output.value"), "assistant") if m.role == "assistant"],
        used=_USED,
    )
