"""A session's place on disk: its sandbox, the files mounted into it, and what it delivers."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from agents.errors import NotFound
from agents.models import File, Session
from agents.runtime.context import FileReader, MountedFile
from agents.sandbox import client as sandbox
from agents.sandbox import stored_files
from agents.sandbox.hosted_paths import FOLDERS, hosted_path
from agents.services import blobs
from agents.services.log import DELETED, SessionGone
from agents.services.sandboxes import UPLOADS, root_of

OUTPUTS = "/mnt/session/outputs"
MAX_OUTPUT_FILES = 1_000
MAX_OUTPUT_BYTES = 500 * 1024 * 1024
MAX_PATH_CHARS = 2_000
MAX_TEXT_BYTES = 1024 * 1024  # the tools edit no file that is larger than a quarter of this
CLOCK_GRAIN_S = 2.0  # file systems and databases do not share a clock

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def sandbox_mode() -> str:
    """How tools run on this machine: `bubblewrap` or `files_only`. Never anything weaker."""
    wanted = settings.DAYBREAK_SANDBOX
    return sandbox.probe() if wanted == "auto" else wanted


@dataclass(frozen=True)
class Workplace:
    """Where a session's tools run: what does not change while a worker drives it."""

    session: Session
    spec: sandbox.SandboxSpec
    mounts: tuple[MountedFile, ...]

    @property
    def mode(self) -> str:
        return self.spec.mode

    @property
    def has_network(self) -> bool:
        return self.spec.network

    def file_reader(self) -> FileReader:
        """Reads files of the session's workspace for message content."""

        def read(file_id: str) -> tuple[str, bytes] | None:
            file = File.objects.in_workspace(self.session.workspace).filter(public_id=file_id).first()
            try:
                return (file.mime_type, blobs.read_blob(file.sha256)) if file is not None else None
            except NotFound:
                return None

        return read

    def start_sandbox(self) -> None:
        """Mount what is not there yet and let the sandbox start in the background.

        Raises SandboxError when a file cannot be mounted.
        """
        try:
            _mount_files(self.session)
        except (OSError, NotFound) as error:
            raise sandbox.SandboxError(f"A file could not be mounted: {error}") from error
        if not self.session.sandbox_host:
            Session.objects.filter(pk=self.session.pk).update(sandbox_host=socket.gethostname())
        sandbox.start(self.spec)


def workplace(session_pk: int) -> Workplace:
    session = Session.objects.select_related("environment", "workspace").filter(pk=session_pk).first()
    if session is None:
        raise SessionGone(DELETED)
    rows = session.resources.select_related("file").order_by("mount_path")
    mounted = tuple(MountedFile(path=row.mount_path, size_bytes=row.file.size_bytes) for row in rows)
    return Workplace(session=session, spec=spec_for(session), mounts=mounted)


def has_network(session: Session) -> bool:
    networking = session.environment.config.get("networking") or {}
    return settings.DAYBREAK_SANDBOX_NETWORK == "host" and networking.get("type") != "limited"


def spec_for(session: Session) -> sandbox.SandboxSpec:
    return sandbox.SandboxSpec(
        session_id=session.public_id,
        root=root_of(session.public_id),
        mode=sandbox_mode(),
        network=has_network(session),
    )


def _mount_files(session: Session) -> None:
    """Copy what is not there yet. Readable for whoever the sandbox runs as, whatever this process's umask is."""
    uploads = root_of(session.public_id) / "uploads"
    _make_readable_folder(uploads)
    for row in session.resources.select_related("file"):
        target = uploads / row.mount_path.removeprefix(UPLOADS + "/")
        if target.exists():
            continue
        for folder in reversed(target.relative_to(uploads).parents):
            _make_readable_folder(uploads / folder)
        part = target.with_name(f".{os.getpid()}.{secrets.token_hex(4)}.part")
        with blobs.open_blob(row.file.sha256) as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        part.chmod(0o444)
        part.rename(target)


def _make_readable_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)


_unlisted: set[int] = set()


def register_outputs(session: Session) -> None:
    """List new and changed deliverables. What goes wrong here never costs a call its result: see `has_unlisted`."""
    try:
        _register_outputs(session)
        _unlisted.discard(session.pk)
    except (OSError, DatabaseError) as error:
        _unlisted.add(session.pk)
        logger.warning("deliverables were not listed session=%s: %s", session.public_id, error)


def has_unlisted(session_pk: int) -> bool:
    """Whether deliverables could not be listed (the disk was full), so that it has to be tried again."""
    return session_pk in _unlisted


def _register_outputs(session: Session) -> list[File]:
    """Returns the files that are new or changed.

    The folder is read without following any link: a command may swap one in while this runs.
    """
    root = root_of(session.public_id)
    known = {file.path: file for file in session.files.filter(kind=File.Kind.OUTPUT)}
    changed = []
    started = timezone.now()
    for stored in stored_files.list_files(root, most=MAX_OUTPUT_FILES):
        path = f"{OUTPUTS}/{stored.path}"
        file = known.get(path)
        if stored.size_bytes > MAX_OUTPUT_BYTES or len(path) > MAX_PATH_CHARS or _is_unchanged(file, stored):
            continue
        try:
            with stored_files.open_file(root, stored.path) as handle:
                if file is not None and _sha256(handle) == file.sha256:
                    continue
                handle.seek(0)
                sha256, size = blobs.store_stream(handle)
        except FileNotFoundError:
            continue  # removed, or replaced by a link, since it was listed
        changed.append(_save_output(session, file, path, sha256, size, started))
    return changed


def _is_unchanged(file: File | None, stored: stored_files.StoredFile) -> bool:
    """Same size, and not written since it was last looked at: its bytes need not be read again."""
    return (
        file is not None
        and file.size_bytes == stored.size_bytes
        and stored.modified_at < file.updated_at.timestamp() - CLOCK_GRAIN_S
    )


def _sha256(handle: BinaryIO) -> str:
    return hashlib.file_digest(cast(Any, handle), "sha256").hexdigest()  # typeshed asks for more than it uses


def read_text(session_root: Path, path: str) -> str | None:
    """The text of a file as a model may name it; None when there is none. Opens no link."""
    resolved = stored_files.resolve(session_root, hosted_path(path))
    for shown, folder in FOLDERS.items():
        if resolved.startswith(f"{shown}/"):
            try:
                with stored_files.open_file(session_root, resolved.removeprefix(f"{shown}/"), folder=folder) as handle:
                    return handle.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
            except FileNotFoundError:
                return None
    return None


@transaction.atomic
def _save_output(session: Session, file: File | None, path: str, sha256: str, size: int, seen_at: datetime) -> File:
    name = path.rsplit("/", 1)[1]
    values: dict[str, Any] = {"sha256": sha256, "size_bytes": size, "updated_at": seen_at}
    if file is None:
        return File.objects.create(
            workspace=session.workspace,
            session=session,
            kind=File.Kind.OUTPUT,
            filename=name[:500],
            mime_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            path=path,
            **values,
        )
    for field, value in values.items():
        setattr(file, field, value)
    file.save(update_fields=list(values))
    return file
