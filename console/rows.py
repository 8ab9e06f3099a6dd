"""Sessions as rows of a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count

from agents.models import Annotation, Session, ToolCall
from console.status import Status, status_of


@dataclass(frozen=True)
class SessionRow:
    session: Session
    status: Status
    marked_failed: bool
    cost: int | None
    tokens: int | None

    @property
    def title(self) -> str:
        return self.session.title or "Untitled session"


def session_rows(sessions: Iterable[Session]) -> list[SessionRow]:
    """Two queries more than the sessions' own: steps that somebody marked as a failure, and open questions."""
    listed = list(sessions)
    marked = Annotation.objects.filter(session__in=[s.pk for s in listed], kind=Annotation.Kind.FAILURE)
    failures = set(marked.values_list("session_id", flat=True)) if listed else set()
    open_calls = open_questions(listed)
    return [
        SessionRow(s, status_of(s, questions=open_calls.get(s.pk, 0)), s.pk in failures, known_cost(s), known_tokens(s))
        for s in listed
    ]


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
