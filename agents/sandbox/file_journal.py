"""Who changed which file of a session, and a turn for each call that is about to change one.

Lives in the executor, where all calls of a session meet, so that looking at a file and writing it are one act for every
other thread. What `write` and `edit` do is known exactly. What commands do is found by walking over the shared folders
when one has ended: a file belongs to the command that ran when it was changed, and to nobody when there were several.

Changes are kept until the worker that was told of them has acknowledged the call, so none is lost with a worker.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agents.sandbox.file_report import COMMAND, FOUND, FileChange, FileReport
from agents.sandbox.file_states import ABSENT, MOST_HASHED, Look, Stamp, look_at
from agents.sandbox.file_walk import MOST_ENTRIES, Walk
from agents.sandbox.limits import MIB
from agents.sandbox.stored_files import opened_folder

WORKSPACE = "/workspace"
# Recorded when a tool writes into them; what commands do there is made from something else.
DERIVED = frozenset({".git", "node_modules", "__pycache__", ".venv", ".tox", ".mypy_cache", ".pytest_cache"})
MOST_REMEMBERED = 200  # commands that have ended; files outside the walked folders may be met later
MOST_REPORTED = 1_000  # changes found by one walk
MOST_READ_BYTES = 128 * MIB
MOST_HELD_BYTES = 8 * MIB  # of file contents that wait for their worker
_COARSE = 5  # CLOCK_REALTIME_COARSE: the clock that stamps files, on Linux
_GRAIN_NS = 20_000_000
_TURN_POLL_S = 0.05


@dataclass
class Known:
    """What the journal knows of a file. `state` None: it was there when the first walk came by."""

    stamp: Stamp | None
    state: str | None
    thread: str = ""


@dataclass
class Command:
    """A run of bash. `began` and `ended` are moments on the clock that stamps files."""

    exec_id: str
    thread: str
    began: int
    ended: int | None = None
    ended_monotonic: float = 0.0


@dataclass
class _Queue:
    """Calls that are at one file: one has the lock, the others wait for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


@dataclass
class _Held:
    """A change that no worker has acknowledged. `owner` is the call that tells of it, "" when that one was lost."""

    change: FileChange
    owner: str


