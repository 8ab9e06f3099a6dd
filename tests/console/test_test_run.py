"""The promises of tests/conftest.py itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from console.embedded_postgres import EmbeddedPostgres
from tests import database
from tests.conftest import missing


@pytest.mark.django_db
def test_each_test_process_has_a_migrated_database_of_its_own(database_dsn):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone()[0].endswith(f"_{worker}")
    with psycopg.connect(database_dsn) as other:
        row = other.execute("SELECT count(*) FROM django_migrations").fetchone()
    assert row is not None and row[0] > 0


@pytest.mark.parametrize("host", ["192.0.2.1", "8.8.8.8", "example.org"])
def test_tests_cannot_leave_the_machine(host):
    with pytest.raises(RuntimeError, match="loopback only"):
        socket.create_connection((host, 80), timeout=1)
    with socket.socket() as plain, pytest.raises(RuntimeError, match="loopback only"):
        plain.connect((host, 80))


def test_tests_reach_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("localhost", port), timeout=5).close()


def test_what_is_missing_is_skipped_and_fails_where_it_is_required(monkeypatch):
    monkeypatch.setenv("DAYBREAK_REQUIRE", "chromium")
    with pytest.raises(pytest.skip.Exception, match="no bubblewrap here"):
        missing("bwrap", "no bubblewrap here")
    monkeypatch.setenv("DAYBREAK_REQUIRE", "chromium, bwrap")
    with pytest.raises(pytest.fail.Exception, match="DAYBREAK_REQUIRE names bwrap, but no bubblewrap here"):
        missing("bwrap", "no bubblewrap here")


def test_a_killed_run_leaves_no_server(tmp_path):
    """The server belongs to the process that started pytest; its end is the server's end."""
    code = "import os; from tests import database as d; d.choose(); d.start_server(); print(d.run_dir(), flush=True)"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYBREAK_TEST") and k != "DATABASE_URL"}
    run = subprocess.Popen(
        [sys.executable, "-c", f"{code}; os.kill(os.getpid(), 9)"],
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = Path(run.communicate(timeout=60)[0].strip())
    assert folder.name.startswith(database.PREFIX)
    server = EmbeddedPostgres(folder / "server")
    deadline = time.monotonic() + 20
    while server.server_pid() is not None:
        assert time.monotonic() < deadline, "PostgreSQL outlived the run."
        time.sleep(0.05)
    shutil.rmtree(folder)
