"""What tools write spans to files as: Jaeger's export, the JavaScript and Python SDKs' own JSON, any-agent's dumps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from agents.ingestion.otlp import langfuse, otlp_json
from agents.ingestion.otlp.otlp_json import read_attributes, read_status
from agents.ingestion.otlp.span import MAX_NAME_CHARS, NO_SPAN, NO_TRACE, InvalidTraces, Limits, Span, settle_clock

_MICROSECOND = 1_000


def looks_like(value: Any) -> bool:
    """Whether a parsed JSON value is an export of spans in a shape that `read_spans` knows."""
    return _reader(value) is not None


def read_spans(value: Any) -> Iterator[Span]:
    """The spans of an export, those with unusable ids included. Raises InvalidTraces for another shape."""
    reader = _reader(value)
    if reader is None:
        raise InvalidTraces("no spans in a shape we know")
    yield from reader(value)


def usable(span: Span) -> bool:
    """Whether the span can be told from others: both ids have their length and are not all zero."""
    return (
        len(span.trace_id) == len(NO_TRACE)
        and len(span.span_id) == len(NO_SPAN)
        and span.trace_id != NO_TRACE
        and span.span_id != NO_SPAN
    )


def _reader(value: Any) -> Any:
    if otlp_json.looks_like(value):
        return otlp_json.read_spans
    if langfuse.looks_like(value):
        return langfuse.read_spans
    if isinstance(value, dict):
        data = value.get("data")
        if isinstance(data, list) and data and all(isinstance(t, dict) and "spans" in t for t in data):
            return _jaeger
        spans = value.get("spans")
        if isinstance(spans, list) and spans and all(_is_sdk_span(s) for s in spans):
            return lambda found: _sdk_spans(found["spans"])
        groups = list(value.values())
        if groups and all(isinstance(g, list) and g and all(_is_sdk_span(s) for s in g) for g in groups):
            return lambda found: _sdk_spans([span for group in found.values() for span in group])
        return (lambda found: _sdk_spans([found])) if _is_sdk_span(value) else None
    if isinstance(value, list) and value:
        if all(_is_sdk_span(span) for span in value):
            return _sdk_spans
        if all(otlp_json.looks_like(part) for part in value):
            return lambda found: (span for part in found for span in otlp_json.read_spans(part))
    return None


# Jaeger


def _jaeger(value: dict[str, Any]) -> Iterator[Span]:
    for trace in value["data"]:
        processes = _dict(trace.get("processes"))
        for span in trace["spans"] if isinstance(trace["spans"], list) else []:
            if isinstance(span, dict):
                yield _jaeger_span(span, _dict(processes.get(_str(span.get("processID")))))


def _jaeger_span(value: dict[str, Any], process: dict[str, Any]) -> Span:
    limits = Limits()
    attributes = _tags(value.get("tags"), limits)
    start = _whole(value.get("startTime")) * _MICROSECOND
    status = str(attributes.pop("otel.status_code", "")).upper()
    failed = status == "ERROR" or attributes.get("error") in (True, "true", "True")
    resource = _tags(process.get("tags"), limits)
    if isinstance(process.get("serviceName"), str):
        resource["service.name"] = process["serviceName"]
    span = Span(
        trace_id=_hex(value.get("traceID"), 32),
        span_id=_hex(value.get("spanID"), 16),
        parent_id=_jaeger_parent(value),
        name=_str(value.get("operationName"))[:MAX_NAME_CHARS],
        start=start,
        end=start + _whole(value.get("duration")) * _MICROSECOND,
        status=2 if failed else 1 if status == "OK" else 0,
        status_message=_str(attributes.get("otel.status_description")),
        attributes=attributes,
        events=[_jaeger_log(log, limits) for log in _dicts(value.get("logs"))],
        resource=resource,
        scope=_str(attributes.get("otel.scope.name") or attributes.get("otel.library.name")),
    )
    limits.note(span)
    return settle_clock(span)


def _jaeger_parent(value: dict[str, Any]) -> str:
    references = _dicts(value.get("references"))
    parents = [r for r in references if r.get("refType", "CHILD_OF") == "CHILD_OF"] or references
    return _hex(parents[0].get("spanID"), 16) if parents else _hex(value.get("parentSpanID"), 16)


def _jaeger_log(log: dict[str, Any], limits: Limits) -> dict[str, Any]:
    fields = _tags(log.get("fields"), limits)
    name = _str(fields.pop("event", ""))[:MAX_NAME_CHARS]
    return {"name": name, "time": _whole(log.get("timestamp")) * _MICROSECOND, "attributes": fields}


def _tags(tags: Any, limits: Limits) -> dict[str, Any]:
    return read_attributes({_str(tag.get("key")): tag.get("value") for tag in _dicts(tags)}, limits)


# The SDKs' own JSON


def _is_sdk_span(value: Any) -> bool:
    """`context` is Python's word and `spanContext` JavaScript's."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("context") or value.get("spanContext"), dict)
        and isinstance(value.get("name"), str)
    )