class Journal:
    """What is known of each file, who is at work, and the changes that still have to be told.

    Args:
        folders: what commands share, by the name the model knows; empty where there are no commands.
    """

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders
        self._lock = threading.Lock()  # over everything below but the walk's own
        self._known: dict[str, Known] = {}
        self._held: list[_Held] = []
        self._held_bytes = 0
        self._commands: list[Command] = []
        self._turns: dict[str, _Queue] = {}
        self._last_us = 0
        self._walking = threading.Lock()
        self._walked_at = 0  # when the last walk began, on the clock that stamps files
        self._walked_monotonic = 0.0
        self._reached_all = True  # by the last walk
        self._complete = True  # it could also look at everything that differed

    # Commands

    def begin_command(self, exec_id: str, thread: str) -> Command:
        if not self._walked_at:
            with self._walking:
                if not self._walked_at:
                    self._walk("", first=True)
        command = Command(exec_id, thread, began=_file_time())
        with self._lock:
            self._commands.append(command)
        return command

    def end_command(self, command: Command, *, walk: bool = True) -> None:
        """Find out what has changed. A walk that began after the command ended serves every command before it.

        Without `walk` the next one tells, or whoever looks at the file.
        """
        command.ended, command.ended_monotonic = time.time_ns(), time.monotonic()
        if not walk:
            return
        with self._walking:
            if self._walked_monotonic > command.ended_monotonic:
                return
            try:
                self._walk(command.exec_id)
            except Exception:  # noqa: BLE001 (whatever lies about in the folders, a command keeps its outcome)
                self._complete = False

    def _walk(self, owner: str, *, first: bool = False) -> None:
        began, began_monotonic = _file_time(), time.monotonic()
        walk = Walk()
        for shown, folder in sorted(self._folders.items()):  # outputs first: they are fewer, and are delivered
            walk.through(folder, shown=shown, without=DERIVED if shown == WORKSPACE else ())
        with self._lock:
            if first:
                for path, stamp in walk.files.items():
                    self._known.setdefault(path, Known(stamp, None))
            is_clear = first or self._compare(walk, owner)
            self._reached_all, self._complete = walk.complete, walk.complete and is_clear
            self._walked_at, self._walked_monotonic = began, began_monotonic
            running = [command for command in self._commands if command.ended is None]
            ended = [command for command in self._commands if command.ended is not None]
            self._commands = ended[-MOST_REMEMBERED:] + running

    def _compare(self, walk: Walk, owner: str) -> bool:
        """Note what differs from what is known; False when that is too much, or not to be seen."""
        changed = [path for path, stamp in walk.files.items() if not self._is_as_known(path, stamp)]
        if walk.complete:
            changed += [path for path, known in self._known.items() if self._may_be_gone(path, known, walk)]
        looked_at = read_bytes = unclear = 0
        for path in changed:
            if looked_at == MOST_REPORTED or read_bytes > MOST_READ_BYTES:
                break
            looked_at += 1
            if path not in self._turns:  # else the tool that is at it tells
                look = self._look(path)
                read_bytes += min(look.size, MOST_HASHED)
                unclear += look.state is None
                self._note(path, look, owner)
        for path in changed[looked_at:]:
            if path in walk.files:
                self._known[path] = Known(walk.files[path], None)
        if len(self._known) > 4 * MOST_ENTRIES:  # files that came and went
            self._known = {path: known for path, known in self._known.items() if known.state != ABSENT}
        return looked_at == len(changed) and not unclear

    def _is_as_known(self, path: str, stamp: Stamp) -> bool:
        known = self._known.get(path)
        if known is not None:
            return known.stamp == stamp
        if not self._reached_all and stamp[3] < self._walked_at:
            self._known[path] = Known(stamp, None)  # earlier walks did not come this far
            return True
        return False

    def _may_be_gone(self, path: str, known: Known, walk: Walk) -> bool:
        return known.state != ABSENT and path not in walk.files and self._folder_of(path) is not None

    def _is_walked(self, path: str) -> bool:
        shown = self._folder_of(path)
        return shown is not None and not (shown == WORKSPACE and DERIVED.intersection(path.split("/")[:-1]))

    def _folder_of(self, path: str) -> str | None:
        return next((shown for shown in self._folders if path.startswith(f"{shown}/")), None)

    def _look(self, path: str) -> Look:
        shown = self._folder_of(path)
        if shown is None:
            return Look(None)
        parts = tuple(path.removeprefix(f"{shown}/").split("/"))
        try:
            with opened_folder(self._folders[shown], parts[:-1]) as folder:
                look = look_at(parts[-1], folder=folder)
                gone = look.state is None and _is_no_file(parts[-1], folder)
        except (FileNotFoundError, NotADirectoryError):
            return Look(ABSENT)
        except OSError:
            return Look(None)
        return Look(ABSENT) if gone else look

    # Changes (all with the lock held)

    def _note(self, path: str, look: Look, owner: str) -> None:
        """A file is in this state. When that is news, find out whose doing it is."""
        if look.state is None:
            return  # it could not be read, or is being written: the next walk tells
        known = self._known.get(path)
        if known is not None and known.state == look.state:
            known.stamp = look.stamp
            return
        if known is None and look.state == ABSENT:
            return
        as_before = known is not None and known.state is None and known.stamp == look.stamp
        change, thread, exec_id = (FOUND, "", "") if as_before else self._author(path, look)
        base = known.state if known is not None else None
        self._hold(owner, path, look, change=change, base=base, thread=thread, exec_id=exec_id)
        self._known[path] = Known(look.stamp, look.state, thread)

    def _author(self, path: str, look: Look) -> tuple[str, str, str]:
        """Change, thread and call of what has happened, as far as the clock tells."""
        at = look.stamp[3] if look.stamp is not None else 0
        if at >= self._walked_at or (at and not self._is_walked(path)):
            at_work = [c for c in self._commands if c.began <= at and (c.ended is None or c.ended >= at)]
        elif self._is_walked(path):
            # Removed, or moved here with the time it had: that can have been at any moment since the last walk.
            began = self._walked_monotonic
            at_work = [c for c in self._commands if c.ended is None or c.ended_monotonic >= began]
        else:
            at_work = []
        if not at_work:
            return FOUND, "", ""
        threads, calls = {c.thread for c in at_work}, {c.exec_id for c in at_work}
        return COMMAND, threads.pop() if len(threads) == 1 else "", calls.pop() if len(calls) == 1 else ""

    def _hold(
        self, owner: str, path: str, look: Look, *, change: str, base: str | None, thread: str, exec_id: str
    ) -> None:
        self._last_us = max(time.time_ns() // 1000, self._last_us + 1)
        fits = look.data is not None and self._held_bytes + len(look.data) <= MOST_HELD_BYTES
        data = look.dump(data=fits)["data"]
        self._held_bytes += len(data or "")
        made = FileChange(path, change, base, str(look.state), look.size, thread, exec_id, self._last_us, data)
        self._held.append(_Held(made, owner))

    # Reports

    def report(self, exec_id: str, own: FileReport) -> FileReport:
        """With the changes the call has to tell: its own, those before them on the same files, and what others lost."""
        with self._lock:
            for held in self._held:
                held.owner = held.owner or exec_id
            paths = {held.change.path for held in self._held if held.owner == exec_id}
            changes = [held.change for held in self._held if held.change.path in paths]
            return replace(own, changes=tuple(changes), complete=self._complete)

    def acknowledge(self, exec_id: str, *, told: bool) -> None:
        """The call's outcome is stored. When nobody looked at it (`told` is False) the next call tells its changes."""
        with self._lock:
            for held in self._held:
                if held.owner == exec_id and not told:
                    held.owner = ""
            self._held = [held for held in self._held if held.owner != exec_id]
            self._held_bytes = sum(len(held.change.data or "") for held in self._held)

    # Turns: one call at a time looks at a file and changes it

    def enter(self, path: str, *, until: float, given_up: Callable[[], bool]) -> bool:
        """Wait until no other call is at this file; False when that took too long (monotonic clock) or was given up."""
        with self._lock:
            turn = self._turns.setdefault(path, _Queue())
            turn.users += 1
        while not turn.lock.acquire(timeout=_TURN_POLL_S):
            if given_up() or time.monotonic() > until:
                self._forget(path, turn)
                return False
        return True

    def leave(self, path: str) -> None:
        turn = self._turns[path]
        turn.lock.release()
        self._forget(path, turn)

    def _forget(self, path: str, turn: _Queue) -> None:
        with self._lock:
            turn.users -= 1
            if not turn.users:
                del self._turns[path]

    def known(self, path: str) -> Known | None:
        return self._known.get(path)

    def looked(self, exec_id: str, path: str, look: Look) -> None:
        """A tool has found the file like this."""
        with self._lock:
            self._note(path, look, exec_id)

    def changed(self, exec_id: str, thread: str, path: str, change: str, *, base: str | None, look: Look) -> None:
        """A tool has left the file like this."""
        with self._lock:
            self._hold(exec_id, path, look, change=change, base=base, thread=thread, exec_id=exec_id)
            self._known[path] = Known(look.stamp, look.state, thread)

    def lost_sight(self, path: str) -> None:
        """A tool was ended in the middle: whoever looks next finds out what it has done."""
        with self._lock:
            if (known := self._known.get(path)) is not None:
                known.stamp = None


def _file_time() -> int:
    """Now, and never later than the stamp of what is changed from now on."""
    try:
        return time.clock_gettime_ns(_COARSE)
    except OSError:
        return time.time_ns() - _GRAIN_NS


def _is_no_file(name: str, folder: int) -> bool:
    """A link, a pipe or a folder where a file may have been."""
    try:
        return not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False
