"""From the SDK's stream events to ours, and from its final message to an `Answer` of plain dicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from agents.errors import ProviderError
from agents.providers.base import Answer, ModelEvent, TextDelta, ThinkingStarted, Usage

OUT_OF_TOKENS = ("max_tokens", "model_context_window_exceeded")


class AnswerBuilder:
    """Takes the events of one stream in order."""

    def __init__(self) -> None:
        self.first_chunk_ms: float | None = None
        self._thinking = False
        self._text_indexes: dict[int, int] = {}  # block index -> index among text blocks
        self._tool_json: dict[int, str] = {}

    def take(self, event: Any) -> Iterator[ModelEvent]:
        if event.type == "content_block_start":
            is_thinking = event.content_block.type in ("thinking", "redacted_thinking")
            if is_thinking and not self._thinking:
                self._thinking = True
                yield ThinkingStarted()
        elif event.type == "content_block_delta":
            if event.delta.type == "text_delta" and event.delta.text:
                index = self._text_indexes.setdefault(event.index, len(self._text_indexes))
                yield TextDelta(index, event.delta.text)
            elif event.delta.type == "input_json_delta":
                so_far = self._tool_json.get(event.index, "")
                self._tool_json[event.index] = so_far + event.delta.partial_json

    def answer(self, message: Any) -> Answer:
        """Raises ProviderError for a stream without a stop reason and for tool input that is not JSON."""
        if message.stop_reason is None:
            raise ProviderError("The stream ended before the answer was complete.")
        cut = message.stop_reason in OUT_OF_TOKENS
        blocks = [self._block(i, block, cut=cut) for i, block in enumerate(message.content)]
        details = message.stop_details
        return Answer(
            content=[block for block in blocks if block is not None],
            stop_reason=message.stop_reason,
            usage=_usage(message.usage),
            response_id=message.id or "",
            time_to_first_chunk_ms=self.first_chunk_ms,
            stop_details=details.to_dict() if details is not None else None,
        )

    def _block(self, index: int, block: Any, *, cut: bool) -> dict[str, Any] | None:
        """The block as a dict; None for what cannot be sent back: empty text, a call cut by the token limit."""
        if block.type == "text":
            return {"type": "text", "text": block.text} if block.text else None
        if block.type == "thinking":
            signature = block.signature or ""
            return {"type": "thinking", "thinking": block.thinking, "signature": signature}
        if block.type != "tool_use":
            return dict(block.to_dict())
        try:
            tool_input = self._tool_input(index, block)
        except ValueError as exc:
            if cut:
                return None
            raise ProviderError(f"The model's input for the tool {block.name} is not a JSON object ({exc}).") from exc
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": tool_input}

    def _tool_input(self, index: int, block: Any) -> dict[str, Any]:
        """Parsed from what was streamed: the SDK's own reading silently closes JSON that was cut."""
        text = self._tool_json.get(index, "")
        value = json.loads(text) if text.strip() else block.input
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ValueError(f"it is a {type(value).__name__}")
        return value


def _usage(usage: Any) -> Usage:
    """Cache fields may be absent on compatible servers; writes without a split count as 5-minute writes."""
    written = usage.cache_creation_input_tokens or 0
    split = usage.cache_creation
    written_1h = (split.ephemeral_1h_input_tokens or 0) if split is not None else 0
    written_5m = (split.ephemeral_5m_input_tokens or 0) if split is not None else 0
    return Usage(
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        cache_read_input_tokens=usage.cache_read_input_tokens or 0,
        cache_creation_5m_input_tokens=max(written_5m, written - written_1h),
        cache_creation_1h_input_tokens=written_1h,
    )
