"""Which files lie below a folder, and the stamp of each. No link is followed, at any level."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from agents.sandbox.file_states import Stamp, stamp_of
from agents.sandbox.text import is_storable

MOST_ENTRIES = 20_000
LONGEST_S = 1.0
_DEEPEST = 64
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Walk:
    """Collects what it finds in `files`, by path. `complete` is False when it had to stop."""

    files: dict[str, Stamp] = field(default_factory=dict)
    complete: bool = True
    _entries: int = 0
    _until: float = field(default_factory=lambda: time.monotonic() + LONGEST_S)

    def through(self, folder: str, *, shown: str, without: Collection[str] = ()) -> None:
        """Add the regular files below `folder`, under the name `shown`; folders named in `without` are left out."""
        with contextlib.suppress(OSError):
            top = os.open(folder, _FOLDER_FLAGS)
            try:
                self._enter(top, shown, without, depth=0)
            finally:
                os.close(top)

    def _enter(self, folder: int, shown: str, without: Collection[str], *, depth: int) -> None:
        if time.monotonic() > self._until:
            self.complete = False
        with os.scandir(folder) as listing:
            for entry in listing:
                self._entries += 1
                if self._entries > MOST_ENTRIES:
                    self.complete = False
                if not self.complete:
                    return
                with contextlib.suppress(OSError):  # it is gone already
                    self._add(folder, entry, shown, without, depth=depth)

    def _add(self, folder: int, entry: os.DirEntry[str], shown: str, without: Collection[str], *, depth: int) -> None:
        if not entry.name.isascii() and not is_storable(entry.name):
            return  # such a name could not be stored
        path = f"{shown}/{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                self.files[path] = stamp_of(found)
        elif entry.name not in without and depth < _DEEPEST:
            below = os.open(entry.name, _FOLDER_FLAGS, dir_fd=folder)
            try:
                self._enter(below, path, without, depth=depth + 1)
            finally:
                os.close(below)
