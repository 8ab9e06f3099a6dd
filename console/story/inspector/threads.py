"""The session's agents: how each stands, how full its context is, and who waited for whom and how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agents.models import Event
from agents.providers import catalog
from agents.services.waits import STARTED
from console.story.inspector.asked import Asked
from console.story.inspector.sql import field, rows
from console.story.rows import EventRow, Lane, RowMaker
from console.story.team import Team, team_of

MOST_WAITS = 40
THREADS_PAGE = 60
PERSON, BUDGET, PROVIDER, QUEUE, AGENTS = "a person", "the budget", "the provider", "a free worker", "other agents"
_WAITS_FOR = {"requires_action": PERSON, "budget_reached": BUDGET}

# How long each thread stood still after an event of its own stream, until the next that says it goes on.
STANDSTILLS = f"""
WITH moves AS (
    SELECT e.thread_id, e.type, e.public_id, e.seq, e.created_at, {field("e.payload", "stop_reason", "type")} AS reason
    FROM agents_event e JOIN agents_thread t ON t.id = e.thread_id
    WHERE e.session_id = %(session)s AND e.type = ANY(%(types)s) AND position(t.public_id IN e.payload) > 0
), gaps AS (
    SELECT *, lead(created_at) OVER (PARTITION BY thread_id ORDER BY seq) AS ended_at FROM moves
)
SELECT thread_id, CASE WHEN type = 'session.thread_status_rescheduled' THEN 'rescheduled' ELSE reason END AS why,
       count(*), sum(extract(epoch FROM coalesce(ended_at, %(now)s) - created_at))::float8,
       max(extract(epoch FROM coalesce(ended_at, %(now)s) - created_at))::float8,
       (array_agg(public_id ORDER BY coalesce(ended_at, %(now)s) - created_at DESC))[1],
       count(*) FILTER (WHERE ended_at IS NULL)
