"""Running the calls of one answer, one after another, each with exactly one result.

What a call's row says decides what a successor does: `ready` has never been started, `running` was handed to the
sandbox, which keeps results by `exec_id` and outlives a worker.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils import timezone

from agents.errors import RequestCancelled
from agents.models import Step, Thread, ToolCall
from agents.runtime import delegation, limits, shared_files, workspace
from agents.runtime.answers import wait_for_client
from agents.runtime.context import canonical
from agents.runtime.leases import Run, fenced_log
from agents.runtime.retries import stop_turn
from agents.sandbox import client as sandbox
from agents.sandbox.client import ToolOutcome
from agents.sandbox.validation import refusal
from agents.services import log_sql, status
from agents.services.calls import append_result
from agents.services.log import Log, clean

logger = logging.getLogger(__name__)

RERUN_IS_SAFE = frozenset({"read", "glob", "grep", "web_fetch", "web_search"})
CHANGES_FILES = frozenset({"bash", "write", "edit"})
UNKNOWN = (
    "The sandbox was lost while this call ran, so its outcome is unknown. It was not run again. "
    "Check what it did before you go on."
)
LOOP_HINT = (
    "\n\n[This is the third time the same call gave the same result. Repeating it will not change anything: "
    "try something else, or say what is missing.]"
)


@dataclass
class Finished:
    call: ToolCall
    outcome: ToolOutcome


def take(run: Run) -> None:
    """Run the thread's ready calls until none is left, or the run is interrupted or lost."""
    step, finished = None, None
    if not _sandbox_is_ready(run):
        return
    while True:
        step, call = _next_call(run, step, finished)
        if call is None:
            return
        try:
            outcome = shared_files.settle(run, call, _execute(run, call))
        except RequestCancelled:
            return  # an interrupt or a lost lease: whoever holds the thread writes the end
        changed = shared_files.may_have_changed_outputs(outcome, can_change=call.name in CHANGES_FILES)
        if changed or workspace.has_unlisted(run.session_pk):
            workspace.register_outputs(run.workplace.session)
        finished = Finished(call, outcome)


def _sandbox_is_ready(run: Run) -> bool:
    """Have the sandbox up before a call is marked as running. False when the run was interrupted or lost meanwhile.

    So a call that is marked and that this very executor does not know has never been handed to it.
    """
    if not any(call.kind == ToolCall.Kind.AGENT for call in log_sql.open_calls(run.thread_pk)):
        return True
    try:
        run.workplace.start_sandbox()
        run.sandbox_started = True
        if not connection.in_atomic_block:
            connection.close()
        sandbox.wait_until_ready(run.workplace.spec, run.cancellation)
    except RequestCancelled:
        return False
    except sandbox.SandboxError as error:
        logger.warning("sandbox not ready session=%s: %s", run.session_pk, error)  # the call itself will say so
    return True


def _next_call(run: Run, step: Step | None, finished: Finished | None) -> tuple[Step | None, ToolCall | None]:
    """Commit the finished call and mark the next one as running, in one transaction."""
    with fenced_log(run) as (log, thread):
        calls = log_sql.open_calls(thread.pk)
        if step is None:
            step = _open_step(run, log, thread, calls)
        if finished is not None:
            calls = [call for call in calls if call.pk != finished.call.pk]
        elif thread.phase == Thread.Phase.WAITING_AGENTS:
            _resume(log, thread)
        goes_on = finished is None or _record(log, thread, step, finished)
        call = _mark_next(log, thread, step, calls) if goes_on and not thread.interrupt_pending else None
        if goes_on and call is None and thread.phase == Thread.Phase.TOOL_BATCH:
            _end_batch(log, thread, step, calls)
    if finished is not None:
        sandbox.acknowledge(run.workplace.spec, finished.call.exec_id)
    return step, call


def _open_step(run: Run, log: Log, thread: Thread, calls: list[ToolCall]) -> Step:
    """The batch's step; one a dead worker left open is continued by a step of its own."""
    if run.takeovers or any(call.state == ToolCall.State.RUNNING for call in calls):
        Step.objects.filter(thread=thread, state=Step.State.STARTED).update(state=Step.State.LOST, ended_at=log.now)
    thread.step_no += 1
    log.touch(thread, "step_no")
    step = Step(
        session=log.session,
        thread=thread,
        no=thread.step_no,
        kind=Step.Kind.TOOL_BATCH,
        epoch=run.epoch,
        worker=thread.lease_owner,
        cause_seq=calls[0].use_event.seq if calls else None,
        started_at=log.now,
    )
    log.add(step)
    return step


def _resume(log: Log, thread: Thread) -> None:
    """A lead looks whether its wait is over."""
    thread.phase, thread.runnable_at = Thread.Phase.TOOL_BATCH, log.now
    log.touch(thread, "phase", "runnable_at")
    status.set_running(log, thread)


