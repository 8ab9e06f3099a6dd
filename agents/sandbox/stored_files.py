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

from agents.sandbox.file_states import Look, look_at
from agents.sandbox.hosted_paths import FOLDERS
from agents.sandbox.text import is_storable

OUTPUTS = "outputs"
_DEEPEST = 64
_MOST_LINKS = 40  # as the kernel has it
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
            opened_folder(root / folder, parts) as opened,
            os.scandir(opened) as listing,
        ):
            for entry in listing:
                if not is_storable(entry.name):
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
        with opened_folder(root / folder, parts[:-1]) as opened:
            file = os.open(parts[-1], _FILE_FLAGS, dir_fd=opened)
    except OSError as error:
        raise FileNotFoundError(path) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(path)
    return os.fdopen(file, "rb")


def resolve(root: Path, path: str) -> str:
    """Where a path leads, as the sandbox names both: the names in links are followed, and nothing is opened by them.

    Args:
        path: absolute, without `.` and `..`.
    """
    pending, done, links = path.split("/")[::-1], "", 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
        elif (target := _link_target(root, f"{done}/{part}")) is None:
            done += f"/{part}"
        elif (links := links + 1) > _MOST_LINKS:
            return path
        else:
            done = "" if target.startswith("/") else done
            pending += target.split("/")[::-1]
    return done or "/"


def look_in(root: Path, path: str) -> Look:
    """Look at a file of a session, as the sandbox names it. No link is followed, at any level."""
    for shown, folder in FOLDERS.items():
        if path.startswith(f"{shown}/"):
            *above, name = path.removeprefix(f"{shown}/").split("/")
            with contextlib.suppress(OSError, ValueError), opened_folder(root / folder, tuple(above)) as opened:
                return look_at(name, folder=opened)
    return Look(None)


def _link_target(root: Path, path: str) -> str | None:
    """What a link in one of the session's folders says; None for everything that is no link."""
    for shown, folder in FOLDERS.items():
        if path.startswith(f"{shown}/"):
            *above, name = path.removeprefix(f"{shown}/").split("/")
            with contextlib.suppress(OSError, ValueError), opened_folder(root / folder, tuple(above)) as opened:
                return os.readlink(name, dir_fd=opened)
    return None


@contextlib.contextmanager
def opened_folder(top: Path | str, parts: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of the folder that lies `parts` below `top`. Raises OSError when a link is on the way."""
    opened = os.open(top, _FOLDER_FLAGS)
    try:
        for part in parts:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=opened)
            os.close(opened)
            opened = below
        yield opened
    finally:
        os.close(opened)