def _sdk_spans(values: list[dict[str, Any]]) -> Iterator[Span]:
    for value in values:
        context = _dict(value.get("context") or value.get("spanContext"))
        limits = Limits()
        status = _dict(value.get("status"))
        resource = _dict(value.get("resource"))
        scope = _dict(value.get("instrumentationScope") or value.get("instrumentationLibrary"))
        parent = value.get("parent_id") or value.get("parentSpanId") or value.get("parentSpanContext")
        span = Span(
            trace_id=_any_id(context, ("trace_id", "traceId"), 32),
            span_id=_any_id(context, ("span_id", "spanId"), 16),
            parent_id=_any_id(parent or value.get("parent"), ("span_id", "spanId"), 16),
            name=value["name"][:MAX_NAME_CHARS],
            start=_any_time(value.get("start_time", value.get("startTime"))),
            end=_any_time(value.get("end_time", value.get("endTime"))),
            status=read_status(status.get("status_code", status.get("code"))),
            status_message=_str(status.get("description") or status.get("message")),
            attributes=read_attributes(_dict(value.get("attributes")), limits),
            resource=read_attributes(_dict(resource.get("attributes")), limits),
            scope=_str(scope.get("name")),
        )
        span.events = [
            {
                "name": _str(event.get("name"))[:MAX_NAME_CHARS],
                "time": _any_time(event.get("timestamp", event.get("time"))),
                "attributes": read_attributes(_dict(event.get("attributes")), limits),
            }
            for event in _dicts(value.get("events"))
        ]
        limits.note(span)
        yield settle_clock(span)


def _any_id(holder: Any, names: tuple[str, ...], digits: int) -> str:
    """An id as a whole number, as `0x…` or as plain hexadecimal, in an object or by itself."""
    found = next((holder[n] for n in names if n in holder), None) if isinstance(holder, dict) else holder
    if isinstance(found, int) and not isinstance(found, bool) and found > 0:
        text = f"{found:0{digits}x}"
        return text if len(text) == digits else ""
    return _hex(found.removeprefix("0x") if isinstance(found, str) else found, digits)


def _any_time(value: Any) -> int:
    """Nanoseconds, `[seconds, nanoseconds]`, or a date in words."""
    if isinstance(value, list) and len(value) == 2 and all(type(part) is int and part >= 0 for part in value):
        return otlp_json.read_time(value[0] * 10**9 + value[1])
    if isinstance(value, str) and not value.isdigit():
        return iso_time(value)
    return otlp_json.read_time(value)


def iso_time(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
        return max(0, round(at.timestamp() * 1_000_000)) * _MICROSECOND
    except (ValueError, OverflowError, OSError):
        return 0


def _hex(value: Any, digits: int) -> str:
    """Hexadecimal ids may come without their leading zeros."""
    text = value.lower() if isinstance(value, str) else ""
    if not 0 < len(text) <= digits or any(c not in "0123456789abcdef" for c in text):
        return ""
    return text.zfill(digits)


def _whole(value: Any) -> int:
    return otlp_json.read_time(value) // 1


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