def _mark_next(log: Log, thread: Thread, step: Step, calls: list[ToolCall]) -> ToolCall | None:
    """The next call for the sandbox, marked as running. What needs no sandbox gets its result on the way.

    None when no call is left, when the turn was ended, or when the thread waits for its agents.
    """
    for call in calls:
        if call.state == ToolCall.State.WAITING:
            continue
        done = _answer_here(log, thread, call)
        if done is not None:
            if not _finish_call(log, thread, step, call, done.content, is_error=done.is_error):
                return None
            if done.limit:
                _stop(log, thread, step, f"The turn was ended: {done.limit}")
                return None
            continue
        if thread.phase == Thread.Phase.WAITING_AGENTS:
            step.state, step.ended_at = Step.State.COMMITTED, log.now
            log.change(step, "state", "ended_at")
            return None
        if call.state == ToolCall.State.READY:
            # By this machine's clock, which the sandbox has too: see `_settle_unknown`.
            call.state, call.attempt, call.started_at = ToolCall.State.RUNNING, call.attempt + 1, timezone.now()
            log.change(call, "state", "attempt", "started_at")
            call.fresh = True  # type: ignore[attr-defined]
        return call
    return None


def _answer_here(log: Log, thread: Thread, call: ToolCall) -> delegation.Done | None:
    """The result of a call that is refused or that the engine carries out itself; None for the sandbox's calls."""
    problem, malformed = _refusal(call)
    if problem is None and call.kind == ToolCall.Kind.TEAM:
        done = delegation.perform(log, thread, call)
        if done is not None:
            call.malformed = done.malformed
        return done
    if problem is None:
        return None
    call.malformed = malformed
    return delegation.Done([{"type": "text", "text": problem}], is_error=True)


def _refusal(call: ToolCall) -> tuple[str | None, bool]:
    """Why a call is not carried out, and whether that is for the model to put right."""
    if call.permission == "deny":
        return call.deny_message, True
    if call.decision == "deny":
        said = f" They said: {call.deny_message}" if call.deny_message else ""
        return f"The user rejected this call of {call.name}.{said}", False
    if call.kind == ToolCall.Kind.AGENT and (problem := refusal(call.name, call.use_event.data["input"])):
        return problem, True
    return None, False


def _execute(run: Run, call: ToolCall) -> ToolOutcome:
    """Run the call, or find out what became of it when an earlier worker started it."""
    spec = run.workplace.spec
    arguments: dict[str, Any] = call.use_event.data["input"]
    base = shared_files.base_for(run, call, arguments)
    if not connection.in_atomic_block:
        connection.close()
    try:
        if not run.sandbox_started:
            run.workplace.start_sandbox()
            run.sandbox_started = True
        if not getattr(call, "fresh", False):
            known = sandbox.lookup(spec, call.exec_id)
            if known == "running":
                return sandbox.reattach(spec, exec_id=call.exec_id, cancellation=run.cancellation)
            if known is not None:
                return known
            settled = _settle_unknown(call, arguments, spec)
            if settled is not None:
                return shared_files.settled_edit(run, call, arguments, settled)
        return sandbox.execute(
            spec,
            exec_id=call.exec_id,
            thread=_thread_id(run),
            tool=call.name,
            input=arguments,
            cancellation=run.cancellation,
            base=base,
        )
    except sandbox.SandboxGone:
        return _error(UNKNOWN)
    except sandbox.SandboxError as error:
        return _error(f"The sandbox could not run this call: {error}")


def _thread_id(run: Run) -> str:
    """Which shell the call gets: each thread has its own."""
    return run.thread.public_id if run.thread else str(run.thread_pk)


def _settle_unknown(call: ToolCall, arguments: dict[str, Any], spec: sandbox.SandboxSpec) -> ToolOutcome | None:
    """A call was started and nobody knows its outcome. None means it is safe to run it (again)."""
    if call.name in RERUN_IS_SAFE:
        return None
    if call.started_at is not None and sandbox.was_ready_at(spec, call.started_at.timestamp()):
        return None  # the worker died before it handed the call over
    if call.name == "write":
        return None  # the same bytes in the same place: running it again changes nothing
    if call.name == "edit":
        return _settle_edit(call, arguments, spec)
    return _error(UNKNOWN)


def _settle_edit(call: ToolCall, arguments: dict[str, Any], spec: sandbox.SandboxSpec) -> ToolOutcome | None:
    """An edit is done when only the new text is there, and may run when the old text still is."""
    path = arguments.get("file_path")
    text = workspace.read_text(spec.root, path) if isinstance(path, str) else None
    old, new = arguments.get("old_string"), arguments.get("new_string")
    if text is None or not isinstance(old, str) or not isinstance(new, str):
        return None
    if old and old in text and not (new and new in text):
        return None
    if new and new in text and old not in text:
        message = f"{arguments['file_path']} holds the new text: the edit was done."
        return ToolOutcome(content=[{"type": "text", "text": message}], is_error=False, duration_ms=0.0)
    return _error(UNKNOWN)


