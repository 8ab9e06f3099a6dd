"""The instructions of a script for working with other agents.

    spawn: AGENT | TASK           send: N | TEXT                stop: N
    wait: [any|all] [Ns] [N ...]  list:                         parent: TEXT

N is the number of a thread this agent has started, from 1, or a thread id. TASK and TEXT may have `\\n` for line ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agents.simulator import team as teams
from agents.simulator.conversation import Conversation, ToolCall
from agents.simulator.team import spawned

VERBS = ("spawn", "wait", "send", "stop", "list", "parent")
SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
THREAD = re.compile(r"\d{1,4}|sthr_\w+")


class BadInstruction(ValueError):
    """An instruction that cannot be read; the message says how to write it."""


def parts_of(rest: str, count: int, form: str) -> list[str]:
    """`PATH | A | B` cut into `count` pieces; only the first may not be empty."""
    pieces = re.split(r" \| ?", rest, maxsplit=count - 1)
    if len(pieces) != count or not pieces[0].strip():
        raise BadInstruction(f"write it as {form}")
    return [pieces[0].strip(), *pieces[1:]]


def team_call(verb: str, rest: str, unescape: Callable[[str], str]) -> ToolCall:
    """The call that an instruction stands for; threads are still as the script names them."""
    if verb == "spawn":
        agent, task = parts_of(rest, 2, "spawn: AGENT | TASK")
        return ToolCall(teams.SPAWN, {"agent": agent, "task": unescape(task)})
    if verb == "send":
        thread, text = parts_of(rest, 2, "send: N | TEXT")
        return ToolCall(teams.SEND, {"thread_id": thread, "message": unescape(text)})
    if verb == "wait":
        return ToolCall(teams.WAIT, _wait(rest.replace(",", " ").split()))
    if verb == "list":
        return ToolCall(teams.LIST, {})
    if verb == "parent":
        return ToolCall(teams.PARENT, {"message": unescape(rest)})
    if not rest.strip():
        raise BadInstruction("write it as stop: N")
    return ToolCall(teams.STOP, {"thread_id": rest.strip()})


def _wait(words: list[str]) -> dict[str, Any]:
    tool_input: dict[str, Any] = {}
    threads = []
    for word in words:
        if word in ("any", "all"):
            tool_input["mode"] = word
        elif found := SECONDS.fullmatch(word):
            tool_input["timeout_s"] = float(found[1])
        elif THREAD.fullmatch(word):
            threads.append(word)
        else:
            raise BadInstruction("write it as wait: any 5s 1 2, each part if you want it")
    return {**tool_input, "thread_ids": threads} if threads else tool_input


def resolved(call: ToolCall, conversation: Conversation) -> ToolCall:
    """The call with thread numbers replaced by the ids of the threads this agent has started."""
    if call.name not in (teams.SEND, teams.STOP, teams.WAIT):
        return call
    ids = spawned((*conversation.earlier, *conversation.steps))

    def thread_id(given: str) -> str:
        number = int(given) if given.isdecimal() and len(given) < 5 else 0
        return ids[number - 1] if 1 <= number <= len(ids) else given

    changed = dict(call.input)
    if "thread_id" in changed:
        changed["thread_id"] = thread_id(changed["thread_id"])
    if "thread_ids" in changed:
        changed["thread_ids"] = [thread_id(given) for given in changed["thread_ids"]]
    return replace(call, input=changed)
