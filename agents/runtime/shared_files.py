"""What the threads of a session do to the files they share: who saw and changed what, and nobody's work overwritten.

The sandbox looks at the file and changes it in one act (`agents/sandbox/file_turns.py`). Here it is told what is on
record beforehand, and what it tells afterwards is stored, before the result of the call is.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, InterfaceError

from agents.models import Thread, ToolCall
from agents.runtime.leases import Run
from agents.runtime.outages import is_outage
from agents.sandbox import client as sandbox
from agents.sandbox import stored_files
from agents.sandbox.client import FileBase, FileChange, FileConflict, FileReport, ToolOutcome
from agents.sandbox.file_report import EDIT
from agents.sandbox.file_states import ABSENT
from agents.sandbox.hosted_paths import hosted_path
from agents.services import file_history
from agents.services.file_differences import difference_between, is_text

OUTPUTS = "/mnt/session/outputs/"
SOMEBODY = "a background process, or one of several commands that ran at the same time,"
MAY_CONFLICT = frozenset({"write", "edit"})

logger = logging.getLogger(__name__)


def base_for(run: Run, call: ToolCall, arguments: dict[str, Any]) -> FileBase | None:
    """What the sandbox has to know before this call changes a file. None for calls that cannot conflict."""
    path = arguments.get("file_path")
    if call.name not in MAY_CONFLICT or not isinstance(path, str) or "\0" in path:
        return None
    return file_history.base_of(run.session_pk, run.thread_pk, _resolved(run.workplace.spec, path))


def settle(run: Run, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome:
    """Store what the outcome tells of files. A conflict becomes the error that the model reads."""
    report = outcome.files
    if report is None:
        return outcome
    seen = report.seen
    if report.conflict is not None:
        text, knows_all = _explanation(call.name, report.path, report.conflict)
        outcome = replace(outcome, content=[{"type": "text", "text": text}], is_error=True)
        seen = report.conflict.state if knows_all else None
    try:
        file_history.record(
            run.session_pk,
            run.thread_pk,
            report.changes,
            path=report.path,
            seen=seen,
            calls={call.exec_id: call.pk},
        )
    except (DatabaseError, InterfaceError) as error:
        if is_outage(error):
            raise  # a later worker hears the same again from the sandbox
        logger.warning("file history was not stored session=%s: %s", run.session_pk, error)
    return outcome


def settled_edit(run: Run, call: ToolCall, arguments: dict[str, Any], outcome: ToolOutcome) -> ToolOutcome:
    """The outcome of an edit that was found done after the sandbox was lost, with a report as the sandbox gives one."""
    path = arguments.get("file_path")
    if call.name != EDIT or outcome.is_error or not isinstance(path, str):
        return outcome
    path = _resolved(run.workplace.spec, path)
    look = stored_files.look_in(run.workplace.spec.root, path)
    if look.state is None or look.state == ABSENT:
        return outcome
    thread = run.thread.public_id if run.thread is not None else ""
    change = FileChange(
        path,
        EDIT,
        None,
        look.state,
        look.size,
        thread,
        call.exec_id,
        int(time.time() * 1_000_000),
        look.dump(data=True)["data"],
    )
    return replace(outcome, files=FileReport(path, look.state, (change,), complete=False))


def may_have_changed_outputs(outcome: ToolOutcome, *, can_change: bool) -> bool:
    """Whether the folder of deliverables has to be looked through after this call.

    Args:
        can_change: the tool changes files, so that it has to be when nothing is known.
    """
    report = outcome.files
    if report is None or not report.complete:
        return can_change
    return any(change.path.startswith(OUTPUTS) for change in report.changes)


def _resolved(spec: sandbox.SandboxSpec, path: str) -> str:
    return stored_files.resolve(spec.root, hosted_path(path))


def _explanation(tool: str, path: str, conflict: FileConflict) -> tuple[str, bool]:
    """Why the call was not carried out, for the model, and whether it knows all of the file's new state by that."""
    difference, knows_all = _difference(conflict)
    return "\n".join(
        [f"{tool}: {path} {_what_happened(conflict)} Nothing was changed by this call.", *difference]
    ), knows_all


def _what_happened(conflict: FileConflict) -> str:
    by = _writer(conflict)
    if conflict.seen is None:
        return f"exists, and was written by {by}; you have not read it."
    if conflict.state == ABSENT:
        return f"was removed by {by} since you saw it."
    if conflict.seen == ABSENT:
        return f"was created by {by} since you looked for it."
    return f"was changed by {by} since you saw it."


def _writer(conflict: FileConflict) -> str:
    """Who made the state that is there now, for the model."""
    names = Thread.objects.filter(public_id=conflict.writer).values_list("agent_name", flat=True)
    name = names.first() if conflict.writer else None
    return SOMEBODY if name is None else f"agent {json.dumps(name, ensure_ascii=False)} ({conflict.writer})"


def _difference(conflict: FileConflict) -> tuple[list[str], bool]:
    """What is shown of the difference, and whether nothing is left to read."""
    if conflict.state == ABSENT:
        return ["Call it again if the file shall be there."], True
    now = conflict.content
    if now is None:
        return ["It is too large to be shown. Call it again if it shall be replaced all the same."], True
    before = file_history.content(conflict.seen or ABSENT)
    found = difference_between(before, now) if before is not None else None
    if found is None:
        return _without_difference(now)
    title = "What has changed since you saw it:" if conflict.seen else "What it holds:"
    if found.complete:
        return [title, found.text, "Take this into account and call it again."], True
    return [title, found.text, "[The rest is left out. Read the file, then call it again.]"], False


def _without_difference(now: bytes) -> tuple[list[str], bool]:
    if not is_text(now):
        return ["It is no text. Call it again if it shall be replaced all the same."], True
    return ["What you saw was not kept, so the difference is not known. Read the file, then call it again."], False
