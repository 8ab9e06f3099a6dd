"""The session as a whole: how it stands, what it cost and when, what graders said, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.models import Event, File, Session, SessionResource
from agents.services.budgets import CENT_NANOUSD
from console import formats
from console.rows import known_cost, open_questions
from console.status import Status, status_of
from console.story.inspector.asked import Asked
from console.story.inspector.sql import field, number, rows
from console.story.rows import EventRow, RowMaker

CELLS = 24
WIDTH, HEIGHT = 240, 64  # of the drawing, in its own units
MOST_GRADINGS = 20
_GRADINGS = ("user.define_outcome", "span.outcome_evaluation_end")

# What ended model requests cost, in cells of equal length: of time, or of order where times are not known.
COST = f"""
WITH ends AS MATERIALIZED (
    SELECT seq, {field("private", "usage")} AS usage,
           CASE WHEN %(by_order)s THEN row_number() OVER (ORDER BY seq)::float8
                ELSE extract(epoch FROM created_at)::float8 END AS place
    FROM agents_event WHERE session_id = %(session)s AND type = 'span.model_request_end' AND private IS NOT NULL
), edges AS (SELECT min(place) AS low, greatest(max(place) - min(place), 1e-9) AS length FROM ends)
SELECT least(%(cells)s - 1, floor((place - low) / length * %(cells)s))::int AS cell, min(low), min(length), count(*),
       sum({number("usage", "list_cost_nanousd")})::bigint,
       sum({number("usage", "input_tokens")} + {number("usage", "cache_read_input_tokens")}
           + {number("usage", "cache_creation_5m_input_tokens")}
           + {number("usage", "cache_creation_1h_input_tokens")})::bigint,
       sum({number("usage", "output_tokens")})::bigint, min(seq)
FROM ends, edges GROUP BY cell ORDER BY cell
"""  # noqa: S608 (our own text)


@dataclass(frozen=True)
class CostCell:
    """Some of the session's length: its requests, tokens and cost, and the cost up to its end in nano-dollars."""

    when: str
    requests: int
    cost: int
    read: int
    written: int
    total: int
    seq: int
    x: float
    y: float


@dataclass(frozen=True)
class CostChart:
    cells: tuple[CostCell, ...]
    by_order: bool
    is_priced: bool

    @property
    def points(self) -> str:
        """The cost so far, as the points of a line from the lower left; tokens where nothing has a price."""
        return " ".join(["0,64", *(f"{cell.x:.1f},{cell.y:.1f}" for cell in self.cells)])

    @property
    def area(self) -> str:
        return f"{self.points} {self.cells[-1].x:.1f},{HEIGHT} 0,{HEIGHT}" if self.cells else ""


@dataclass(frozen=True)
class TokenSplit:
    """What was read and written, and how much of what was read came from the cache."""

    fresh: int
    cached: int
    stored: int
    written: int

    @property
    def read(self) -> int:
        return self.fresh + self.cached + self.stored

    @property
    def cached_share(self) -> int:
        return round(100 * self.cached / self.read) if self.read else 0


@dataclass(frozen=True)
class SessionBody:
    status: Status
    stop_reason: str
    cost: int | None
    budget: int | None
    reserved: int
    chart: CostChart | None
    tokens: TokenSplit | None
    gradings: tuple[EventRow, ...]
    uploads: list[SessionResource]
    outputs: list[File]
    base_url: str
    has_inputs: bool


def read(asked: Asked) -> SessionBody:
    session = asked.session
    works = session.status in (Session.Status.RUNNING, Session.Status.RESCHEDULING)
    uploads = list(session.resources.select_related("file").order_by("pk")[:200])
    return SessionBody(
        status=status_of(session, questions=open_questions([session]).get(session.pk, 0) if works else 0),
        stop_reason=str((session.stop_reason or {}).get("type") or ""),
        cost=known_cost(session),
        budget=None if session.budget_cents is None else session.budget_cents * CENT_NANOUSD,
        reserved=sum(lane.thread.reserved_nanousd for lane in asked.lanes.values()),
        chart=cost_chart(session),
        tokens=_tokens(session),
        gradings=_gradings(asked),
        uploads=uploads,
        outputs=list(session.files.filter(kind=File.Kind.OUTPUT).order_by("path", "pk")),
        base_url=asked.base_url,
        has_inputs=bool(uploads),
    )


def cost_chart(session: Session) -> CostChart | None:
    """The cost over the session's length; None when no request has ended. One query."""
    by_order = not session.has_times
    found = rows(COST, {"session": session.pk, "by_order": by_order, "cells": CELLS})
    if not found:
        return None
    is_priced = any(row[4] for row in found)
    whole = sum(row[4] if is_priced else row[5] + row[6] for row in found) or 1
    start = session.created_at.timestamp()
    cells: list[CostCell] = []
    cost = drawn = 0
    for cell, low, length, requests, spent, given, written, seq in found:
        cost += spent
        drawn += spent if is_priced else given + written
        until = low + length * (cell + 1) / CELLS
        when = f"to request {formats.count(until)}" if by_order else formats.offset(until - start)
        x, y = WIDTH * (cell + 1) / CELLS, HEIGHT - (HEIGHT - 4) * drawn / whole
        cells.append(CostCell(when, requests, spent, given, written, cost, seq, x, y))
    return CostChart(tuple(cells), by_order, is_priced)


def _tokens(session: Session) -> TokenSplit | None:
    if not session.total_tokens:
        return None
    stored = session.cache_creation_5m_input_tokens + session.cache_creation_1h_input_tokens
    return TokenSplit(session.input_tokens, session.cache_read_input_tokens, stored, session.output_tokens)


def _gradings(asked: Asked) -> tuple[EventRow, ...]:
    found = Event.objects.filter(session=asked.session, type__in=_GRADINGS, visible=True).order_by("-seq")
    events: Sequence[Event] = list(found[:MOST_GRADINGS])[::-1]
    return tuple(RowMaker(asked.session, asked.lanes).rows(events))
