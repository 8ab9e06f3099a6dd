"""The history of a session's files: every state with who made it from which, and what each thread has seen of them.

Rows are facts about the disk, told by the sandbox. They are written right before the result of the call that told them,
by whichever worker hears of them first: writing them again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction

from agents.errors import NotFound
from agents.models import FileVersion, Session
from agents.sandbox.client import FileBase, FileChange
from agents.sandbox.file_states import ABSENT, MOST_KEPT, is_hash
from agents.services import blobs, log_sql
from agents.services.file_differences import Difference, difference_between
from agents.services.log import clean_text

MAX_PATH_CHARS = 1_000  # longer ones are not recorded
MAX_PATH_BYTES = 2_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

BASE = """
SELECT seen.sha256, last.sha256, writer.public_id
FROM agents_thread own
LEFT JOIN agents_seenfile seen ON seen.thread_id = own.id AND seen.path = $3
LEFT JOIN LATERAL (
    SELECT sha256, thread_id FROM agents_fileversion WHERE session_id = $1 AND path = $3 ORDER BY number DESC LIMIT 1
) last ON true
LEFT JOIN agents_thread writer ON writer.id = last.thread_id
WHERE own.id = $2 AND EXISTS (SELECT 1 FROM agents_thread other WHERE other.session_id = $1 AND other.id <> $2)
"""
# No commit of ours waits for the disk: that of the call's result, which follows, makes it durable with itself.
QUICK = "set_config('synchronous_commit', 'off', true)"
# The session first and its threads by key, as everywhere, so that two transactions cannot wait for each other.
LOCK = f"""
SELECT t.public_id, t.id, {QUICK} FROM agents_session s JOIN agents_thread t ON t.session_id = s.id
WHERE s.id = $1 AND (t.id = $2 OR t.public_id = ANY($3)) ORDER BY t.id FOR NO KEY UPDATE OF s FOR KEY SHARE OF t
"""  # noqa: S608 (our own text)
CALLS = "SELECT exec_id, id FROM agents_toolcall WHERE thread_id = ANY($1) AND exec_id = ANY($2)"
RECORDED = """
SELECT v.path, v.number, v.sha256, v.created_at = ANY($3), v.number = latest.number, v.created_at
FROM (SELECT path, max(number) AS number FROM agents_fileversion WHERE session_id = $1 AND path = ANY($2) GROUP BY path)
     latest
