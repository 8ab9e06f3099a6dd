"""Tokens and list price of imported model requests, and what a grown file adds to a request that was cut short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

from agents.ingestion.model import ImportedEvent
from agents.models import Session
from agents.providers import catalog
from agents.providers.base import Usage

END = "span.model_request_end"
WIRE_COUNTERS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)


def count_usage(end: ImportedEvent) -> dict[str, int]:
    """The counters that the end of a model request adds to its thread and session.

    A source that does not say how long cached input was kept is taken to mean the usual five minutes.
    """
    tokens = end.payload["model_usage"]
    private = end.private or {}
    cached = tokens["cache_creation_input_tokens"]
    one_hour = min(cached, private.get("cache_creation_1h_input_tokens", 0))
    usage = Usage(
        input_tokens=tokens["input_tokens"],
        output_tokens=tokens["output_tokens"],
        cache_read_input_tokens=tokens["cache_read_input_tokens"],
        cache_creation_5m_input_tokens=cached - one_hour,
        cache_creation_1h_input_tokens=one_hour,
    )
    counted = {name: getattr(usage, name) for name in Session.TOKEN_FIELDS}
    model = private.get("model")
    return {**counted, "list_cost_nanousd": (catalog.cost_nanousd(model, usage) if model else None) or 0}


def continued_ends(session: Session, events: Sequence[ImportedEvent], known: Container[str]) -> list[ImportedEvent]:
    """The events that a grown source adds, in order.

    A source may have been read while an answer was still being written: the end of that request is in the log with
    the counts of then. The log is never changed, so a further end carries what came since.
    """
    counted, ends = _counted_so_far(session)
    fresh = []
    for event in events:
        if event.external_id not in known:
            fresh.append(event)
        elif event.type == END:
            usage = event.payload["model_usage"]
            before = counted[event.external_id]
            more = {name: max(0, usage[name] - before[name]) for name in WIRE_COUNTERS}
            if any(more.values()):
                name = f"{event.external_id}~{ends[event.external_id]}"
                payload = {**event.payload, "model_usage": {**usage, **more}}
                fresh.append(replace(event, external_id=name, payload=payload))
    return fresh


def _counted_so_far(session: Session) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Per end of a request, under its first external id: the tokens stored so far, and in how many events."""
    counted: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(WIRE_COUNTERS, 0))
    ends: dict[str, int] = defaultdict(int)
    first: dict[str, str] = {}
    for row in session.events.filter(type=END).order_by("seq"):
        data: dict[str, Any] = row.data
        name = first.setdefault(data["model_request_start_id"], row.external_id or "")
        ends[name] += 1
        for counter in WIRE_COUNTERS:
            counted[name][counter] += data["model_usage"][counter]
    return counted, ends
