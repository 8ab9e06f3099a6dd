"""The simulated answer to the engine's request to compact a conversation: facts as a list, nothing invented."""

from __future__ import annotations

import json
import re
from typing import Any

from agents.simulator.conversation import Conversation, Reply
from agents.simulator.memory import MAX_CHARS, SHORTENED, Memory, write_memory
from agents.simulator.steps import Call
from agents.simulator.tokens import CHARS_PER_TOKEN

INSTRUCTION = "Summarise the conversation so far"  # how the engine's compaction request begins
MAX_BULLETS = 40
MAX_BULLET_CHARS = 160
# How the engine writes calls and results in that request, which offers no tools.
CALL = re.compile(r"\[called (?P<name>\S+) with (?P<input>\{.*)", re.DOTALL)
RESULT = re.compile(r"\[the call (?P<outcome>returned|failed): (?P<text>.*)", re.DOTALL)
TRIMMED = "… (trimmed)"


def without_instruction(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The messages to summarise, calls and results as such, or None when the request is no request for a summary."""
    if not messages or messages[-1].get("role") != "user":
        return None
    content = messages[-1].get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not blocks or not _is_instruction(blocks[-1]):
        return None
    earlier = messages[:-1]
    return _with_tools([*earlier, {"role": "user", "content": blocks[:-1]}] if blocks[:-1] else earlier)


def _is_instruction(block: Any) -> bool:
    text = block.get("text") if isinstance(block, dict) else None
    return isinstance(text, str) and text.lstrip().startswith(INSTRUCTION)


def _with_tools(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls and results that were written as text, made blocks again: the results of an answer follow it in order."""
    made: list[dict[str, Any]] = []
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        content = message.get("content")
        if not isinstance(content, list):
            made.append(message)
            continue
        is_answer = message.get("role") == "assistant"
        open_calls = [] if is_answer else open_calls
        blocks = []
        for place, block in enumerate(content):
            text = block.get("text") if isinstance(block, dict) else None
            if not isinstance(text, str):
                blocks.append(block)
            elif is_answer and (call := CALL.fullmatch(text)):
                open_calls.append(f"{number}.{place}")
                blocks.append({"type": "tool_use", "id": open_calls[-1], "name": call["name"], "input": _input(call)})
            elif open_calls and not is_answer and (result := RESULT.fullmatch(text)):
                blocks.append(_result(open_calls.pop(0), result))
            else:
                blocks.append(block)
        made.append({**message, "content": blocks})
    return made


def _input(call: re.Match[str]) -> dict[str, Any]:
    try:
        value = json.loads(call["input"].removesuffix("]"))
    except (ValueError, RecursionError):
        return {}  # it was too long and is not whole
    return value if isinstance(value, dict) else {}


def _result(call_id: str, result: re.Match[str]) -> dict[str, Any]:
    text = result["text"]
    text = text.removesuffix(TRIMMED) + SHORTENED if text.endswith(TRIMMED) else text.removesuffix("]")
    failed = result["outcome"] == "failed"
    return {"type": "tool_result", "tool_use_id": call_id, "content": text, "is_error": failed}


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
    if conversation.mail:
        lines += ["", "What other agents reported:"]
        lines += [f"- {mail.sender}: {_short(mail.text)}" for mail in conversation.mail[-MAX_BULLETS:]]
    memory = Memory(
        conversation.request,
        conversation.task,
        conversation.steps,
        conversation.mail,
        conversation.earlier,
        conversation.from_lead,
    )
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
