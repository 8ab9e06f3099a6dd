"""Storing imported sessions: ordinary sessions to read, marked imported, never run.

Importing is repeatable. A session is known by its workspace, format and foreign id, an event by its foreign id within
the session: the same file adds nothing the second time, a file that has grown adds its tail. A traced session is told
anew instead (`traces_refiled`), because spans come in any order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from agents.errors import Invalid
from agents.ids import EVENT, THREAD, new_id
from agents.ingestion.model import ImportedEvent, ImportedSession, ImportedThread
from agents.models import Agent, AgentVersion, Annotation, Environment, Event, Session, Thread, Workspace
from agents.services.definitions import MAX_NAME_CHARS, new_definition
from agents.services.environments import write_out_config
from agents.services.imported_usage import continued_ends, count_usage
from agents.services.log import COUNTED_AS_TOOL_CALL, EVENT_CHANNEL, dump, notify
from agents.services.metadata import MAX_VALUE_CHARS
from agents.services.snapshots import snapshot

ENVIRONMENT_NAME = "Imported"
ENVIRONMENT_DESCRIPTION = "Where imported sessions belong. Nothing runs here."
MODEL_ID = "imported"
MAX_MODEL_CHARS = 200
BATCH = 1_000
EVENT_REFERENCES = ("tool_use_id", "mcp_tool_use_id", "model_request_start_id")
THREAD_REFERENCES = ("session_thread_id", "to_session_thread_id", "from_session_thread_id")
CAME_IN = ("user.message", "agent.thread_message_received")


@dataclass(frozen=True)
class ImportResult:
    session: Session
    new_events: int
    total_events: int
    created: bool


@transaction.atomic
def import_session(workspace: Workspace, imported: ImportedSession, *, imported_by: User | None = None) -> ImportResult:
    """Store a session, or what is new in it.

    Raises Invalid when there is something new, but the session has been archived since its import.
    """
    # Imports into one workspace queue here, so that two of the same session cannot both create it.
    Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
    session = (
        Session.objects.in_workspace(workspace)
        .select_for_update()
        .filter(imported_format=imported.format, external_id=imported.external_id)
        .first()
    )
    created = session is None
    if session is None:
        session = _create(workspace, imported, imported_by)
    if imported.spans:
        from agents.services.traces_refiled import Refiler  # it builds upon the writer below

        written = Refiler(session, imported).write()
    else:
        written = Writer(session, imported).write()
    return ImportResult(session, written, session.event_count, created)


def _create(workspace: Workspace, imported: ImportedSession, by: User | None) -> Session:
    agent = _agent(workspace, imported.source_name)
    definition = agent.versions.get(version=agent.version).definition
    times = [event.at for event in imported.events if event.at]
    metadata = {"imported_from": imported.format, **imported.metadata}
    if imported.notes:
        metadata["import_notes"] = " ".join(imported.notes)
    return Session.objects.create(
        workspace=workspace,
        agent=agent,
        agent_version=agent.version,
        agent_snapshot=agent_snapshot(agent, definition, imported.threads[0], name=agent.name),
        environment=_environment(workspace),
        title=imported.title or None,
        metadata={key: value[:MAX_VALUE_CHARS] for key, value in metadata.items()},
        created_by=by,
        created_at=min(times, default=timezone.now()),
        imported_format=imported.format,
        external_id=imported.external_id,
        has_times=imported.has_times,
    )


def _environment(workspace: Workspace) -> Environment:
    found = Environment.objects.in_workspace(workspace).filter(name=ENVIRONMENT_NAME, archived_at__isnull=False)
    return found.order_by("pk").first() or Environment.objects.create(
        workspace=workspace,
        name=ENVIRONMENT_NAME,
        description=ENVIRONMENT_DESCRIPTION,
        config=write_out_config({"type": "cloud"}),
        archived_at=timezone.now(),
    )


def _agent(workspace: Workspace, name: str) -> Agent:
    """The agent that stands for a source. Archived from the start: there is nothing in it to run."""
    found = Agent.objects.in_workspace(workspace).filter(name=name, imported=True).order_by("pk").first()
    if found is not None:
        return found
    agent = Agent.objects.create(workspace=workspace, name=name, imported=True, archived_at=timezone.now())
    definition = new_definition({"name": name, "model": MODEL_ID})
    AgentVersion.objects.create(agent=agent, version=1, definition=definition)
    return agent


def agent_snapshot(agent: Agent, definition: dict[str, Any], thread: ImportedThread, *, name: str) -> dict[str, Any]:
    """A thread's agent: the source's, under the thread's name and with the model that its log names."""
    model = {**definition["model"], "id": (thread.model or MODEL_ID)[:MAX_MODEL_CHARS]}
    named = {**definition, "name": name[:MAX_NAME_CHARS], "model": model}
    return snapshot(agent.public_id, agent.version, named)


