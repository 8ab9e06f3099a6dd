"""The registry of policies: how a simulated model decides. A scenario names one, or has rules of its own.

A policy is a pure function: the conversation in, the next answer out. The same conversation gives the same answer.
"""

from __future__ import annotations

import re

from agents.simulator import crash, drafting, drafting_writer, runaway, script, triage, triage_team
from agents.simulator.conversation import Conversation, Policy, Reply
from agents.simulator.faults import MAX_SLOW_S, SLOW_S

DURATION = re.compile(r"\bslow\s+(\d+(?:\.\d+)?)\s*(ms|s|m)?\b", re.IGNORECASE)
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def echo(conversation: Conversation) -> Reply:
    """Answers with the text of the newest message, word for word."""
    return Reply(text=conversation.request or "(the message had no text)")


def slow(conversation: Conversation) -> Reply:
    """Streams an answer over the time that the message names (`slow 3s`), whatever the latency scale."""
    found = DURATION.search(conversation.request)
    seconds = float(found[1]) * SECONDS[(found[2] or "s").lower()] if found else SLOW_S
    seconds = min(seconds, MAX_SLOW_S)
    words = " ".join(str(number) for number in range(1, 101))
    return Reply(
        text=f"This is a simulated model that answers slowly, over {seconds:g} s. {words}",
        over_s=seconds,
    )


POLICIES: dict[str, Policy] = {
    "assistant": drafting.assist,
    "build-log-triage": triage.triage,
    "crash-in-the-middle": crash.crash_in_the_middle,
    "drafting-lead": drafting.draft,
    "drafting-writer": drafting_writer.write_section,
    "echo": echo,
    "rounds": script.run_rounds,
    "runaway": runaway.run_away,
    "slow": slow,
    "tools": script.run_script,
    "triage-lead": triage_team.lead,
}
