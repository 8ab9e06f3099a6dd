"""OTLP's JSON form, and the older one that Tempo exports: objects with `resourceSpans` (or `batches`).

Read leniently: ids in hexadecimal or base64, whole numbers as numbers or strings, enums by number or name.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from agents.ingestion.otlp.span import (
    MAX_ATTRIBUTES,
    MAX_NAME_CHARS,
    InvalidTraces,
    Limits,
    Span,
    TooManyValues,
    settle_clock,
)

MAX_VALUES = 1_500_000  # braces, brackets and commas in one body
ROOTS = ("resourceSpans", "batches", "resource_spans")
SCOPES = ("scopeSpans", "instrumentationLibrarySpans", "scope_spans")
_HEX = re.compile(r"[0-9a-fA-F]+")
_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = {"STATUS_CODE_OK": 1, "OK": 1, "STATUS_CODE_ERROR": 2, "ERROR": 2}
_MAX_NS = 2**64


def check_size(raw: bytes) -> None:
    """Refuse a text of very many tiny values, before the parser makes an object of each."""
    if raw.count(b",") + raw.count(b"{") + raw.count(b"[") > MAX_VALUES:
        raise TooManyValues(f"The body holds more than {MAX_VALUES:,} values. Send fewer spans at a time.")


def looks_like(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(value.get(name), list) for name in ROOTS)


def read_spans(value: Any) -> Iterator[Span]:
    """The spans of a parsed body, with their ids as sent. Raises InvalidTraces for another shape."""
    if not isinstance(value, dict):
        raise InvalidTraces("The body must be a JSON object with `resourceSpans`.")
    for part in _list(next((value[name] for name in ROOTS if name in value), []), "resourceSpans"):
        limits = Limits()
        resource = _object(part.get("resource"), "resource")
        attributes = read_attributes(resource.get("attributes"), limits)
        for scoped in _list(next((part[name] for name in SCOPES if name in part), []), "scopeSpans"):
            scope = scoped.get("scope") or scoped.get("instrumentationLibrary")
            name = _text(_object(scope, "scope").get("name"))[:MAX_NAME_CHARS]
            for span in _list(scoped.get("spans") or [], "spans"):
                yield read_span(span, attributes, name)


def read_span(value: dict[str, Any], resource: dict[str, Any], scope: str) -> Span:
    limits = Limits()
    status = _object(value.get("status"), "status")
    span = Span(
        trace_id=read_id(_first(value, "traceId", "trace_id"), 16),
        span_id=read_id(_first(value, "spanId", "span_id"), 8),
        parent_id=read_id(_first(value, "parentSpanId", "parent_span_id"), 8),
        name=_text(value.get("name"))[:MAX_NAME_CHARS],
        kind=_kind(value.get("kind")),
        start=read_time(_first(value, "startTimeUnixNano", "start_time_unix_nano")),
        end=read_time(_first(value, "endTimeUnixNano", "end_time_unix_nano")),
        status=read_status(status.get("code")),
        status_message=limits.text("status.message", _text(status.get("message"))),
        attributes=read_attributes(value.get("attributes"), limits),
        resource=resource,
        scope=scope,
    )
    span.events = [
        {
            "name": _text(event.get("name"))[:MAX_NAME_CHARS],
            "time": read_time(_first(event, "timeUnixNano", "time_unix_nano")),
            "attributes": read_attributes(event.get("attributes"), limits),
        }
        for event in _list(value.get("events") or [], "events")[:MAX_ATTRIBUTES]
    ]
    span.links = [
        {
            "trace_id": read_id(_first(link, "traceId", "trace_id"), 16),
            "span_id": read_id(_first(link, "spanId", "span_id"), 8),
            "attributes": read_attributes(link.get("attributes"), limits),
        }
        for link in _list(value.get("links") or [], "links")[:MAX_ATTRIBUTES]
    ]
    if dropped := value.get("droppedAttributesCount"):
        span.notes["attributes_dropped_by_the_sender"] = dropped
    limits.note(span)
    return settle_clock(span)


def read_id(value: Any, size: int) -> str:
    """An id of `size` bytes as hexadecimal; empty for anything else."""
    if not isinstance(value, str):
        return ""
    if len(value) == 2 * size and _HEX.fullmatch(value):
        return value.lower()
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == size else ""


def read_time(value: Any) -> int:
    """Nanoseconds, as a number or as digits; 0 for anything else."""
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    try:
        number = int(value)
    except (OverflowError, ValueError):
        return 0
    return number if 0 < number < _MAX_NS else 0


def read_status(code: Any) -> int:
    if isinstance(code, str):
        return _STATUSES.get(code.upper(), 0)
    return code if type(code) is int and 0 <= code <= 2 else 0


def read_attributes(pairs: Any, limits: Limits) -> dict[str, Any]:
    """Attributes as a list of pairs, or as the plain object that some exports use."""
    found: dict[str, Any] = {}
    if isinstance(pairs, dict):
        items = [(key, value) for key, value in pairs.items()]
        limits.left_out += max(0, len(items) - MAX_ATTRIBUTES)
        return {key: _cut(key, value, limits) for key, value in items[:MAX_ATTRIBUTES]}
    given = _list(pairs or [], "attributes")
    limits.left_out += max(0, len(given) - MAX_ATTRIBUTES)
    for pair in given[:MAX_ATTRIBUTES]:
        key = _text(pair.get("key"))
        found[key] = read_value(key, pair.get("value"), limits)
    return found


def read_value(key: str, value: Any, limits: Limits, depth: int = 0) -> Any:
    """One `AnyValue`. What has another shape is kept as it is."""
    if not isinstance(value, dict) or len(value) != 1 or depth > 64:
        return _cut(key, value, limits)
    (kind, held), *_ = value.items()
    if kind == "intValue" and isinstance(held, str):
        return int(held) if re.fullmatch(r"-?[0-9]{1,19}", held) else held
    if kind == "arrayValue" and isinstance(held, dict):
        items = held.get("values") or []
        return [read_value(key, item, limits, depth + 1) for item in items] if isinstance(items, list) else held
    if kind == "kvlistValue" and isinstance(held, dict):
        pairs = held.get("values") or []
        if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
            return held
        return {_text(p.get("key")): read_value(key, p.get("value"), limits, depth + 1) for p in pairs}
    if kind in ("stringValue", "boolValue", "intValue", "doubleValue", "bytesValue"):
        return _cut(key, held, limits)
    return value


def _cut(key: str, value: Any, limits: Limits) -> Any:
    if isinstance(value, str):
        return limits.text(key, value)
    if isinstance(value, list):
        return [_cut(key, item, limits) for item in value]
    if isinstance(value, dict):
        return {name: _cut(key, item, limits) for name, item in value.items()}
    return value


def _kind(value: Any) -> int:
    if isinstance(value, str):
        name = value.upper().removeprefix("SPAN_KIND_")
        return _KINDS.index(name) if name in _KINDS else 0
    return value if type(value) is int and 0 <= value < len(_KINDS) else 0


def _first(value: dict[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if name in value), None)


def _list(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidTraces(f"{name} must be a list of objects.")
    return value


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidTraces(f"{name} must be an object.")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
