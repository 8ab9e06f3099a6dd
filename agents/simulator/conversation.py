"""What a simulated model sees of a request, and what it can answer. Plain data, no side effects.

A request is cut at its newest message from a person: everything after it is the current turn, as a list of steps
(one step is one answer of the model and what its tool calls returned).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from agents.simulator.memory import read_memory
from agents.simulator.steps import Call, Step


@dataclass(frozen=True)
class Conversation:
    """`request` is the newest text from a person and `task` the first; `steps` are the answers since `request`."""

    request: str
    task: str
    steps: tuple[Step, ...] = ()
    tools: dict[str, dict[str, Any]] | None = None
    system: str = ""
    turn: int = 1

    @property
    def calls(self) -> list[Call]:
        """Every call of the current turn, in order."""
        return [call for step in self.steps for call in step.calls]

    @property
    def last_calls(self) -> tuple[Call, ...]:
        return self.steps[-1].calls if self.steps else ()

    @property
    def said(self) -> str:
        """Everything the model said in the current turn."""
        return "\n".join(step.text for step in self.steps if step.text)

    def has(self, *names: str) -> bool:
        """Whether all of these tools are offered."""
        return all(name in (self.tools or {}) for name in names)

    def without(self, unwanted: Callable[[Step], bool]) -> Conversation:
        return replace(self, steps=tuple(step for step in self.steps if not unwanted(step)))


@dataclass(frozen=True)
class ToolCall:
    name: str
    input: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a policy decides to answer. `over_s` asks for a slow stream, whatever the latency scale."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    cut_at_max_tokens: bool = False
    over_s: float | None = None


Policy = Callable[[Conversation], Reply]


def read_conversation(*, system: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Conversation:
    """Never raises: whatever has an unexpected shape is passed over."""
    texts = [(i, text) for i, text in _texts_of_people(messages) if text.strip()]
    start, request = texts[-1] if texts else (-1, "")
    task = texts[0][1] if texts else ""
    remembered: tuple[Step, ...] = ()
    if (memory := read_memory(request)) is not None:
        request, remembered = memory.request, memory.steps
    if (memory := read_memory(task)) is not None:
        task = memory.request if memory.task == "=" else memory.task
    return Conversation(
        request=request,
        task=task,
        steps=remembered + tuple(_steps(messages[start + 1 :])),
        tools=_tools_by_name(tools),
        system=system,
        turn=max(1, len(texts)),
    )


def text_of(content: Any) -> str:
    """The text of message or tool result content; other blocks become a word in brackets."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(part for part in map(_text_of_block, content) if part)


def _text_of_block(block: Any) -> str:
    if not isinstance(block, dict):
        return ""
    kind = block.get("type")
    if kind == "text":
        text = block.get("text")
        return text if isinstance(text, str) else ""
    return f"[{kind}]" if kind in ("image", "document", "redacted") else ""


def _texts_of_people(messages: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Index and text of each user message that is more than tool results."""
    for index, message in enumerate(messages):
        if message.get("role") == "user":
            yield index, text_of(message.get("content"))


def _steps(messages: list[dict[str, Any]]) -> Iterator[Step]:
    results: dict[str, tuple[str, bool]] = {}
    for message in messages:
        if message.get("role") == "user":
            results.update(_tool_results(message.get("content")))
    for message in messages:
        if message.get("role") == "assistant":
            yield _step(message.get("content"), results)


def _tool_results(content: Any) -> Iterator[tuple[str, tuple[str, bool]]]:
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "tool_result":
            yield (
                str(block.get("tool_use_id")),
                (text_of(block.get("content")), block.get("is_error") is True),
            )


def _step(content: Any, results: dict[str, tuple[str, bool]]) -> Step:
    calls = []
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "tool_use":
            call_id = str(block.get("id"))
            tool_input = block.get("input")
            result, is_error = results.get(call_id, (None, False))
            calls.append(
                Call(
                    name=str(block.get("name")),
                    input=tool_input if isinstance(tool_input, dict) else {},
                    result=result,
                    is_error=is_error,
                )
            )
    return Step(text=text_of(content), calls=tuple(calls))


def _tools_by_name(tools: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(tool["name"]): tool for tool in tools if isinstance(tool, dict) and "name" in tool}
