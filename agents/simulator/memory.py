"""The machine-readable line in a simulated summary, so that a simulated model goes on after a compaction."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from agents.simulator.steps import Call, Mail, Step

MAX_CHARS = 80_000  # of the whole line
MAX_REQUEST_CHARS = 3_000
INPUT_CHARS_MORE = 80  # an input is kept longer than a result
TEAM_TOOLS = frozenset(
    {"spawn_agent", "send_to_agent", "list_agents", "wait_for_agents", "stop_agent", "send_to_parent"}
)

SHORTENED = " [shortened in a summary]"  # ends every result that is not whole any more

LINE = re.compile(r"<simulated-memory>(.*?)</simulated-memory>", re.DOTALL)


@dataclass(frozen=True)
class Memory:
    request: str
    task: str
    steps: tuple[Step, ...]
    mail: tuple[Mail, ...] = ()
    earlier: tuple[Step, ...] = ()
    from_lead: bool = False


@dataclass(frozen=True)
class _Limits:
    """How many characters of each kind of text are kept."""

    result: int
    text: int
    team: int  # inputs and results of the tools for working with agents, and messages of agents


# Tried in this order until the line fits: what the model said itself, and what passed between agents, is worth more
# than what a tool can be asked again.
LIMITS = (_Limits(200, 4_000, 4_000), _Limits(60, 4_000, 4_000), _Limits(0, 4_000, 2_000), _Limits(0, 4_000, 300))


def write_memory(memory: Memory, max_chars: int = MAX_CHARS) -> str:
    """One line. Long results, inputs and texts are shortened, and the oldest steps emptied (calls before texts),
    until it fits.
    """
    memory = replace(memory, earlier=_team_only(memory.earlier))
    line = ""
    for limits in LIMITS:
        line = _line(memory, limits)
        if len(line) <= max_chars:
            break
    steps = list(memory.steps)
    for keep_text in (True, False):
        for index, step in enumerate(steps):
            if len(line) <= max_chars:
                break
            steps[index] = Step(text=step.text if keep_text else "")  # their number stays right
            line = _line(replace(memory, steps=tuple(steps)), LIMITS[-1])
    return f"<simulated-memory>{line}</simulated-memory>"


def _team_only(earlier: tuple[Step, ...]) -> tuple[Step, ...]:
    """Of what was done for earlier requests only the threads that it started still matter."""
    calls = [tuple(call for call in step.calls if call.name == "spawn_agent") for step in earlier]
    return tuple(Step(calls=kept) for kept in calls if kept)


def _line(memory: Memory, limits: _Limits) -> str:
    data = _as_data(memory, limits)
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
            mail=tuple(_mail(mail) for mail in data.get("mail", [])),
            earlier=tuple(_step(step) for step in data.get("earlier", [])),
            from_lead=data.get("from_lead") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # something that only looks like ours


def _as_data(memory: Memory, limits: _Limits) -> dict[str, Any]:
    data: dict[str, Any] = {
        "request": memory.request[:MAX_REQUEST_CHARS],
        "task": memory.task[:MAX_REQUEST_CHARS] if memory.task != memory.request else "=",
        "steps": [_step_as_data(step, limits) for step in memory.steps],
    }
    if memory.mail:
        data["mail"] = [
            {
                "sender": mail.sender,
                "thread_id": mail.thread_id,
                "text": _shortened(mail.text, limits.team),
                "after": mail.after,
            }
            for mail in memory.mail
        ]
    if memory.earlier:
        data["earlier"] = [_step_as_data(step, limits) for step in memory.earlier]
    if memory.from_lead:
        data["from_lead"] = True
    return data


def _step_as_data(step: Step, limits: _Limits) -> dict[str, Any]:
    return {"text": step.text[: limits.text], "calls": [_call_as_data(call, limits) for call in step.calls]}


def _call_as_data(call: Call, limits: _Limits) -> dict[str, Any]:
    limit = limits.team if call.name in TEAM_TOOLS else limits.result
    return {
        "name": call.name,
        "input": {
            key: value[: limit + INPUT_CHARS_MORE] if isinstance(value, str) else value
            for key, value in call.input.items()
        },
        "result": _shortened(call.result, limit),
        "is_error": call.is_error,
    }


def _shortened(result: str | None, limit: int) -> str | None:
    """The beginning of a text, with the mark at its end also when it was shortened before."""
    kept = None if result is None else result.removesuffix(SHORTENED)
    if kept is None or len(kept) <= limit:
        return result
    return kept[:limit] + SHORTENED


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


def _mail(data: dict[str, Any]) -> Mail:
    return Mail(str(data["sender"]), str(data["thread_id"]), str(data["text"]), int(data["after"]))
