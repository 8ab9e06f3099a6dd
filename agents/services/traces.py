"""Traces from elsewhere: spans are kept as they come, and told on a timeline a moment later.

Storing is quick and repeatable: a span is known by its workspace, trace and id. What to make of them is decided later,
from all spans of a session at once (`traces_told`), because children usually arrive before their parents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from agents.ingestion.otlp.exports import usable
from agents.ingestion.otlp.span import TRACE_RANK, Span, unique_spans
from agents.models import Session, Workspace
from agents.services import log_sql
from agents.services.log import notify

CHANNEL = "daybreak_trace"
REASON_CHARS = 300
MAX_NS = 2**63 - 1
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")

_UPSERT_TRACES = """
INSERT INTO agents_trace AS t (
    workspace_id, trace_id, key, key_rank, version, told_version, waiting_since, changed_at, problem
)
SELECT $1, n.trace_id, n.key, n.key_rank, 1, 0, clock_timestamp(), clock_timestamp(), ''
  FROM unnest($2::text[], $3::text[], $4::int[]) AS n (trace_id, key, key_rank)
ON CONFLICT (workspace_id, trace_id) DO UPDATE SET
    key = CASE WHEN (excluded.key_rank, excluded.key) < (t.key_rank, t.key) THEN excluded.key ELSE t.key END,
    key_rank = least(excluded.key_rank, t.key_rank),
    version = t.version + 1,
    waiting_since = coalesce(t.waiting_since, clock_timestamp()),
    changed_at = clock_timestamp()
RETURNING trace_id, id
"""
# Of two spans with one id the later one stays, so that the order of arrival does not matter.
_INSERT_SPANS = """
INSERT INTO agents_tracespan AS s (trace_id, span_id, end_ns, body)
SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::text[])
ON CONFLICT (trace_id, span_id) DO UPDATE SET end_ns = excluded.end_ns, body = excluded.body
 WHERE (excluded.end_ns, excluded.body COLLATE "C") > (s.end_ns, s.body COLLATE "C")
"""
_REMEMBER = """
INSERT INTO agents_trace AS t (
    workspace_id, trace_id, key, key_rank, session_id, version, told_version, changed_at, problem
)
VALUES ($1, $2, $2, $3, $4, 0, 0, clock_timestamp(), '')
ON CONFLICT (workspace_id, trace_id) DO UPDATE SET
    session_id = excluded.session_id,
    version = t.version + 1,
    waiting_since = coalesce(t.waiting_since, clock_timestamp()),
    changed_at = clock_timestamp()
 WHERE t.session_id IS NULL
"""


@dataclass
class Received:
    """What became of the spans of one request or file."""

    stored: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        self.rejected += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    @property
    def message(self) -> str:
        told = [f"{count} × {reason}" for reason, count in self.reasons.items()]
        return "; ".join(told)[:REASON_CHARS]


def receive(workspace: Workspace, spans: Iterable[Span]) -> Received:
    """Store the usable spans, all in one transaction, and have them told soon. The others are counted."""
    received = Received()
    kept = []
    for span in spans:
        if usable(span):
            kept.append(span)
        else:
            received.reject(unusable_because(span))
    store(workspace, kept)
    received.stored = len(kept)
    return received


def unusable_because(span: Span) -> str:
    if not span.trace_id.strip("0") or len(span.trace_id) != 32:
        return "span without a trace id of 16 bytes that are not all zero"
    return "span without an id of 8 bytes that are not all zero"


def store(workspace: Workspace, spans: Sequence[Span]) -> dict[str, int]:
    """Insert or replace spans; the keys of their traces."""
    if not spans:
        return {}
    if len({(span.trace_id, span.span_id) for span in spans}) < len(spans):
        spans = list(unique_spans(list(spans)))
    keys: dict[str, tuple[int, str]] = {}
    for span in spans:
        key = span.session_key
        keys[span.trace_id] = min(key, keys.get(span.trace_id, key))
    # In one order everywhere, so that two requests with the same traces wait for each other instead of forever.
    traces = sorted(keys)
    with transaction.atomic():
        pks: dict[str, int] = dict(
            log_sql.execute(
                _UPSERT_TRACES,
                [workspace.pk, traces, [_storable(keys[t][1]) for t in traces], [keys[t][0] for t in traces]],
            )
        )
        rows = sorted((pks[span.trace_id], span.span_id, min(span.end, MAX_NS), span.body()) for span in spans)
        _insert_spans([list(column) for column in zip(*rows, strict=True)])
        notify(CHANNEL, "")
    return pks


def _insert_spans(columns: list[list[Any]]) -> None:
    """Sent in binary: as text, every character of every span would be looked at for quotes."""
    raw = connections[DEFAULT_DB_ALIAS].connection
    with connections[DEFAULT_DB_ALIAS].wrap_database_errors, psycopg.Cursor(raw) as cursor:
        cursor.execute(_INSERT_SPANS, columns)


def _storable(key: str) -> str:
    return key.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def trace_of(traceparent: str | None) -> str | None:
    """The trace that a `traceparent` header names; null for none and for anything malformed."""
    found = _TRACEPARENT.fullmatch((traceparent or "").strip().lower())
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return None
    return found[1]


def remember(session: Session, traceparent: str | None) -> None:
    """A call within this trace was about the session: spans of the trace that name no session are its."""
    if trace_id := trace_of(traceparent):
        log_sql.execute(_REMEMBER, [session.workspace_id, trace_id, TRACE_RANK, session.pk])
