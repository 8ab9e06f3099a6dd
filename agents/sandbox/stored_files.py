"""Read what a session stored, from outside. Its commands may have put anything there: links, pipes, a deep tree.

No symbolic link is followed, at any level, and only regular files are opened, so nothing outside the session's folder
can be read through it, whatever a running command swaps meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

OUTPUTS = "outputs"
_DEEPEST = 64
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class StoredFile:
    path: str  # relative to the folder, with slashes
    size_bytes: int
    modified_at: float  # seconds since 1970


def list_files(root: Path, *, folder: str = OUTPUTS, most: int = 10_000) -> list[StoredFile]:
    """The regular files of one of a session's folders, by path; at most `most` of them.

    Files whose names are not UTF-8, and everything more than 64 folders deep, are left out.
    """
    found: list[StoredFile] = []
    pending: list[tuple[str, ...]] = [()]
    while pending and len(found) < most:
        parts = pending.pop()
        with (
            contextlib.suppress(OSError),
            _opened_folder(root / folder, parts) as opened,
            os.scandir(opened) as listing,
        ):
            for entry in listing:
                if not _is_text(entry.name):
                    continue
                with contextlib.suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(state.st_mode) and len(parts) < _DEEPEST:
                        pending.append((*parts, entry.name))
                    elif stat.S_ISREG(state.st_mode):
                        found.append(StoredFile("/".join((*parts, entry.name)), state.st_size, state.st_mtime))
    return sorted(found[:most], key=lambda file: file.path)


def open_file(root: Path, path: str, *, folder: str = OUTPUTS) -> BinaryIO:
    """Open a file that `list_files` named. Raises FileNotFoundError for everything that is no regular file there."""
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\0" in path:
        raise FileNotFoundError(path)
    try:
        with _opened_folder(root / folder, parts[:-1]) as opened:
            file = os.open(parts[-1], _FILE_FLAGS, dir_fd=opened)
    except OSError as error:
        raise FileNotFoundError(path) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(path)
    return os.fdopen(file, "rb")


@contextlib.contextmanager
def _opened_folder(top: Path, parts: tuple[str, ...]) -> Iterator[int]:
    opened = os.open(top, _FOLDER_FLAGS)
    try:
        for part in parts:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=opened)
            os.close(opened)
            opened = below
        yield opened
    finally:
        os.close(opened)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
