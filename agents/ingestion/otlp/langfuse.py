"""Langfuse's trace export: one object with `trace` and `observations`, each observation a span."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from agents.ingestion.otlp.otlp_json import read_attributes
from agents.ingestion.otlp.span import MAX_NAME_CHARS, Limits, Span, settle_clock
from agents.ingestion.source import Unreadable, parse

TYPE = "langfuse.observation.type"
INPUT = "langfuse.observation.input"
OUTPUT = "langfuse.observation.output"
MODEL = "langfuse.observation.model.name"
USAGE = "langfuse.observation.usage_details"
SCORES = "langfuse.scores"
_OF_SCORE = ("name", "value", "stringValue", "source", "comment", "authorUserId")
_HEX = re.compile(r"[0-9a-f]+")
_OF_TRACE = {"userId": "user.id", "name": "langfuse.trace.name", "release": "langfuse.release"}


def looks_like(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("trace"), dict)
        and isinstance(value.get("observations"), list)
        and all(isinstance(item, dict) for item in value["observations"])
    )


def read_spans(value: dict[str, Any]) -> Iterator[Span]:
    trace = value["trace"]
    shared: dict[str, Any] = {}
    if isinstance(trace.get("sessionId"), str) and trace["sessionId"]:
        shared["langfuse.session.id"] = trace["sessionId"]
    resource = {name: trace[key] for key, name in _OF_TRACE.items() if isinstance(trace.get(key), str)}
    scores = [score for score in _list(trace.get("scores")) if isinstance(score, dict)]
    ids = {observation.get("id") for observation in value["observations"]}
    root = next((o.get("id") for o in value["observations"] if not o.get("parentObservationId")), None)
    for observation in value["observations"]:
        own = [
            s
            for s in scores
            if (s["observationId"] if s.get("observationId") in ids else root) == observation.get("id")
        ]
        told = {**shared, **({SCORES: [{k: s.get(k) for k in _OF_SCORE} for s in own]} if own else {})}
        yield _span(observation, _id(observation.get("traceId") or trace.get("id"), 32), told, resource)


def _span(value: dict[str, Any], trace_id: str, shared: dict[str, Any], resource: dict[str, Any]) -> Span:
    limits = Limits()
    metadata = _object(value.get("metadata"))
    attributes = _object(metadata.get("attributes"))
    rest = {k: v for k, v in metadata.items() if k not in ("attributes", "resourceAttributes", "scope")}
    own = {
        **attributes,
        **{f"langfuse.observation.metadata.{key}": item for key, item in rest.items()},
        **shared,
        TYPE: str(value.get("type") or "SPAN").lower(),
    }
    named = {INPUT: value.get("input"), OUTPUT: value.get("output"), MODEL: value.get("model")}
    named[USAGE] = _object(value.get("usageDetails"))
    own |= {key: item for key, item in named.items() if item not in (None, "", {}, "null")}
    span = Span(
        trace_id=trace_id,
        span_id=_id(value.get("id"), 16),
        parent_id=_id(value.get("parentObservationId"), 16),
        name=str(value.get("name") or "")[:MAX_NAME_CHARS],
        start=_time(value.get("startTime")),
        end=_time(value.get("endTime")),
        status=2 if value.get("level") == "ERROR" else 0,
        status_message=str(value.get("statusMessage") or ""),
        attributes=read_attributes(own, limits),
        resource={**read_attributes(_object(metadata.get("resourceAttributes")), limits), **resource},
        scope=str(_object(metadata.get("scope")).get("name") or ""),
    )
    limits.note(span)
    return settle_clock(span)


def _id(value: Any, digits: int) -> str:
    """Langfuse takes any text as an id; one that is no hexadecimal of the right length gets a digest for one."""
    if not isinstance(value, str) or not value:
        return ""
    if len(value) == digits and _HEX.fullmatch(value):
        return value
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:digits]


def _object(value: Any) -> dict[str, Any]:
    """An object, or the object in a JSON text."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = parse(value.encode("utf-8", "replace")).value
        except Unreadable:
            return {}
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _time(value: Any) -> int:
    if not isinstance(value, str):
        return 0
    try:
        at = datetime.fromisoformat(value)
        return max(0, round(at.timestamp() * 1_000_000)) * 1_000
    except (ValueError, OverflowError, OSError):
        return 0