FROM gaps
WHERE type = 'session.thread_status_rescheduled' OR reason IN ('requires_action', 'budget_reached')
GROUP BY thread_id, why
"""  # noqa: S608 (our own text)
_MOVES = [
    "session.thread_status_idle",
    "session.thread_status_running",
    "session.thread_status_rescheduled",
    "session.thread_status_terminated",
]
# From when a first request had what it answers, and its thread had nothing else to do, until a worker began it.
QUEUE_GAPS = """
WITH own AS (
    SELECT s.thread_id, s.kind, s.started_at, c.created_at AS wanted_at, a.attempt,
           lag(s.ended_at) OVER (PARTITION BY s.thread_id ORDER BY s.no) AS free_at, a.start_event_id
    FROM agents_step s
    LEFT JOIN agents_event c ON c.session_id = s.session_id AND c.seq = s.cause_seq
    LEFT JOIN agents_modelattempt a ON a.step_id = s.id
    WHERE s.session_id = %(session)s
), gaps AS (
    SELECT thread_id, start_event_id, extract(epoch FROM started_at - greatest(wanted_at, free_at))::float8 AS gap
    FROM own WHERE kind = 'model_request' AND attempt = 1 AND wanted_at IS NOT NULL
)
SELECT thread_id, count(*), sum(greatest(gap, 0)), max(gap), (array_agg(start_event_id ORDER BY gap DESC))[1]
FROM gaps GROUP BY thread_id
"""
# How many steps ran at the same moment, at most.
PARALLEL = """
WITH moments AS (
    SELECT started_at AS at, 1 AS change FROM agents_step WHERE session_id = %(session)s
    UNION ALL
    SELECT ended_at, -1 FROM agents_step WHERE session_id = %(session)s AND ended_at IS NOT NULL
)
SELECT max(running) FROM (SELECT sum(change) OVER (ORDER BY at, change) AS running FROM moments) counted
"""


@dataclass(frozen=True)
class Standstill:
    """How long an agent waited for one thing: how often, in all, and the longest in seconds, with its event."""

    what: str
    times: int
    total_s: float
    longest_s: float
    event_id: str
    goes_on: bool = False


@dataclass(frozen=True)
class ThreadRow:
    """One agent. `window` is what its model can hold, None where that is not known."""

    lane: Lane
    context_tokens: int | None
    window: int | None
    standstills: tuple[Standstill, ...]

    @property
    def filled(self) -> int | None:
        """Per cent of the window."""
        return round(100 * self.context_tokens / self.window) if self.window and self.context_tokens else None


@dataclass(frozen=True)
class ThreadsBody:
    """`waits` are single waits of one agent for others, the newest last; `parallel` how many worked at once."""

    team: Team
    threads: tuple[ThreadRow, ...]
    waits: tuple[EventRow, ...]
    more_waits: int
    parallel: int | None
    has_times: bool
    next_agent: int  # where the next page begins; 0 when there is none


def read(asked: Asked, now: datetime) -> ThreadsBody:
    """Nine queries at most, and those of the rows."""
    session = asked.session
    waits = Event.objects.filter(session=session, type=STARTED)
    newest = list(waits.order_by("-seq")[:MOST_WAITS])[::-1]
    standstills = _standstills(asked, now) if session.has_times else {}
    first = asked.number("from") or 0
    page = list(asked.lanes.values())[first : first + THREADS_PAGE]
    return ThreadsBody(
        team=team_of(session, asked.lanes, now),
        threads=tuple(_thread(asked, lane, standstills) for lane in page),
        waits=tuple(RowMaker(session, asked.lanes).rows(newest)),
        more_waits=max(0, waits.count() - MOST_WAITS),
        parallel=None if session.is_imported else rows(PARALLEL, {"session": session.pk})[0][0],
        has_times=session.has_times,
        next_agent=first + THREADS_PAGE if first + THREADS_PAGE < len(asked.lanes) else 0,
    )


def _thread(asked: Asked, lane: Lane, standstills: Mapping[int, list[Standstill]]) -> ThreadRow:
    thread = lane.thread
    known = not asked.session.is_imported
    window = catalog.lookup(str(thread.agent_snapshot["model"]["id"])).context_window if known else None
    tokens = thread.context_tokens if known else None
    longest_first = sorted(standstills.get(thread.pk, []), key=lambda one: -one.total_s)
    return ThreadRow(lane, tokens, window, tuple(longest_first))


def _standstills(asked: Asked, now: datetime) -> dict[int, list[Standstill]]:
    found: dict[int, list[Standstill]] = defaultdict(list)
    values = {"session": asked.session.pk, "now": now, "types": _MOVES}
    for thread, why, times, total, longest, event_id, going_on in rows(STANDSTILLS, values):
        what = _WAITS_FOR.get(why, PROVIDER)
        found[thread].append(Standstill(what, times, total, longest, event_id, bool(going_on)))
    for thread, times, total, longest, event_id in rows(_AGENT_WAITS, values):
        found[thread].append(Standstill(AGENTS, times, total, longest, event_id))
    queued = rows(QUEUE_GAPS, values)
    ids = dict(Event.objects.filter(pk__in=[row[4] for row in queued if row[4]]).values_list("pk", "public_id"))
    for thread, times, total, longest, event in queued:
        if total and total >= 0.001:
            found[thread].append(Standstill(QUEUE, times, total, max(longest, 0.0), ids.get(event, "")))
    return found


# A wait for agents is a call that stays open: it says itself when it began and ended.
_AGENT_WAITS = """
SELECT c.thread_id, count(*), sum(took), max(took), (array_agg(w.public_id ORDER BY took DESC))[1]
FROM (
    SELECT *, extract(epoch FROM coalesce(ended_at, %(now)s) - started_at)::float8 AS took
    FROM agents_toolcall WHERE session_id = %(session)s AND name = 'wait_for_agents' AND started_at IS NOT NULL
) c
JOIN agents_event u ON u.id = c.use_event_id
JOIN agents_event w ON w.session_id = c.session_id AND w.type = 'daybreak.wait_started' AND w.cause_seq = u.seq
GROUP BY c.thread_id
"""
