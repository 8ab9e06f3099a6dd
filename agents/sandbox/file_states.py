"""The state of one file, as a short text that is equal when the file is.

That is the SHA-256 of what it holds, nothing when there is no file, and `size:mtime` for a file that is too large to be
hashed after every command.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Any

from agents.sandbox.limits import MIB

ABSENT = ""
MOST_HASHED = 1 * MIB
MOST_KEPT = MIB // 4  # what the SDK's tools can read and edit as a whole
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READINGS = 3  # of a file that changes meanwhile

# Inode, size, mtime and ctime in nanoseconds: as long as they stand, so does the state.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Look:
    """A file as it was at one moment.

    Args:
        state: None when it could not be read, or did not stand still for it.
        data: what it holds, up to 256 KiB.
        blocks: opening it for writing would wait for somebody else (a pipe, a device).
    """

    state: str | None
    size: int = 0
    stamp: Stamp | None = None
    data: bytes | None = None
    blocks: bool = False

    def dump(self, *, data: bool) -> dict[str, Any]:
        kept = base64.b64encode(self.data).decode() if data and self.data is not None else None
        return {"state": self.state, "size": self.size, "stamp": self.stamp, "data": kept}


def look_at(path: str, *, folder: int | None = None) -> Look:
    """Look at a file without following a link at its end. `folder` is the descriptor that a relative path starts at."""
    try:
        file = os.open(path, OPEN_FLAGS, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return Look(ABSENT)
    except (OSError, ValueError):
        return Look(None)
    try:
        return _look(file)
    except OSError:
        return Look(None)
    finally:
        os.close(file)


def stamp_of(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def state_of_bytes(data: bytes) -> str | None:
    """The state of a file that holds `data`; None when that depends on its time."""
    return hashlib.sha256(data).hexdigest() if len(data) <= MOST_HASHED else None


def is_hash(state: str) -> bool:
    return len(state) == hashlib.sha256().digest_size * 2 and ":" not in state


def _look(file: int) -> Look:
    for _ in range(_READINGS):
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            return Look(None, blocks=not stat.S_ISDIR(found.st_mode))
        stamp, size = stamp_of(found), found.st_size
        if size > MOST_HASHED:
            return Look(f"{size}:{found.st_mtime_ns}", size, stamp)
        data = _read(file, size)
        if len(data) == size and stamp_of(os.fstat(file)) == stamp:
            return Look(hashlib.sha256(data).hexdigest(), size, stamp, data if size <= MOST_KEPT else None)
    return Look(None)


def _read(file: int, size: int) -> bytes:
    """What is in the file, and one byte more than expected when it has grown."""
    parts, offset = [], 0
    while offset <= size and (part := os.pread(file, size + 1 - offset, offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
