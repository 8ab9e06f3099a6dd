from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "console"

    def ready(self) -> None:
        # `shared_task.delay` needs the configured application, in the web process too.
        from console import celery  # noqa: F401
