"""Programs that refuse to run as root, run by root: without its privileges, in its place.

A user namespace maps root to an unprivileged user: what the program writes still belongs to root, so
no folder changes hands. Where namespaces are blocked, the program runs as the user `nobody`.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO

from console.child_process import die_with_parent

NOBODY = 65534


def spawn(arguments: list[str], output: IO[bytes], *, death_signal: signal.Signals) -> subprocess.Popen[bytes]:
    """Start a program that gets `death_signal` when this process ends, however it ends."""
    prefix = namespace() if os.geteuid() == 0 else []
    other = nobody() if needs_other_user() else None
    return subprocess.Popen(
        [*prefix, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment(),
        cwd="/",
        user=other,
        group=other,
        extra_groups=[] if other is not None else None,
        start_new_session=True,
        preexec_fn=die_with_parent(death_signal),  # noqa: PLW1509
    )


def environment() -> dict[str, str]:
    """Our environment without PG* variables, which would redirect PostgreSQL's programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


@functools.cache
def namespace() -> list[str]:
    """The prefix that takes root's privileges away; empty where namespaces are not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    prefix = [unshare, "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return prefix if tried.returncode == 0 else []


@functools.cache
def nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return NOBODY


def needs_other_user() -> bool:
    return os.geteuid() == 0 and not namespace()


def hand_over(folder: Path) -> None:
    """Where namespaces are blocked, give a folder of the program's own to the user it runs as."""
    if needs_other_user():
        os.chown(folder, nobody(), -1)
