"""What a session's sandbox is, what a call in it comes to, and what can go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.sandbox.file_report import FileReport

BUBBLEWRAP = "bubblewrap"
FILES_ONLY = "files_only"

FOLDER = "sandboxes"  # under the data dir: one folder per session


class SandboxError(Exception):
    """A sandbox could not be started or used. The message is a full sentence."""


class SandboxGone(SandboxError):
    """The executor died while it had the call: nobody knows whether the call took effect."""


@dataclass(frozen=True)
class MemoryMount:
    """A folder of the host that the session sees under `/mnt/memory/`."""

    host_path: Path
    mount_path: str
    read_only: bool = False


@dataclass(frozen=True)
class SandboxSpec:
    """Which sandbox a call belongs to.

    Args:
        session_id: the session's public id.
        root: `<data dir>/sandboxes/<session_id>`.
        mode: `bubblewrap` or `files_only`.
        network: whether the sandbox shares the host's network.
        memory_mounts: seen under `/mnt/memory/`.
    """

    session_id: str
    root: Path
    mode: str
    network: bool = False
    memory_mounts: tuple[MemoryMount, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in (BUBBLEWRAP, FILES_ONLY):
            raise ValueError(f"A sandbox runs as {BUBBLEWRAP} or {FILES_ONLY}, not {self.mode!r}.")
        if self.root.name != self.session_id or self.root.parent.name != FOLDER:
            raise ValueError(f"The root of {self.session_id} must be <data dir>/{FOLDER}/{self.session_id}.")

    @property
    def data_dir(self) -> Path:
        return self.root.parent.parent


@dataclass(frozen=True)
class ToolOutcome:
    """What a call came to, in wire blocks (`text`, `image`, `document`). JSON-serialisable through `asdict`.

    `files` is for the worker alone: what the call has seen and changed.
    """

    content: list[dict[str, Any]]
    is_error: bool
    duration_ms: float
    files: FileReport | None = None
