"""How much a model request will probably read, before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from agents.models import Event, Thread
from agents.runtime.compaction import ANSWERS, CHARS_PER_TOKEN
from agents.runtime.context import canonical
from agents.runtime.team_tools import team_of
from agents.runtime.toolset import definitions


def expected_input_tokens(thread: Thread, context: Sequence[Event]) -> int:
    """What the last answer's usage says, and a guess at what came since; a guess at all of it before the first."""
    since = takewhile(lambda event: event.type not in ANSWERS, reversed(context))
    chars = sum(len(event.payload) for event in since)
    if not thread.context_tokens:
        snapshot = thread.agent_snapshot
        team = team_of(snapshot, is_child=not thread.is_primary)
        chars += len(snapshot.get("system") or "") + len(team.notes())
        chars += len(canonical([*definitions(snapshot), *team.definitions()]))
    return thread.context_tokens + chars // CHARS_PER_TOKEN
