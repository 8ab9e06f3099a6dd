"""Write a session's log to a file or to standard output, as lines of JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.models import Session
from agents.services.export import export_lines, file_name


class Command(BaseCommand):
    help = "Export a session as JSON lines: what it is, every event in order, and what people said of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session", help="public id of the session (sesn_…)")
        parser.add_argument(
            "--output", metavar="FILE", help="default: the session's id with .jsonl; - for standard output"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        session = Session.objects.filter(public_id=options["session"]).first()
        if session is None:
            raise CommandError(f"There is no session {options['session']}.")
        if options["output"] == "-":
            for line in export_lines(session):
                self.stdout.write(line, ending="")
            return
        path = Path(options["output"] or file_name(session))
        try:
            lines = _write(session, path)
        except OSError as exc:
            raise CommandError(f"Cannot write {path}: {exc.strerror or exc}.") from exc
        self.stderr.write(f"wrote {lines} lines to {path}")


def _write(session: Session, path: Path) -> int:
    """All of it or nothing: a reader never meets half a file under the name that was asked for."""
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with part.open("w", encoding="utf-8") as file:
            lines = 0
            for line in export_lines(session):
                file.write(line)
                lines += 1
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return lines
