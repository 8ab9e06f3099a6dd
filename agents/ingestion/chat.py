"""Chat logs: JSON files that hold one conversation, or a list of them.

Four shapes are told apart: the failure-attribution logs of Who&When (`history`, `mistake_step`), the runs of
tau-bench (`traj`, `task_id`, `trial`), objects with `messages`, and bare lists of messages. A JSONL file may hold one
conversation per line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.ingestion import chat_messages, chat_speakers
from agents.ingestion.model import ImportedSession, ImportReport
from agents.ingestion.source import Parsed, Unreadable, read_json, read_lines


def looks_like(value: Any) -> bool:
    """Whether a parsed JSON value is a conversation, or a list of conversations."""
    if isinstance(value, dict):
        return chat_speakers.looks_like(value) or chat_messages.looks_like(value)
    if isinstance(value, list) and value:
        first = value[0]
        return chat_messages.is_message_list(value) or (isinstance(first, dict) and looks_like(first))
    return False


def read(paths: list[Path], report: ImportReport) -> Iterator[ImportedSession]:
    report.expected += len(paths)
    for path in paths:
        report.files += 1
        before = report.skipped_files
        found = 0
        try:
            for session in _sessions_of(path, report):
                found += 1
                report.expected += found > 1
                yield session
        except Unreadable as problem:
            report.skipped_file(path, str(problem))
        if found == 0:
            report.expected -= 1
            if report.skipped_files == before:
                report.skipped_file(path, "no conversation found in it")


def _sessions_of(path: Path, report: ImportReport) -> Iterator[ImportedSession]:
    if path.suffix == ".jsonl":
        yield from _sessions_of_lines(path, report)
        return
    parsed = read_json(path)
    value = parsed.value
    if isinstance(value, list) and not chat_messages.is_message_list(value):
        for item in value:
            if session := _convert(path, Parsed(item, parsed.sanitised)):
                yield session
            else:
                report.skipped_line("list element without a conversation")
    elif session := _convert(path, parsed):
        yield session


def _sessions_of_lines(path: Path, report: ImportReport) -> Iterator[ImportedSession]:
    for number, item in read_lines(path):
        report.lines += 1
        if isinstance(item, Unreadable):
            report.broken_line(path, number, str(item))
        elif session := _convert(path, item):
            report.imported_lines += 1
            yield session
        else:
            report.skipped_line("line without a conversation")


def _convert(path: Path, parsed: Parsed) -> ImportedSession | None:
    value = parsed.value
    if isinstance(value, dict) and chat_speakers.looks_like(value):
        return chat_speakers.convert(value, path, sanitised=parsed.sanitised)
    if chat_messages.looks_like(value) or chat_messages.is_message_list(value):
        return chat_messages.convert(value, path, sanitised=parsed.sanitised)
    return None
