"""What worker and executor tell each other about files, beside a tool's input and what the model gets to read."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict, dataclass, field
from typing import Any, Self

WRITE, EDIT, COMMAND, FOUND = "write", "edit", "command", "found"
_CHANGES = (WRITE, EDIT, COMMAND, FOUND)


@dataclass(frozen=True)
class FileBase:
    """What is on record about the file that a call is going to change. Sent with `write` and `edit`.

    Args:
        path: as the sandbox names it, without links.
        seen: the state that the calling thread saw last; None when it never saw the file.
        state: the last recorded state; None when there is none.
        writer: the thread that made that state, "" when nobody knows.
    """

    path: str
    seen: str | None = None
    state: str | None = None
    writer: str = ""

    @classmethod
    def parse(cls, raw: Any) -> Self | None:
        return None if raw is None else cls(**raw)


@dataclass(frozen=True)
class FileChange:
    """A file went from one state to another.

    Args:
        change: by `write`, `edit`, a `command`, or `found` so.
        base: the state before; None when nobody has looked.
        thread: who did it, "" when that is not certain. `exec_id` is the call, likewise.
        at_us: when it was noticed, in microseconds since 1970. No two changes of a session have the same.
        data: what the file holds then, in base64, when it is small.
    """

    path: str
    change: str
    base: str | None
    state: str
    size: int
    thread: str
    exec_id: str
    at_us: int
    data: str | None = field(default=None, repr=False)

    @property
    def content(self) -> bytes | None:
        return decoded(self.data)


@dataclass(frozen=True)
class FileConflict:
    """Why a `write` or `edit` was not carried out: the file is not what the thread thinks it is.

    Args:
        seen: what the thread saw last; None when it never saw the file.
        state: what is there instead, made by the thread `writer` ("" when nobody knows).
        data: what it holds, in base64, when it is small.
    """

    seen: str | None
    state: str
    size: int
    writer: str
    data: str | None = field(default=None, repr=False)

    @property
    def content(self) -> bytes | None:
        return decoded(self.data)


@dataclass(frozen=True)
class FileReport:
    """What a call came to, as far as files are concerned.

    Args:
        path: the file that `read`, `write` or `edit` was about, without links; "" for everything else.
        seen: the state of it that the thread has seen by this call; None when it has not.
        changes: in the order they happened. Those of other calls may be among them, and some may come twice.
        complete: False when more has changed than could be looked at.
    """

    path: str = ""
    seen: str | None = None
    changes: tuple[FileChange, ...] = ()
    complete: bool = True
    conflict: FileConflict | None = None

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, raw: Any) -> Self | None:
        """None when there is no report, or none that makes sense."""
        try:
            changes = tuple(FileChange(**change) for change in raw["changes"])
            conflict = FileConflict(**raw["conflict"]) if raw["conflict"] else None
            report = cls(raw["path"], raw["seen"], changes, bool(raw["complete"]), conflict)
        except (KeyError, TypeError):
            return None
        return report if all(change.change in _CHANGES for change in changes) else None


def decoded(data: str | None) -> bytes | None:
    try:
        return None if data is None else base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
