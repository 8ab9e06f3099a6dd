"""Bytes by their SHA-256, each kept once.

Up to 1 MiB they live in the table, so that a commit of the engine and its blobs are one transaction. Larger ones are
files in the data dir under `blobs/ab/<sha256>`, written and synced before the row that names them.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from agents.errors import NotFound
from agents.models import Blob
from agents.services import log_sql

MAX_ROW_BYTES = 1024 * 1024
CHUNK_BYTES = 256 * 1024
LOOK_UP_FROM = 64 * 1024  # bytes: from there on it pays to ask which items the database has


def store_bytes(data: bytes) -> str:
    """Keep `data` and return its SHA-256 in hex."""
    return store_many([data])[0]


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store_many(items: Sequence[bytes], *, known: set[str] | None = None) -> list[str]:
    """Keep each item and return their SHA-256s in order. Only what is not there yet is sent to the database.

    Args:
        known: hashes the caller has seen stored; they are not looked up again, and the new ones are added.
    """
    hashes = [sha256_of(item) for item in items]
    known = set() if known is None else known
    new = {sha256: item for sha256, item in zip(hashes, items, strict=True) if sha256 not in known}
    if sum(map(len, new.values())) >= LOOK_UP_FROM:
        for (sha256,) in log_sql.execute("SELECT sha256 FROM agents_blob WHERE sha256 = ANY($1)", [list(new)]):
            new.pop(sha256)
    if new:
        _insert(new)
    known.update(hashes)
    return hashes


def _insert(items: dict[str, bytes]) -> None:
    rows = []
    # In one order everywhere, so that two transactions with the same blobs cannot wait for each other.
    for sha256, item in sorted(items.items()):
        in_row = len(item) <= MAX_ROW_BYTES
        if not in_row:
            _write_file(sha256, item)
        rows.append(Blob(sha256=sha256, size_bytes=len(item), data=item if in_row else None))
    log_sql.insert(rows, ignore_conflicts=True)


def store_stream(source: BinaryIO) -> tuple[str, int]:
    """Keep everything `source` yields; its SHA-256 and its size. Never holds more than 1 MiB in memory."""
    writer = BlobWriter()
    try:
        while chunk := source.read(CHUNK_BYTES):
            writer.write(chunk)
        return writer.finish()
    finally:
        writer.close()


def read_blob(sha256: str) -> bytes:
    with open_blob(sha256) as handle:
        return handle.read()


def open_blob(sha256: str) -> BinaryIO:
    """The bytes as an open file; the caller closes it. Raises NotFound when nobody stored them."""
    blob = Blob.objects.filter(sha256=sha256).first()
    if blob is None:
        raise NotFound(f"No bytes are stored under {sha256}.")
    if blob.data is not None:
        return io.BytesIO(blob.data)
    try:
        return blob_path(sha256).open("rb")
    except FileNotFoundError as exc:
        raise NotFound(f"The bytes {sha256} are missing from the data dir.") from exc


def blob_path(sha256: str) -> Path:
    return _folder() / sha256[:2] / sha256


class BlobWriter:
    """Collects bytes whose size nobody knows yet: in memory up to 1 MiB, in a file from there on.

    Call `finish` once, and `close` in any case; without `finish` nothing is kept.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._buffer = bytearray()
        self._file: BinaryIO | None = None

    def write(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        self._sha256.update(chunk)
        if self._file is not None:
            self._file.write(chunk)
            return
        self._buffer += chunk
        if self.size_bytes > MAX_ROW_BYTES:
            self._file = _temporary_file()
            self._file.write(self._buffer)
            self._buffer.clear()

    def finish(self) -> tuple[str, int]:
        """Keep what was written; its SHA-256 and its size."""
        sha256 = self._sha256.hexdigest()
        if self._file is None:
            return store_bytes(bytes(self._buffer)), self.size_bytes
        temporary, self._file = self._file, None
        _publish(temporary, sha256)
        Blob.objects.bulk_create([Blob(sha256=sha256, size_bytes=self.size_bytes)], ignore_conflicts=True)
        return sha256, self.size_bytes

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None


def _folder() -> Path:
    return Path(settings.DAYBREAK_DATA_DIR) / "blobs"


def _temporary_file() -> BinaryIO:
    incoming = _folder() / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    return tempfile.NamedTemporaryFile(dir=incoming, delete=False)  # type: ignore[return-value]


def _write_file(sha256: str, data: bytes) -> None:
    if blob_path(sha256).exists():
        return
    temporary = _temporary_file()
    temporary.write(data)
    _publish(temporary, sha256)


def _publish(temporary: BinaryIO, sha256: str) -> None:
    """Give a complete file its name. Content and name are on the disk when this returns."""
    with temporary:
        temporary.flush()
        os.fsync(temporary.fileno())
    target = blob_path(sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary.name, target)
    for folder in (target.parent, target.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
