"""The demo: sessions that run through the real engine, with simulated models and no key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agents.models import Workspace
from agents.services.demo import create_demo


class Command(BaseCommand):
    help = "Create the demo sessions in the first workspace. The running worker carries them out."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="do nothing when the demo was created before")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.order_by("pk").first()
        if workspace is None or (options["once"] and workspace.demo_ran_at is not None):
            return
        for session in create_demo(workspace):
            if options["verbosity"]:
                self.stdout.write(f"{session.public_id}  {session.title}")
