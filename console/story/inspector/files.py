"""The session's shared files: every version with who made it, by which step, and what they had been asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q

from agents.models import Event, FileVersion, Session, ToolCall
from agents.services import file_history
from console import formats
from console.story.causes import chains_of
from console.story.content import blocks_of, text_of
from console.story.detail import Part
from console.story.inspector.asked import Asked
from console.story.rows import EventRow, Lane, RowMaker

PATHS_PAGE = 50
VERSIONS_PAGE = 20
MOST_CONFLICTS = 200
REFUSED = "Nothing was changed by this call."
CHANGES = {
    "write": "written",
    "edit": "edited",
    "command": "changed by a command",
    "found": "found; who made it was not seen",
}
_CONFLICT = re.compile(
    r"(?:write|edit): (?P<path>.+?) (?:exists, and was written by|was (?:removed|created|changed) by) .*"
    + re.escape(REFUSED),
    re.DOTALL,
)


@dataclass(frozen=True)
class Conflict:
    """A write or an edit that was refused, because somebody else had changed the file."""

    lane: Lane
    event_id: str
    seq: int


@dataclass(frozen=True)
class PathRow:
    path: str
    versions: int
    writers: int
    last_change: str
    last_at: datetime | None
    last_lane: Lane | None
    size: int
    is_removed: bool
    conflicts: int


@dataclass(frozen=True)
class VersionRow:
    """One version of a file. `lane` is None where nobody saw who made it; `asked` is what led to it."""

    number: int
    change: str
    lane: Lane | None
    event_id: str
    seq: int | None
    asked: EventRow | None
    size: int
    is_removed: bool
    is_kept: bool
    clock: str
    at: datetime | None


@dataclass(frozen=True)
class FilesBody:
    """All paths, or the history of one of them (`path`)."""

    path: str
    paths: tuple[PathRow, ...]
    total_paths: int
    next_path: str
    versions: tuple[VersionRow, ...]
    total_versions: int
    next_version: int
    conflicts: tuple[Conflict, ...]
    is_imported: bool


def read(asked: Asked) -> FilesBody:
    path = asked.text("path")[: file_history.MAX_PATH_CHARS]
    return _history(asked, path) if path else _paths(asked)


def version_of(session: Session, path: str, number: int) -> FileVersion | None:
    return FileVersion.objects.filter(session=session, path=path, number=number).first()


def difference_part(version: FileVersion) -> Part:
    """What a version changed, as lines; a sentence where that is not known."""
    found = file_history.difference(version)
    if found is None:
        return Part("text", "The difference is not known: it is no text, or one of the two states was not kept.")
    if not found.text:
        return Part("text", "Nothing changed in the text.")
    return Part("diff", found.text, "" if found.complete else "The first lines; the rest is left out")


def _paths(asked: Asked) -> FilesBody:
    """Four queries."""
    recorded = FileVersion.objects.filter(session=asked.session)
    after = asked.text("after_path")
    grouped = (
        recorded.order_by("path").values("path").annotate(last=Max("number"), writers=Count("thread", distinct=True))
    )
    page = list((grouped.filter(path__gt=after) if after else grouped)[: PATHS_PAGE + 1])
    shown = page[:PATHS_PAGE]
    latest = recorded.filter(path__in=[row["path"] for row in shown]).order_by("path", "-number").distinct("path")
    last = {version.path: version for version in latest}
    conflicts = Counter(path for path, _ in _conflicts(asked))
    return FilesBody(
        path="",
        paths=tuple(_path(asked, row["writers"], last[row["path"]], conflicts) for row in shown),
        total_paths=recorded.order_by().values("path").distinct().count(),
        next_path=shown[-1]["path"] if len(page) > PATHS_PAGE else "",
        versions=(),
        total_versions=0,
        next_version=0,
        conflicts=(),
        is_imported=asked.session.is_imported,
    )


def _path(asked: Asked, writers: int, version: FileVersion, conflicts: Counter[str]) -> PathRow:
    return PathRow(
        path=version.path,
        versions=version.number,
        writers=writers,
        last_change=CHANGES.get(version.change, version.change),
        last_at=version.created_at,
        last_lane=asked.lanes.get(version.thread_id) if version.thread_id else None,
        size=version.size_bytes,
        is_removed=not version.sha256,
        conflicts=conflicts[version.path],
    )


def _history(asked: Asked, path: str) -> FilesBody:
    own = FileVersion.objects.filter(session=asked.session, path=path)
    after = asked.number("after_version") or 0
    found = list(own.filter(number__gt=after).select_related("call__use_event").order_by("number")[: VERSIONS_PAGE + 1])
    shown = found[:VERSIONS_PAGE]
    instructions = _instructions(asked, [v.call.use_event for v in shown if v.call is not None])
    conflicts = [conflict for name, conflict in _conflicts(asked) if name == path]
    return FilesBody(
        path=path,
        paths=(),
        total_paths=0,
        next_path="",
        versions=tuple(_version(asked, version, instructions) for version in shown),
        total_versions=own.count(),
        next_version=shown[-1].number if len(found) > VERSIONS_PAGE else 0,
        conflicts=tuple(conflicts),
        is_imported=asked.session.is_imported,
    )


def _version(asked: Asked, version: FileVersion, instructions: dict[int, EventRow]) -> VersionRow:
    use = version.call.use_event if version.call is not None else None
    since = (version.created_at - asked.session.created_at).total_seconds()
    return VersionRow(
        number=version.number,
        change=CHANGES.get(version.change, version.change),
        lane=asked.lanes.get(version.thread_id) if version.thread_id else None,
        event_id=use.public_id if use else "",
        seq=use.seq if use else None,
        asked=instructions.get(use.seq) if use else None,
        size=version.size_bytes,
        is_removed=not version.sha256,
        is_kept=version.is_kept,
        clock=formats.offset(since),
        at=version.created_at,
    )


def _instructions(asked: Asked, uses: Iterable[Event]) -> dict[int, EventRow]:
    """What each of these calls' agents was working on, by the call's `seq`."""
    chains = chains_of(asked.session, {use.seq: use.thread_id for use in uses}, until_instruction=True)
    found = {root: chain.instruction for root, chain in chains.items()}
    seqs = {link.seq for link in found.values() if link is not None}
    events = list(Event.objects.filter(session=asked.session, seq__in=seqs).order_by("seq")) if seqs else []
    rows = {row.seq: row for row in RowMaker(asked.session, asked.lanes).rows(events)}
    return {root: rows[link.seq] for root, link in found.items() if link is not None and link.seq in rows}


def _conflicts(asked: Asked) -> list[tuple[str, Conflict]]:
    """Refused changes with the file's path, the newest. One query."""
    refused = ToolCall.objects.filter(
        Q(name="write") | Q(name="edit"),
        session=asked.session,
        is_error=True,
        result_event__payload__contains=REFUSED,
    )
    found = []
    for call in refused.select_related("result_event").order_by("-pk")[:MOST_CONFLICTS]:
        result = call.result_event
        told = _CONFLICT.match(text_of(blocks_of(result.data))) if result is not None else None
        if result is not None and told is not None and call.thread_id in asked.lanes:
            found.append((told["path"], Conflict(asked.lanes[call.thread_id], result.public_id, result.seq)))
    return found
