"""The Vercel AI SDK: spans named `ai.*`, an outer one per call and an inner one per request to the model."""

from __future__ import annotations

from agents.ingestion.otlp.messages import Message, Part, parsed, read_calls, read_messages
from agents.ingestion.otlp.reading import Kind, Reading, count, first, text, usage
from agents.ingestion.otlp.span import Span

_MODEL = ("ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject")
_USED = (
    "ai.prompt",
    "ai.prompt.messages",
    "ai.response.text",
    "ai.response.object",
    "ai.response.toolCalls",
    "ai.response.reasoning",
    "ai.response.model",
    "ai.model.id",
    "ai.usage.",
    "ai.toolCall.",
    "gen_ai.usage.",
    "gen_ai.request.model",
    "gen_ai.response.",
)


def kind_of(span: Span) -> Kind | None:
    operation = span.attributes.get("ai.operationId")
    if not isinstance(operation, str) or not operation.startswith("ai."):
        return None
    if operation == "ai.toolCall":
        return "tool"
    return "model" if operation.startswith(_MODEL) else "other"


def read(span: Span, kind: Kind) -> Reading:
    if kind == "tool":
        return Reading(
            "tool",
            name=text(span, "ai.toolCall.name") or span.name,
            call_id=text(span, "ai.toolCall.id"),
            arguments=parsed(first(span, "ai.toolCall.args", "langfuse.observation.input")),
            result=first(span, "ai.toolCall.result", "langfuse.observation.output"),
            failed=span.failed,
            used=_USED,
        )
    if kind == "model":
        return _model(span)
    return Reading("other", span.name, content=first(span, "ai.value", "ai.values", "ai.prompt") is not None)


def _model(span: Span) -> Reading:
    outputs: list[Message] = []
    if thought := text(span, "ai.response.reasoning"):
        outputs.append(Message("assistant", [Part("thinking", thought)]))
    if answer := text(span, "ai.response.text", "ai.response.object"):
        outputs.append(Message("assistant", [Part("text", answer)]))
    return Reading(
        "model",
        model=text(span, "ai.response.model", "ai.model.id", "gen_ai.request.model"),
        inputs=read_messages(first(span, "ai.prompt.messages", "ai.prompt"), "user"),
        outputs=outputs + read_calls(first(span, "ai.response.toolCalls")),
        usage=usage(
            count(span, "ai.usage.inputTokens", "ai.usage.promptTokens", "gen_ai.usage.input_tokens"),
            count(span, "ai.usage.outputTokens", "ai.usage.completionTokens", "gen_ai.usage.output_tokens"),
            count(span, "ai.usage.cachedInputTokens"),
        ),
        details={
            "stop_reason": first(span, "ai.response.finishReason"),
            "model_message": first(span, "ai.response.id"),
        },
        used=_USED,
    )
