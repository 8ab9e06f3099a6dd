"""Running the calls of one answer, one after another, each with exactly one result.

What a call's row says decides what a successor does: `ready` has never been started, `running` was handed to the
sandbox, which keeps results by `exec_id` and outlives a worker.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from django.db import connection

from agents.errors import RequestCancelled
from agents.models import Step, Thread, ToolCall
from agents.runtime import limits, workspace
from agents.runtime.answers import wait_for_client
from agents.runtime.context import canonical
from agents.runtime.interrupts import append_result
from agents.runtime.leases import Run, fenced_log
from agents.runtime.retries import stop_turn
from agents.runtime.toolset import has_sandbox_tools
from agents.sandbox import client as sandbox
from agents.sandbox.client import ToolOutcome
from agents.services import log_sql
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
            outcome = _execute(run, call)
        except RequestCancelled:
            return  # an interrupt or a lost lease: whoever holds the thread writes the end
        if call.name in CHANGES_FILES:
            workspace.register_outputs(run.workplace.session)
        finished = Finished(call, outcome)


def _sandbox_is_ready(run: Run) -> bool:
    """Have the sandbox up before a call is marked as running. False when the run was interrupted or lost meanwhile.

    So a call that is marked and that this very executor does not know has never been handed to it.
    """
    if run.thread is None or not has_sandbox_tools(run.thread.agent_snapshot):
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
        goes_on = finished is None or _record(log, thread, step, finished)
        call = _mark_next(log, thread, calls) if goes_on and not thread.interrupt_pending else None
        if goes_on and call is None:
            _end_batch(log, thread, step, calls)
    if finished is not None:
        sandbox.acknowledge(run.workplace.spec, finished.call.exec_id)
    return step, call


def _open_step(run: Run, log: Log, thread: Thread, calls: list[ToolCall]) -> Step:
    """The batch's step; one a dead worker left open is continued by a step of its own."""
    if run.takeovers:
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


def _mark_next(log: Log, thread: Thread, calls: list[ToolCall]) -> ToolCall | None:
    """The next call to run, marked as running. Refused calls get their result on the way."""
    for call in calls:
        if call.state == ToolCall.State.WAITING:
            continue
        refusal = _refusal(call)
        if refusal is not None:
            append_result(log, thread, call, [{"type": "text", "text": refusal}], is_error=True)
            continue
        if call.state == ToolCall.State.READY:
            call.state, call.attempt, call.started_at = ToolCall.State.RUNNING, call.attempt + 1, log.now
            log.change(call, "state", "attempt", "started_at")
            call.fresh = True  # type: ignore[attr-defined]
        return call
    return None


def _refusal(call: ToolCall) -> str | None:
    if call.permission == "deny":
        return call.deny_message
    if call.decision == "deny":
        said = f" They said: {call.deny_message}" if call.deny_message else ""
        return f"The user rejected this call of {call.name}.{said}"
    return None


def _execute(run: Run, call: ToolCall) -> ToolOutcome:
    """Run the call, or find out what became of it when an earlier worker started it."""
    spec = run.workplace.spec
    if not connection.in_atomic_block:
        connection.close()
    arguments: dict[str, Any] = call.use_event.data["input"]
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
                return settled
        return sandbox.execute(
            spec,
            exec_id=call.exec_id,
            thread=_thread_id(run),
            tool=call.name,
            input=arguments,
            cancellation=run.cancellation,
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
    """Write a result. False when the same call has given the same result so often that the turn ends."""
    call, outcome = finished.call, finished.outcome
    content = clean(outcome.content)
    call.result_sha256 = hashlib.sha256(canonical(content)).hexdigest()
    same = ToolCall.objects.filter(
        thread=thread, input_sha256=call.input_sha256, result_sha256=call.result_sha256, turn_no=call.turn_no
    )
    repeats = 1 + same.filter(state=ToolCall.State.DONE).count()
    if repeats == limits.LOOP_HINT_AT:
        content = [*content, {"type": "text", "text": LOOP_HINT.strip()}]
    append_result(log, thread, call, content, is_error=outcome.is_error)
    thread.takeovers = 0  # progress: whatever killed earlier workers, it is not this step
    log.touch(thread, "takeovers")
    if repeats < limits.LOOP_STOP_AT:
        return True
    step.state, step.ended_at = Step.State.COMMITTED, log.now
    log.change(step, "state", "ended_at")
    # It has its result: ending the turn answers only the others.
    ToolCall.objects.filter(pk=call.pk).update(state=ToolCall.State.DONE)
    stop_turn(
        log,
        thread,
        "tool_use_limit_reached_error",
        f"The turn was ended: {call.name} was called {repeats} times with the same input and the same result.",
    )
    return False


def _end_batch(log: Log, thread: Thread, step: Step, calls: list[ToolCall]) -> None:
    """No call is left to run: ask the model again, or wait for the answers that are missing."""
    step.state, step.ended_at = Step.State.COMMITTED, log.now
    log.change(step, "state", "ended_at")
    if thread.interrupt_pending:
        return
    waiting = [call.use_event.public_id for call in calls if call.state == ToolCall.State.WAITING]
    if waiting:
        wait_for_client(log, thread, waiting)
        return
    thread.phase, thread.runnable_at = Thread.Phase.READY, log.now
    log.touch(thread, "phase", "runnable_at")
