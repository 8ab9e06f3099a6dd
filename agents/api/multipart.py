"""A multipart upload, read once and straight into a blob.

Django's form parser would drop a part without a filename, decode it as text, and keep another copy on disk. Its
lower-level reader of parts is used as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.multipartparser import (
    ChunkIter,
    InputStreamExhausted,
    LazyStream,
    MultiPartParser,
    MultiPartParserError,
    Parser,
)
from django.utils.http import parse_header_parameters

from agents.errors import Invalid, TooLarge
from agents.services.blobs import BlobWriter

MAX_FIELD_BYTES = 1024
MAX_PARTS = 20


@dataclass(frozen=True)
class Upload:
    """A stored `file` part, what the client said of it, and the form's other fields."""

    sha256: str
    size_bytes: int
    filename: str
    mime_type: str
    fields: dict[str, str]


def read_upload(request: HttpRequest, *, known_fields: set[str]) -> Upload:
    """Store the part `file` and collect the small fields.

    Raises:
        Invalid: not multipart, no or two files, an unknown field, or cut short.
        TooLarge: the file is larger than `DAYBREAK_UPLOAD_LIMIT_BYTES`.
    """
    writer = BlobWriter()
    fields: dict[str, str] = {}
    found: tuple[str, str] | None = None
    try:
        for name, filename, mime_type, chunks in _parts(request):
            if name == "file":
                if found is not None:
                    raise Invalid("file: send one file per request.")
                found = (filename, mime_type)
                _fill(writer, chunks)
            elif name in known_fields and name not in fields:
                fields[name] = _small(name, chunks)
            else:
                raise Invalid(f"{name[:80]!r}: unknown or repeated form field.")
        if found is None:
            raise Invalid("file: the form has no part of this name.")
        sha256, size_bytes = writer.finish()
        return Upload(sha256, size_bytes, *found, fields)
    except (MultiPartParserError, InputStreamExhausted, UnicodeDecodeError) as exc:
        raise Invalid(f"The multipart body could not be read: {exc}") from exc
    finally:
        writer.close()


def _parts(request: HttpRequest) -> Iterator[tuple[str, str, str, Iterator[bytes]]]:
    """Name, filename, media type and bytes of each part."""
    stream = LazyStream(ChunkIter(request))
    count = 0
    for _, headers, chunks in Parser(stream, _boundary(request)):
        disposition = headers.get("content-disposition")
        if disposition is None:
            continue  # what stands before the first and after the last boundary
        count += 1
        if count > MAX_PARTS:
            raise Invalid(f"The form has more than {MAX_PARTS} parts.")
        if headers.get("content-transfer-encoding", ("binary", {}))[0].strip() == "base64":
            raise Invalid("file: send the bytes as they are, not in base64.")
        options = {key: _text(value) for key, value in disposition[1].items()}
        mime_type = headers.get("content-type", ("", {}))[0].strip()
        yield options.get("name", ""), options.get("filename", ""), mime_type, chunks


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _boundary(request: HttpRequest) -> bytes:
    kind, options = parse_header_parameters(request.META.get("CONTENT_TYPE", ""))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not MultiPartParser.boundary_re.fullmatch(boundary):
        raise Invalid("Send the file as multipart/form-data, in a part called `file`.")
    return boundary.encode("ascii")


def _fill(writer: BlobWriter, chunks: Iterator[bytes]) -> None:
    limit = settings.DAYBREAK_UPLOAD_LIMIT_BYTES
    for chunk in chunks:
        writer.write(chunk)
        if writer.size_bytes > limit:
            raise TooLarge(f"The file is larger than {limit // (1024 * 1024)} MB.")


def _small(name: str, chunks: Any) -> str:
    value = chunks.read(MAX_FIELD_BYTES + 1)
    if len(value) > MAX_FIELD_BYTES:
        raise Invalid(f"{name}: the value is too long.")
    return value.decode("utf-8")
