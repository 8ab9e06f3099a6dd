"""Storing a traced session: its rows are brought into the order and the places that all spans together give them.

An event keeps its row's public id, and with it its links and annotations, as long as the same thing is told: it is
known by its foreign id, or, where an earlier span now tells it, by what it says. Rows up to the first difference stay
untouched, so that a session which only grows is only appended to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from agents.errors import Invalid
from agents.ingestion.blocks import plain_text
from agents.ingestion.model import ImportedEvent
from agents.ingestion.ordering import with_unique_ids
from agents.models import Annotation, Event, SearchText, Session, Thread
from agents.services import search_index
from agents.services.definitions import MAX_NAME_CHARS
from agents.services.imported_usage import count_usage
from agents.services.ingestion import BATCH, Known, Writer, agent_snapshot
from agents.services.log import EVENT_CHANNEL, notify
from agents.services.metadata import MAX_VALUE_CHARS
from agents.services.traces_copy import LogRow, copy_in, fresh_ids, quick_dump

SHIFT = 10**12  # out of the way of every real place, while rows change theirs
COMPARED = ("public_id", "thread_id", "type", "payload", "private", "cause_seq", "created_at", "external_id", "visible")
MOVED = ("seq", "position", "thread_id", "payload", "private", "cause_seq", "created_at", "processed_at", "external_id")


class Refiler(Writer):
    """Writes a locked session so that it says what `imported` says."""

    def write(self) -> int:
        """Returns how many events are new."""
        wanted = with_unique_ids(self.imported.events)
        self._file_threads()
        old = list(self.session.events.order_by("seq"))
        self.known = {}
        rows = self._rows(wanted, old)
        same = _same_rows(old, rows)
        if same == len(old) == len(rows):
            self._file_annotations()
            if self._describe():
                self.session.save()
            return 0
        if self.session.archived_at:
            raise Invalid(f"The imported session {self.session.public_id} was archived and takes no more spans.")
        kept = self._replace(old[same:], rows[same:], len(rows))
        self.session.last_seq = len(rows) + len(kept)
        self._recount(old, rows, kept, appended=same == len(old))
        self._file_annotations()
        self._drop_empty_threads()
        notify(EVENT_CHANNEL, f"{self.session.pk}:{self.session.last_seq}")
        return sum(row.visible for row in rows) - sum(row.visible for row in old) + len(kept)

    # Threads

    def _file_threads(self) -> None:
        """Threads as they are now seen: names and parents may have become known since."""
        self.add_threads()
        definition = self.session.agent.versions.get(version=self.session.agent_version).definition
        changed = []
        first = self.first_times()
        for place, thread in enumerate(self.imported.threads):
            row = self.threads[thread.key]
            parent = self.threads[thread.parent] if thread.parent is not None else None
            snapshot = agent_snapshot(self.session.agent, definition, thread, name=thread.agent_name)
            wanted = (thread.agent_name[:MAX_NAME_CHARS], parent.pk if parent else None, place, snapshot)
            if (row.agent_name, row.parent_id, row.ordinal, row.agent_snapshot) != wanted:
                row.agent_name, row.parent, row.ordinal, row.agent_snapshot = wanted[0], parent, place, snapshot
                row.created_at = first.get(thread.key, row.created_at)
                changed.append(row)
        Thread.objects.bulk_update(
            changed, ["agent_name", "parent", "ordinal", "agent_snapshot", "created_at"], batch_size=BATCH
        )

    def _drop_empty_threads(self) -> None:
        wanted = {thread.key for thread in self.imported.threads}
        stale = [row.pk for key, row in self.threads.items() if key not in wanted]
        used = set(self.session.events.filter(thread__in=stale).values_list("thread_id", flat=True)) if stale else set()
        empty = set(stale) - used
        if empty:
            Thread.objects.filter(parent__in=empty).update(parent=self.threads[self.imported.threads[0].key])
            Thread.objects.filter(pk__in=empty).delete()

    # Events

    def _rows(self, wanted: Sequence[ImportedEvent], old: list[Event]) -> list[LogRow]:
        """The log as it has to be, each event under the public id of the row that told it so far."""
        ids = {row.external_id: row.public_id for row in old}
        taken = {ids[event.external_id] for event in wanted if event.external_id in ids}
        spare: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in old:
            if row.public_id not in taken:
                spare[(row.type, row.payload)].append(row.public_id)
        self._thread_pks = {key: thread.pk for key, thread in self.threads.items()}
        fresh = iter(fresh_ids(sum(event.external_id not in ids for event in wanted)))
        return [self._log_row(seq, event, ids, spare, fresh) for seq, event in enumerate(wanted, start=1)]

    def _log_row(
        self,
        seq: int,
        event: ImportedEvent,
        ids: Mapping[str | None, str],
        spare: Mapping[tuple[str, str], list[str]],
        fresh: Iterator[str],
    ) -> LogRow:
        payload = quick_dump(self.payload(event))
        public_id = ids.get(event.external_id)
        if public_id is None:
            same = spare.get((event.type, payload))
            public_id = same.pop(0) if same else next(fresh)
        self.known[event.external_id] = Known(seq, public_id)
        cause = self.known.get(event.cause) if event.cause else None
        private, usage = event.private, None
        thread = self.threads[event.thread]
        if event.type == "span.model_request_end":
            usage = count_usage(event)
            private = {**(private or {}), "usage": usage}
        return LogRow(
            public_id=public_id,
            session_id=self.session.pk,
            seq=seq,
            thread=thread,
            thread_id=self._thread_pks[event.thread],
            type=event.type,
            payload=payload,
            private=quick_dump(private) if private else None,
            cause_seq=cause.seq if cause is not None and cause.seq < seq else None,
            created_at=event.at or self.undated(),
            external_id=event.external_id,
            visible=event.visible,
            usage=usage,
        )

    def _replace(self, old: list[Event], rows: list[LogRow], end: int) -> list[LogRow]:
        """Put `rows` in the place of `old`. Returns annotated rows that are no longer told: they stay, at the end."""
        if not old:
            copy_in(rows)
            return []
        search_index.hold()
        annotated = set(Annotation.objects.filter(event__in=[row.pk for row in old]).values_list("event_id", flat=True))
        keep = {row.public_id: row for row in old if row.pk in annotated}
        gone = [row.pk for row in old if row.pk not in annotated]
        SearchText.objects.filter(event__in=gone)._raw_delete("default")
        Event.objects.filter(pk__in=gone)._raw_delete("default")
        moved = []
        for row in rows:
            if row.public_id in keep:
                row.pk = keep.pop(row.public_id).pk
                moved.append(row)
        left = [self._left(place, row) for place, row in enumerate(keep.values(), start=end + 1)]
        self._move([*moved, *left])
        copy_in(row for row in rows if row.pk is None)
        return left

    def _left(self, seq: int, row: Event) -> LogRow:
        thread = next((t for t in self.threads.values() if t.pk == row.thread_id), row.thread)
        usage = row.private_data.get("usage") if row.type == "span.model_request_end" else None
        values = (row.type, row.payload, row.private, None, row.created_at, row.external_id, row.visible, usage, row.pk)
        return LogRow(row.public_id, row.session_id, seq, thread, row.thread_id, *values)

    def _move(self, rows: list[LogRow]) -> None:
        """Annotated rows keep their keys: out of the way first, then each to its place."""
        by_key = {row.pk: row for row in rows if row.pk is not None}
        for key, row in by_key.items():
            Event.objects.filter(pk=key).update(seq=SHIFT + row.seq)
        for key, row in by_key.items():
            Event.objects.filter(pk=key).update(**{name: getattr(row, name) for name in MOVED})
            SearchText.objects.filter(event=key).update(seq=row.seq, thread=row.thread_id)

    # What it adds up to

    def _recount(self, old: list[Event], rows: list[LogRow], kept: list[LogRow], *, appended: bool) -> None:
        session = self.session
        if appended:
            fresh = rows[len(old) :]
        else:
            fresh = [*rows, *kept]
            _reset(session)
            session.thread_count, session.tool_call_count, session.error_count = 1, 0, 0
            for thread in self.threads.values():
                _reset(thread)
                thread.turn_no = 0
            Thread.objects.bulk_update(
                self.threads.values(), ["event_count", "turn_no", "list_cost_nanousd", *Thread.TOKEN_FIELDS]
            )
        self._describe()
        self.count(fresh)

    def undated(self) -> datetime:
        return self._beginning

    @cached_property
    def _beginning(self) -> datetime:
        return min((event.at for event in self.imported.events if event.at), default=self.session.created_at)

    def _describe(self) -> bool:
        """Whether anything about the session itself has become known."""
        session, times = self.session, [event.at for event in self.imported.events if event.at]
        before = (session.created_at, session.has_times, session.metadata, session.title)
        if times:
            session.created_at = min(times)
            session.terminated_at = max(times)
        session.has_times = self.imported.has_times
        metadata = {**session.metadata, **self.imported.metadata}
        metadata.pop("import_notes", None)
        if self.imported.notes:
            metadata["import_notes"] = " ".join(self.imported.notes)
        session.metadata = {key: value[:MAX_VALUE_CHARS] for key, value in metadata.items()}
        if not session.title or session.title in self._possible_titles():
            session.title = self.imported.title or None
        return before != (session.created_at, session.has_times, session.metadata, session.title)

    def _possible_titles(self) -> set[str]:
        """Every title that fewer of these spans may have given. Any other was given by a person."""
        found = {span.name[:120] for span in self.imported.spans} | {"Trace"}
        for event in self.imported.events:
            if event.type in ("user.message", "agent.thread_message_sent"):
                text = plain_text(event.payload["content"]).strip()
                found.add(text.splitlines()[0][:120] if text else "")
        return found

    # Annotations

    def _file_annotations(self) -> None:
        """Scores move with what they are about; a person's own marks are not touched."""
        wanted = {(a.kind, a.category or "", a.text, a.author): a.event for a in self.imported.annotations}
        if not wanted:
            return
        imported = self.session.annotations.filter(author__isnull=True, written_here=False)
        had = {(a.kind, a.category, a.text, a.author_name): a for a in imported}
        names = set(wanted.values())
        events = dict(self.session.events.filter(external_id__in=names).values_list("external_id", "pk"))
        for (kind, category, text, author), name in wanted.items():
            found = had.get((kind, category, text, author))
            if found is None:
                Annotation.objects.create(
                    session=self.session,
                    event_id=events[name],
                    kind=kind,
                    category=category,
                    text=text,
                    author_name=author,
                )
            elif found.event_id != events[name]:
                Annotation.objects.filter(pk=found.pk).update(event=events[name])


def _same_rows(old: list[Event], rows: list[LogRow]) -> int:
    """How many rows from the beginning are as they have to be."""
    for place, (is_now, wanted) in enumerate(zip(old, rows, strict=False)):
        if is_now.seq != wanted.seq or any(_value(is_now, name) != _value(wanted, name) for name in COMPARED):
            return place
    return min(len(old), len(rows))


def _value(row: Event | LogRow, name: str) -> Any:
    value = getattr(row, name)
    return value.timestamp() if isinstance(value, datetime) else value


def _reset(row: Session | Thread) -> None:
    row.event_count = 0
    row.list_cost_nanousd = 0
    for name in row.TOKEN_FIELDS:
        setattr(row, name, 0)
