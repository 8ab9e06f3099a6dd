"""Control groups, where the worker may create them: the only limit that also binds a sandbox started by real root.

Version 1 (one tree per controller) and version 2 (one tree, controllers handed down by the parent) are both looked for.
Everything here is best effort: `create` returns what worked, and the executor's watchdog covers the rest.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.sandbox.limits import Limits

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "daybreak-"
# Tasks, that is processes and threads. The watchdog counts processes and is the stricter of the two.
_TASKS_PER_PROCESS = 4
_REMOVALS = 50


@dataclass(frozen=True)
class Controller:
    name: str
    parent: Path  # where our groups are created
    limit_file: str


@functools.cache
def controllers() -> tuple[Controller, ...]:
    """The controllers in which this process can create a group, found by trying."""
    return tuple(controller for controller in _candidates() if _works(controller))


def binds_processes() -> bool:
    return any(controller.name == "pids" for controller in controllers())


def create(data_dir: Path, session_id: str, limits: Limits) -> list[Path]:
    """The groups of one session, with their limits set; write a process id into each `cgroup.procs`."""
    values = {"pids": limits.processes * _TASKS_PER_PROCESS, "memory": limits.memory_bytes}
    groups = []
    for controller in controllers():
        group = controller.parent / (_name_start(data_dir) + session_id)
        with contextlib.suppress(OSError):
            group.mkdir(exist_ok=True)
            (group / controller.limit_file).write_text(str(values[controller.name]))
            groups.append(group)
    return list(dict.fromkeys(groups))  # version 2 has both limits in one group


def put(groups: list[Path], pid: int) -> None:
    for group in groups:
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text(str(pid))


def remove(data_dir: Path, session_id: str) -> None:
    """Remove the groups of a session whose processes are dead. The kernel may need a moment to notice that."""
    for controller in controllers():
        group = controller.parent / (_name_start(data_dir) + session_id)
        for _ in range(_REMOVALS):
            with contextlib.suppress(OSError):
                group.rmdir()
            if not group.exists():
                break
            time.sleep(0.01)


def remove_empty(data_dir: Path) -> None:
    """Remove this data dir's groups that hold no process any more; the kernel refuses the others."""
    for controller in controllers():
        with contextlib.suppress(OSError):
            for name in os.listdir(controller.parent):
                if name.startswith(_name_start(data_dir)):
                    with contextlib.suppress(OSError):
                        (controller.parent / name).rmdir()


def _name_start(data_dir: Path) -> str:
    digest = hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:12]
    return f"{_PREFIX}{digest}-"


def _candidates() -> Iterator[Controller]:
    own = _own_paths()
    for name, limit_file in (("pids", "pids.max"), ("memory", "memory.limit_in_bytes")):
        mount = _ROOT / name
        if name in own and mount.is_dir():
            yield Controller(name, mount / own[name].lstrip("/"), limit_file)
    if "" in own:
        group = _ROOT / own[""].lstrip("/")
        # A group with processes cannot hand controllers down, so ours go beside the worker's, not below it.
        for parent in (group, group.parent):
            with contextlib.suppress(OSError):
                handed_down = (parent / "cgroup.subtree_control").read_text().split()
                for name in {"pids", "memory"} & set(handed_down):
                    yield Controller(name, parent, f"{name}.max")


def _own_paths() -> dict[str, str]:
    """Controller name to this process's group; version 2 has the empty name."""
    paths = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            paths.update(dict.fromkeys(names.split(","), path))
    return paths


def _works(controller: Controller) -> bool:
    group = controller.parent / f"{_PREFIX}trial-{secrets.token_hex(6)}"
    try:
        group.mkdir()
        try:
            return (group / controller.limit_file).exists() and os.access(group / "cgroup.procs", os.W_OK)
        finally:
            group.rmdir()
    except OSError:
        return False
