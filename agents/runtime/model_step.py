"""One model request: ask, listen, and write the answer, its cost and what follows in one transaction."""

from __future__ import annotations

import logging
from typing import Any

from django.db import connection

from agents.errors import ProviderError, RequestCancelled
from agents.models import Event, ModelAttempt, Session, Step, Thread
from agents.providers import catalog
from agents.providers.base import Answer, ModelRequest, TextDelta, ThinkingStarted
from agents.runtime import answers, compaction, limits, retries
from agents.runtime.attempts import Attempt
from agents.runtime.context import CONTEXT_TYPES, ContextBuilder, canonical, system_prompt
from agents.runtime.deltas import DeltaPublisher
from agents.runtime.estimates import expected_input_tokens
from agents.runtime.leases import Run, fenced_log
from agents.runtime.team_tools import team_of
from agents.runtime.toolset import definitions, has_sandbox_tools
from agents.sandbox.client import SandboxError
from agents.services import budgets, log_sql, mail, status
from agents.services.blobs import sha256_of
from agents.services.log import Log, clean

logger = logging.getLogger(__name__)

INPUT_TYPES = ("user.message", "system.message")
# The second branch names the session as well: without it, each request would read the whole table.
NEW_IN_CONTEXT = """
r.thread_id = $1 AND (
    r.position > $2 AND r.processed_at IS NOT NULL AND r.type = ANY($3)
    OR r.session_id = $5 AND r.processed_at IS NULL AND r.visible AND r.type = ANY($4)
) ORDER BY r.seq
"""
# On the session's stream these may be a child's, shown again for the client's sake: no part of the lead's conversation.
CROSSPOSTED = frozenset({"agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use", "user.custom_tool_result"})


def take(run: Run) -> None:
    """Make one model request for the thread and commit what came of it."""
    attempt = _begin(run)
    if attempt is None:
        return
    try:
        answer = _ask(run, attempt)
    except RequestCancelled:
        return  # an interrupt, or a lost lease: whoever holds the thread writes the end
    except ProviderError as error:
        _keep(attempt, None)
        retries.record_failure(run, attempt, error)
        return
    _keep(attempt, answer)
    if attempt.step.kind == Step.Kind.COMPACTION:
        compaction.commit(run, attempt, answer)
    else:
        answers.commit(run, attempt, answer)


def _begin(run: Run) -> Attempt | None:
    """Take queued inputs into the turn and open the request's span. None when there is nothing to ask."""
    with fenced_log(run) as (log, thread):
        if thread.interrupt_pending:
            return None
        if retries.wait_for_provider(log, thread):
            _read_context(run, log, thread)  # it is part of this turn: who interrupts the wait ends it
            return None
        status.set_running(log, thread)
        thread.runnable_at = min(thread.runnable_at or log.now, log.now)  # kept where it is due: it is indexed
        inputs = _read_context(run, log, thread)
        if thread.tool_rounds >= limits.MAX_TOOL_ROUNDS:
            retries.stop_turn(
                log,
                thread,
                "tool_use_limit_reached_error",
                f"The turn was ended after {limits.MAX_TOOL_ROUNDS} rounds of tool calls.",
            )
            return None
        if log.session.budget_cents is not None and not _reserve(run, log, thread):
            return None
        compacting = compaction.is_due(thread, run.context)
        step = Step(
            session=log.session,
            thread=thread,
            no=thread.step_no + 1,
            kind=Step.Kind.COMPACTION if compacting else Step.Kind.MODEL_REQUEST,
            epoch=run.epoch,
            worker=thread.lease_owner,
            started_at=log.now,
        )
        thread.step_no, thread.model_attempts = step.no, thread.model_attempts + 1
        thread.phase = Thread.Phase.COMPACTING if compacting else Thread.Phase.MODEL_REQUEST
        log.touch(thread, "step_no", "model_attempts", "phase", "runnable_at")
        step.cause_seq = cause = inputs[-1].seq if inputs else _answered_seq(run.context)
        reserved = {"reserved_nanousd": thread.reserved_nanousd} if thread.reserved_nanousd else None
        start = log.append(thread, "span.model_request_start", {}, private=reserved, cause=cause)
        record = _record(thread, step, start)
        log.add(step)
        log.add(record)
    request = _request(run, log.session, thread)
    if compacting:
        request = compaction.request_for(request)
    return Attempt(step=step, start=start, record=record, request=request, stored=run.stored)


def _reserve(run: Run, log: Log, thread: Thread) -> bool:
    """Set the request's probable cost aside from the session's budget. False when it may not start now."""
    model = thread.agent_snapshot["model"]["id"]
    expected = expected_input_tokens(thread, run.context)
    return budgets.reserve(log, thread, model=model, expected_input_tokens=expected)


def _record(thread: Thread, step: Step, start: Event) -> ModelAttempt:
    model = thread.agent_snapshot["model"]["id"]
    info = catalog.lookup(model)
    return ModelAttempt(
        step=step,
        attempt=thread.model_attempts,
        model=model,
        provider=info.provider,
        simulated=info.simulated,
        start_event=start,
        started_at=start.created_at,
    )


