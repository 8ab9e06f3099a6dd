"""The worker processes of an instance under measurement: more of them, all of them held, one killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from bench.instance import ROOT, Instance
from console.child_process import die_with_parent


class SpareWorkers:
    """More worker processes, started like the one that is there when this is made. Use as a context manager."""

    def __init__(self, instance: Instance, count: int = 1) -> None:
        [pid] = _workers(instance)
        self._command = _parts(pid, "cmdline")
        self._environment = dict(variable.split(b"=", 1) for variable in _parts(pid, "environ"))
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.refill()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=60)

    def refill(self) -> None:
        """Start one for each that has ended."""
        self._processes = [process for process in self._processes if process.poll() is None]
        while len(self._processes) < self._count:
            self._processes.append(self._start())

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stderr=subprocess.DEVNULL,  # it says goodbye
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )


@contextlib.contextmanager
def workers_held(instance: Instance) -> Iterator[None]:
    """The workers stand still inside the block, so that work piles up."""
    workers = _workers(instance)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def kill(pid: int, instance: Instance) -> None:
    """End a worker of this instance at once, without a chance to clean up."""
    if pid not in _workers(instance):
        raise SystemExit(f"{pid} is no worker of the instance under measurement.")
    os.kill(pid, signal.SIGKILL)


def peak_memory_mib(instance: Instance) -> float:
    """The most memory that a worker process has had in use."""
    peaks = []
    for pid in _workers(instance):
        status = Path(f"/proc/{pid}/status").read_text()
        peaks.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024)
    return max(peaks)


def _workers(instance: Instance) -> list[int]:
    return [pid for pid in instance.processes() if b"celery" in _parts(pid, "cmdline")]


def _parts(pid: int, file: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []  # it has ended
