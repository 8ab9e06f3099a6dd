"""Sessions as rows of a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count
from django.utils import timezone

from agents.models import Annotation, Session, ToolCall
from agents.services.search_text import parse
from console.status import Status, status_of
from console.text import one_line

ERROR_CHARACTERS = 160


@dataclass(frozen=True)
class SessionRow:
    session: Session
    status: Status
    marked_failed: bool
    cost: int | None
    tokens: int | None
    took_s: float | None  # how long agents worked; in a log of another tool, from its first event to its last
    last_error: str

    @property
    def title(self) -> str:
        return self.session.title or "Untitled session"


def session_rows(sessions: Iterable[Session]) -> list[SessionRow]:
    """Three queries more than the sessions' own: steps that somebody marked as a failure, open questions, errors."""
    listed = list(sessions)
    marked = Annotation.objects.filter(session__in=[s.pk for s in listed], kind=Annotation.Kind.FAILURE)
    failures = set(marked.values_list("session_id", flat=True)) if listed else set()
    open_calls, errors = open_questions(listed), last_errors(listed)
    now = timezone.now()
    return [
        SessionRow(
            session=s,
            status=status_of(s, questions=open_calls.get(s.pk, 0)),
            marked_failed=s.pk in failures,
            cost=known_cost(s),
            tokens=known_tokens(s),
            took_s=known_duration(s, now),
            last_error=errors.get(s.pk, ""),
        )
        for s in listed
    ]


def known_duration(session: Session, now: datetime) -> float | None:
    """None where nobody recorded times, or nothing has happened."""
    if not session.is_imported:
        return session.active_seconds_at(now) or None
    if not session.has_times or session.terminated_at is None:
        return None
    return max(0.0, (session.terminated_at - session.created_at).total_seconds())


# The payload of a failed tool's result may be long, and its name says enough here.
_LAST_ERRORS = """
SELECT s.id, t.tool, CASE WHEN e.type = 'session.error' THEN e.payload END
FROM unnest(%s::bigint[]) AS s (id)
CROSS JOIN LATERAL (
  SELECT event_id, tool FROM agents_searchtext WHERE session_id = s.id AND is_error ORDER BY seq DESC LIMIT 1
) t JOIN agents_event e ON e.id = t.event_id
"""


def last_errors(sessions: Iterable[Session]) -> dict[int, str]:
    """The last thing that went wrong in each session, by the session's key. One query."""
    pks = [session.pk for session in sessions]
    if not pks:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ERRORS, [pks])
        return {pk: _error_words(tool, parse(payload)) for pk, tool, payload in cursor.fetchall()}


def _error_words(tool: str, data: Any) -> str:
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict):
        return one_line(str(error.get("message") or error.get("type") or "an error"), ERROR_CHARACTERS)
    return f"{one_line(tool)} failed" if tool else "a tool failed" if data is None else "an error"


def open_questions(sessions: Iterable[Session]) -> dict[int, int]:
    """How many calls of each session wait for a person or a client, by the session's key. One query."""
    pks = [session.pk for session in sessions]
    if not pks:
        return {}
    waiting = ToolCall.objects.filter(session__in=pks, state=ToolCall.State.WAITING).order_by()
    return dict(waiting.values_list("session_id").annotate(Count("pk")))


def known_cost(session: Session) -> int | None:
    """Cost at list price in nano-dollars; None for imported work, whose price nobody recorded."""
    if session.is_imported and not session.list_cost_nanousd:
        return None
    return session.list_cost_nanousd


def known_tokens(session: Session) -> int | None:
    """All tokens of the session; None for imported work that nobody counted."""
    return session.total_tokens or (None if session.is_imported else 0)
