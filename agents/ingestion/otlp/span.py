"""One span as we keep it, whatever wire it came over, and its text form for the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from agents.ingestion.source import cleaned

MAX_VALUE_BYTES = 1024 * 1024  # of one attribute's value
MAX_ATTRIBUTES = 5_000  # of one span, event, link or resource
MAX_NAME_CHARS = 1_000
ERROR = 2  # the status code
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_TRACE = "0" * 32
NO_SPAN = "0" * 16

# Which session a span belongs to, the strongest word first. A trace without any is a session of its own.
OWN_SESSION = "anthropic.session.id"
OWN_THREAD = "anthropic.session.thread.id"
SESSION_KEYS = (OWN_SESSION, "langfuse.session.id", "session.id", "gen_ai.conversation.id")
TRACE_RANK = len(SESSION_KEYS)
MAX_KEY_CHARS = 250


class InvalidTraces(ValueError):
    """The body or file holds no traces that can be read. The message is a sentence for a person."""


class TooManyValues(InvalidTraces):
    """So many small values that reading them would take far more memory than they have bytes."""


@dataclass(slots=True)
class Span:
    """`start` and `end` are nanoseconds since 1970; 0 means that the source does not say.

    `attributes` are flat, as sent: dots in keys are part of the key. `notes` tell what is not as it was sent: values
    that were cut, a clock that ran backwards.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str = ""
    kind: int = 0
    start: int = 0
    end: int = 0
    status: int = 0
    status_message: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    scope: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def body(self) -> str:
        """Everything but the two ids, as JSON text that PostgreSQL can hold."""
        values = [
            self.parent_id,
            self.name,
            self.kind,
            self.start,
            self.end,
            self.status,
            self.status_message,
            self.attributes,
            self.events,
            self.links,
            self.resource,
            self.scope,
            self.notes,
        ]
        try:
            raw = orjson.dumps(values)
        except TypeError:  # numbers beyond 64 bits, half surrogate pairs
            return json.dumps(cleaned(values), ensure_ascii=False)
        if b"\\u0000" in raw:
            raw = orjson.dumps(cleaned(values))
        return raw.decode()

    @classmethod
    def from_body(cls, trace_id: str, span_id: str, body: str) -> Span:
        return cls(trace_id, span_id, *_parsed(body))

    @property
    def session_key(self) -> tuple[int, str]:
        """How strong a word the span has on its session, 0 being the strongest, and the session it names."""
        for rank, name in enumerate(SESSION_KEYS):
            value = self.attributes.get(name)
            if value and isinstance(value, str | int) and not isinstance(value, bool):
                return rank, str(value)[:MAX_KEY_CHARS]
        return TRACE_RANK, self.trace_id

    @property
    def failed(self) -> bool:
        return self.status == ERROR

    @property
    def started_at(self) -> datetime | None:
        return moment(self.start)

    @property
    def ended_at(self) -> datetime | None:
        return moment(self.end) or moment(self.start)


def _parsed(body: str) -> list[Any]:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def moment(nanoseconds: int) -> datetime | None:
    """A time as the database keeps it; null for 0 and for what no calendar has."""
    if nanoseconds <= 0:
        return None
    try:
        return EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None


def settle_clock(span: Span) -> Span:
    """An end before the start is moved to the start, and the span says so."""
    if span.end < span.start and span.end:
        span.notes["clock_ran_backwards_by_ns"] = span.start - span.end
        span.end = span.start
    return span


class Limits:
    """Cuts values that are too long, and remembers which."""

    def __init__(self) -> None:
        self.cut: dict[str, int] = {}
        self.left_out = 0

    def text(self, key: str, value: str) -> str:
        if len(value) * 4 <= MAX_VALUE_BYTES:
            return value
        raw = value.encode("utf-8", "replace")
        if len(raw) <= MAX_VALUE_BYTES:
            return value
        self.cut[key[:MAX_NAME_CHARS]] = len(raw)
        kept = raw[:MAX_VALUE_BYTES].decode("utf-8", "ignore")
        return f"{kept}… [cut: {len(raw):,} bytes in all]"

    def note(self, span: Span) -> None:
        if self.cut:
            span.notes["cut_values_bytes"] = self.cut
        if self.left_out:
            span.notes["attributes_left_out"] = self.left_out


def unique_spans(spans: list[Span]) -> Iterator[Span]:
    """Each span once. Of several with the same ids, the one that ended last: the same whatever the order."""
    best: dict[tuple[str, str], tuple[int, str, Span]] = {}
    for span in spans:
        key = (span.trace_id, span.span_id)
        found = best.get(key)
        if found is None:
            best[key] = (span.end, "", span)
            continue
        rank = (span.end, span.body())
        if rank > (found[0], found[1] or found[2].body()):
            best[key] = (*rank, span)
    for _, _, span in best.values():
        yield span
