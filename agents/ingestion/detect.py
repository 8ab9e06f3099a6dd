"""Which format a file is in, and one way to read them all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from agents.ingestion import chat, claude_code
from agents.ingestion.model import CHAT, CLAUDE_CODE, ImportedSession, ImportReport
from agents.ingestion.source import Unreadable, read_json, read_lines

LOOKED_AT = 200


def detect_format(path: Path) -> str | None:
    """The format of a file, or of the first file in a folder that is in one we know. Null when there is none."""
    if path.is_dir():
        return next((found for file in _files(path) if (found := detect_format(file))), None)
    try:
        if path.suffix == ".jsonl":
            return _format_of_lines(path)
        return CHAT if path.suffix == ".json" and chat.looks_like(read_json(path).value) else None
    except Unreadable:
        return None


def read(path: Path, format_name: str | None, report: ImportReport) -> Iterator[ImportedSession]:
    """The sessions in a file or folder, one at a time; null means each file in the format it is found to be in.

    Never raises over what is in the files: everything that could not be imported is in `report`.
    """
    if path.is_dir():
        files = _files(path)
        if not files:
            report.skipped_file(path, "no .json or .jsonl file in it")
        yield from _read_files(files, format_name, report)
        return
    found = format_name or detect_format(path)
    if found == CLAUDE_CODE:
        related = claude_code.related_files(path)
        yield from claude_code.read(related, report, only_sessions_of=path)
    else:
        yield from chat.read([path], report)


def _read_files(files: list[Path], format_name: str | None, report: ImportReport) -> Iterator[ImportedSession]:
    """Claude Code's files are read together, because one session is spread over several of them."""
    lines = [f for f in files if f.suffix == ".jsonl" and format_name != CHAT]
    if format_name is None:
        lines = [f for f in lines if detect_format(f) != CHAT]
    if lines:
        yield from claude_code.read(lines, report)
    if format_name != CLAUDE_CODE:
        taken = set(lines)
        others = [f for f in files if f not in taken and not f.name.endswith(".meta.json")]
        yield from chat.read(others, report)


def _format_of_lines(path: Path) -> str | None:
    for _, item in islice(read_lines(path), LOOKED_AT):
        if isinstance(item, Unreadable):
            continue
        if claude_code.looks_like(item.value):
            return CLAUDE_CODE
        if chat.looks_like(item.value):
            return CHAT
    return None


def _files(folder: Path) -> list[Path]:
    """Every JSON and JSONL file below a folder, in a stable order. Links to other folders are not followed."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(parent, name) for name in sorted(names) if name.endswith((".json", ".jsonl"))]
    return found
