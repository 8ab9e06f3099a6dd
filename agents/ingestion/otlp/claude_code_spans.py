"""Claude Code's own spans: an interaction per prompt, model requests, tools, and what a tool waited for."""

from __future__ import annotations

from typing import Any

from agents.ingestion.otlp.messages import Message, Part, parsed
from agents.ingestion.otlp.reading import Kind, Reading, count, first, text, usage
from agents.ingestion.otlp.span import Span

PREFIX = "claude_code."
_SPAWNING = ("Task", "Agent")
_KINDS: dict[str, Kind] = {"llm_request": "model", "tool": "tool"}


def kind_of(span: Span) -> Kind | None:
    if not span.name.startswith(PREFIX):
        return None
    return _KINDS.get(span.name.removeprefix(PREFIX), "other")


def read(span: Span, kind: Kind) -> Reading:
    if kind == "model":
        return _model(span)
    if kind == "tool":
        return _tool(span)
    if span.name == "claude_code.interaction":
        prompt = text(span, "user_prompt", "prompt")
        inputs = [Message("user", [Part("text", prompt)])] if prompt and prompt != "<REDACTED>" else []
        return Reading("other", span.name, inputs=inputs, used=("user_prompt", "session.id"))
    waited = span.name.endswith(".blocked_on_user")
    return Reading("other", span.name, content=waited and first(span, "decision") is not None)


def _model(span: Span) -> Reading:
    answer = text(span, "response", "output", "response.model_output")
    failed = first(span, "success") in (False, "false")
    return Reading(
        "model",
        model=text(span, "gen_ai.request.model", "model"),
        outputs=[Message("assistant", [Part("text", answer)])] if answer else [],
        usage=usage(
            count(span, "input_tokens", "gen_ai.usage.input_tokens"),
            count(span, "output_tokens", "gen_ai.usage.output_tokens"),
            count(span, "cache_read_tokens"),
            count(span, "cache_creation_tokens"),
            whole=False,
        ),
        details={"request_id": first(span, "request_id"), "time_to_first_token_ms": first(span, "ttft_ms")},
        failed=failed,
        used=("gen_ai.request.model", "model", "input_tokens", "output_tokens", "session.id", "response"),
    )


def _tool(span: Span) -> Reading:
    name = text(span, "tool_name", "gen_ai.tool.name")
    arguments: Any = parsed(first(span, "tool_input", "tool_parameters", "gen_ai.tool.call.arguments"))
    if arguments is None:
        told = ("full_command", "file_path", "skill_name", "subagent_type")
        arguments = {key: span.attributes[key] for key in told if span.attributes.get(key)}
    return Reading(
        "tool",
        name=name or "tool",
        call_id=text(span, "gen_ai.tool.call.id", "tool_use_id"),
        arguments=arguments,
        result=_output(span),
        failed=span.failed or first(span, "success") in (False, "false"),
        spawns=name in _SPAWNING,
        used=("tool_name", "gen_ai.tool.", "tool_use_id", "tool_input", "tool_parameters", "session.id"),
    )


def _output(span: Span) -> Any:
    for event in span.events:
        if event["name"] == "tool.output":
            return next((v for k, v in event["attributes"].items() if k in ("output", "content", "body")), None)
    return first(span, "tool_output", "gen_ai.tool.call.result")
