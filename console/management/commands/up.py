"""`manage.py up`, for `manage.py help`. manage.py itself hands it over before Django is loaded."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from console import supervisor


class Command(BaseCommand):
    help = "Run all of Daybreak: PostgreSQL, web and worker. Ctrl-C stops all of it."
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        sys.exit(supervisor.main(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(supervisor.main([]))