@dataclass(frozen=True)
class Known:
    """Where an event is: its place in the log and its id on the wire."""

    seq: int
    public_id: str


class Countable(Protocol):
    """What of an event is counted."""

    @property
    def thread(self) -> Thread: ...
    @property
    def thread_id(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def visible(self) -> bool: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def private_data(self) -> dict[str, Any]: ...


class Writer:
    """Appends to a locked session what it does not have yet."""

    def __init__(self, session: Session, imported: ImportedSession) -> None:
        self.session = session
        self.imported = imported
        self.now = timezone.now()
        self.threads = {thread.external_id: thread for thread in session.threads.all()}
        rows = session.events.exclude(external_id=None).values_list("external_id", "seq", "public_id")
        self.known = {external_id or "": Known(seq, public_id) for external_id, seq, public_id in rows}

    def write(self) -> int:
        fresh = [event for event in self.imported.events if event.external_id not in self.known]
        if fresh and self.known:
            fresh = continued_ends(self.session, self.imported.events, self.known)
        if fresh and (self.session.archived_at or self.session.is_terminated):
            raise Invalid(
                f"The imported session {self.session.public_id} was archived and takes no more events. "
                "Delete it to import it again."
            )
        self.add_threads()
        rows = self._add_events(fresh)
        self._add_annotations()
        if rows:
            self.count(rows)
            notify(EVENT_CHANNEL, f"{self.session.pk}:{self.session.last_seq}")
        return len(rows)

    def add_threads(self) -> None:
        """Parents first, one INSERT per level of nesting."""
        waiting = [thread for thread in self.imported.threads if thread.key not in self.threads]
        places = {thread.key: len(self.threads) + place for place, thread in enumerate(waiting)}
        first = self.first_times()
        definition = self.session.agent.versions.get(version=self.session.agent_version).definition
        while waiting:
            ready = [thread for thread in waiting if thread.parent is None or thread.parent in self.threads]
            if not ready:
                raise Invalid("The threads of the imported session have no common origin.")
            rows = [
                Thread(
                    public_id=new_id(THREAD),
                    session=self.session,
                    parent=self.threads[thread.parent] if thread.parent is not None else None,
                    agent_name=thread.agent_name[:MAX_NAME_CHARS],
                    agent_snapshot=agent_snapshot(self.session.agent, definition, thread, name=thread.agent_name),
                    external_id=thread.key,
                    ordinal=places[thread.key],
                    created_at=first.get(thread.key, self.session.created_at),
                )
                for thread in ready
            ]
            self.threads |= {row.external_id: row for row in Thread.objects.bulk_create(rows)}
            waiting = [thread for thread in waiting if thread.key not in self.threads]

    def first_times(self) -> dict[str, datetime]:
        times: dict[str, datetime] = {}
        for event in self.imported.events:
            if event.at:
                times[event.thread] = min(event.at, times.get(event.thread, event.at))
        return times

    def _add_events(self, fresh: Iterable[ImportedEvent]) -> list[Event]:
        rows = []
        for event in fresh:
            self.session.last_seq += 1
            place = Known(self.session.last_seq, new_id(EVENT))
            self.known[event.external_id] = place
            rows.append((event, place))
        stored = [self.row(event, place) for event, place in rows]
        return Event.objects.bulk_create(stored, batch_size=BATCH)

    def row(self, event: ImportedEvent, place: Known) -> Event:
        at = event.at or self.undated()
        cause = self.known.get(event.cause) if event.cause else None
        private = event.private
        if event.type == "span.model_request_end":
            private = {**(private or {}), "usage": count_usage(event)}
        return Event(
            public_id=place.public_id,
            session=self.session,
            seq=place.seq,
            position=place.seq,
            thread=self.threads[event.thread],
            type=event.type,
            payload=dump(self.payload(event)),
            private=dump(private) if private else None,
            cause_seq=cause.seq if cause and cause.seq < place.seq else None,
            created_at=at,
            processed_at=at,
            external_id=event.external_id,
            visible=event.visible,
        )

    def undated(self) -> datetime:
        """The moment of an event whose source does not say when."""
        return self.session.created_at if self.session.has_times else self.now

    def payload(self, event: ImportedEvent) -> dict[str, Any]:
        """The payload with our ids in place of the source's. An id that leads nowhere stays as it is."""
        payload = dict(event.payload)
        for name in EVENT_REFERENCES:
            if name in payload and (known := self.known.get(payload[name])):
                payload[name] = known.public_id
        for name in THREAD_REFERENCES:
            if name in payload:
                payload[name] = self.threads[payload[name]].public_id
        return payload

    def _add_annotations(self) -> None:
        if not self.imported.annotations:
            return
        fields = ("event__external_id", "kind", "category", "text", "author_name")
        had = set(self.session.annotations.values_list(*fields))
        wanted = [(a.event, a.kind, a.category or "", a.text, a.author) for a in self.imported.annotations]
        missing = [annotation for annotation in wanted if annotation not in had]
        if not missing:
            return
        names = [annotation[0] for annotation in missing]
        events = dict(self.session.events.filter(external_id__in=names).values_list("external_id", "pk"))
        Annotation.objects.bulk_create(
            Annotation(
                session=self.session,
                event_id=events[event],
                kind=kind,
                category=category,
                text=text,
                author_name=author,
            )
            for event, kind, category, text, author in missing
        )

    def count(self, rows: Sequence[Countable]) -> None:
        """What the rows add up to, as `rebuild_state` would find it in the log."""
        session = self.session
        touched: dict[int, Thread] = {}
        shown: Counter[int] = Counter()
        came_in: Counter[int] = Counter()
        types: Counter[str] = Counter()
        usage: dict[int, Counter[str]] = defaultdict(Counter)
        for row in rows:
            key, kind = row.thread_id, row.type
            if key not in touched:
                touched[key] = row.thread
            if not row.visible:
                continue
            shown[key] += 1
            types[kind] += 1
            if kind in CAME_IN:
                came_in[key] += 1
            elif kind == "span.model_request_end":
                usage[key].update(row.private_data["usage"])
        session.event_count += shown.total()
        session.tool_call_count += sum(types[kind] for kind in COUNTED_AS_TOOL_CALL)
        session.error_count += types["session.error"]
        session.thread_count += types["session.thread_created"]
        for key, thread in touched.items():
            thread.event_count += shown[key]
            thread.turn_no += came_in[key]
            for name, value in usage[key].items():
                for owner in (session, thread):
                    setattr(owner, name, getattr(owner, name) + value)
        # Where the log ends: an imported session does not go on for as long as nobody archives it.
        session.terminated_at = max(filter(None, [session.terminated_at, *(row.created_at for row in rows)]))
        session.updated_at = self.now
        session.save()
        counted = ["event_count", "turn_no", "updated_at", "list_cost_nanousd", *Thread.TOKEN_FIELDS]
        for thread in touched.values():
            thread.turn_no = max(thread.turn_no, 1)
            thread.updated_at = self.now
        Thread.objects.bulk_update(touched.values(), counted, batch_size=BATCH)
