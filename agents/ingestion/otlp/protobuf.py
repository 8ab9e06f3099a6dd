"""OTLP's protobuf form: `ExportTraceServiceRequest` to spans.

The outer levels are walked here, byte by byte, and each span is then parsed by itself: so a body of a million empty
messages is refused before the parser would make a million objects of it.
"""

from __future__ import annotations

import base64
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

MAX_MESSAGES = 100_000  # resources, scopes and spans in one body
MAX_SPAN_VALUES = 50_000  # of one span
WALKED_ABOVE = 128 * 1024  # bytes of a span; smaller ones cannot hold many values
MAX_DEPTH = 32
NOT_READ = "The body is not a valid ExportTraceServiceRequest"

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_RESOURCE_SPANS = _SPANS = _SCOPE_SPANS = 2
_RESOURCE = _SCOPE = 1


def read_spans(body: bytes) -> Iterator[Span]:
    """The spans of a body, with their ids as sent: the caller refuses the unusable.

    Raises InvalidTraces for anything that is no such message.
    """
    from google.protobuf.message import DecodeError

    try:
        yield from _Reader(body).spans()
    except (DecodeError, IndexError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidTraces(f"{NOT_READ}.") from error


class _Reader:
    def __init__(self, body: bytes) -> None:
        from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
        from opentelemetry.proto.resource.v1.resource_pb2 import Resource
        from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

        self.body = memoryview(body)
        self.resource_type, self.scope_type, self.span_type = Resource, InstrumentationScope, Message
        self.messages = 0

    def spans(self) -> Iterator[Span]:
        for number, resource_spans in self._parts(self.body):
            if number == 1:
                yield from self._of_resource(resource_spans)

    def _of_resource(self, part: memoryview) -> Iterator[Span]:
        parts = list(self._parts(part))
        limits = Limits()
        resource: dict[str, Any] = {}
        for number, value in parts:
            if number == _RESOURCE:
                _check_values(value)
                resource |= _attributes(self.resource_type.FromString(bytes(value)).attributes, limits)
        for number, value in parts:
            if number == _SCOPE_SPANS:
                yield from self._of_scope(value, resource)

    def _of_scope(self, part: memoryview, resource: dict[str, Any]) -> Iterator[Span]:
        parts = list(self._parts(part))
        scope = ""
        for number, value in parts:
            if number == _SCOPE:
                _check_values(value)
                scope = self.scope_type.FromString(bytes(value)).name[:MAX_NAME_CHARS]
        for number, value in parts:
            if number == _SPANS:
                _check_values(value)
                yield _span(self.span_type.FromString(bytes(value)), resource, scope)

    def _parts(self, message: memoryview) -> Iterator[tuple[int, memoryview]]:
        for number, value in _fields(message):
            self.messages += 1
            if self.messages > MAX_MESSAGES:
                raise TooManyValues(f"The body holds more than {MAX_MESSAGES:,} messages. Send fewer spans at a time.")
            yield number, value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a message; others are passed over."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind, number = tag & 7, tag >> 3
        if number == 0:
            raise InvalidTraces(f"{NOT_READ}.")
        if kind == _LENGTH:
            length, at = _varint(message, at)
            if at + length > end:
                raise InvalidTraces(f"{NOT_READ}: it ends too early.")
            yield number, message[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise InvalidTraces(f"{NOT_READ}.")
    if at > end:
        raise InvalidTraces(f"{NOT_READ}: it ends too early.")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    byte = message[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = message[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise InvalidTraces(f"{NOT_READ}.")


def _check_values(message: memoryview) -> None:
    """Refuse a message with too many parts, before the parser makes an object of each."""
    if len(message) <= WALKED_ABOVE:
        return
    waiting, count = [(message, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        try:
            found = list(_few(part, MAX_SPAN_VALUES - count))
        except (InvalidTraces, IndexError):
            continue  # text that was taken for a message
        count += len(found)
        if count >= MAX_SPAN_VALUES:
            raise TooManyValues(f"One span holds more than {MAX_SPAN_VALUES:,} values.")
        if depth < MAX_DEPTH:
            waiting += [(value, depth + 1) for _, value in found if len(value) > 2 * len(found) and len(value) > 4096]


def _few(message: memoryview, most: int) -> Iterator[tuple[int, memoryview]]:
    for count, found in enumerate(_fields(message)):
        yield found
        if count >= most:
            return


def _span(message: Any, resource: dict[str, Any], scope: str) -> Span:
    limits = Limits()
    status = message.status
    span = Span(
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        parent_id=message.parent_span_id.hex(),
        name=message.name[:MAX_NAME_CHARS],
        kind=message.kind,
        start=message.start_time_unix_nano,
        end=message.end_time_unix_nano,
        status=status.code,
        status_message=limits.text("status.message", status.message),
        attributes=_attributes(message.attributes, limits),
        resource=resource,
        scope=scope,
    )
    if message.events:
        span.events = [
            {"name": e.name[:MAX_NAME_CHARS], "time": e.time_unix_nano, "attributes": _attributes(e.attributes, limits)}
            for e in message.events[:MAX_ATTRIBUTES]
        ]
    if message.links:
        span.links = [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "attributes": _attributes(link.attributes, limits),
            }
            for link in message.links[:MAX_ATTRIBUTES]
        ]
    dropped = message.dropped_attributes_count
    if dropped:
        span.notes["attributes_dropped_by_the_sender"] = dropped
    limits.note(span)
    return settle_clock(span)


def _attributes(pairs: Any, limits: Limits) -> dict[str, Any]:
    limits.left_out += max(0, len(pairs) - MAX_ATTRIBUTES)
    found = {}
    for pair in pairs[:MAX_ATTRIBUTES] if len(pairs) > MAX_ATTRIBUTES else pairs:
        key, value = pair.key, pair.value
        kind = value.WhichOneof("value")
        if kind == "string_value":
            text = value.string_value
            found[key] = text if len(text) < 65_536 else limits.text(key, text)
        elif kind == "int_value":
            found[key] = value.int_value
        else:
            found[key] = _value(key, value, kind, limits)
    return found


def _value(key: str, value: Any, kind: str | None, limits: Limits, depth: int = 0) -> Any:
    if kind == "string_value":
        return limits.text(key, value.string_value)
    if kind == "bytes_value":
        return limits.text(key, base64.b64encode(value.bytes_value).decode())
    if kind in ("array_value", "kvlist_value") and depth > MAX_DEPTH:
        return None
    if kind == "array_value":
        items = value.array_value.values
        return [_value(key, item, item.WhichOneof("value"), limits, depth + 1) for item in items]
    if kind == "kvlist_value":
        return {
            item.key: _value(key, item.value, item.value.WhichOneof("value"), limits, depth + 1)
            for item in value.kvlist_value.values
        }
    return getattr(value, kind) if kind else None
