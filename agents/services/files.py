"""Files: uploads, and what sessions mount and deliver. The bytes are blobs; a file is a name for them."""

from __future__ import annotations

import mimetypes
import re
from datetime import timedelta
from typing import Any

from django.utils import timezone

from agents.errors import Invalid, NotFound
from agents.models import File, Workspace

Wire = dict[str, Any]

MAX_FILENAME_CHARS = 500
MIN_EXPIRY_S = 3_600
MAX_EXPIRY_S = 7_776_000
UNKNOWN_TYPE = "application/octet-stream"
MIME_TYPE = re.compile(r"[\w!#$&^.+-]{1,90}/[\w!#$&^.+-]{1,100}", re.ASCII)


def get_file(workspace: Workspace, public_id: str) -> File:
    """Raises NotFound, with the code `file_expired` when it was there once."""
    file = File.objects.in_workspace(workspace).filter(public_id=public_id).first()
    if file is None:
        raise NotFound(f"There is no file {public_id[:80]!r} in this workspace.")
    if file.expires_at is not None and file.expires_at <= timezone.now():
        raise NotFound(f"File {file.public_id} expired. Upload it again.", code="file_expired")
    return file


def check_expiry(seconds: int | None) -> None:
    if seconds is not None and not MIN_EXPIRY_S <= seconds <= MAX_EXPIRY_S:
        raise Invalid(f"expires_in_seconds: must be between {MIN_EXPIRY_S} and {MAX_EXPIRY_S}.")


def create_upload(
    workspace: Workspace,
    *,
    filename: str,
    mime_type: str,
    sha256: str,
    size_bytes: int,
    expires_in_seconds: int | None = None,
) -> File:
    """Name a stored blob. `filename` and `mime_type` are what the client claimed, and are cleaned here."""
    check_expiry(expires_in_seconds)
    mime_type = clean_mime_type(mime_type, filename)
    now = timezone.now()
    return File.objects.create(
        workspace=workspace,
        kind=File.Kind.UPLOAD,
        filename=clean_filename(filename, mime_type),
        mime_type=mime_type,
        size_bytes=size_bytes,
        sha256=sha256,
        created_at=now,
        updated_at=now,
        expires_at=now + timedelta(seconds=expires_in_seconds) if expires_in_seconds is not None else None,
    )


def clean_filename(given: str, mime_type: str) -> str:
    """The last part of the path, without control characters; `unnamed` and an extension when nothing is left."""
    name = re.split(r"[/\\]", given)[-1]
    name = "".join(c for c in name if c.isprintable()).strip()
    if name in {"", ".", ".."}:
        name = "unnamed" + (mimetypes.guess_extension(mime_type) or "")
    if len(name) > MAX_FILENAME_CHARS:
        raise Invalid(f"file: the name has more than {MAX_FILENAME_CHARS} characters.")
    return name


def clean_mime_type(given: str, filename: str) -> str:
    """What the client said, when it is a media type; else a guess by the name."""
    plain = given.partition(";")[0].strip().lower()
    if MIME_TYPE.fullmatch(plain) and plain != UNKNOWN_TYPE:
        return plain
    return mimetypes.guess_type(filename)[0] or UNKNOWN_TYPE


def delete_file(file: File) -> None:
    """Remove a file. Sessions that mounted it keep their own copy."""
    if file.kind == File.Kind.MOUNT:
        raise Invalid(f"File {file.public_id} is mounted into a session. Delete the session's resource instead.")
    file.delete()


def check_can_download(file: File) -> None:
    if not file.downloadable:
        raise Invalid(
            f"File {file.public_id} was uploaded, and only files that sessions deliver can be downloaded.",
            code="file_not_downloadable",
        )


def file_wire(file: File) -> Wire:
    """`file` as the API shows it; needs its session loaded. `scope` is there for session files only."""
    wire = {
        "id": file.public_id,
        "type": "file",
        "filename": file.filename,
        "mime_type": file.mime_type,
        "size_bytes": file.size_bytes,
        "created_at": file.created_at,
        "downloadable": file.downloadable,
        "expires_at": file.expires_at,
    }
    if file.session is not None:
        wire["scope"] = {"type": "session", "id": file.session.public_id}
    return wire