def _read_context(run: Run, log: Log, thread: Thread) -> list[Event]:
    """Bring the run's copy of the conversation up to date: only what is new is read.

    Returns:
        What clients and other agents have sent to this thread: it is part of the turn from here on.
    """
    if run.context and run.context[0].position < thread.context_base_seq:
        run.context.clear()
    last = run.context[-1].position if run.context else thread.context_base_seq - 1
    new = log_sql.select(Event, NEW_IN_CONTEXT, thread.pk, last, list(CONTEXT_TYPES), list(INPUT_TYPES), run.session_pk)
    new = [event for event in new if not (event.type in CROSSPOSTED and "session_thread_id" in event.data)]
    waiting = [event for event in new if event.processed_at is None]
    for event in waiting:
        event.thread = thread
        log.mark_processed(event)
    run.context += sorted(new, key=lambda event: event.position)
    if log.session.thread_count == 1:
        return waiting
    came = mail.untaken(thread)
    run.context += mail.take_up(log, thread, came)
    return [*waiting, *came]


def _answered_seq(context: list[Event]) -> int | None:
    """The event a request answers when nothing new was said: the last result or message in the context."""
    return next((event.seq for event in reversed(context) if event.type != "agent.thinking"), None)


def _request(run: Run, session: Session, thread: Thread) -> ModelRequest:
    """What the model is asked: nothing in it depends on a clock or on chance."""
    snapshot = thread.agent_snapshot
    model = snapshot["model"]
    team = team_of(snapshot, is_child=not thread.is_primary)
    return ModelRequest(
        model=model["id"],
        system=_system(run, snapshot, team.notes()),
        messages=ContextBuilder(lambda file_id: run.workplace.file_reader()(file_id)).build(run.context),
        tools=[*definitions(snapshot), *team.definitions()],
        max_tokens=catalog.lookup(model["id"]).max_tokens,
        effort=(model.get("effort") or {}).get("type"),
        seed=_seed(session, thread),
    )


def _system(run: Run, snapshot: dict[str, Any], team: str) -> str:
    if not has_sandbox_tools(snapshot):
        return system_prompt(snapshot, mounts=(), mode="", network=False, team=team)  # it works nowhere
    place = run.workplace
    return system_prompt(snapshot, mounts=place.mounts, mode=place.mode, network=place.has_network, team=team)


def _seed(session: Session, thread: Thread) -> str:
    """`<session seed>/<thread>/<turn>.<round>/<attempt>`: the same for the same run, whatever its ids are."""
    place = f"{thread.turn_no}.{thread.tool_rounds}"
    return f"{session.metadata.get('seed', '0')}/{thread.ordinal}/{place}/{thread.model_attempts}"


def _keep(attempt: Attempt, answer: Answer | None) -> None:
    """Have the request and its answer kept as deduplicated blobs: one per message, and a list of them."""
    request = attempt.request
    parts = [canonical(request.system), canonical(request.tools), *map(canonical, request.messages)]
    hashes = [sha256_of(part) for part in parts]
    manifest = canonical(
        {
            "model": request.model,
            "max_tokens": request.max_tokens,
            "effort": request.effort,
            "system": hashes[0],
            "tools": hashes[1],
            "messages": hashes[2:],
        }
    )
    attempt.record.request_sha256 = sha256_of(manifest)
    parts.append(manifest)
    if answer is not None:
        parts.append(canonical(clean(answer.content)))
        attempt.record.response_sha256 = sha256_of(parts[-1])
    attempt.parts = parts


def _ask(run: Run, attempt: Attempt) -> Answer:
    """The answer. Holds no database connection while it waits.

    Raises a ProviderError; RequestCancelled when the run was interrupted or lost.
    """
    thread = attempt.step.thread
    provider = catalog.provider_for(attempt.request.model)
    if has_sandbox_tools(thread.agent_snapshot) and not run.sandbox_started:
        _start_sandbox(run)
    if not connection.in_atomic_block:
        connection.close()
    deltas = DeltaPublisher(thread, message_id=attempt.message_id, thinking_id=attempt.thinking_id)
    shown = attempt.step.kind == Step.Kind.MODEL_REQUEST  # a summary becomes no message: nothing to preview
    answer: Answer | None = None
    for event in provider.request(attempt.request, run.cancellation):
        if isinstance(event, Answer):
            answer = event
        elif shown and isinstance(event, TextDelta):
            deltas.text(event.index, event.text)
        elif shown and isinstance(event, ThinkingStarted):
            deltas.thinking_started()
    if run.cancellation.cancelled:
        raise RequestCancelled("The request was interrupted.")
    if answer is None:
        raise ProviderError("The provider ended without an answer.")
    deltas.flush()
    return answer


def _start_sandbox(run: Run) -> None:
    """Let the sandbox start while the model answers. A failure shows when a call needs it."""
    try:
        run.workplace.start_sandbox()
        run.sandbox_started = True
    except SandboxError as error:
        logger.warning("sandbox not started session=%s: %s", run.session_pk, error)
