"""The machine-readable line in a simulated summary, so that a simulated model goes on after a compaction."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from agents.simulator.steps import Call, Step

MAX_CHARS = 80_000  # of the whole line
MAX_REQUEST_CHARS = 3_000
# How much of each result and of each text is kept, tried in this order until the line fits: what the model said
# itself is worth more than what a tool can be asked again.
LIMITS = ((200, 4_000), (60, 4_000), (0, 4_000))

SHORTENED = " [shortened in a summary]"  # ends every result that is not whole any more

LINE = re.compile(r"<simulated-memory>(.*?)</simulated-memory>", re.DOTALL)


@dataclass(frozen=True)
class Memory:
    request: str
    task: str
    steps: tuple[Step, ...]


def write_memory(memory: Memory, max_chars: int = MAX_CHARS) -> str:
    """One line. Long results, inputs and texts are shortened, and the oldest steps emptied (calls before texts),
    until it fits.
    """
    line = ""
    for limits in LIMITS:
        line = _line(memory, *limits)
        if len(line) <= max_chars:
            break
    steps = list(memory.steps)
    for keep_text in (True, False):
        for index, step in enumerate(steps):
            if len(line) <= max_chars:
                break
            steps[index] = Step(text=step.text if keep_text else "")  # their number stays right
            line = _line(replace(memory, steps=tuple(steps)), 0, LIMITS[-1][1])
    return f"<simulated-memory>{line}</simulated-memory>"


def _line(memory: Memory, result_chars: int, text_chars: int) -> str:
    data = _as_data(memory, result_chars, text_chars)
    return json.dumps(data, ensure_ascii=False).replace("</", "<\\/")  # no closing mark inside


def read_memory(text: str) -> Memory | None:
    found = LINE.search(text)
    if found is None:
        return None
    try:
        data = json.loads(found.group(1))
        return Memory(
            request=str(data["request"]),
            task=str(data["task"]),
            steps=tuple(_step(step) for step in data["steps"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # something that only looks like ours


def _as_data(memory: Memory, result_chars: int, text_chars: int) -> dict[str, Any]:
    return {
        "request": memory.request[:MAX_REQUEST_CHARS],
        "task": memory.task[:MAX_REQUEST_CHARS] if memory.task != memory.request else "=",
        "steps": [
            {
                "text": step.text[:text_chars],
                "calls": [
                    {
                        "name": call.name,
                        "input": {
                            key: value[: result_chars + 80] if isinstance(value, str) else value
                            for key, value in call.input.items()
                        },
                        "result": _shortened(call.result, result_chars),
                        "is_error": call.is_error,
                    }
                    for call in step.calls
                ],
            }
            for step in memory.steps
        ],
    }


def _shortened(result: str | None, limit: int) -> str | None:
    if result is None or len(result) <= limit or result.endswith(SHORTENED):
        return result
    return result[:limit] + SHORTENED


def _step(data: dict[str, Any]) -> Step:
    return Step(
        text=str(data["text"]),
        calls=tuple(
            Call(
                name=str(call["name"]),
                input=dict(call["input"]),
                result=None if call["result"] is None else str(call["result"]),
                is_error=call["is_error"] is True,
            )
            for call in data["calls"]
        ),
    )