JOIN agents_fileversion v ON v.session_id = $1 AND v.path = latest.path
WHERE v.number = latest.number OR v.created_at = ANY($3)
"""
SEE = f"""
INSERT INTO agents_seenfile (thread_id, path, sha256, seen_at)
SELECT $1::bigint, $2, $3, clock_timestamp() FROM (SELECT {QUICK}) quick
ON CONFLICT (thread_id, path) DO UPDATE SET sha256 = excluded.sha256, seen_at = excluded.seen_at
WHERE agents_seenfile.sha256 <> excluded.sha256
"""  # noqa: S608 (our own text)
SEE_OWN_CHANGES = """
UPDATE agents_seenfile seen SET sha256 = made.sha256, seen_at = clock_timestamp()
FROM unnest($1::bigint[], $2::text[], $3::text[]) made (thread_id, path, sha256)
WHERE seen.thread_id = made.thread_id AND seen.path = made.path
"""


@dataclass(frozen=True)
class ChangedFile:
    """A file of a session with its latest version."""

    path: str
    versions: int
    last: FileVersion


def base_of(session_pk: int, thread_pk: int, path: str) -> FileBase | None:
    """What is on record about a file that a thread is about to change; None while the session has no other thread."""
    if not _is_recorded(path):
        return None
    for seen, state, writer in log_sql.execute(BASE, [session_pk, thread_pk, path]):
        return FileBase(path, seen, state, writer or "")
    return None


def record(
    session_pk: int,
    thread_pk: int,
    changes: Sequence[FileChange],
    *,
    path: str = "",
    seen: str | None = None,
    calls: Mapping[str, int] | None = None,
) -> None:
    """Store what a call of the thread told: the changes in their order, and that it has seen `path` as `seen`.

    Args:
        calls: keys of tool calls by `exec_id`, where they are known.
    """
    changes = [change for change in changes if _is_recorded(change.path)]
    sees = seen is not None and _is_recorded(path)
    if changes:
        with transaction.atomic():
            _record_changes(session_pk, thread_pk, changes, dict(calls or {}))
            if sees:
                log_sql.execute(SEE, [thread_pk, path, seen])
    elif sees:
        log_sql.execute(SEE, [thread_pk, path, seen])


def history(session: Session, path: str) -> list[FileVersion]:
    """Every version of a file, the first one first, with its thread and the events of its call."""
    return list(
        FileVersion.objects.filter(session=session, path=path)
        .select_related("thread", "call__use_event", "call__result_event")
        .order_by("number")
    )


def paths(session: Session) -> list[ChangedFile]:
    """Every file that was ever recorded, by path; `last.sha256` is empty for one that was removed."""
    latest = (
        FileVersion.objects.filter(session=session)
        .select_related("thread", "call__use_event")
        .order_by("path", "-number")
        .distinct("path")
    )
    return [ChangedFile(version.path, version.number, version) for version in latest]


def difference(version: FileVersion) -> Difference | None:
    """What a version changed; None when that is no text, or was not kept."""
    before, after = content(version.base_sha256), content(version.sha256)
    return None if before is None or after is None else difference_between(before, after)


def content(state: str) -> bytes | None:
    """What a file held in a state; None when it was not kept."""
    if state == ABSENT:
        return b""
    try:
        return blobs.read_blob(state) if is_hash(state) else None
    except NotFound:
        return None


def _is_recorded(path: str) -> bool:
    # An entry of an index holds 2,704 bytes.
    return 0 < len(path) <= MAX_PATH_CHARS and clean_text(path) == path and len(path.encode()) <= MAX_PATH_BYTES


def _record_changes(session_pk: int, thread_pk: int, changes: Sequence[FileChange], calls: dict[str, int]) -> None:
    named = {change.thread for change in changes if change.thread}
    threads: dict[str, int] = {
        public_id: pk for public_id, pk, _ in log_sql.execute(LOCK, [session_pk, thread_pk, list(named)])
    }
    if not threads:
        return  # the session was deleted
    if unknown := [change.exec_id for change in changes if change.exec_id and change.exec_id not in calls]:
        calls |= dict(log_sql.execute(CALLS, [list(threads.values()), unknown]))
    latest, recorded = _recorded(session_pk, changes)
    new: list[FileVersion] = []
    texts: list[bytes] = []
    for change in changes:
        number, state = latest.get(change.path, (0, ABSENT))
        if change.state == state or (change.path, _moment(change)) in recorded:
            continue
        latest[change.path] = (number + 1, change.state)
        if (data := _kept(change)) is not None:
            texts.append(data)
        new.append(
            FileVersion(
                session_id=session_pk,
                path=change.path,
                number=number + 1,
                change=change.change,
                sha256=change.state,
                base_sha256=state if change.base is None else change.base,
                size_bytes=change.size,
                is_kept=data is not None,
                thread_id=threads.get(change.thread),
                call_id=calls.get(change.exec_id),
                created_at=_moment(change),
            )
        )
    blobs.store_many(texts)
    log_sql.insert(new)
    _see_own_changes(new)


def _recorded(
    session_pk: int, changes: Iterable[FileChange]
) -> tuple[dict[str, tuple[int, str]], set[tuple[str, datetime]]]:
    """The latest number and state of each file, and which of the changes have been recorded before."""
    latest, recorded = {}, set()
    moments = [_moment(change) for change in changes]
    for path, number, state, is_ours, is_last, at in log_sql.execute(
        RECORDED, [session_pk, sorted({change.path for change in changes}), moments]
    ):
        if is_last:
            latest[path] = (number, state)
        if is_ours:
            recorded.add((path, at))
    return latest, recorded


def _see_own_changes(versions: Iterable[FileVersion]) -> None:
    """Who has seen a file before knows what a command of its own made of it."""
    made = {(row.thread_id, row.path): row.sha256 for row in versions if row.thread_id is not None}
    if made:
        threads, names = zip(*made, strict=True)
        log_sql.execute(SEE_OWN_CHANGES, [list(threads), list(names), list(made.values())])


def _kept(change: FileChange) -> bytes | None:
    """The bytes of a change, when they came along and are what they are said to be."""
    data = change.content
    if data is None or len(data) > MOST_KEPT or hashlib.sha256(data).hexdigest() != change.state:
        return None
    return data


def _moment(change: FileChange) -> datetime:
    return EPOCH + timedelta(microseconds=change.at_us)
