"""`manage.py doctor` names what works and what does not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

pytestmark = [pytest.mark.django_db, pytest.mark.external]


def examine() -> tuple[dict[str, str], str]:
    """Each line by its name, and what the command said at the end."""
    out, verdict = io.StringIO(), ""
    try:
        call_command("doctor", stdout=out, no_color=True)
    except CommandError as exc:
        verdict = str(exc)
    lines = [line.partition(": ") for line in out.getvalue().splitlines()]
    return {name: text for name, _, text in lines}, verdict


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    settings.DAYBREAK_DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def sandbox(monkeypatch):
    """What the probe finds, without building a sandbox."""
    from agents.sandbox import client

    def found(mode: str, reason: str = "") -> None:
        monkeypatch.setattr(client, "probe", lambda: mode)
        monkeypatch.setattr(client, "probe_reason", lambda: reason)
        monkeypatch.setattr(client, "process_limit_mode", lambda: "watchdog")

    found("bubblewrap")
    return found


def test_a_healthy_installation_has_one_good_line_each(sandbox, data_dir):
    lines, verdict = examine()
    assert verdict == ""
    assert [name.split()[0] for name in lines] == ["✓"] * 7
    assert lines["✓ search"] == "up to date"
    assert lines["✓ database"].startswith("PostgreSQL ")
    assert "pgmq" in lines["✓ broker"]
    assert "bubblewrap" in lines["✓ sandbox"] and "watchdog" in lines["✓ sandbox"]
    assert lines["✓ models"].startswith("simulated only")
    assert str(data_dir) in lines["✓ data dir"]
    assert "Django 5.2" in lines["✓ versions"] and "anthropic" in lines["✓ versions"]


def test_a_missing_queue_schema_is_a_problem(sandbox):
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA pgmq CASCADE")
    lines, verdict = examine()
    assert "manage.py migrate" in lines["✗ broker"]
    assert verdict == "Not in order: broker."


def test_missing_migrations_are_counted(sandbox):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'agents'")
    lines, verdict = examine()
    assert "migrations are missing" in lines["✗ database"]
    assert verdict == "Not in order: database."


def test_without_bubblewrap_it_says_that_bash_is_refused(sandbox):
    sandbox("files_only", "The program bwrap is not installed.")
    lines, verdict = examine()
    assert lines["✓ sandbox"] == "files_only, bash is refused. The program bwrap is not installed."
    assert verdict == ""


def test_bubblewrap_that_was_asked_for_and_does_not_work_is_a_problem(sandbox, settings):
    settings.DAYBREAK_SANDBOX = "bubblewrap"
    sandbox("files_only", "The program bwrap is not installed.")
    lines, verdict = examine()
    assert "bwrap is not installed" in lines["✗ sandbox"]
    assert verdict == "Not in order: sandbox."


def test_a_key_is_mentioned_but_never_shown(sandbox, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-geheim")
    lines, verdict = examine()
    assert "key present" in lines["✓ models"]
    assert "geheim" not in str(lines)


def test_a_vanished_data_dir_is_a_problem(sandbox, settings):
    settings.DAYBREAK_DATA_DIR = Path("/nonexistent/daybreak")
    lines, verdict = examine()
    assert "cannot be read and written" in lines["✗ data dir"]
    assert verdict == "Not in order: data dir."


def test_a_check_that_breaks_is_a_line_and_not_a_traceback(sandbox, monkeypatch):
    from agents.providers import catalog

    def broken() -> None:
        raise ValueError("the catalogue\nis torn")

    monkeypatch.setattr(catalog, "list_models", broken)
    lines, verdict = examine()
    assert lines["✗ models"] == "ValueError: the catalogue is torn"
    assert verdict == "Not in order: models."
