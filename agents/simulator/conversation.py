"""What a simulated model sees of a request, and what it can answer. Plain data, no side effects.

A request is cut at the newest message that asks for something, from a person or from the lead: everything after it is
the current turn, as a list of steps (one step is one answer of the model and what its tool calls returned). Messages of
agents that the model has started ask for nothing: they are mail, and the turn goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.simulator.memory import Memory, read_memory
from agents.simulator.steps import Call, Mail, Step

HEADER_OF_LEAD = "[Message from the lead]"
HEADER_OF_AGENT = re.compile(r'\[Message from agent "(?P<name>.*)" \((?P<thread>sthr_\w+)\)\]')


@dataclass(frozen=True)
class Conversation:
    """`request` is the newest text that asks for something and `task` the first; `steps` are the answers since.

    `mail` is what other agents sent since `request`; `earlier` are the steps before it, as far as they are known.
    """

    request: str
    task: str
    steps: tuple[Step, ...] = ()
    tools: dict[str, dict[str, Any]] | None = None
    system: str = ""
    turn: int = 1
    mail: tuple[Mail, ...] = ()
    earlier: tuple[Step, ...] = ()
    from_lead: bool = False

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

    @property
    def is_child(self) -> bool:
        """Whether another agent, the lead, gave this one its task."""
        return self.from_lead or self.has("send_to_parent")

    def has(self, *names: str) -> bool:
        """Whether all of these tools are offered."""
        return all(name in (self.tools or {}) for name in names)

    def without(self, unwanted: Callable[[Step], bool]) -> Conversation:
        """The conversation as if some steps had never been."""
        kept = [not unwanted(step) for step in self.steps]
        return replace(
            self,
            steps=tuple(step for step, keep in zip(self.steps, kept, strict=True) if keep),
            mail=tuple(replace(mail, after=sum(kept[: mail.after])) for mail in self.mail),
        )

    def until(self, steps: int) -> Conversation:
        """The conversation as it was after so many steps of the turn."""
        return replace(self, steps=self.steps[:steps], mail=tuple(mail for mail in self.mail if mail.after <= steps))


@dataclass(frozen=True)
class ToolCall:
    name: str
    input: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a policy decides to answer. `over_s` asks for a slow stream, whatever the latency scale.

    With `goes_on` the answer ends with `pause_turn`: the model is asked again at once.
    """

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    cut_at_max_tokens: bool = False
    over_s: float | None = None
    goes_on: bool = False


Policy = Callable[[Conversation], Reply]


@dataclass(frozen=True)
class _Input:
    """A user message that is more than tool results. `sender` is an agent's name and thread id, if it was one."""

    index: int
    text: str
    sender: tuple[str, str] | None = None
    from_lead: bool = False


def read_conversation(*, system: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Conversation:
    """Never raises: whatever has an unexpected shape is passed over."""
    inputs = [found for found in _inputs(messages) if found.text.strip() or found.sender]
    asking = [found for found in inputs if found.sender is None]
    newest = asking[-1] if asking else _Input(-1, "")
    first = asking[0] if asking else newest
    conversation = Conversation(
        request=newest.text,
        task=first.text,
        steps=tuple(_steps(messages[newest.index + 1 :])),
        tools=_tools_by_name(tools),
        system=system,
        turn=max(1, len(asking)),
        mail=tuple(_mail(messages, inputs, newest.index)),
        earlier=tuple(_steps(messages[: newest.index + 1])),
        from_lead=newest.from_lead,
    )
    if (memory := read_memory(first.text)) is not None:
        return _remembered(conversation, memory, is_newest=first is newest)
    return conversation


def _remembered(conversation: Conversation, memory: Memory, *, is_newest: bool) -> Conversation:
    """The conversation with what was known before its summary, which is its first message."""
    task = memory.request if memory.task == "=" else memory.task
    if not is_newest:
        return replace(conversation, task=task, earlier=memory.earlier + memory.steps + conversation.earlier)
    count = len(memory.steps)
    return replace(
        conversation,
        request=memory.request,
        task=task,
        steps=memory.steps + conversation.steps,
        mail=memory.mail + tuple(replace(mail, after=mail.after + count) for mail in conversation.mail),
        earlier=memory.earlier,
        from_lead=memory.from_lead,
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


def _inputs(messages: list[dict[str, Any]]) -> Iterator[_Input]:
    """User messages with their text. Only a first block that is a header and nothing else says who wrote one."""
    for index, message in enumerate(messages):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        blocks: list[Any] = content if isinstance(content, list) else []
        header = _text_of_block(blocks[0]).strip() if blocks else ""
        if header == HEADER_OF_LEAD:
            yield _Input(index, text_of(blocks[1:]), from_lead=True)
        elif found := HEADER_OF_AGENT.fullmatch(header):
            yield _Input(index, text_of(blocks[1:]), sender=(found["name"], found["thread"]))
        else:
            yield _Input(index, text_of(content))


def _mail(messages: list[dict[str, Any]], inputs: Sequence[_Input], start: int) -> Iterator[Mail]:
    for found in inputs:
        if found.sender is not None and found.index > start:
            between = messages[start + 1 : found.index]
            after = sum(message.get("role") == "assistant" for message in between)
            yield Mail(*found.sender, found.text, after)


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
