"""Putting stored spans on a timeline: those of our own sessions beside their log, all others as imported sessions.

A trace waits until it has been quiet for a moment (`QUIET_S`), though never longer than `LONGEST_S`. Then all spans of
its session are told again from the beginning: the same spans give the same rows, whatever order they came in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from zlib import crc32

from django.db import DatabaseError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from agents.errors import DaybreakError
from agents.ingestion.model import OTLP, ImportedSession
from agents.ingestion.otlp import sessions
from agents.ingestion.otlp.span import OWN_SESSION, Span
from agents.models import Session, Trace, TraceSpan, Workspace
from agents.services import ingestion, traces, traces_attached
from agents.services.sessions import delete_session

logger = logging.getLogger(__name__)

QUIET_S = 0.25
LONGEST_S = 2.0
CLAIMED = 200
MAX_SPANS = 50_000  # of one session; more would take the memory of a worker
LOCK_CLASS = 7_239_004


@dataclass(frozen=True)
class Group:
    """What is told at once: the traces of one session of a workspace."""

    workspace_id: int
    key: str

    @property
    def lock(self) -> int:
        return crc32(f"{self.workspace_id}:{self.key}".encode()) - 2**31


def tell_waiting(*, everything: bool = False) -> int:
    """Tell the traces whose time has come; `everything` does not wait for quiet. Returns how many sessions."""
    told = 0
    tried: set[Group] = set()
    while groups := [group for group in _due(everything) if group not in tried]:
        for group in groups:
            tried.add(group)
            told += tell(group)
    return told


def waiting() -> bool:
    return Trace.objects.filter(waiting_since__isnull=False).exists()


def _due(everything: bool) -> list[Group]:
    quiet = (
        ""
        if everything
        else (
            f" AND (changed_at < clock_timestamp() - interval '{QUIET_S} s'"
            f" OR waiting_since < clock_timestamp() - interval '{LONGEST_S} s')"
        )
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT workspace_id, key FROM agents_trace WHERE waiting_since IS NOT NULL"  # noqa: S608 (ours)
            f"{quiet} ORDER BY waiting_since LIMIT {CLAIMED}"
        )
        return [Group(*row) for row in dict.fromkeys(cursor.fetchall())]


def tell(group: Group) -> bool:
    """Tell one session, unless somebody else is at it. What cannot be told says why, and waits for new spans."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_CLASS, group.lock])
                if not cursor.fetchone()[0]:
                    return False
            _tell(group)
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 (one session that cannot be told must not hold up the others)
        if not isinstance(error, DaybreakError):
            logger.exception("traces of session %s cannot be told", group.key[:100])
        _traces_of(group).update(problem=str(error)[:1000], waiting_since=None)
        return False
    return True


def _traces_of(group: Group) -> QuerySet[Trace]:
    return Trace.objects.filter(workspace=group.workspace_id, key=group.key)


def _tell(group: Group) -> list[Session]:
    """The sessions on whose timelines the spans are now."""
    workspace = Workspace.objects.get(pk=group.workspace_id)
    rows = list(_traces_of(group).select_related("session").order_by("pk"))
    spans = load_spans(rows)
    owners = _owners(workspace, rows, spans)
    attached, rest = traces_attached.split(spans, owners)
    told: Session | None = None
    former = _former_sessions(group, rows)
    if rest:
        _rename(group, former)
        told = ingestion.import_session(workspace, _converted(group, rest, len(spans))).session
    for session, own in attached.items():
        traces_attached.attach(session, own)
    for row in rows:
        done = row.version
        Trace.objects.filter(pk=row.pk).update(told_version=done, problem="")
        Trace.objects.filter(pk=row.pk, version=done).update(waiting_since=None)
    if told is not None:
        imported = Q(session=None) | ~Q(session__imported_format="")
        Trace.objects.filter(imported, pk__in=[row.pk for row in rows]).update(session=told)
        _leave(former, told)
    return [*([told] if told else []), *attached]


def _converted(group: Group, spans: list[Span], loaded: int) -> ImportedSession:
    imported = sessions.convert(group.key, spans)
    if loaded < MAX_SPANS:
        return imported
    note = f"The session has more spans than can be shown: these are the {MAX_SPANS:,} that came first."
    return replace(imported, notes=[note, *imported.notes])


def _former_sessions(group: Group, rows: Iterable[Trace]) -> list[Session]:
    """Imported sessions on which these traces were told before a span named another one."""
    found = {row.session for row in rows if row.session is not None and row.session.is_imported}
    return [session for session in found if session.external_id != group.key]


def _rename(group: Group, former: list[Session]) -> None:
    """A session that was known by its trace alone, and now has a name, stays the same session."""
    known = Session.objects.filter(workspace=group.workspace_id, imported_format=OTLP, external_id=group.key).exists()
    for session in former:
        if not known and not Trace.objects.filter(session=session).exclude(key=group.key).exists():
            Session.objects.filter(pk=session.pk).update(external_id=group.key)
            known = True


def _leave(former: list[Session], told: Session) -> None:
    """What is left where the traces were: nothing, the session's other traces, or a person's marks."""
    for session in former:
        if session.pk == told.pk:
            continue
        others = Trace.objects.filter(session=session)
        if others.exists():
            others.update(waiting_since=Now())
        elif not session.annotations.filter(Q(author__isnull=False) | Q(written_here=True)).exists():
            delete_session(session)


def load_spans(rows: Iterable[Trace]) -> list[Span]:
    names = {row.pk: row.trace_id for row in rows}
    stored = (
        TraceSpan.objects.filter(trace__in=names).order_by("pk").values_list("trace_id", "span_id", "body")[:MAX_SPANS]
    )
    return [Span.from_body(names[pk], span_id, body) for pk, span_id, body in stored]


def _owners(workspace: Workspace, rows: list[Trace], spans: list[Span]) -> traces_attached.Owners:
    """The sessions of ours that spans name, or that calls within their traces were about."""
    named = {str(span.attributes[OWN_SESSION]) for span in spans if OWN_SESSION in span.attributes}
    found = Session.objects.in_workspace(workspace).filter(imported_format="", public_id__in=named)
    by_id = {session.public_id: session for session in found}
    by_trace = {row.trace_id: row.session for row in rows if row.session and not row.session.is_imported}
    return traces_attached.Owners(by_id, by_trace)


def import_spans(workspace: Workspace, imported: ImportedSession) -> ingestion.ImportResult:
    """Store the spans of a session read from a file, and tell the session with all that is known of it by now."""
    had = _find(workspace, imported.external_id)
    events = had.event_count if had else 0
    touched: list[Session] = []
    with transaction.atomic():
        pks = traces.store(workspace, imported.spans)
        keys = Trace.objects.filter(pk__in=pks.values()).values_list("key", flat=True).distinct()
        for key in sorted(keys):
            touched += _tell(Group(workspace.pk, key))
    if not touched:
        raise DaybreakError("The spans are stored, but none of them has a place on a timeline.")
    session = Session.objects.get(pk=touched[0].pk)
    return ingestion.ImportResult(session, session.event_count - events, session.event_count, had is None)


def _find(workspace: Workspace, key: str) -> Session | None:
    return Session.objects.in_workspace(workspace).filter(imported_format=OTLP, external_id=key).first()
