"""Which format a file is in, and one way to read them all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from agents.ingestion import chat, claude_code, inspect_log, trace_files
from agents.ingestion.model import CHAT, CLAUDE_CODE, INSPECT, OTLP, ImportedSession, ImportReport
from agents.ingestion.source import Unreadable, read_json, read_lines

LOOKED_AT = 200
_READERS = {OTLP: trace_files.read, INSPECT: inspect_log.read, CHAT: chat.read}
_SUFFIXES = (".json", ".jsonl", inspect_log.SUFFIX)


def detect_format(path: Path) -> str | None:
    """The format of a file, or of the first file in a folder that is in one we know. Null when there is none."""
    if path.is_dir():
        return next((found for file in _files(path) if (found := detect_format(file))), None)
    try:
        if path.suffix == inspect_log.SUFFIX:
            return INSPECT
        if path.suffix == ".jsonl":
            return _format_of_lines(path)
        return _format_of(path) if path.suffix == ".json" else None
    except Unreadable:
        return None


def read(path: Path, format_name: str | None, report: ImportReport) -> Iterator[ImportedSession]:
    """The sessions in a file or folder, one at a time; null means each file in the format it is found to be in.

    Never raises over what is in the files: everything that could not be imported is in `report`.
    """
    if path.is_dir():
        files = _files(path)
        if not files:
            report.skipped_file(path, "no .json, .jsonl or .eval file in it")
        yield from _read_files(files, format_name, report)
        return
    found = format_name or detect_format(path) or _guess(path)
    if found == CLAUDE_CODE:
        related = claude_code.related_files(path)
        yield from claude_code.read(related, report, only_sessions_of=path)
    else:
        yield from _READERS[found]([path], report)


def _read_files(files: list[Path], format_name: str | None, report: ImportReport) -> Iterator[ImportedSession]:
    """Claude Code's files are read together, because one session is spread over several of them."""
    found = {file: format_name or detect_format(file) or _guess(file) for file in files}
    for file in files:
        if format_name is None and file.suffix == ".jsonl" and found[file] == CHAT and detect_format(file) is None:
            found[file] = CLAUDE_CODE  # it names what is wrong with each line
    lines = [file for file in files if file.suffix == ".jsonl" and found[file] == CLAUDE_CODE]
    if lines:
        yield from claude_code.read(lines, report)
    for file in files:
        reader = _READERS.get(found[file])
        if reader is not None and not file.name.endswith(".meta.json"):
            yield from reader([file], report)


def _guess(path: Path) -> str:
    """Who shall say what is wrong with a file that is in no format we know."""
    if path.suffix == inspect_log.SUFFIX:
        return INSPECT
    if path.suffix == ".json" and _is_evaluation_set(path):
        return OTLP
    return CHAT


def _is_evaluation_set(path: Path) -> bool:
    try:
        value = read_json(path).value
    except Unreadable:
        return False
    return isinstance(value, dict) and "eval_cases" in value


def _format_of(path: Path) -> str | None:
    try:
        value = read_json(path).value
    except Unreadable:
        return OTLP if _format_of_lines(path) == OTLP else None
    return _format_of_value(value)


def _format_of_value(value: Any) -> str | None:
    if inspect_log.looks_like(value):
        return INSPECT
    if trace_files.looks_like(value):
        return OTLP
    return CHAT if chat.looks_like(value) else None


def _format_of_lines(path: Path) -> str | None:
    for _, item in islice(read_lines(path), LOOKED_AT):
        if isinstance(item, Unreadable):
            continue
        if claude_code.looks_like(item.value):
            return CLAUDE_CODE
        if trace_files.looks_like(item.value):
            return OTLP
        if chat.looks_like(item.value):
            return CHAT
    return None


def _files(folder: Path) -> list[Path]:
    """Every JSON, JSONL and `.eval` file below a folder, in a stable order. Links to other folders are not followed."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(parent, name) for name in sorted(names) if name.endswith(_SUFFIXES)]
    return found
