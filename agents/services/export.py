"""A session as lines of JSON, to be taken away: everything the log holds, nothing of the server it was on.

    {"type": "daybreak.session", "format": "daybreak.session.v1", "session": {…}, "agent": {…}, "threads": [{…}], …}
    {"id": "sevt_…", "type": "user.message", …wire fields…, "daybreak": {"seq": 1, "thread_id": "sthr_…", …}}
    …every event, by `seq`…
    {"type": "daybreak.annotation", …}
    {"type": "daybreak.end", "events": 123, "annotations": 2}

An event is what the API gives, and under `daybreak` what we know beside it. The last line tells a reader that nothing
is missing. The events are read in pieces, so memory does not grow with the session, and up to the `seq` that the
session had when the export began, so what is written meanwhile cannot leave a hole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Func, IntegerField
from django.db.models.functions import Coalesce

from agents.models import Annotation, Event, Session, Thread
from agents.services.search_text import parse

FORMAT = "daybreak.session.v1"
BATCH = 500  # events read at a time
BATCH_BYTES = 4_000_000  # or so many bytes of them


def export_lines(session: Session) -> Iterator[str]:
    """The lines, each with its line end. Reads the session anew, and nothing before the first line is asked for."""
    session = Session.objects.select_related("agent", "environment").get(pk=session.pk)
    threads = {thread.pk: thread for thread in session.threads.order_by("ordinal", "pk").select_related("parent")}
    yield _line(_head(session, threads))
    events = 0
    for event in _events(session):
        if event.thread_id not in threads:  # it began after the export did
            threads[event.thread_id] = Thread.objects.get(pk=event.thread_id)
        yield _line(_event(event, threads[event.thread_id]))
        events += 1
    annotations = 0
    for annotation in _annotations(session):
        yield _line(_annotation(annotation))
        annotations += 1
    yield _line({"type": "daybreak.end", "events": events, "annotations": annotations})


def file_name(session: Session) -> str:
    return f"{session.public_id}.jsonl"


def _line(value: dict[str, Any]) -> str:
    """One line whatever the texts hold: `ensure_ascii` also writes out what some readers take for a line's end."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n"


class _Bytes(Func):
    function = "octet_length"
    output_field = IntegerField()


def _events(session: Session) -> Iterator[Event]:
    """By `seq`, a few at a time: fewer where they are large."""
    seq = 0
    while seq < session.last_seq:
        pks, size, last = list[int](), 0, seq
        for pk, at, size_bytes in _sizes(session, seq):
            if pks and size + size_bytes > BATCH_BYTES:
                break
            pks.append(pk)
            size, last = size + size_bytes, at
        if not pks:
            return
        yield from Event.objects.filter(pk__in=pks).order_by("seq")
        seq = last


def _sizes(session: Session, after_seq: int) -> list[tuple[int, int, int]]:
    """Key, `seq` and size of the next events; the size without reading what is stored apart from the row."""
    rows = Event.objects.filter(session=session, seq__gt=after_seq, seq__lte=session.last_seq).order_by("seq")
    size = _Bytes("payload") + Coalesce(_Bytes("private"), 0)
    return list(rows.annotate(size=size).values_list("pk", "seq", "size")[:BATCH])


def _annotations(session: Session) -> Iterator[Annotation]:
    """As they were made."""
    last = 0
    while rows := list(session.annotations.select_related("event").filter(pk__gt=last).order_by("pk")[:BATCH]):
        yield from rows
        last = rows[-1].pk


def _head(session: Session, threads: dict[int, Thread]) -> dict[str, Any]:
    return {
        "type": "daybreak.session",
        "format": FORMAT,
        "session": _session(session),
        "agent": session.agent_snapshot,
        "environment": {"id": session.environment.public_id, "name": session.environment.name},
        "threads": [_thread(thread) for thread in threads.values()],
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "id": session.public_id,
        "title": session.title,
        "status": session.status,
        "stop_reason": session.stop_reason,
        "metadata": session.metadata,
        "created_at": _time(session.created_at),
        "updated_at": _time(session.updated_at),
        "archived_at": _time(session.archived_at),
        "terminated_at": _time(session.terminated_at),
        "last_seq": session.last_seq,
        "event_count": session.event_count,
        "tool_call_count": session.tool_call_count,
        "error_count": session.error_count,
        "simulated": session.simulated,
        "imported_format": session.imported_format or None,
        "external_id": session.external_id or None,
        "has_times": session.has_times,
        "usage": _usage(session),
    }


def _thread(thread: Thread) -> dict[str, Any]:
    return {
        "id": thread.public_id,
        "parent_thread_id": thread.parent.public_id if thread.parent else None,
        "agent_name": thread.agent_name,
        "agent": thread.agent_snapshot,
        "ordinal": thread.ordinal,
        "status": thread.status,
        "stop_reason": thread.stop_reason,
        "external_id": thread.external_id or None,
        "created_at": _time(thread.created_at),
        "archived_at": _time(thread.archived_at),
        "usage": _usage(thread),
    }


def _usage(counted: Session | Thread) -> dict[str, Any]:
    tokens = {name: getattr(counted, name) for name in counted.TOKEN_FIELDS}
    return {**tokens, "list_cost_nanousd": counted.list_cost_nanousd, "active_ms": counted.active_ms}


def _event(event: Event, thread: Thread) -> dict[str, Any]:
    """The API's fields at the top. A payload that cannot be read as an object is given as the text it is."""
    data = parse(event.payload)
    readable = isinstance(data, dict)
    beside = {
        "seq": event.seq,
        "thread_id": thread.public_id,
        "cause_seq": event.cause_seq,
        "created_at": _time(event.created_at),
        "private": parse(event.private),
        "visible": event.visible,
        "external_id": event.external_id,
    }
    if not readable:
        beside["payload"] = event.payload
    wire = {"id": event.public_id, "type": event.type, **(data if readable else {})}
    return {**wire, "processed_at": _time(event.processed_at), "daybreak": beside}


def _annotation(annotation: Annotation) -> dict[str, Any]:
    return {
        "type": "daybreak.annotation",
        "event_id": annotation.event.public_id,
        "seq": annotation.event.seq,
        "kind": annotation.kind,
        "category": annotation.category,
        "text": annotation.text,
        "author": annotation.author_name,
        "written_here": annotation.written_here,
        "created_at": _time(annotation.created_at),
        "changed_at": _time(annotation.changed_at),
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
