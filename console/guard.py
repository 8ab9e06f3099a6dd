"""The guard of `manage.py up`: ends what the supervisor could not, when the supervisor is killed.

It runs alone, without site packages, and reads one pipe. As long as the supervisor lives, lines
say which process groups exist; when the pipe closes without a `bye`, the guard kills them, runs
the clean-up command from its arguments and shuts PostgreSQL down. Linux's parent-death signal does
most of this too; the guard covers other systems and the detached sandboxes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

POSTGRES = "postgres"
POSTGRES_PATIENCE = 20.0


def main(descriptor: int, clean_up: list[str]) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[str, int] = {}
    with os.fdopen(descriptor) as pipe:
        for line in pipe:
            name, _, pid = line.strip().partition(" ")
            if name == "bye":
                return
            groups[name] = int(pid)  # 0: it has ended
    postgres = groups.pop(POSTGRES, 0)
    for group in groups.values():
        _signal_group(group, signal.SIGKILL)
    if clean_up:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            silent = subprocess.DEVNULL
            subprocess.run(clean_up, timeout=30, check=False, stdin=silent, stdout=silent)
    _end_postgres(postgres)


def _end_postgres(pid: int) -> None:
    _signal_group(pid, signal.SIGINT, only_leader=True)
    deadline = time.monotonic() + POSTGRES_PATIENCE
    while pid and time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except OSError:
            return
        time.sleep(0.1)
    _signal_group(pid, signal.SIGQUIT, only_leader=True)


def _signal_group(pid: int, kind: signal.Signals, only_leader: bool = False) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.kill if only_leader else os.killpg)(pid, kind)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
