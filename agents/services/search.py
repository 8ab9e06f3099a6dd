"""Finding events by their words: in all sessions of a workspace, or within one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.postgres.search import SearchVectorField
from django.db import OperationalError, connection, transaction
from django.db.models import FloatField, Func, Lookup, QuerySet, Value
from psycopg.errors import QueryCanceled

from agents.models import SearchText, Session, Thread, Workspace
from agents.services import search_text
from agents.services.search_excerpts import Piece, excerpt
from agents.services.search_query import Query

MOST_RANKED = 10_000  # hits that are all ranked
NEWEST = 1_000  # that are ranked when there are more
TIMEOUT_MS = 8_000
WORK_MEM = "32MB"  # for the bitmap of a common word over a million events


@SearchVectorField.register_lookup
class Matches(Lookup):
    """`words__matches="'a' & 'b'"`: against a `tsquery` that we wrote ourselves."""

    lookup_name = "matches"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        left, left_values = self.process_lhs(compiler, connection)
        right, right_values = self.process_rhs(compiler, connection)
        return f"{left} @@ {right}::tsquery", [*left_values, *right_values]

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [value]


class Rank(Func):
    """How well a text answers: how often and how close together the words stand, by the length of the text."""

    function = "ts_rank_cd"
    template = "%(function)s(%(expressions)s::tsquery, 1)"
    output_field = FloatField()


class TooBroad(Exception):
    """The search took longer than anybody should wait."""


@dataclass(frozen=True)
class Filter:
    """What a hit must be, beside holding the words. `sessions` are the ones to look in; None for all."""

    kinds: tuple[str, ...] = ()
    tool: str = ""
    errors_only: bool = False
    thread: Thread | None = None
    sessions: QuerySet[Session] | None = None


class Hit(NamedTuple):
    """A tuple, because there may be ten thousand; in the order by which they are ranked, later events first."""

    rank: float
    event_pk: int
    session_pk: int
    seq: int


@dataclass(frozen=True)
class Hits:
    """What was found, best first. `is_capped`: there are more than `MOST_RANKED`, and these are the newest ones."""

    hits: tuple[Hit, ...]
    is_capped: bool = False


@dataclass(frozen=True)
class ShownHit:
    """A hit as a page shows it."""

    public_id: str
    session_pk: int
    seq: int
    kind: str
    agent_name: str
    tool: str
    is_error: bool
    is_cut: bool
    at: datetime
    pieces: tuple[Piece, ...]

    @property
    def kind_label(self) -> str:
        return KIND_LABELS[self.kind]


KIND_LABELS = {
    "message": "message",
    "thinking": "thought",
    "tool_input": "tool input",
    "tool_output": "tool output",
    "delegation": "between agents",
    "error": "error",
    "note": "other",
}


def find_in_workspace(workspace: Workspace, query: Query, wanted: Filter | None = None) -> Hits:
    """Raises TooBroad when it takes too long."""
    rows = SearchText.objects.filter(workspace=workspace)
    # Asking the index for the workspace too costs time, and gains some only when others have the same words.
    is_alone = not Workspace.objects.exclude(pk=workspace.pk).exists()
    return _find(rows, query, "" if is_alone else f"'_w{workspace.pk}' & ", wanted or Filter())


def find_in_session(session: Session, query: Query, wanted: Filter | None = None) -> Hits:
    """Raises TooBroad when it takes too long."""
    return _find(SearchText.objects.filter(session=session), query, f"'_s{session.pk}' & ", wanted or Filter())


def _find(rows: QuerySet[SearchText], query: Query, place: str, wanted: Filter) -> Hits:
    if not query:
        return Hits(())
    matching = _filtered(rows, wanted).filter(words__matches=f"{place}{query.tsquery}")
    ranked = matching.annotate(rank=Rank("words", Value(query.wanted)))
    columns = ("rank", "event_id", "session_id", "seq")
    try:
        with transaction.atomic():
            _set_limits()
            found = list(ranked.values_list(*columns)[: MOST_RANKED + 1])
            is_capped = len(found) > MOST_RANKED
            if is_capped:
                found = list(ranked.order_by("-created_at", "-event").values_list(*columns)[:NEWEST])
    except OperationalError as exc:
        if isinstance(exc.__cause__, QueryCanceled):
            raise TooBroad from exc
        raise
    found.sort(reverse=True)
    return Hits(tuple(map(Hit._make, found)), is_capped)


def _filtered(rows: QuerySet[SearchText], wanted: Filter) -> QuerySet[SearchText]:
    if wanted.kinds:
        rows = rows.filter(kind__in=wanted.kinds)
    if wanted.tool:
        rows = rows.filter(tool=wanted.tool)
    if wanted.errors_only:
        rows = rows.filter(is_error=True)
    if wanted.thread is not None:
        rows = rows.filter(thread=wanted.thread)
    if wanted.sessions is not None:
        rows = rows.filter(session__in=wanted.sessions.order_by().values("pk"))
    return rows


def _set_limits() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('work_mem', %s, true)",
            [str(TIMEOUT_MS), WORK_MEM],
        )


def show(hits: Iterable[Hit], query: Query) -> list[ShownHit]:
    """Hits with the words they were found by, in the order given. One query; a hit deleted meanwhile is left out."""
    wanted = [hit.event_pk for hit in hits]
    rows = (
        SearchText.objects.filter(pk__in=wanted)
        .select_related("event", "thread")
        .only(
            "kind",
            "tool",
            "is_error",
            "is_cut",
            "session",
            "thread__agent_name",
            "event__public_id",
            "event__seq",
            "event__type",
            "event__created_at",
            "event__payload",
            "event__private",
        )
    )
    shown = {row.pk: _show(row, query) for row in rows}
    return [shown[pk] for pk in wanted if pk in shown]


def _show(row: SearchText, query: Query) -> ShownHit:
    event = row.event
    data, private = search_text.parse(event.payload), search_text.parse(event.private)
    text = search_text.text_of(event.type, data, private)
    return ShownHit(
        public_id=event.public_id,
        session_pk=row.session_id,
        seq=event.seq,
        kind=row.kind,
        agent_name=row.thread.agent_name,
        tool=row.tool,
        is_error=row.is_error,
        is_cut=row.is_cut,
        at=event.created_at,
        pieces=excerpt(text.text if text else f"{event.private or ''}\n{event.payload}", query),
    )


def tools_and_models(workspace: Workspace) -> tuple[list[str], list[str]]:
    """The names by which lists of sessions can be narrowed, in order. A step through the index for each name."""
    return _facet_values(workspace, "tool"), _facet_values(workspace, "model")


_VALUES = """
WITH RECURSIVE named AS (
  (SELECT value FROM agents_sessionfacet WHERE workspace_id = %(workspace)s AND kind = %(kind)s ORDER BY value LIMIT 1)
  UNION ALL
  SELECT (SELECT f.value FROM agents_sessionfacet f WHERE f.workspace_id = %(workspace)s AND f.kind = %(kind)s
          AND f.value > named.value ORDER BY f.value LIMIT 1)
  FROM named WHERE named.value IS NOT NULL
) SELECT value FROM named WHERE value IS NOT NULL LIMIT %(most)s
"""
MOST_VALUES = 200


def _facet_values(workspace: Workspace, kind: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, {"workspace": workspace.pk, "kind": kind, "most": MOST_VALUES})
        return [row[0] for row in cursor.fetchall()]
