"""Spans that belong to sessions we run: each stands beside the log of its session, on the thread it names.

The log of such a session is append-only, and so is this: an event of our own, which the wire does not have, per span.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from agents.ingestion.otlp.forest import Node, grow
from agents.ingestion.otlp.moments import error_text
from agents.ingestion.otlp.span import OWN_SESSION, OWN_THREAD, Span
from agents.ingestion.otlp.teller import SPAN_EVENT
from agents.models import Event, Session
from agents.services.log import Log, clean, open_log

READS = ("GET", "HEAD")


@dataclass(frozen=True)
class Owners:
    """Sessions of ours: by their public id, and by the trace that a call about them was part of."""

    by_id: dict[str, Session]
    by_trace: dict[str, Session]


def split(spans: list[Span], owners: Owners) -> tuple[dict[Session, list[Node]], list[Span]]:
    """The spans of each session of ours, parents first, and those of nobody."""
    if not owners.by_id and not owners.by_trace:
        return {}, spans
    attached: dict[Session, list[Node]] = defaultdict(list)
    rest: list[Span] = []
    for node in grow(spans):
        session = _owner(node, owners)
        if session is None:
            rest.append(node.span)
        else:
            attached[session].append(node)
    return dict(attached), rest


def _owner(node: Node, owners: Owners) -> Session | None:
    """The session the span names; else the nearest above it that one names; else its trace's."""
    for at in (node, *node.ancestors()):
        named = at.span.attributes.get(OWN_SESSION)
        if named is not None:
            return owners.by_id.get(str(named))
    return owners.by_trace.get(node.span.trace_id)


def attach(session: Session, nodes: list[Node]) -> None:
    """Append what is new and worth a line to the session's log."""
    names = {event_name(node.span): node for node in nodes if is_told(node)}
    had = set(Event.objects.filter(session=session, external_id__in=names).values_list("external_id", flat=True))
    fresh = {name: node for name, node in names.items() if name not in had}
    if not fresh:
        return
    with open_log(session.pk) as log:
        for name, node in fresh.items():
            _append(log, name, node)


def event_name(span: Span) -> str:
    return f"span:{span.trace_id}:{span.span_id}"


def is_told(node: Node) -> bool:
    """Calls that only read would drown the rest: an SDK that waits for an answer asks many times a second."""
    span, reading = node.span, node.reading
    if reading.failed or reading.content or reading.kind != "other" or span.events:
        return True
    method = span.attributes.get("http.request.method")
    return node.parent is None and method is None or (isinstance(method, str) and method not in READS)


def _append(log: Log, name: str, node: Node) -> None:
    span = node.span
    named = span.attributes.get(OWN_THREAD)
    thread = (log.find_thread(named) if isinstance(named, str) else None) or log.primary()
    payload: dict[str, Any] = {"name": span.name, "is_error": node.reading.failed}
    if node.reading.failed:
        payload["error"] = error_text(node)
    private = {
        "span": span.span_id,
        "trace": span.trace_id,
        "kind": node.kind,
        "started_at": span.started_at.isoformat() if span.started_at else None,
        "duration_ms": round((node.end - node.start) / 1e6, 3),
        "attributes": span.attributes,
        "events": span.events,
        "links": span.links,
        "resource": span.resource,
        "scope": span.scope,
        "notes": span.notes,
    }
    kept = {key: value for key, value in private.items() if value not in (None, "", [], {})}
    event = log.append(thread, SPAN_EVENT, clean(payload), private=clean(kept), cause=_cause(log, node), visible=False)
    event.external_id = name


def _cause(log: Log, node: Node) -> int | None:
    """The event whose tool the span ran: the SDK's runners give a tool's span the id of its event."""
    call = node.reading.call_id
    if not call:
        return None
    return Event.objects.filter(session=log.session, public_id=call).values_list("seq", flat=True).first()
