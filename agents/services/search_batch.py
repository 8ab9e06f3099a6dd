"""One batch of the indexer: which events have not been indexed, and their rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DataError, OperationalError, ProgrammingError, connection, transaction

from agents.models import SearchText, SessionFacet
from agents.services import search_text
from agents.services.log import clean_text
from agents.services.mail import SENT
from agents.services.search_text import Kind, Text
from agents.services.search_words import MAX_TEXT, tsvector
from agents.services.turns import RECEIVED

logger = logging.getLogger(__name__)

BATCH_BYTES = 4_000_000  # of payload held at a time
LARGEST = 4_000_000  # bytes of one event that are read as JSON; of a larger one, its raw beginning
NO_MODELS = ("imported",)  # stands where a log names none

_FIND = """
SELECT e.id, octet_length(e.payload) + coalesce(octet_length(e.private), 0)
FROM agents_event e
WHERE e.id > %s AND e.id <= %s
AND (e.type = ANY(%s) OR NOT (e.type LIKE ANY(%s)))
AND NOT EXISTS (SELECT 1 FROM agents_searchtext t WHERE t.event_id = e.id)
ORDER BY e.id LIMIT %s
"""
# A received message whose sending is in the log says nothing new, and is left out.
_READ = f"""
SELECT e.id, e.public_id, s.workspace_id, e.session_id, e.thread_id, e.seq, e.type, e.created_at,
  CASE WHEN is_large THEN left(e.payload, %(start)s) ELSE e.payload END,
  CASE WHEN is_large THEN left(e.private, %(start)s) ELSE e.private END,
  is_large
FROM agents_event e JOIN agents_session s ON s.id = e.session_id
CROSS JOIN LATERAL (SELECT octet_length(e.payload) + coalesce(octet_length(e.private), 0) > %(largest)s AS is_large) l
WHERE e.id = ANY(%(pks)s) AND NOT (e.type = '{RECEIVED}' AND EXISTS (
  SELECT 1 FROM agents_event c WHERE c.session_id = e.session_id AND c.seq = e.cause_seq AND c.type = '{SENT}'))
ORDER BY e.id
"""  # noqa: S608 (names of our own)
_ADD_TEXT = """
COPY agents_searchtext
(event_id, workspace_id, session_id, thread_id, seq, created_at, kind, tool, is_error, is_cut, words) FROM STDIN
"""
_ADD_FACETS = """
INSERT INTO agents_sessionfacet (workspace_id, session_id, kind, value, session_created_at)
SELECT s.workspace_id, s.id, f.kind, f.value, s.created_at
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS f (session_id, kind, value)
JOIN agents_session s ON s.id = f.session_id
ON CONFLICT DO NOTHING
"""
_MODELS = """
SELECT DISTINCT session_id, left(agent_snapshot -> 'model' ->> 'id', 200) FROM agents_thread WHERE session_id = ANY(%s)
"""


@dataclass(frozen=True)
class Found:
    """Keys of events that have no row yet, ascending; `more` when there may be further ones."""

    pks: list[int]
    more: bool


def find(*, above: int, up_to: int, limit: int) -> Found:
    """The first events between two keys that are not indexed, few enough to be held at a time."""
    wordless = [f"{beginning}%" for beginning in search_text.WORDLESS]
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [above, up_to, list(search_text.WORDED_ALL_THE_SAME), wordless, limit])
        rows = cursor.fetchall()
    size, pks = 0, list[int]()
    for pk, size_bytes in rows:
        size += min(size_bytes, LARGEST)
        if pks and size > BATCH_BYTES:
            return Found(pks, more=True)
        pks.append(pk)
    return Found(pks, more=len(rows) == limit)


def index(pks: Sequence[int]) -> int:
    """Store the words of these events and what they tell of their sessions. Returns how many there were."""
    try:
        with transaction.atomic():
            _index(pks)
    except (DataError, OperationalError, ProgrammingError, ValueError):
        if len(pks) == 1:
            logger.warning("an event cannot be indexed and will not be found event=%s", pks[0], exc_info=True)
        else:
            for pk in pks:
                index([pk])
    return len(pks)


def _index(pks: Sequence[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_READ, {"pks": list(pks), "largest": LARGEST, "start": 2 * MAX_TEXT})
        batch = _Batch([_Line(*row) for row in cursor.fetchall()])
    for event in batch.events:
        batch.read(event)
    batch.name_tools()
    batch.store()


@dataclass(frozen=True)
class _Line:
    """An event as the batch reads it; only the beginning of one that is too large to be read as JSON."""

    pk: int
    public_id: str
    workspace_pk: int
    session_pk: int
    thread_pk: int
    seq: int
    type: str
    created_at: datetime
    payload: str
    private: str | None
    is_large: bool


@dataclass
class _Batch:
    events: list[_Line]
    texts: list[tuple[_Line, Text]] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)  # by the public id of the use
    facets: set[tuple[int, str, str]] = field(default_factory=set)

    def read(self, event: _Line) -> None:
        data, private = search_text.parse(event.payload), search_text.parse(event.private)
        if event.is_large or data is None:
            raw = f"{event.private or ''}\n{event.payload}"
            text: Text | None = Text(Kind.NOTE, raw[:MAX_TEXT], is_cut=True)
        else:
            text = search_text.text_of(event.type, data, private)
        if event.type == search_text.REQUEST_END and isinstance(private, dict):
            self._facet(event, SessionFacet.Kind.MODEL, str(private.get("model") or ""))
        if text is None:
            return
        if text.tool:
            self.tools[event.public_id] = text.tool
            self._facet(event, SessionFacet.Kind.TOOL, text.tool)
        if text.is_error:
            self._facet(event, SessionFacet.Kind.ERROR, "tool" if text.kind != Kind.ERROR else "session")
        self.texts.append((event, text))

    def _facet(self, event: _Line, kind: str, value: str) -> None:
        value = clean_text(value)[:200]
        if value:
            self.facets.add((event.session_pk, str(kind), value))

    def name_tools(self) -> None:
        """Results say which tool they are of; its use may lie in an earlier batch."""
        asked = {text.tool_use_id for _, text in self.texts if text.tool_use_id} - self.tools.keys()
        uses = SearchText.objects.filter(event__public_id__in=asked).values_list("event__public_id", "tool")
        self.tools |= dict(uses)

    def store(self) -> None:
        self._store_texts()
        sessions = list({event.session_pk for event in self.events})
        with connection.cursor() as cursor:
            cursor.execute(_MODELS, [sessions])
            models = {(pk, str(SessionFacet.Kind.MODEL), name) for pk, name in cursor.fetchall() if name}
            facets = sorted(facet for facet in self.facets | models if facet[2] not in NO_MODELS)
            if facets:
                cursor.execute(_ADD_FACETS, [list(column) for column in zip(*facets, strict=True)])

    def _store_texts(self) -> None:
        with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_ADD_TEXT) as copy:
            for event, text in self.texts:
                copy.write_row(_row(event, text, self.tools))


def _row(event: _Line, text: Text, tools: dict[str, str]) -> tuple[Any, ...]:
    words = tsvector(text.text, f"_w{event.workspace_pk}", f"_s{event.session_pk}")
    tool = text.tool or tools.get(text.tool_use_id, "")
    place = (event.pk, event.workspace_pk, event.session_pk, event.thread_pk, event.seq, event.created_at)
    return (*place, str(text.kind), tool, text.is_error, text.is_cut, words)
