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


def _workers(instance: Instance) -> list[int]:
    return [pid for pid in instance.processes() if b"celery" in _parts(pid, "cmdline")]


def _parts(pid: int, file: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []  # it has ended