def _error(text: str) -> ToolOutcome:
    return ToolOutcome(content=[{"type": "text", "text": text}], is_error=True, duration_ms=0.0)


def _record(log: Log, thread: Thread, step: Step, finished: Finished) -> bool:
    """Write what a call gave. False when the turn ends with it."""
    thread.takeovers = 0  # progress: whatever killed earlier workers, it is not this step
    log.touch(thread, "takeovers")
    outcome = finished.outcome
    return _finish_call(log, thread, step, finished.call, clean(outcome.content), is_error=outcome.is_error)


def _finish_call(
    log: Log, thread: Thread, step: Step, call: ToolCall, content: list[dict[str, Any]], *, is_error: bool
) -> bool:
    """Write a result. False when the same call has given the same result so often that the turn ends."""
    call.result_sha256 = hashlib.sha256(canonical(content)).hexdigest()
    repeats = _repeats(thread, call)
    if repeats == limits.LOOP_HINT_AT:
        content = [*content, {"type": "text", "text": LOOP_HINT.strip()}]
    append_result(log, thread, call, content, is_error=is_error)
    if repeats < limits.LOOP_STOP_AT:
        return True
    _stop(
        log,
        thread,
        step,
        f"The turn was ended: {call.name} was called {repeats} times with the same input and the same result.",
    )
    return False


def _repeats(thread: Thread, call: ToolCall) -> int:
    """How often this call has given this result in its turn, this time included.

    To wait again for agents that work on is no loop, nor is a call that follows what another agent has sent.
    """
    if call.kind == ToolCall.Kind.TEAM and call.state == ToolCall.State.RUNNING:
        return 1
    same = ToolCall.objects.filter(
        thread=thread, input_sha256=call.input_sha256, result_sha256=call.result_sha256, turn_no=call.turn_no
    )
    if call.kind == ToolCall.Kind.TEAM:
        same = same.filter(use_event__seq__gt=thread.mail_seq)
    return 1 + same.filter(state=ToolCall.State.DONE).exclude(pk=call.pk).count()


def _stop(log: Log, thread: Thread, step: Step, message: str) -> None:
    step.state, step.ended_at = Step.State.COMMITTED, log.now
    log.change(step, "state", "ended_at")
    stop_turn(log, thread, "tool_use_limit_reached_error", message)


MALFORMED_IN_BATCH = """
SELECT bool_and(c.malformed), (array_agg(r.payload ORDER BY e.seq DESC))[1]
FROM agents_toolcall c JOIN agents_event e ON e.id = c.use_event_id LEFT JOIN agents_event r ON r.id = c.result_event_id
WHERE c.thread_id = $1 AND c.turn_no = $2 AND e.cause_seq = (
    SELECT max(last.cause_seq) FROM agents_event last JOIN agents_toolcall mine ON mine.use_event_id = last.id
    WHERE mine.thread_id = $1
)
"""


def _are_all_malformed(log: Log, thread: Thread) -> str:
    """What was wrong with the last call of an answer none of whose calls could be used; empty when one could."""
    log.flush()
    ((none_usable, last_result),) = log_sql.execute(MALFORMED_IN_BATCH, [thread.pk, thread.turn_no])
    if not none_usable or last_result is None:
        return ""
    return " ".join(block.get("text", "") for block in json.loads(last_result)["content"])


def _end_batch(log: Log, thread: Thread, step: Step, calls: list[ToolCall]) -> None:
    """No call is left to run: ask the model again, or wait for the answers that are missing."""
    if thread.bad_calls_in_a_row or any(call.malformed for call in calls):
        problem = _are_all_malformed(log, thread)
        thread.bad_calls_in_a_row = thread.bad_calls_in_a_row + 1 if problem else 0
        log.touch(thread, "bad_calls_in_a_row")
        if thread.bad_calls_in_a_row >= limits.MAX_BAD_CALLS_IN_A_ROW:
            said = f"none of the last {thread.bad_calls_in_a_row} answers had a tool call that could be carried out"
            _stop(log, thread, step, f"The turn was ended: {said}. The last was refused: {problem}")
            return
    step.state, step.ended_at = Step.State.COMMITTED, log.now
    log.change(step, "state", "ended_at")
    if thread.interrupt_pending:
        return
    if any(call.state == ToolCall.State.WAITING for call in calls):
        wait_for_client(log, thread)
        return
    thread.phase, thread.runnable_at = Thread.Phase.READY, log.now
    log.touch(thread, "phase", "runnable_at")
