"""A row about the list of sessions: as it is, and narrowed by each of its filters."""

from __future__ import annotations

import os
from typing import Any

import psycopg

from bench.instance import Instance, running
from bench.rows import Measured, percentile, row
from bench.search import Visitor, copy_rows
from console.embedded_postgres import EmbeddedPostgres

SESSIONS = int(os.environ.get("BENCH_LIST_SESSIONS", "100000"))
ROUNDS = int(os.environ.get("BENCH_LIST_ROUNDS", "15"))
LIMIT_MS = 150

# How the sessions differ, by their number `n`: most are done, a few are not; every 200th has something rare.
STATUS = "CASE WHEN n % 500 = 0 THEN 'running' WHEN n % 400 = 0 THEN 'terminated' ELSE 'idle' END"
STOP_REASON = """
CASE WHEN n % 500 = 0 THEN NULL WHEN n % 300 = 1 THEN '{"type": "requires_action", "event_ids": []}'::jsonb
WHEN n % 250 = 2 THEN '{"type": "retries_exhausted"}'::jsonb WHEN n % 1000 = 3 THEN NULL
ELSE '{"type": "end_turn"}'::jsonb END
"""
FACETS = """
INSERT INTO agents_sessionfacet (workspace_id, session_id, kind, value, session_created_at)
SELECT workspace_id, id, kind, value, created_at FROM agents_session CROSS JOIN LATERAL (VALUES
  ('tool', 'bash'), ('tool', CASE WHEN id % 200 = 0 THEN 'rare_tool' ELSE 'tool_' || id % 40 END),
  ('model', CASE WHEN id % 900 = 0 THEN 'rare-model' ELSE 'model-' || id % 5 END),
  ('error', CASE WHEN id % 60 = 0 THEN 'session' WHEN id % 12 = 0 THEN 'tool' END)) f (kind, value)
WHERE value IS NOT NULL ON CONFLICT DO NOTHING
"""
FILTERS: dict[str, dict[str, str]] = {
    "plain": {},
    "done": {"status": "done"},
    "running": {"status": "running"},
    "waiting": {"status": "waiting"},
    "failed": {"status": "failed"},
    "idle": {"status": "idle"},
    "archived": {"status": "archived"},
    "imported": {"source": "imported"},
    "simulated": {"source": "simulated"},
    "common tool": {"tool": "bash"},
    "rare tool": {"tool": "rare_tool"},
    "rare model": {"model": "rare-model"},
    "any error": {"error": "any"},
    "failed tool": {"error": "tool"},
    "cost": {"cost_min": "9.5"},
    "no such cost": {"cost_min": "5000"},
    "days": {"since": "2026-01-01", "until": "2026-01-02"},
    "marked": {"mark": "failure"},
    "category": {"category": "No such category"},
    "title": {"q": "session 77"},
    "no such title": {"q": "zeppelin"},
    "several": {"tool": "rare_tool", "error": "any", "status": "done", "cost_min": "1"},
}


@row("sessions-list", f"List of {SESSIONS:,} sessions: server time of a page, plain and by each filter", "p95 ≤ 150 ms")
def sessions_list() -> Measured:
    with running() as instance:
        write_sessions(instance, SESSIONS)
        visitor = Visitor(instance.url)
        last = _last_page(instance)
        took = {name: _times(visitor, **asked) for name, asked in FILTERS.items()}
        took["last page"] = _times(visitor, page=last)
    p95 = {name: percentile(times, 0.95) for name, times in took.items()}
    slowest = max(p95, key=lambda name: p95[name])
    plain = percentile(took["plain"], 0.5)
    return Measured(
        f"plain p50 {plain:.0f}, p95 {p95['plain']:.0f} ms; slowest filter: {slowest}, p95 {p95[slowest]:.0f} ms",
        p95[slowest] <= LIMIT_MS,
        {
            "sessions": SESSIONS,
            "p50_ms": {name: percentile(times, 0.5) for name, times in took.items()},
            "p95_ms": p95,
        },
    )


