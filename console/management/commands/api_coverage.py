"""`manage.py api_coverage`: write `docs/api-coverage.md` from the SDK and the URL table."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from agents.api.coverage import render


class Command(BaseCommand):
    help = "Write docs/api-coverage.md: which calls of the SDK are built."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        page = settings.BASE_DIR / "docs" / "api-coverage.md"
        page.write_text(render(), encoding="utf-8")
        self.stdout.write(f"Wrote {page.relative_to(settings.BASE_DIR)}.")
