"""Where a session's sandbox keeps its files on this host, and taking them away."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction

from agents.models import Session, Thread
from agents.sandbox import client

UPLOADS = "/mnt/session/uploads"


def root_of(session_id: str) -> Path:
    """The folder of the session with this public id."""
    return Path(settings.DAYBREAK_DATA_DIR) / "sandboxes" / session_id


def remove_after_commit(session: Session) -> None:
    """End the session's sandbox and delete its files, once the deletion of the session is certain."""
    transaction.on_commit(partial(_remove, session.public_id), robust=True)


def _remove(session_id: str) -> None:
    # What the mode or network was does not matter any more: ending a sandbox goes by its folder.
    spec = client.SandboxSpec(session_id=session_id, root=root_of(session_id), mode=client.FILES_ONLY, network=False)
    if spec.root.exists():
        client.destroy(spec)


def close_after_commit(session: Session, thread: Thread) -> None:
    """End the shell of a thread that has ended for good, with everything that runs in it."""
    transaction.on_commit(partial(_close, session.public_id, thread.public_id), robust=True)


def _close(session_id: str, thread_id: str) -> None:
    spec = client.SandboxSpec(session_id=session_id, root=root_of(session_id), mode=client.FILES_ONLY, network=False)
    if spec.root.exists():
        client.close_thread(spec, thread_id)


def unmount_after_commit(session: Session, mount_path: str) -> None:
    """Take a file that is no longer a resource out of the sandbox."""
    file = root_of(session.public_id) / "uploads" / mount_path.removeprefix(UPLOADS + "/")
    transaction.on_commit(partial(file.unlink, missing_ok=True), robust=True)
