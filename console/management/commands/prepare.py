"""Bring the database up to date and make the first workspace, administrator and key."""

from __future__ import annotations

import json
import os
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

MIGRATION_LOCK = 7_239_001  # any constant: two processes starting at once must not migrate together


class Command(BaseCommand):
    help = "Run migrations and first-start set-up; with --demo also create the demo sessions once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="create the demo sessions on first start")
        parser.add_argument("--json", action="store_true", help="print the sign-in path and key as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            call_command("migrate", interactive=False, verbosity=0)
            self._set_up(demo=options["demo"], as_json=options["json"])
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])

    def _set_up(self, *, demo: bool, as_json: bool) -> None:
        from agents.services.setup import set_up

        first = set_up(
            api_key=os.environ.get("DAYBREAK_API_KEY", ""),
            admin_password=os.environ.get("DAYBREAK_ADMIN_PASSWORD", ""),
        )
        if demo:
            call_command("demo", once=True, verbosity=0)
        told = {"sign_in_path": first.sign_in_path, "api_key": first.api_key}
        if as_json:
            self.stdout.write(json.dumps(told))
            return
        if first.sign_in_path:
            self.stdout.write(f"Sign in once with: {first.sign_in_path}")
        if first.api_key:
            self.stdout.write(f"API key: {first.api_key}")
        self.stdout.write(f"Data: {settings.DAYBREAK_DATA_DIR}")
