"""The worker processes of an instance under measurement: a second one, and all of them held."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.instance import ROOT, Instance
from console.child_process import die_with_parent


@contextlib.contextmanager
def second_worker(instance: Instance) -> Iterator[None]:
    """Another worker process, started like the one that is there."""
    [pid] = _workers(instance)
    process = subprocess.Popen(
        _parts(pid, "cmdline"),
        cwd=ROOT,
        env=dict(variable.split(b"=", 1) for variable in _parts(pid, "environ")),
        stderr=subprocess.DEVNULL,  # it says goodbye
        preexec_fn=die_with_parent(),  # noqa: PLW1509
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


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
