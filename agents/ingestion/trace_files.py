"""Files of spans: OTLP's JSON, what Jaeger, Tempo and Langfuse export, what SDKs and any-agent dump, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.ingestion.model import ImportedSession, ImportReport
from agents.ingestion.otlp import exports, sessions
from agents.ingestion.otlp.span import InvalidTraces, Span
from agents.ingestion.source import Unreadable, read_json, read_lines


def looks_like(value: Any) -> bool:
    return exports.looks_like(value)


def read(paths: list[Path], report: ImportReport) -> Iterator[ImportedSession]:
    """The sessions in each file. Spans without usable ids are counted as skipped."""
    report.expected += len(paths)
    for path in paths:
        report.files += 1
        try:
            spans = list(_spans(path, report))
        except (Unreadable, InvalidTraces) as problem:
            report.skipped_file(path, f"{problem}".rstrip("."))
            continue
        found = 0
        for key, group in sessions.group(spans).items():
            found += 1
            report.expected += found > 1
            yield sessions.convert(key, group)
        if found == 0:
            report.skipped_file(path, "no spans in it")


def _spans(path: Path, report: ImportReport) -> Iterator[Span]:
    if path.suffix != ".jsonl":
        try:
            yield from _usable(read_json(path).value, report)
            return
        except Unreadable as problem:
            if "not JSON" not in str(problem):
                raise
    # Collectors write one export per line, whatever they call the file.
    for number, line in read_lines(path):
        report.lines += 1
        if isinstance(line, Unreadable):
            report.broken_line(path, number, str(line))
        elif exports.looks_like(line.value):
            report.imported_lines += 1
            try:
                yield from _usable(line.value, report)
            except InvalidTraces as problem:
                report.imported_lines -= 1
                report.broken_line(path, number, str(problem))
        else:
            report.skipped_line("line without spans")


def _usable(value: Any, report: ImportReport) -> Iterator[Span]:
    if not exports.looks_like(value):
        raise InvalidTraces(_why_not(value))
    for span in exports.read_spans(value):
        if exports.usable(span):
            yield span
        else:
            report.skipped_spans += 1


def _why_not(value: Any) -> str:
    if isinstance(value, dict) and "eval_cases" in value:
        return "an evaluation set, not a trace"
    return "no spans in a shape we know"
