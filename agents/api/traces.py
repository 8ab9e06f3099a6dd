"""`POST /v1/traces`: OTLP over HTTP, as protobuf or JSON.

Answers and errors are in the encoding of the request, as the OTLP specification has them: an
`ExportTraceServiceResponse` with the spans that were rejected, or a `Status`. A 200 means that the spans are stored.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import orjson
from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from agents.api.http import ERROR_FORMATS, ApiRequest, endpoint
from agents.errors import DaybreakError, Invalid, TooLarge, Unavailable
from agents.ingestion.otlp import otlp_json, protobuf
from agents.ingestion.otlp.span import InvalidTraces, Span, TooManyValues
from agents.ingestion.source import Unreadable, parse
from agents.models import Session
from agents.services import traces
from agents.services.traces import Received

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
COMPRESSED_BYTES = 8 * 1024 * 1024
INFLATED_BYTES = 20 * 1024 * 1024
AT_ONCE = 2  # requests read at the same time: each may take some ten times the memory of its body
RETRY_AFTER_S = 5
_CHUNK = 64 * 1024
_readers = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="traces")

# The codes of google.rpc.Status that OTLP clients know.
_RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 429: 8, 501: 12, 503: 14}


class WrongMediaType(Invalid):
    status = 415


async def receive_traces(request: ApiRequest) -> HttpResponse:
    """Reading a large body takes a while: it is done beside the thread that answers everybody else."""
    return await sync_to_async(_receive, thread_sensitive=False, executor=_readers)(request)


def _receive(request: ApiRequest) -> HttpResponse:
    try:
        kind = media_type(request)
        if kind not in (PROTOBUF, JSON):
            raise WrongMediaType(f"Send traces as {PROTOBUF} or {JSON}.")
        return answer(traces.receive(request.workspace, read_spans(inflated(request), kind)), kind)
    except InvalidTraces as error:
        raise (TooLarge if isinstance(error, TooManyValues) else Invalid)(str(error)) from error
    finally:
        if not connection.in_atomic_block:
            connection.close()  # back to the pool: this thread may not be asked again for long


def media_type(request: HttpRequest) -> str:
    return (request.content_type or "").strip().lower()


def inflated(request: HttpRequest) -> bytes:
    """The body, decompressed as far as the limit: what would be larger is cut off there and refused."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    body = request.body
    if encoding in ("", "identity"):
        if len(body) > INFLATED_BYTES:
            raise _too_large()
        return body
    if encoding != "gzip":
        raise WrongMediaType("Traces may be compressed with gzip, and with nothing else.")
    if len(body) > COMPRESSED_BYTES:
        raise TooLarge(f"A compressed body may have {COMPRESSED_BYTES // 2**20} MiB.")
    parts, size = [], 0
    for part in _inflate(body):
        size += len(part)
        if size > INFLATED_BYTES:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def _inflate(body: bytes) -> Iterator[bytes]:
    """One gzip member after the other, in small pieces."""
    rest = body
    while rest:
        member = zlib.decompressobj(wbits=31)
        try:
            piece = member.decompress(rest, _CHUNK)
            while piece or member.unconsumed_tail:
                yield piece
                piece = member.decompress(member.unconsumed_tail, _CHUNK)
        except zlib.error as error:
            raise Invalid("The body is not valid gzip.") from error
        if not member.eof:
            raise Invalid("The gzip body ends too early.")
        rest = member.unused_data


def _too_large() -> TooLarge:
    return TooLarge(f"The traces of one request may have {INFLATED_BYTES // 2**20} MiB. Send fewer spans at a time.")


def read_spans(body: bytes, kind: str) -> Iterator[Span]:
    if kind == PROTOBUF:
        return protobuf.read_spans(body)
    otlp_json.check_size(body)
    try:
        value = parse(body).value if body.strip() else {}
    except Unreadable as error:
        raise InvalidTraces(f"The body cannot be read: {error}.") from error
    return otlp_json.read_spans(value)


def answer(received: Received, kind: str) -> HttpResponse:
    if kind == JSON:
        told = {"rejectedSpans": str(received.rejected), "errorMessage": received.message}
        body = {"partialSuccess": told} if received.rejected else {}
        return HttpResponse(orjson.dumps(body), content_type=JSON)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    if received.rejected:
        response.partial_success.rejected_spans = received.rejected
        response.partial_success.error_message = received.message
    return HttpResponse(response.SerializeToString(), content_type=PROTOBUF)


def error_answer(request: HttpRequest, error: DaybreakError) -> HttpResponse:
    """The error as a `Status`, in the request's encoding; JSON for a request in none that we know."""
    code = _RPC_CODES.get(error.status, 13)
    if media_type(request) == PROTOBUF:
        body = _status_message(code, error.message)
        response = HttpResponse(body, status=error.status, content_type=PROTOBUF)
    else:
        body = orjson.dumps({"code": code, "message": error.message})
        response = HttpResponse(body, status=error.status, content_type=JSON)
    if isinstance(error, Unavailable):
        response["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _status_message(code: int, message: str) -> bytes:
    """`google.rpc.Status`: its two fields, without a dependency for them."""
    text = message.encode()
    return bytes([0x08, code, 0x12]) + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def remember_trace(request: HttpRequest, session: Session) -> None:
    """Spans of the trace in which the SDK made this call belong to the session, wherever they name none."""
    traces.remember(session, request.headers.get("traceparent"))


ERROR_FORMATS[PATH] = error_answer
urlpatterns = [path("traces", endpoint(POST=receive_traces), name="traces")]
