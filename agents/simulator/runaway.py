"""`simulated/runaway`: an agent that would never stop by itself, to show the limits that stop it.

A word of the request says how: `loop` makes the same call for ever, `rounds without end` another call each time,
`spawn` starts agents without end, `ping-pong` answers every message of another agent with one more. As a lead it has a
child do what the word says when it is told `child`, and reports what became of it.
"""

from __future__ import annotations

import re

from agents.simulator import team as teams
from agents.simulator.conversation import Conversation, Reply, ToolCall

SPAWNS_PER_ANSWER = 5
CHILD = re.compile(r"\bchild\b", re.IGNORECASE)
PING_PONG = re.compile(r"\bping[- ]?pong\b|^(?:ping|pong)\b", re.IGNORECASE)
SPAWN = re.compile(r"\bspawn", re.IGNORECASE)
LOOP = re.compile(r"\bloop\b", re.IGNORECASE)


def run_away(conversation: Conversation) -> Reply:
    request = conversation.request
    is_lead = conversation.has(teams.SPAWN)
    if is_lead and CHILD.search(request):
        return _have_a_child(conversation)
    if PING_PONG.search(request):
        return _ping(conversation) if is_lead else _pong(conversation)
    if is_lead and SPAWN.search(request):
        return _spawn(conversation)
    if LOOP.search(request):
        return _call("echo loop")
    return _call(f"echo round {len(conversation.steps) + 1}")


def _call(command: str) -> Reply:
    return Reply(text="I am a simulated model that never stops.", calls=(ToolCall("bash", {"command": command}),))


def _members(conversation: Conversation) -> list[str] | None:
    team = teams.list_agents(conversation)
    return [member.name for member in team.members] if team else None


def _ask_who() -> Reply:
    return Reply(text="I am a simulated model that never stops.", calls=(ToolCall(teams.LIST, {}),))


def _have_a_child(conversation: Conversation) -> Reply:
    """One child runs away; the lead waits for it and goes on when it was stopped."""
    names = _members(conversation)
    if names is None:
        return _ask_who()
    if not teams.rounds(conversation):
        task = CHILD.sub("agent", conversation.request)
        call = ToolCall(teams.SPAWN, {"agent": (names or ["nobody"])[0], "task": task})
        return Reply(calls=(call, ToolCall(teams.WAIT, {})))
    said = " ".join(mail.text for mail in conversation.mail) or "nothing"
    return Reply(text=f"I am a simulated model. The agent that never stops was ended. It reported: {said}")


def _spawn(conversation: Conversation) -> Reply:
    names = _members(conversation)
    if names is None:
        return _ask_who()
    made = sum(call.name == teams.SPAWN for call in conversation.calls)
    calls = [
        ToolCall(teams.SPAWN, {"agent": (names or ["nobody"])[(made + n) % max(1, len(names))], "task": "say: done"})
        for n in range(SPAWNS_PER_ANSWER)
    ]
    return Reply(text="More agents will help.", calls=tuple(calls))


def _ping(conversation: Conversation) -> Reply:
    """Each message that came is answered with one; the lead rests in between, so no limit of one turn is reached."""
    names = _members(conversation)
    if names is None:
        return _ask_who()
    rounds = teams.rounds(conversation)
    if not rounds:
        return Reply(calls=(ToolCall(teams.SPAWN, {"agent": (names or ["nobody"])[0], "task": "ping 1"}),))
    if len(conversation.mail) >= len(rounds):
        call = teams.message_to(conversation.mail[-1].thread_id, f"ping {len(rounds) + 1}")
        return Reply(calls=(call,))
    return Reply(text="I wait for the answer.")


def _pong(conversation: Conversation) -> Reply:
    return Reply(text=f"pong: {conversation.request}. And you?")
