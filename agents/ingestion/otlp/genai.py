"""OpenTelemetry's GenAI conventions, new and old, and what libraries that follow them add of their own."""

from __future__ import annotations

from typing import Any

from agents.ingestion.otlp.messages import Message, parsed, read_calls, read_messages
from agents.ingestion.otlp.reading import Kind, Reading, count, first, numbered, text, usage
from agents.ingestion.otlp.span import Span

_OPERATIONS: dict[str, Kind] = {
    "chat": "model",
    "text_completion": "model",
    "completion": "model",
    "generate_content": "model",
    "call_llm": "model",
    "invoke_agent": "agent",
    "execute_tool": "tool",
}
_TRACELOOP: dict[str, Kind] = {"agent": "agent", "tool": "tool"}
_LANGSMITH: dict[str, Kind] = {"llm": "model", "tool": "tool"}
_EVENT_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.choice": "assistant",
}
_USED = (
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.output",
    "gen_ai.operation.name",
    "gen_ai.usage.",
    "gen_ai.request.model",
    "gen_ai.response.",
    "gen_ai.tool.name",
    "gen_ai.tool.call.",
    "gen_ai.tool.args",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response",
    "events",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "tool_arguments",
    "tool_response",
)


def kind_of(span: Span) -> Kind | None:
    """The kind that the span's own words say; null when it says none."""
    attributes = span.attributes
    operation = attributes.get("gen_ai.operation.name")
    if isinstance(operation, str):
        if operation in _OPERATIONS:
            return _OPERATIONS[operation]
        if operation in ("create_agent", "embeddings", "retrieval", "invoke_workflow", "plan"):
            return "other"
    for name, kinds in (("traceloop.span.kind", _TRACELOOP), ("langsmith.span.kind", _LANGSMITH)):
        if attributes.get(name) in kinds:
            return kinds[attributes[name]]
    if "gen_ai.tool.name" in attributes:
        return "tool"
    if "agent_name" in attributes and "model_name" in attributes:  # Pydantic AI
        return "agent"
    if "gcp.vertex.agent.llm_request" in attributes and span.name == "call_llm":
        return "model"
    if "gen_ai.request.model" in attributes and (
        "llm.request.type" in attributes or "gen_ai.prompt.0.role" in attributes or "gen_ai.response.id" in attributes
    ):
        return "model"
    return None


def read(span: Span, kind: Kind) -> Reading:
    if kind == "agent":
        return _agent(span)
    if kind == "tool":
        return _tool(span)
    if kind == "model":
        return _model(span)
    content = first(span, "traceloop.entity.input", "traceloop.entity.output", "input.value", "output.value")
    return Reading("other", span.name, content=content is not None)


