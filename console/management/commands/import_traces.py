"""Import sessions that other tools recorded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.errors import DaybreakError
from agents.ingestion import detect
from agents.ingestion.model import FORMATS, ImportedSession, ImportReport
from agents.ingestion.source import clean_text
from agents.models import Workspace
from agents.providers.catalog_file import CatalogInvalid
from agents.services.ingestion import import_session
from agents.services.traces_told import import_spans

AUTO = "auto"
BAR_WIDTH = 30
NAMED = 100


class Command(BaseCommand):
    help = (
        "Import recorded sessions from files or folders. Importing the same files again adds nothing, files that have "
        "grown add what is new. Imported sessions can be read in the console and through the API, but not run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, or a folder to search")
        parser.add_argument("--format", choices=[AUTO, *FORMATS], default=AUTO, help="default: found per file")
        parser.add_argument("--workspace", metavar="SLUG", help="default: the first workspace")

    def handle(self, *args: Any, **options: Any) -> None:
        for path in options["paths"]:
            check_readable(path)
        workspace = find_workspace(options["workspace"])
        format_name = None if options["format"] == AUTO else options["format"]
        totals = _Totals()
        for path in options["paths"]:
            self._import(path, format_name, workspace, totals)
        if totals.seen == 0:
            raise CommandError(
                f"Found no session to import. Known formats are {', '.join(FORMATS)}; see the lines above."
            )
        if totals.unchanged:
            self.stdout.write(f"{totals.unchanged} sessions were here already and have nothing new")
        self.stdout.write(f"imported {totals.sessions} sessions, {totals.events} events, {totals.skipped} skipped")

    def _import(self, path: Path, format_name: str | None, workspace: Workspace, totals: _Totals) -> None:
        report = ImportReport()
        bar = _Bar(self)
        try:
            for number, imported in enumerate(detect.read(path, format_name, report), start=1):
                totals.seen += 1
                bar.clear()
                self._store(imported, workspace, totals)
                bar.show(number, report.expected)
        finally:
            bar.clear()
        self._tell_skipped(report)
        totals.skipped += report.skipped

    def _store(self, imported: ImportedSession, workspace: Workspace, totals: _Totals) -> None:
        try:
            store = import_spans if imported.spans else import_session
            result = store(workspace, imported)
        except DaybreakError as error:
            totals.skipped += 1
            self.stderr.write(f"skipped session {imported.external_id}: {error}")
            return
        except CatalogInvalid as error:
            raise CommandError(str(error)) from error
        if result.new_events == 0 and not result.created:
            totals.unchanged += 1
            return
        totals.sessions += 1
        totals.events += result.new_events
        word = "new" if result.created else "grown"
        self.stdout.write(
            f"{result.session.public_id}  {word}  {len(imported.threads)} threads  "
            f"{result.new_events} events  {imported.title}"
        )
        for note in imported.notes:
            self.stdout.write(f"    {note}")

    def _tell_skipped(self, report: ImportReport) -> None:
        for problem in report.problems[:NAMED]:
            self.stderr.write(f"skipped {problem}")
        more = len(report.problems) - NAMED + report.unnamed_problems
        if more > 0:
            self.stderr.write(f"skipped {more} more files and lines that are broken")
        if report.skipped_spans:
            self.stdout.write(f"skipped {report.skipped_spans} spans without a usable trace or span id")
        for kind, count in sorted(report.skipped_lines.items()):
            self.stdout.write(f"skipped {count} lines that are no events: {clean_text(kind)}")


class _Totals:
    """What the closing line tells. `seen` counts every session that was read."""

    def __init__(self) -> None:
        self.seen = self.sessions = self.events = self.unchanged = self.skipped = 0


class _Bar:
    """A progress bar on the terminal's last line; nothing where the output is not a terminal."""

    def __init__(self, command: BaseCommand) -> None:
        self.out = command.stderr
        self.shown = self.out.isatty()

    def show(self, done: int, expected: int) -> None:
        if self.shown:
            total = max(done, expected)
            filled = BAR_WIDTH * done // total
            self.out.write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total}", ending="")
            self.out.flush()

    def clear(self) -> None:
        if self.shown:
            self.out.write("\r\x1b[K", ending="")


def check_readable(path: Path) -> None:
    """Raise CommandError, in one sentence, for a path that cannot be opened at all."""
    try:
        if path.is_dir():
            os.listdir(path)
        elif path.is_file():
            path.open("rb").close()
        else:
            raise CommandError(f"There is no file or folder {path}.")
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror or error}.") from error


def find_workspace(slug: str | None) -> Workspace:
    if slug is None:
        first = Workspace.objects.order_by("pk").first()
        if first is None:
            raise CommandError("There is no workspace yet. Start Daybreak once with `make run`, then import.")
        return first
    found = Workspace.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(Workspace.objects.order_by("pk").values_list("slug", flat=True)[:20])
        raise CommandError(f"There is no workspace {slug}. Known workspaces: {known or 'none'}.")
    return found
