"""Run a command against a PostgreSQL of the operating system, started for it on a temporary folder.

    python -m tools.external_postgres COMMAND [ARGUMENT…]

It speaks TCP with a password, and `DATABASE_URL` names a role without superuser rights: what a
production database looks like. `POSTGRES_BIN` names the folder of the programs, if not Debian's.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.child_process import die_with_parent

DEBIAN = Path("/usr/lib/postgresql")
ROLE = DATABASE = "daybreak"
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300")


def main(command: list[str]) -> int:
    if not command:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    programs = find_programs()
    if programs is None:
        sys.stderr.write("No PostgreSQL programs found. Install postgresql, or set POSTGRES_BIN to their folder.\n")
        return 1
    with server(programs) as url:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode


def find_programs() -> Path | None:
    """`POSTGRES_BIN`, else the oldest supported version of Debian's layout: 15 when it is there."""
    if chosen := os.environ.get("POSTGRES_BIN"):
        return Path(chosen)
    versions = sorted(int(found.name) for found in DEBIAN.glob("[0-9]*") if (found / "bin/postgres").exists())
    supported = [version for version in versions if version >= 15]
    return DEBIAN / str(supported[0]) / "bin" if supported else None


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """A running server; the address of its one database, for its owner."""
    user = unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="daybreak-external-"))
    if user:
        shutil.chown(folder, user)
    try:
        run(user, programs / "initdb", "-D", folder / "data", "-U", "postgres", "--auth-local=trust")
        port = free_port()
        arguments = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        arguments += ["-k", str(folder), "-h", "127.0.0.1"]
        for option in OPTIONS:
            arguments += ["-c", option]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=user,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGINT),  # noqa: PLW1509
            )
        try:
            psql: list[str | Path] = [programs / "psql", "-Xq", "-h", folder, "-p", str(port), "-U", "postgres"]
            wait_until_ready(process, [programs / "pg_isready", "-q", "-h", folder, "-p", str(port)], folder)
            password = secrets.token_urlsafe(16)
            role = f"CREATE ROLE {ROLE} LOGIN CREATEDB NOSUPERUSER PASSWORD '{password}'"
            run(user, *psql, "-c", role, "-c", f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
            yield f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root: use the user its package made, else nobody."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def run(user: str | None, *command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), user=user, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{Path(command[0]).name} failed: {done.stderr.strip()}")


def wait_until_ready(process: subprocess.Popen[bytes], probe: list[str | Path], folder: Path) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run(list(map(str, probe)), check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