def _times(visitor: Visitor, **asked: str) -> list[float]:
    visitor.read("/sessions", **asked)  # plans and pages of the database are warm for whoever works here
    return [visitor.read("/sessions", **asked)[1] for _ in range(ROUNDS)]


def _last_page(instance: Instance) -> str:
    [[micros, pk]] = instance.query(
        "SELECT (extract(epoch FROM created_at) * 1000000)::bigint, id FROM agents_session ORDER BY created_at LIMIT 1"
    )
    return f"n{micros}.{pk}"


def write_sessions(instance: Instance, count: int) -> None:
    """Copies of one session that differ in everything a list is narrowed by."""
    client = instance.client()
    tools = [{"type": "agent_toolset_20260401"}]
    agents = [client.beta.agents.create(name=f"Bench {n}", model="simulated/default", tools=tools) for n in range(5)]
    environment = client.beta.environments.create(name="Bench")
    made = client.beta.sessions.create(agent=agents[0].id, environment_id=environment.id)
    with psycopg.connect(EmbeddedPostgres(instance.folder).dsn) as connection:
        [[pk]] = connection.execute("SELECT id FROM agents_session WHERE public_id = %s", [made.id]).fetchall()
        keys = connection.execute("SELECT array_agg(id ORDER BY id) FROM agents_agent").fetchall()[0][0]
        changes: dict[str, str] = {
            "public_id": "'sesn_bench' || n",
            "title": "'Bench session ' || n",
            "agent_id": f"(ARRAY{keys})[1 + n % {len(keys)}]",
            "created_at": "now() - n * interval '5 minutes'",
            "status": STATUS,
            "stop_reason": STOP_REASON,
            "archived_at": "CASE WHEN n % 700 = 5 THEN now() END",
            "list_cost_nanousd": "(n::bigint * 7919 % 10000000) * 1000",
            "error_count": "CASE WHEN n % 60 = 0 THEN 1 ELSE 0 END",
            "imported_format": "CASE WHEN n % 150 = 7 THEN 'chat' ELSE '' END",
            "external_id": "CASE WHEN n % 150 = 7 THEN 'external-' || n ELSE '' END",
        }
        sessions = copy_rows(connection, "agents_session", f"id = {pk}", changes, count)
        copy_rows(
            connection,
            "agents_thread",
            f"session_id = {pk}",
            {"public_id": "'sthr_bench' || n", "session_id": f"(ARRAY{sessions})[n]"},
            count,
        )
        connection.execute(FACETS)
        _mark(connection, sessions)
    with psycopg.connect(EmbeddedPostgres(instance.folder).dsn, autocommit=True) as connection:
        for table in ("session", "sessionfacet", "annotation", "event", "thread"):
            connection.execute(f"VACUUM (ANALYZE) agents_{table}")  # as autovacuum does within minutes


def _mark(connection: psycopg.Connection, sessions: list[int]) -> None:
    """An event, and a mark of it, in every 300th session."""
    marked: list[Any] = sessions[::300]
    connection.execute(
        "INSERT INTO agents_event (public_id, session_id, seq, thread_id, type, payload, position, visible, created_at)"
        " SELECT 'sevt_bench' || s.id, s.id, 1, t.id, 'agent.message', '{}', 1, true, s.created_at"
        " FROM agents_session s JOIN agents_thread t ON t.session_id = s.id WHERE s.id = ANY(%s)",
        [marked],
    )
    connection.execute(
        "INSERT INTO agents_annotation (session_id, event_id, kind, category, text, author_name, created_at,"
        " written_here) SELECT session_id, id, CASE WHEN id %% 3 = 0 THEN 'failure' ELSE 'good' END, 'Wrong tool', '',"
        " 'ana', now(), true FROM agents_event WHERE session_id = ANY(%s) AND public_id LIKE 'sevt_bench%%'",
        [marked],
    )
