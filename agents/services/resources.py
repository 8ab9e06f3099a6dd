"""Files mounted into a session."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from agents.errors import Invalid, NotBuilt, NotFound
from agents.models import File, Session, SessionResource
from agents.services.sandboxes import UPLOADS, unmount_after_commit

MAX_MOUNT_PATH = 1000
MAX_RESOURCES = 500


def add_resource(session: Session, values: dict[str, Any], *, where: str = "resource") -> SessionResource:
    """Mount an uploaded file. The session gets a file id of its own for it.

    Raises NotFound for an unknown file, Invalid for a path that cannot be a mount path or is taken.
    """
    if values["type"] != "file":
        raise NotBuilt(f"{where}: resources of type {values['type']} are not built yet.")
    source = File.objects.in_workspace(session.workspace).unexpired().filter(public_id=values["file_id"]).first()
    if source is None:
        raise NotFound(f"{where}.file_id: there is no file {values['file_id']}.")
    path = mount_path(values.get("mount_path"), values["file_id"], where=where)
    _check_room(session, path, where=where)
    copy = File(
        workspace=session.workspace,
        session=session,
        kind=File.Kind.MOUNT,
        filename=source.filename,
        mime_type=source.mime_type,
        size_bytes=source.size_bytes,
        sha256=source.sha256,
        path=path,
    )
    try:
        with transaction.atomic():
            copy.save()
            return SessionResource.objects.create(session=session, file=copy, mount_path=path)
    except IntegrityError as exc:
        raise Invalid(f"{where}.mount_path: {path} is taken.") from exc


def _check_room(session: Session, path: str, *, where: str) -> None:
    """One file cannot stand where another needs a folder."""
    if session.is_imported or session.is_terminated:
        raise Invalid(f"{where}: the resources of an imported, archived or terminated session cannot be changed.")
    if session.resources.count() >= MAX_RESOURCES:
        raise Invalid(f"resources: at most {MAX_RESOURCES} per session.")
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(2, len(parts))]
    clash = Q(mount_path=path) | Q(mount_path__startswith=f"{path}/") | Q(mount_path__in=above)
    if session.resources.filter(clash).exists():
        raise Invalid(f"{where}.mount_path: {path} is taken, or another file stands in its way.")


def mount_path(wanted: str | None, file_id: str, *, where: str) -> str:
    """Where a file appears in the sandbox: below the uploads folder, whatever was asked for."""
    path = (wanted or f"/{file_id}").removeprefix(UPLOADS)
    parts = path.strip("/").split("/")
    if (
        len(path) > MAX_MOUNT_PATH
        or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
        or any(ord(c) < 32 or c == "\\" for c in path)
    ):
        raise Invalid(f"{where}.mount_path: must be a plain absolute path such as /data.csv.")
    return f"{UPLOADS}/{'/'.join(parts)}"


def get_resource(session: Session, public_id: str) -> SessionResource:
    resource = session.resources.select_related("file", "session").filter(public_id=public_id).first()
    if resource is None:
        raise NotFound(f"This session has no resource {public_id}.")
    return resource


@transaction.atomic
def remove_resource(resource: SessionResource) -> None:
    """Take a file out of the session. The upload it came from stays."""
    unmount_after_commit(resource.session, resource.mount_path)
    resource.delete()
    resource.file.delete()
