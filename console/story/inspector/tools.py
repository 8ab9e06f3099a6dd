"""Which tools were used, by whom, how often they failed, and how long they took."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from agents.models import ToolCall
from console.story.inspector.asked import Asked
from console.story.inspector.sql import field, rows
from console.story.rows import Lane
from console.text import one_line

MOST_TOOLS = 40
MOST_AGENTS = 10  # of one tool that a page lists
FAILURES_EACH = 5
FAILURES_READ = 200

_FIGURES = """
count(*), count(*) FILTER (WHERE is_error), count(*) FILTER (WHERE is_denied), count(*) FILTER (WHERE is_open),
percentile_cont(0.5) WITHIN GROUP (ORDER BY took), max(took),
(array_agg(public_id ORDER BY took DESC NULLS LAST, seq))[1]
"""
_GROUPED = f"""
SELECT name, is_team, thread_id, grouping(thread_id) = 1 AS is_sum, {_FIGURES}
FROM calls GROUP BY GROUPING SETS ((name, is_team), (name, is_team, thread_id))
ORDER BY count(*) DESC, name LIMIT %(most)s
"""  # noqa: S608 (our own text)
_OWN = """
WITH calls AS (
    SELECT c.name, c.kind = 'team' AS is_team, c.thread_id, c.is_error, u.seq, u.public_id,
           c.decision = 'deny' OR c.permission = 'deny' AS is_denied, c.state <> 'done' AS is_open,
           extract(epoch FROM c.ended_at - c.started_at)::float8 AS took
    FROM agents_toolcall c JOIN agents_event u ON u.id = c.use_event_id WHERE c.session_id = %(session)s
)
"""
# What another tool wrote down has no rows of ours: a call is a use, and the result that names it as its cause.
_IMPORTED = f"""
WITH calls AS (
    SELECT coalesce({field("u.payload", "name")}, 'a tool') AS name, false AS is_team, u.thread_id,
           coalesce({field("r.payload", "is_error")} = 'true', false) AS is_error, u.seq, u.public_id,
           false AS is_denied, r.id IS NULL AS is_open, r.public_id AS result_id, r.seq AS result_seq,
           CASE WHEN %(timed)s THEN extract(epoch FROM r.created_at - u.created_at)::float8 END AS took
    FROM agents_event u
    LEFT JOIN agents_event r ON r.session_id = u.session_id AND r.cause_seq = u.seq AND r.type LIKE '%%tool_result'
    WHERE u.session_id = %(session)s AND u.type LIKE 'agent.%%tool_use'
)
"""  # noqa: S608 (our own text)
_FAILED = "SELECT name, result_id, result_seq FROM calls WHERE is_error ORDER BY seq DESC LIMIT %(most)s"


@dataclass(frozen=True)
class Failure:
    """A failed call's result."""

    event_id: str
    seq: int


@dataclass(frozen=True)
class Use:
    """How one tool was used: by one agent, or by all (`lane` is None). Times in seconds, None when nobody knows."""

    name: str
    lane: Lane | None
    calls: int
    failed: int
    denied: int
    open: int
    median_s: float | None
    longest_s: float | None
    longest_id: str


@dataclass(frozen=True)
class Tool:
    use: Use
    is_team: bool
    agents: tuple[Use, ...]
    failures: tuple[Failure, ...]

    @property
    def shown_agents(self) -> tuple[Use, ...]:
        return self.agents[:MOST_AGENTS]

    @property
    def more_agents(self) -> int:
        return len(self.agents) - len(self.shown_agents)

    @property
    def more_failures(self) -> int:
        return max(0, self.use.failed - len(self.failures))


@dataclass(frozen=True)
class ToolsBody:
    tools: tuple[Tool, ...]
    calls: int
    failed: int
    more_tools: int


def read(asked: Asked) -> ToolsBody:
    """Two queries."""
    session = asked.session
    calls = _IMPORTED if session.is_imported else _OWN
    values = {"session": session.pk, "timed": session.has_times, "most": 5_000}
    sums: dict[tuple[str, bool], Use] = {}
    split: dict[tuple[str, bool], list[Use]] = defaultdict(list)
    for name, is_team, thread, is_sum, *figures in rows(calls + _GROUPED, values):
        use = Use(one_line(name, 120), None if is_sum else asked.lanes.get(thread), *figures)
        if is_sum:
            sums[name, is_team] = use
        else:
            split[name, is_team].append(use)
    failures = _failures(asked, calls)
    tools = [
        Tool(use, key[1], tuple(split[key]), tuple(failures.get(key[0], [])[:FAILURES_EACH]))
        for key, use in sums.items()
    ]
    return ToolsBody(
        tools=tuple(tools[:MOST_TOOLS]),
        calls=sum(use.calls for use in sums.values()),
        failed=sum(use.failed for use in sums.values()),
        more_tools=max(0, len(tools) - MOST_TOOLS),
    )


def _failures(asked: Asked, calls: str) -> dict[str, list[Failure]]:
    """The newest failures by the tool's name."""
    found: dict[str, list[Failure]] = defaultdict(list)
    if asked.session.is_imported:
        values = {"session": asked.session.pk, "timed": False, "most": FAILURES_READ}
        newest = rows(calls + _FAILED, values)
    else:
        failed = ToolCall.objects.filter(session=asked.session, is_error=True, result_event__isnull=False)
        results = failed.order_by("-pk").values_list("name", "result_event__public_id", "result_event__seq")
        newest = list(results[:FAILURES_READ])
    for name, event_id, seq in newest:
        found[name].append(Failure(event_id, seq))
    return found
