"""Claude Code's session files: JSONL in a project's folder, sub-agents beside them or in `<session>/subagents/`.

A session is one `sessionId` found in the lines, whatever the files are called: the files of sub-agents belong to the
session their lines name, also when its own file is gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.ingestion import claude_session
from agents.ingestion.claude_lines import short_id, text_of
from agents.ingestion.model import ImportedSession, ImportReport, Problem
from agents.ingestion.source import Parsed, Unreadable, read_json, read_lines

AGENT_FILES = "agent-*.jsonl"
SESSION_KEYS = ("sessionId", "leafUuid", "parentUuid")


@dataclass
class _Index:
    """Which files hold which session, and what else the files tell about sessions."""

    files: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    titles: dict[str, str] = field(default_factory=dict)
    metas: dict[str, dict[str, Any]] = field(default_factory=dict)


def looks_like(value: Any) -> bool:
    """Whether a parsed line is one of Claude Code's."""
    return isinstance(value, dict) and "type" in value and any(key in value for key in SESSION_KEYS)


def related_files(path: Path) -> list[Path]:
    """A session's file and the files its sub-agents may be in."""
    beside = path.parent.glob(AGENT_FILES)
    below = (path.with_suffix("") / "subagents").rglob(AGENT_FILES)
    return [path, *sorted({*beside, *below} - {path})]


def read(paths: list[Path], report: ImportReport, *, only_sessions_of: Path | None = None) -> Iterator[ImportedSession]:
    """The sessions of some JSONL files, one at a time. With `only_sessions_of`, those that this file mentions."""
    index = _index(paths, report, only_sessions_of)
    report.expected += len(index.files)
    for session_id, files in index.files.items():
        own_first = sorted(files, key=lambda path: (path.stem != session_id, str(path)))
        yield claude_session.convert(
            session_id,
            _lines_of(session_id, own_first, report),
            titles=index.titles,
            metas=index.metas,
            report=report,
        )


def _lines_of(session_id: str, paths: list[Path], report: ImportReport) -> Iterator[tuple[dict[str, Any], bool]]:
    for path in paths:
        try:
            for owner, parsed in _lines(path):
                if owner == session_id:
                    report.lines += 1
                    yield parsed.value, parsed.sanitised
        except Unreadable as problem:
            report.skipped_file(path, f"could not be read to its end: {problem}")


def _index(paths: list[Path], report: ImportReport, only_sessions_of: Path | None) -> _Index:
    index = _Index()
    wanted: set[str] | None = None
    for path in paths:
        broken: list[Problem] = []
        try:
            sessions = _sessions_of(path, index, broken)
        except Unreadable as error:
            report.skipped_file(path, str(error))
            continue
        if wanted is not None and not wanted & sessions:
            continue
        report.files += 1
        report.lines += len(broken)
        for problem in broken:
            report.broken_line(path, problem.line or 0, problem.reason)
        if not sessions:
            report.skipped_file(path, "no line in it carries a sessionId")
        if path == only_sessions_of:
            wanted = sessions
        for session_id in sorted(sessions if wanted is None else sessions & wanted):
            index.files[session_id].append(path)
        _read_meta(path, index)
    return index


def _sessions_of(path: Path, index: _Index, broken: list[Problem]) -> set[str]:
    sessions = set()
    for owner, parsed in _lines(path, broken):
        if owner is not None:
            sessions.add(owner)
        leaf, title = text_of(parsed.value, "leafUuid"), text_of(parsed.value, "summary")
        if leaf and title:
            index.titles[leaf] = title
    return sessions


def _lines(path: Path, broken: list[Problem] | None = None) -> Iterator[tuple[str | None, Parsed]]:
    """The JSON objects of a file with the session each belongs to.

    Some kinds of line carry no `sessionId`: they belong to the session of the line before, at the beginning of a
    file to the first that follows, and to none when the file names none. `broken` collects the unreadable lines.
    """
    current: str | None = None
    waiting: list[Parsed] = []
    for number, item in read_lines(path):
        if isinstance(item, Unreadable) or not isinstance(item.value, dict):
            if broken is not None:
                reason = str(item) if isinstance(item, Unreadable) else "not a JSON object"
                broken.append(Problem(path, number, reason))
            continue
        current = text_of(item.value, "sessionId") or current
        if current is None:
            waiting.append(item)
            continue
        yield from ((current, early) for early in waiting)
        waiting.clear()
        yield current, item
    yield from ((None, orphan) for orphan in waiting)


def _read_meta(path: Path, index: _Index) -> None:
    """`agent-<id>.meta.json` beside a sub-agent's file says what kind of agent it was."""
    meta = path.with_suffix(".meta.json")
    agent_id = path.stem.removeprefix("agent-")
    if agent_id == path.stem or not meta.is_file():
        return
    try:
        value = read_json(meta).value
    except Unreadable:
        return
    if isinstance(value, dict):
        index.metas[short_id(agent_id)] = value
