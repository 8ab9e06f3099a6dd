"""Fault words: how a person or a scenario asks a simulated model to fail in a given way.

A line `fault: WORD, WORD ...` in the newest user message (or `faults:` of a scenario) is read as words of the form

    name[xTIMES][@STEP][=VALUE]

`name` is one of the words below. `@STEP` is the model request of the turn that is hit: 1 unless said, `@*` for every
one. For faults of a request `xTIMES` is how many attempts fail (every attempt unless said); for faults of an answer it
is how many answers are bad. README.md has the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agents.errors import (
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)
from agents.simulator.conversation import Conversation, Policy, Reply, ToolCall
from agents.simulator.steps import Step

LINE = re.compile(r"^[ \t]*faults?:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
WORD = re.compile(r"(?P<name>[a-z_]+?|\d{3})(?:x(?P<times>\d+))?(?:@(?P<step>\d+|\*))?(?:=(?P<value>\d+(?:\.\d+)?))?")
FOREVER = 1_000_000

REQUEST_FAULTS = ("timeout", "cut_stream", "bad_json_input")  # and every status code
ANSWER_FAULTS = (
    "unknown_tool",
    "bad_input",
    "loop",
    "huge_output",
    "huge_input",
    "slow",
    "refuse",
    "max_tokens",
)
MISSING_TOOL = "no_such_tool"
BAD_INPUT = {"unexpected": True}
HUGE_OUTPUT_CHARS = 150_000  # above the 100,000 that the sandbox shows whole
HUGE_INPUT_CHARS = 10 * 1024 * 1024
HUGE_INPUT_PATH = "/workspace/huge.txt"
SLOW_S = 3.0
MAX_SLOW_S = 600.0


@dataclass(frozen=True)
class Fault:
    name: str
    times: int = FOREVER
    step: int | None = 1  # None: every one
    value: float | None = None

    @property
    def is_request_fault(self) -> bool:
        return self.name.isdigit() or self.name in REQUEST_FAULTS

    def hits(self, step: int) -> bool:
        return self.step is None or self.step == step


def read_faults(text: str) -> list[Fault]:
    """The faults a text asks for. Raises ProviderRejected on a word that is none."""
    words = [word for line in LINE.findall(text) for word in re.split(r"[,\s]+", line) if word]
    return [_fault(word) for word in words]


def _fault(word: str) -> Fault:
    found = WORD.fullmatch(word.lower())
    name = found["name"] if found else ""
    known = name in REQUEST_FAULTS or name in ANSWER_FAULTS or re.fullmatch(r"[45]\d\d", name)
    if found is None or not known:
        names = ", ".join(("429", "529", *REQUEST_FAULTS, *ANSWER_FAULTS))
        raise ProviderRejected(f"{word!r} is not a fault word. Use one of {names}, or a 4xx or 5xx.")
    step = found["step"] or "1"
    return Fault(
        name=name,
        times=int(found["times"]) if found["times"] else _default_times(name),
        step=None if step == "*" else int(step),
        value=float(found["value"]) if found["value"] else None,
    )


def _default_times(name: str) -> int:
    return 1 if name in ("huge_output", "huge_input") else FOREVER


def request_fault(faults: list[Fault], *, step: int, attempt: int) -> Fault | None:
    """The fault that this attempt of this step fails with, if any."""
    return next((f for f in faults if f.is_request_fault and f.hits(step) and attempt <= f.times), None)


def error_of(fault: Fault) -> ProviderError:
    """The error a request fault is reported as: what the Anthropic provider would raise in the same case."""
    if fault.name == "timeout":
        return ProviderError("Simulated fault: the request timed out.")
    if fault.name == "cut_stream":
        return ProviderError("Simulated fault: the stream ended before the answer was complete.")
    if fault.name == "bad_json_input":
        return ProviderError("Simulated fault: the model's tool input is not valid JSON.")
    status = int(fault.name)
    if status == 429:
        return ProviderRateLimited("Simulated fault: rate limited.", retry_after_s=fault.value)
    if status == 529:
        return ProviderOverloaded("Simulated fault: overloaded.", retry_after_s=fault.value)
    if status >= 500:
        return ProviderError(f"Simulated fault: server error {status}.", retry_after_s=fault.value)
    return ProviderRejected(f"Simulated fault: the request was refused with status {status}.")


def answer_with_faults(policy: Policy, conversation: Conversation, faults: list[Fault]) -> Reply:
    """The policy's answer, spoilt as asked. The policy never sees the steps that a fault made."""
    step = len(conversation.steps) + 1
    for fault in faults:
        if (spoilt := _bad_call(fault, conversation)) is None:
            continue
        is_bad = partial(_makes, spoilt.calls)
        done = [s for s in conversation.steps if is_bad(s)]
        conversation = conversation.without(is_bad)
        # A fault of answers begins at its step and goes on until it was done often enough.
        if len(done) < fault.times and (fault.step is None or step >= fault.step):
            return spoilt
    reply = policy(conversation)
    for fault in faults:
        if fault.hits(step):
            reply = _spoilt(reply, fault)
    return reply


def _bad_call(fault: Fault, conversation: Conversation) -> Reply | None:
    """The tool call that this fault makes the model repeat; None for other faults."""
    if fault.name == "unknown_tool":
        return _reply(ToolCall(MISSING_TOOL, {}))
    if fault.name == "bad_input":
        offered = list(conversation.tools or {}) or ["bash"]
        name = next((n for n in ("read", "write", "bash") if n in offered), offered[0])
        return _reply(ToolCall(name, dict(BAD_INPUT)))
    if fault.name == "loop":
        if conversation.has("glob") and not conversation.has("bash"):
            return _reply(ToolCall("glob", {"pattern": "*", "path": "/workspace"}))
        return _reply(ToolCall("bash", {"command": "echo loop"}))
    if fault.name == "huge_output":
        size = int(fault.value or HUGE_OUTPUT_CHARS)
        return _reply(ToolCall("bash", {"command": f"yes 0123456789abcde | head -c {size}"}))
    if fault.name == "huge_input":
        size = int(fault.value or HUGE_INPUT_CHARS)
        return _reply(ToolCall("write", {"file_path": HUGE_INPUT_PATH, "content": "x" * size}))
    return None


def _reply(call: ToolCall) -> Reply:
    return Reply(calls=(call,))


def _makes(calls: tuple[ToolCall, ...], step: Step) -> bool:
    """Whether a step made exactly these calls."""
    made = [(call.name, _brief(call.input)) for call in step.calls]
    return made == [(call.name, _brief(call.input)) for call in calls]


def _brief(tool_input: dict[str, Any]) -> dict[str, str]:
    """Enough to recognise an input, also after a summary has shortened it."""
    return {str(key): str(value)[:40] for key, value in tool_input.items()}


def _spoilt(reply: Reply, fault: Fault) -> Reply:
    if fault.name == "slow":
        return replace(reply, over_s=min(MAX_SLOW_S, fault.value or SLOW_S))
    if fault.name == "refuse":
        return Reply(refusal="Simulated fault: the simulated model was told to refuse.")
    if fault.name == "max_tokens":
        return Reply(text=reply.text[: len(reply.text) // 2], cut_at_max_tokens=True)
    return reply
