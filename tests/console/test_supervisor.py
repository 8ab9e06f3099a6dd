"""`manage.py up` with its real process tree: one command starts everything and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.child_process import command_line
from tests import database

pytestmark = pytest.mark.external
ROOT = Path(__file__).resolve().parents[2]
READY = "Daybreak is ready on "
BOOT_SECONDS = 90.0
CHILDREN = {"uvicorn": "web", "celery": "worker", "guard.py": "guard", "postgres": "postgres"}


@dataclass
class Up:
    """One running `manage.py up` and what it printed so far."""

    process: subprocess.Popen[str]
    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return next(line.split(READY)[1].strip() for line in self.lines if READY in line)

    def children(self) -> dict[str, int]:
        """Our processes by what they are, whoever their parent is."""
        found = {}
        for pid in processes_of(self.folder):
            arguments = command_line(pid)
            for mark, name in CHILDREN.items():
                if any(mark in Path(part).name for part in arguments[:6]) and not arguments[0].startswith("postgres:"):
                    found[name] = pid
        return found

    def page(self) -> int:
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=60) as answer:  # noqa: S310
            return int(answer.status)

    def end(self, kind: signal.Signals, seconds: float = 30.0) -> int:
        self.process.send_signal(kind)
        return self.process.wait(timeout=seconds)


def environment(**changes: str) -> dict[str, str]:
    """What a person's shell would have, without the variables of this test run."""
    ours = ("DAYBREAK_", "DJANGO_", "PYTEST_", "DATABASE_URL", "SECRET_KEY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **changes}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def run(*arguments: str, prefix: tuple[str, ...] = (), **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *command(*arguments)],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def processes_of(folder: Path) -> list[int]:
    """Every live process that has the data dir in its arguments or its environment, or works inside it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            told += os.fsencode((entry / "cwd").readlink())  # PostgreSQL's children rewrite the others
            if os.fsencode(folder) in told:
                found.append(int(entry.name))
    return found


def wait_until(what: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.1)


@pytest.fixture
def external_url() -> Iterator[str]:
    """An empty database where the suite runs against an external server, else nothing: embedded."""
    if not database.is_external():
        yield ""
        return
    with database.empty() as url:
        yield url


@contextlib.contextmanager
def up(folder: Path, url: str) -> Iterator[Up]:
    changes = {"DATABASE_URL": url} if url else {}
    process = subprocess.Popen(
        command("up", "--no-demo", "--port", "0", "--data-dir", str(folder)),
        cwd=ROOT,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Up(process, folder)
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: running.lines.extend(process.stdout), daemon=True)
    try:
        reader.start()
        wait_until(lambda: any(READY in line for line in running.lines) or process.poll() is not None, BOOT_SECONDS)
        assert process.poll() is None, "".join(running.lines)
        yield running
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: not processes_of(folder))
        reader.join()
        process.stdout.close()


EXECUTOR = """
import sys
from pathlib import Path
from agents.providers.base import Cancellation
from agents.sandbox import client
spec = client.SandboxSpec("sesn_test", Path(sys.argv[1], "sandboxes", "sesn_test"), "files_only")
call = dict(exec_id="1", thread="t", tool="glob", input={"pattern": "*"}, cancellation=Cancellation())
client.execute(spec, **call)
"""


def leave_a_sandbox(folder: Path) -> set[int]:
    """Start a session's executor as a worker does. It goes on without the process that started it."""
    before = set(processes_of(folder))
    subprocess.run([sys.executable, "-c", EXECUTOR, str(folder)], cwd=ROOT, env=environment(), check=True)
    return set(processes_of(folder)) - before


@pytest.mark.timeout(240)
def test_one_command_runs_everything_and_ctrl_c_leaves_nothing(tmp_path, external_url):
    folder = tmp_path / "data"
    with up(folder, external_url) as running:
        assert running.page() == 200
        printed = "".join(running.lines)
        children = running.children()
        wanted = {"web", "worker", "guard"} | (set() if database.is_external() else {"postgres"})
        assert set(children) == wanted
        assert re.search(r"http://127\.0\.0\.1:\d+/\S+", printed.split(READY)[1].split("\n", 1)[1])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        if not os.environ.get("SECRET_KEY"):
            assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600

        second = run("up", "--data-dir", str(folder), "--port", "0")
        assert second.returncode == 1
        assert second.stderr.strip() == f"Daybreak is already running (pid {running.process.pid})."

        port = running.url.rpartition(":")[2]
        other = run("up", "--data-dir", str(tmp_path / "other"), "--port", port)
        assert other.returncode == 1
        assert other.stderr.strip() == (
            f"Port {port} on 127.0.0.1 is in use by another program. Choose another with --port."
        )
        assert not (tmp_path / "other" / "postgres").exists()

        for name in ("web", "worker", "guard", *(() if database.is_external() else ("postgres",))):
            os.kill(children[name], signal.SIGKILL)
            wait_until(lambda name=name: running.children().get(name, children[name]) != children[name])
            assert running.page() == 200

        assert leave_a_sandbox(folder)
        assert running.end(signal.SIGINT) == 0
        assert processes_of(folder) == []


@pytest.mark.timeout(240)
def test_kill_9_leaves_nothing_and_the_next_start_works(tmp_path, external_url):
    folder = tmp_path / "data"
    with up(folder, external_url) as running:
        assert any("API key" in line for line in running.lines)
        assert leave_a_sandbox(folder)
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
        wait_until(lambda: not processes_of(folder))
    with up(folder, external_url) as again:
        assert again.page() == 200
        assert not any("API key" in line for line in again.lines), "the key is made and shown once"
        assert again.end(signal.SIGTERM) == 0
        assert processes_of(folder) == []


def test_a_stop_while_it_starts_leaves_nothing(tmp_path):
    folder = tmp_path / "data"
    process = subprocess.Popen(
        command("up", "--no-demo", "--port", "0", "--data-dir", str(folder)),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(processes_of(folder)) > 2 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert processes_of(folder) == []


def test_other_commands_start_the_database_and_stop_it_again(tmp_path):
    folder = tmp_path / "data"
    done = run("migrate", "--plan", DAYBREAK_DATA_DIR=str(folder))
    assert done.returncode == 0, done.stderr
    assert "Planned operations" in done.stdout
    assert processes_of(folder) == []


def bound_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_port_in_use_is_one_sentence(tmp_path):
    with bound_port() as taken:
        port = str(taken.getsockname()[1])
        done = run("up", "--port", port, "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Port {port} on 127.0.0.1 is in use by another program. Choose another with --port.\n"


@pytest.mark.parametrize("host, port", [("203.0.113.7", "0"), ("no.such.host.invalid", "0"), ("127.0.0.1", "99999")])
def test_an_address_that_is_not_ours_is_one_sentence(tmp_path, host, port):
    done = run("up", "--host", host, "--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and host in done.stderr


@pytest.mark.parametrize(
    "url, expected",
    [
        ("mysql://me:geheim@localhost/daybreak", "DATABASE_URL is not a PostgreSQL address"),
        ("postgresql://nobody:geheim@127.0.0.1:9/daybreak", "cannot be reached"),
        ("host=/nonexistent dbname=daybreak", "cannot be reached"),
    ],
)
def test_a_wrong_database_url_is_one_sentence(tmp_path, url, expected):
    done = run("up", "--port", "0", "--data-dir", str(tmp_path / "data"), DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and expected in done.stderr
    assert "geheim" not in done.stderr


def test_another_command_names_a_wrong_database_url_too():
    done = run("migrate", DATABASE_URL="host=/nonexistent dbname=daybreak")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and "DATABASE_URL cannot be reached" in done.stderr


def test_a_data_dir_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("up", "--port", "0", "--data-dir", str(tmp_path / "file"))
    assert done.returncode == 1
    assert done.stderr == (
        f"The data directory {tmp_path / 'file'} is not a directory. Choose another with --data-dir.\n"
    )


def unprivileged() -> tuple[str, ...]:
    """A prefix that takes away root's right to read everything."""
    if os.geteuid() != 0:
        return ()
    prefix = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("Root can read every folder here, and user namespaces are not allowed.")
    return prefix


def test_a_data_dir_that_cannot_be_read_is_one_sentence(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o000)
    try:
        done = run("up", "--port", "0", "--data-dir", str(folder), prefix=unprivileged())
    finally:
        folder.chmod(0o700)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"The data directory {folder} cannot be read and written" in done.stderr


def test_the_supervisor_loads_neither_django_nor_the_sdk():
    code = "import sys, manage; print([m for m in ('django', 'anthropic', 'psycopg', 'celery') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
