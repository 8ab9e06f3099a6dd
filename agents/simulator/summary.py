"""The simulated answer to the engine's request to compact a conversation: facts as a list, nothing invented."""

from __future__ import annotations

from typing import Any

from agents.simulator.conversation import Conversation, Reply
from agents.simulator.memory import MAX_CHARS, Memory, write_memory
from agents.simulator.steps import Call
from agents.simulator.tokens import CHARS_PER_TOKEN

INSTRUCTION = "Summarise the conversation so far"  # how the engine's compaction request begins
MAX_BULLETS = 40
MAX_BULLET_CHARS = 160


def without_instruction(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The messages to summarise, or None when the request does not end with the engine's instruction."""
    if not messages or messages[-1].get("role") != "user":
        return None
    content = messages[-1].get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not blocks or not _is_instruction(blocks[-1]):
        return None
    earlier = messages[:-1]
    return [*earlier, {"role": "user", "content": blocks[:-1]}] if blocks[:-1] else earlier


def _is_instruction(block: Any) -> bool:
    text = block.get("text") if isinstance(block, dict) else None
    return isinstance(text, str) and text.lstrip().startswith(INSTRUCTION)


def summarise(conversation: Conversation, *, context_window: int) -> Reply:
    """The summary, at most about a third of the context window long."""
    calls = conversation.calls
    shown = calls[-MAX_BULLETS:]
    lines = [
        "Summary written by a simulated model from the conversation's own words.",
        "",
        "What was asked:",
        f"- {_short(conversation.request) or '(no text)'}",
        "",
        f"What was done ({len(calls)} tool calls):",
        *([f"- ({len(calls) - len(shown)} earlier calls)"] if len(shown) < len(calls) else []),
        *([_bullet(call) for call in shown] or ["- nothing yet"]),
    ]
    if conversation.said:
        lines += ["", "What was said:", f"- {_short(conversation.said)}"]
    memory = Memory(conversation.request, conversation.task, conversation.steps)
    room = min(MAX_CHARS, context_window * CHARS_PER_TOKEN // 4)
    return Reply(text="\n".join([*lines, "", write_memory(memory, room)]))


def _bullet(call: Call) -> str:
    subject = next((str(value) for value in call.input.values()), "")
    outcome = "error" if call.is_error else "ok"
    result = "no result" if call.result is None else f"{outcome}: {_short(call.result, 80)}"
    return f"- {call.name} {_short(subject, 60)} -> {result}"


def _short(text: str, limit: int = MAX_BULLET_CHARS) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