def _model(span: Span) -> Reading:
    reading = Reading("model", model=text(span, "gen_ai.response.model", "gen_ai.request.model"), used=_USED)
    reading.inputs = _system(span) + _inputs(span)
    reading.outputs = _outputs(span)
    cache_written = count(
        span,
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    )
    cache_read = count(span, "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
    reading.usage = usage(
        count(span, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        count(span, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        cache_read,
        cache_written,
    )
    finish = first(span, "gen_ai.response.finish_reasons", "gen_ai.completion.0.finish_reason")
    reading.details = {
        "model_message": first(span, "gen_ai.response.id"),
        "stop_reason": (finish[0] if isinstance(finish, list) and finish else finish),
        "cache_creation_1h_input_tokens": count(span, "anthropic.usage.cache_creation.ephemeral_1h_input_tokens"),
        "reasoning_tokens": count(span, "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
        "time_to_first_chunk_s": first(span, "gen_ai.response.time_to_first_chunk"),
    }
    return reading


def _system(span: Span) -> list[Message]:
    return read_messages(first(span, "gen_ai.system_instructions"), "system")


def _inputs(span: Span) -> list[Message]:
    if found := read_messages(first(span, "gen_ai.input.messages"), "user"):
        return found
    if found := read_messages(numbered(span, "gen_ai.prompt."), "user"):
        return found
    if found := _of_events(span, answers=False):
        return found
    request = parsed(first(span, "gcp.vertex.agent.llm_request"))
    if isinstance(request, dict) and request:
        config = request.get("config")
        system = config.get("system_instruction") if isinstance(config, dict) else None
        return read_messages(system, "system") + read_messages(request, "user")
    return read_messages(_listed_events(span, answers=False), "user")


def _outputs(span: Span) -> list[Message]:
    if found := read_messages(first(span, "gen_ai.output.messages"), "assistant"):
        return found
    if found := read_messages(numbered(span, "gen_ai.completion."), "assistant"):
        return found
    if found := _of_events(span, answers=True):
        return found
    response = parsed(first(span, "gcp.vertex.agent.llm_response"))
    if isinstance(response, dict) and isinstance(response.get("content"), dict):
        return read_messages({**response["content"], "role": "assistant"}, "assistant")
    if found := read_messages(_listed_events(span, answers=True), "assistant"):
        return found
    output = first(span, "gen_ai.output")
    return read_calls(output) or (read_messages(output, "assistant") or _plain(output))


def _plain(output: Any) -> list[Message]:
    """An answer that is JSON but no conversation is still the answer."""
    if not isinstance(output, str) or not output.strip():
        return []
    from agents.ingestion.otlp.messages import Part

    return [Message("assistant", [Part("text", output)])]


def _of_events(span: Span, *, answers: bool) -> list[Message]:
    """The span events of the first conventions: one per message, or the details of the whole exchange in one."""
    found: list[Message] = []
    for event in span.events:
        name, attributes = event["name"], event["attributes"]
        if name == "gen_ai.client.inference.operation.details":
            key, role = ("gen_ai.output.messages", "assistant") if answers else ("gen_ai.input.messages", "user")
            found += read_messages(attributes.get(key), "assistant" if role == "assistant" else "user")
        elif name in ("gen_ai.content.prompt", "gen_ai.content.completion"):
            if answers == name.endswith("completion"):
                value = attributes.get("gen_ai.completion" if answers else "gen_ai.prompt")
                found += read_messages(value, "assistant" if answers else "user")
        elif name in _EVENT_ROLES and answers == (name == "gen_ai.choice"):
            message = parsed(attributes.get("message")) if name == "gen_ai.choice" else attributes
            body = message if isinstance(message, dict) else {"content": message}
            found += read_messages({"role": _EVENT_ROLES[name], **body}, "user")
    return found


def _listed_events(span: Span, *, answers: bool) -> list[dict[str, Any]]:
    """Pydantic AI keeps the same events as JSON in one attribute."""
    listed = parsed(first(span, "events"))
    if not isinstance(listed, list):
        return []
    events = [event for event in listed if isinstance(event, dict)]
    return [event for event in events if answers == (event.get("event.name") == "gen_ai.choice")]


def _tool(span: Span) -> Reading:
    name = text(span, "gen_ai.tool.name", "traceloop.entity.name", "tool.name")
    names = ("gen_ai.tool.call.arguments", "gen_ai.tool.args", "gcp.vertex.agent.tool_call_args", "tool_arguments")
    results = ("gen_ai.tool.call.result", "anthropic.tool_result.content", "gcp.vertex.agent.tool_response")
    return Reading(
        "tool",
        name=name or span.name.removeprefix("execute_tool "),
        call_id=text(span, "gen_ai.tool.call.id", "gen_ai.tool.call_id"),
        arguments=parsed(first(span, *names, "traceloop.entity.input", "input.value")),
        result=first(span, *results, "gen_ai.output", "tool_response", "traceloop.entity.output", "output.value"),
        failed=span.failed or first(span, "error.type") is not None,
        used=(*_USED, "anthropic.tool_result.content", "input.value", "output.value"),
    )


def _agent(span: Span) -> Reading:
    name = text(span, "gen_ai.agent.name", "agent_name", "traceloop.entity.name")
    operation, _, rest = span.name.partition(" ")
    return Reading(
        "agent",
        name=name or (rest if operation == "invoke_agent" and rest else span.name),
        model=text(span, "gen_ai.request.model", "gen_ai.response.model", "model_name"),
        inputs=read_messages(first(span, "gen_ai.input.messages"), "user"),
        outputs=read_messages(first(span, "gen_ai.output.messages"), "assistant"),
        used=(*_USED, "agent_name", "model_name"),
    )
