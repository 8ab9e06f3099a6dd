"""A session's place on disk: its sandbox, the files mounted into it, and what it delivers."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import shutil
import socket
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents.errors import ProviderRejected
from agents.models import File, Session
from agents.runtime.context import FileReader, MountedFile
from agents.sandbox import client as sandbox
from agents.services import blobs

OUTPUTS = "/mnt/session/outputs"
UPLOADS = "/mnt/session/uploads"
MAX_OUTPUT_FILES = 1_000
MAX_OUTPUT_BYTES = 500 * 1024 * 1024


@lru_cache(maxsize=1)
def sandbox_mode() -> str:
    """How tools run on this machine: `bubblewrap` or `files_only`. Never anything weaker."""
    wanted = settings.DAYBREAK_SANDBOX
    return sandbox.probe() if wanted == "auto" else wanted


def mode_for(session: Session) -> str:
    return sandbox_mode()


def has_network(session: Session) -> bool:
    networking = session.environment.config.get("networking") or {}
    return settings.DAYBREAK_SANDBOX_NETWORK == "host" and networking.get("type") != "limited"


def root_of(session: Session) -> Path:
    return Path(settings.DAYBREAK_DATA_DIR) / "sandboxes" / session.public_id


def spec_for(session: Session) -> sandbox.SandboxSpec:
    return sandbox.SandboxSpec(
        session_id=session.public_id,
        root=root_of(session),
        mode=mode_for(session),
        network=has_network(session),
    )


def mounts(session: Session) -> list[MountedFile]:
    """The mounted files, by path."""
    rows = session.resources.select_related("file").order_by("mount_path")
    return [MountedFile(path=row.mount_path, size_bytes=row.file.size_bytes) for row in rows]


def file_reader(session: Session) -> FileReader:
    """Reads files of the session's workspace for message content."""

    def read(file_id: str) -> tuple[str, bytes]:
        file = File.objects.in_workspace(session.workspace).filter(public_id=file_id).first()
        if file is None:
            raise ProviderRejected(f"The file {file_id} of a message no longer exists.")
        return file.mime_type, blobs.read_blob(file.sha256)

    return read


def start_sandbox(session: Session) -> None:
    """Mount what is not there yet and let the sandbox start in the background."""
    _mount_files(session)
    if not session.sandbox_host:
        Session.objects.filter(pk=session.pk).update(sandbox_host=socket.gethostname())
    sandbox.start(spec_for(session))


def _mount_files(session: Session) -> None:
    uploads = root_of(session) / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    for row in session.resources.select_related("file"):
        target = uploads / row.mount_path.removeprefix(UPLOADS + "/")
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + f".{os.getpid()}.part")
        with blobs.open_blob(row.file.sha256) as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        part.chmod(0o444)
        part.rename(target)


def unmount(session: Session, mount_path: str) -> None:
    """Take a removed file out of the sandbox."""
    (root_of(session) / "uploads" / mount_path.removeprefix(UPLOADS + "/")).unlink(missing_ok=True)


def _output_files(session: Session) -> Iterator[tuple[str, Path]]:
    """Regular files below the outputs folder, links refused, in a stable order."""
    top = root_of(session) / "outputs"
    found = 0
    for folder, names, files in os.walk(top, followlinks=False):
        names.sort()
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_symlink() or not path.is_file():
                continue
            found += 1
            if found > MAX_OUTPUT_FILES:
                return
            yield f"{OUTPUTS}/{path.relative_to(top).as_posix()}", path


def register_outputs(session: Session) -> list[File]:
    """List new and changed deliverables as files of the session. Returns those that changed."""
    known = {file.path: file for file in session.files.filter(kind=File.Kind.OUTPUT)}
    changed = []
    for sandbox_path, path in _output_files(session):
        size = path.stat().st_size
        if size > MAX_OUTPUT_BYTES:
            continue
        file = known.get(sandbox_path)
        if file is not None and file.size_bytes == size and file.sha256 == _sha256(path):
            continue
        with path.open("rb") as handle:
            sha256, size = blobs.store_stream(handle)
        changed.append(_save_output(session, file, sandbox_path, sha256, size))
    return changed


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@transaction.atomic
def _save_output(session: Session, file: File | None, path: str, sha256: str, size: int) -> File:
    name = path.rsplit("/", 1)[1]
    values: dict[str, Any] = {"sha256": sha256, "size_bytes": size, "updated_at": timezone.now()}
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


def destroy(session: Session) -> None:
    """End the session's sandbox and remove its files from disk."""
    sandbox.destroy(spec_for(session))
