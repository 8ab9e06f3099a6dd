"""When two runs are the same: for each thread the same committed steps in the same order, and equal final files.

Type and content count; ids, times and lost attempts do not. Threads are compared by their number. They interleave
freely, so what one hears from another counts where it was taken up, not where it arrived.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agents.models import Session
from agents.models.events import PROCESSED_MARK
from agents.services.sandboxes import root_of
from tests.invariants import check_session
from tests.runs import log_of

Steps = dict[int, list[tuple[str, str]]]

ID = re.compile(r"\b(?:sthr|sevt|sesn|file|msg|smsg)_[0-9A-Za-z]{8,}")
TIMING = ("span.", "session.status_", "session.thread_status_", "session.usage", "user.")
LEFT_OUT = {PROCESSED_MARK, "agent.thread_message_received", "session.updated"}


def committed_steps(session: Session) -> Steps:
    """What each thread did, by the thread's number."""
    rows = log_of(session, visible=False)
    names = {thread.public_id: f"thread {thread.ordinal}" for thread in session.threads.all()}
    steps: Steps = {thread.ordinal: [] for thread in session.threads.all()}
    for row in rows:
        if row.type.startswith(TIMING) or row.type in LEFT_OUT:
            continue
        own = steps[row.thread.ordinal]
        names[row.public_id] = f"event {len(own)} of {row.thread.ordinal}"
        own.append((row.type, ID.sub(lambda found: names.get(found[0], "an id"), row.payload)))
    return steps


def files_of(session: Session) -> dict[str, bytes]:
    root: Path = root_of(session.public_id)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("workspace", "outputs")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def outcome_of(session: Session) -> tuple[Steps, dict[str, bytes], Any]:
    """Everything that two same runs have in common."""
    session.refresh_from_db()
    return committed_steps(session), files_of(session), (session.status, session.stop_reason)


def assert_same_run(session: Session, wanted: tuple[Steps, dict[str, bytes], Any]) -> None:
    """Fails with the first difference; the session's log and rows must be sound as well."""
    steps, files, end = outcome_of(session)
    assert steps.keys() == wanted[0].keys()
    for number, own in steps.items():
        for place, (found, expected) in enumerate(zip(own, wanted[0][number], strict=False)):
            assert found == expected, f"step {place} of thread {number}"
        assert len(own) == len(wanted[0][number]), f"thread {number}"
    assert files == wanted[1]
    assert end == wanted[2]
    check_session(session)
