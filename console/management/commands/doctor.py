"""Look at everything Daybreak needs, one line each, and say what to do about what is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from agents.services import search_index
from console.formats import count
from console.start_checks import OLDEST_POSTGRES, CannotStart, check_external

PACKAGES = ("Django", "anthropic", "celery", "psycopg", "uvicorn")
PROCESS_LIMITS = {
    "cgroup": "process limit by cgroup",
    "ulimit": "process limit by ulimit",
    "watchdog": "process limit by the executor's watchdog, because this user or kernel escapes ulimit",
}


class Problem(Exception):
    """What is wrong and what to do, in one sentence."""


class Command(BaseCommand):
    help = "Check database, broker, sandbox, models and versions. Exit code 1 when something does not work."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        checks: tuple[tuple[str, Callable[[], str]], ...] = (
            ("database", check_database),
            ("broker", check_broker),
            ("sandbox", check_sandbox),
            ("models", check_models),
            ("search", check_search),
            ("data dir", check_data_dir),
            ("versions", check_versions),
        )
        failed = [name for name, check in checks if not self._passes(name, check)]
        if failed:
            raise CommandError(f"Not in order: {', '.join(failed)}.")

    def _passes(self, name: str, check: Callable[[], str]) -> bool:
        try:
            found = check()
        except Problem as exc:
            self.stdout.write(self.style.ERROR(f"✗ {name}: {exc}"))
            return False
        except Exception as exc:  # noqa: BLE001 (a doctor reports what it meets instead of falling over it)
            self.stdout.write(self.style.ERROR(f"✗ {name}: {type(exc).__name__}: {' '.join(str(exc).split())}"))
            return False
        self.stdout.write(f"✓ {name}: {found}")
        return True


def check_database() -> str:
    reach_database()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
        number, text = cursor.fetchone()
    where = "external, from DATABASE_URL" if os.environ.get("DATABASE_URL") else "embedded"
    if number < OLDEST_POSTGRES:
        raise Problem(f"PostgreSQL {text} is too old. Daybreak needs 15 or newer.")
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        raise Problem(f"{missing} migrations are missing. Run `manage.py migrate`, or start Daybreak.")
    return f"PostgreSQL {text.split()[0]} ({where}), migrations up to date"


def reach_database() -> None:
    """Ask once, directly: the connection pool would wait before it gives up."""
    if url := os.environ.get("DATABASE_URL"):
        try:
            check_external(url)
        except CannotStart as exc:
            raise Problem(str(exc)) from exc


def check_broker() -> str:
    url = settings.CELERY_BROKER_URL
    if url.startswith("pgmq"):
        reach_database()
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('pgmq.meta') IS NOT NULL")
            if not cursor.fetchone()[0]:
                raise Problem("the schema pgmq is missing. Run `manage.py migrate`, or start Daybreak.")
            cursor.execute("SELECT count(*) FROM pgmq.meta")
            queues = cursor.fetchone()[0]
        return f"pgmq in the same database, queues: {queues}"
    from console.celery import app

    with app.connection_for_write(connect_timeout=5) as broker:
        broker.ensure_connection(max_retries=1, timeout=5)
        return f"{broker.transport.driver_type} at {broker.hostname} answers"


def check_sandbox() -> str:
    from agents.sandbox import client

    mode = client.probe()
    reason = client.probe_reason()
    if settings.DAYBREAK_SANDBOX == "bubblewrap" and mode != "bubblewrap":
        raise Problem(f"DAYBREAK_SANDBOX asks for bubblewrap. {reason}")
    network = f"network {settings.DAYBREAK_SANDBOX_NETWORK}"
    if settings.DAYBREAK_SANDBOX == "files_only":
        return "files_only, as DAYBREAK_SANDBOX asks; bash is refused"
    if mode != "bubblewrap":
        return f"files_only, bash is refused. {reason}"
    return f"bubblewrap, {network}, {PROCESS_LIMITS[client.process_limit_mode()]}"


def check_models() -> str:
    from agents.providers import catalog

    models = catalog.list_models()
    simulated = sum(model.simulated for model in models)
    if not os.environ.get("ANTHROPIC_API_KEY"):
        return f"simulated only ({simulated}); set ANTHROPIC_API_KEY for real ones"
    where = os.environ.get("ANTHROPIC_BASE_URL") or "the default address"
    return f"{len(models) - simulated} real at {where} (key present, not tried), {simulated} simulated"


def check_search() -> str:
    """The index is made by the worker, a little after the log: here is how little."""
    reach_database()
    lag = search_index.lag()
    if lag.events:
        return f"{count(lag.events)} of the newest events cannot be found yet; a running worker indexes them"
    if lag.unsettled:
        return f"up to date; something long is being written among the last {count(lag.unsettled)} events"
    return "up to date"


def check_data_dir() -> str:
    folder = settings.DAYBREAK_DATA_DIR
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise Problem(f"{folder} cannot be read and written by this user.")
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize / 2**30
    if free < 1:
        raise Problem(f"{folder} has only {free:.1f} GiB left. Make room, or move it with DAYBREAK_DATA_DIR.")
    return f"{folder}, {free:.0f} GiB free"


def check_versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, {packages}"
