"""Ends what uses more than its share: processes, memory and disk of the session as a whole."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from agents.sandbox.limits import GIB, MIB, Limits

_BUSY_INTERVAL_S = 0.2
_IDLE_INTERVAL_S = 1.0
_DISK_INTERVAL_S = 2.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Killable(Protocol):
    @property
    def pid(self) -> int: ...

    def kill(self, reason: str = "interrupted") -> None: ...


@dataclass(frozen=True)
class DiskUse:
    bytes: int
    entries: int


def disk_use(folders: Iterable[str], *, most_entries: int) -> DiskUse:
    """What is stored under the folders, counted as allocated blocks. Stops as soon as there are too many entries.

    Python itself does not count: it is mounted below the sandbox's /tmp where it is installed in a checkout there.
    """
    size = entries = 0
    python = {sys.prefix, sys.base_prefix}
    pending = list(folders)
    while pending and entries <= most_entries:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as listing:
            for entry in listing:
                entries += 1
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False) and entry.path not in python:
                        pending.append(entry.path)
                if entries > most_entries:
                    break
    return DiskUse(size, entries)


@dataclass(frozen=True)
class Crowd:
    """The processes of one process namespace."""

    processes: int
    memory_bytes: int


def crowds() -> dict[str, Crowd]:
    """Every process that can be seen, by process namespace."""
    processes: Counter[str] = Counter()
    memory: Counter[str] = Counter()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        namespace = "hidden"
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"/proc/{name}/ns/pid")
        processes[namespace] += 1
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/statm", "rb") as statm:
            memory[namespace] += int(statm.read().split()[1]) * _PAGE_BYTES
    return {name: Crowd(count, memory[name]) for name, count in processes.items()}


class Watchdog(threading.Thread):
    """Looks several times a second while calls run, and once a second while shells are open.

    Args:
        shells: the open shells; one of them, or all, can be ended.
        running: what runs now; each is ended when the disk is full, and the shells when nothing runs.
        folders: what counts as the session's disk.
        watch_processes: False where there are no shells and other people's processes are in sight.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        shells: Callable[[], list[Killable]],
        running: Callable[[], list[Callable[[str], None]]],
        folders: list[str],
        watch_processes: bool,
    ) -> None:
        super().__init__(daemon=True, name="watchdog")
        self._limits = limits
        self._shells, self._running, self._folders = shells, running, folders
        self._watch_processes = watch_processes
        self._disk_lock = threading.Lock()
        self._disk = DiskUse(0, 0)
        self._disk_due = 0.0
        self._dead_before = 0  # a process id

    def run(self) -> None:
        while True:
            busy, shells = bool(self._running()), self._shells()
            if self._watch_processes:
                self._reap_orphan()
                if shells:
                    self._check_processes(shells)
            if busy or shells:
                self._check_disk(shells)
            time.sleep(_BUSY_INTERVAL_S if busy else _IDLE_INTERVAL_S)

    def _reap_orphan(self) -> None:
        """As process 1 we inherit what others leave behind; `Popen` sees to our own children, at once as a rule."""
        if os.getpid() != 1:
            return
        with contextlib.suppress(ChildProcessError):
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            pid = dead.si_pid if dead else 0
            if pid and pid == self._dead_before and pid not in {shell.pid for shell in self._shells()}:
                os.waitpid(pid, os.WNOHANG)
            self._dead_before = pid

    def disk_refusal(self) -> str:
        """Why nothing may be written now, or "". A recent measurement will do, unless it refuses."""
        with self._disk_lock:
            if self._disk_problem() or time.monotonic() >= self._disk_due:
                self._measure_disk()
            return self._disk_problem()

    def _check_disk(self, shells: list[Killable]) -> None:
        with self._disk_lock:
            if time.monotonic() < self._disk_due:
                return
            before = self._disk
            self._measure_disk()
            # A command that makes room again (`rm`) may run while the disk is over its limit.
            problem = self._disk_problem() if self._disk.bytes >= before.bytes else ""
        if problem:
            for kill in self._running() or [shell.kill for shell in shells]:
                kill(f"ended, because {problem}")

    def _measure_disk(self) -> None:
        started = time.monotonic()
        self._disk = disk_use(self._folders, most_entries=self._limits.disk_entries)
        took_s = time.monotonic() - started
        self._disk_due = time.monotonic() + max(_DISK_INTERVAL_S, 20 * took_s)

    def _disk_problem(self) -> str:
        if self._disk.entries > self._limits.disk_entries:
            return f"the session holds more than {self._limits.disk_entries:,} files; remove some"
        if self._disk.bytes > self._limits.disk_bytes:
            used, allowed = self._disk.bytes / MIB, self._limits.disk_bytes / MIB
            return f"the session's disk is full ({used:,.0f} of {allowed:,.0f} MiB); remove files"
        return ""

    def _check_processes(self, shells: list[Killable]) -> None:
        seen = crowds()
        own_overhead = 2 * len(shells) + 6
        if sum(crowd.processes for crowd in seen.values()) - own_overhead > self._limits.processes:
            reason = f"ended, because the session had more than {self._limits.processes} processes"
            self._kill_largest(shells, lambda crowd: crowd.processes, seen, reason)
        elif sum(crowd.memory_bytes for crowd in seen.values()) > self._limits.memory_bytes:
            reason = f"ended, because the session used more than {self._limits.memory_bytes / GIB:g} GiB of memory"
            self._kill_largest(shells, lambda crowd: crowd.memory_bytes, seen, reason)

    def _kill_largest(
        self, shells: list[Killable], size: Callable[[Crowd], int], seen: dict[str, Crowd], reason: str
    ) -> None:
        """The shell with the most of it; all of them when it hides in a namespace of its own."""
        by_namespace: dict[str, Killable] = {}
        for shell in shells:
            with contextlib.suppress(OSError):
                by_namespace[os.readlink(f"/proc/{shell.pid}/ns/pid_for_children")] = shell
        largest = max(seen, key=lambda name: size(seen[name]))
        for shell in [by_namespace[largest]] if largest in by_namespace else shells:
            shell.kill(reason)
