"""Make a session's cached state say what its log says."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.models import Session
from agents.services.rebuild import rebuild_state


class Command(BaseCommand):
    help = "Rebuild the cached state of a session from its event log and name what was wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session", help="public id of the session (sesn_…)")

    def handle(self, *args: Any, **options: Any) -> None:
        session = Session.objects.filter(public_id=options["session"]).first()
        if session is None:
            raise CommandError(f"There is no session {options['session']}.")
        differences = rebuild_state(session)
        for line in differences:
            self.stdout.write(line)
        self.stdout.write(f"{len(differences)} differences repaired." if differences else "No difference.")
