"""OTLP bodies for tests, made with the published protobuf types."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

TRACE = "0af7651916cd43dd8448eb211c80319c"
START = 1_760_000_000_000_000_000
SECOND = 1_000_000_000
PROTOBUF = {"content-type": "application/x-protobuf"}


def any_value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=str(value))


def span(
    span_id: int, name: str, parent: int = 0, *, at: float = 0.0, took: float = 1.0, **more: Any
) -> dict[str, Any]:
    """A span in plain words; `attributes` are given with their dots, in `a`."""
    return {"id": span_id, "name": name, "parent": parent, "at": at, "took": took, **more}


def request(*spans: dict[str, Any], trace: str = TRACE, resource: dict[str, Any] | None = None) -> Any:
    message = ExportTraceServiceRequest()
    part = message.resource_spans.add()
    for key, value in (resource or {"service.name": "tests"}).items():
        part.resource.attributes.append(KeyValue(key=key, value=any_value(value)))
    scope = part.scope_spans.add()
    scope.scope.name = "tests"
    for given in spans:
        made = scope.spans.add()
        made.trace_id = bytes.fromhex(given.get("trace", trace))
        made.span_id = given["id"].to_bytes(8, "big") if isinstance(given["id"], int) else given["id"]
        if given["parent"]:
            made.parent_span_id = given["parent"].to_bytes(8, "big")
        made.name = given["name"]
        made.kind = 1
        made.start_time_unix_nano = START + round(given["at"] * SECOND)
        made.end_time_unix_nano = max(0, made.start_time_unix_nano + round(given["took"] * SECOND))
        for key, value in given.get("a", {}).items():
            made.attributes.append(KeyValue(key=key, value=any_value(value)))
        if given.get("error"):
            made.status.code = 2
            made.status.message = given["error"]
    return message


def as_json(message: Any) -> dict[str, Any]:
    """OTLP's JSON: as protobuf's own, but ids in hexadecimal and enums as numbers."""
    data = MessageToDict(message, use_integers_for_enums=True)
    for resource in data.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for made in scope.get("spans", []):
                for key in ("traceId", "spanId", "parentSpanId"):
                    if key in made:
                        made[key] = base64.b64decode(made[key]).hex()
    return data
