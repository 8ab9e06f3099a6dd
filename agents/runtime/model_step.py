"""One model request: ask, listen, and write the answer, its cost and what follows in one transaction."""

from __future__ import annotations

from django.db import connection

from agents.errors import ProviderError, RequestCancelled
from agents.models import Event, ModelAttempt, Session, Step, Thread
from agents.providers import catalog
from agents.providers.base import Answer, ModelRequest, TextDelta, ThinkingStarted
from agents.runtime import answers, compaction, limits, retries
from agents.runtime.attempts import Attempt
from agents.runtime.context import CONTEXT_TYPES, ContextBuilder, canonical, system_prompt
from agents.runtime.deltas import DeltaPublisher
from agents.runtime.leases import Run, fenced_log
from agents.runtime.toolset import definitions, has_sandbox_tools
from agents.services import status
from agents.services.blobs import sha256_of, store_many
from agents.services.log import Log, clean


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
        _store(run, attempt, None)
        retries.record_failure(run, attempt, error)
        return
    _store(run, attempt, answer)
    if attempt.step.kind == Step.Kind.COMPACTION:
        compaction.commit(run, attempt, answer)
    else:
        answers.commit(run, attempt, answer)


def _begin(run: Run) -> Attempt | None:
    """Take queued inputs into the turn and open the request's span. None when there is nothing to ask."""
    with fenced_log(run) as (log, thread):
        if thread.interrupt_pending:
            return None
        status.set_running(log, thread)
        thread.runnable_at = log.now
        inputs = _take_inputs(log, thread)
        _read_context(run, thread)
        if thread.tool_rounds >= limits.MAX_TOOL_ROUNDS:
            retries.stop_turn(
                log,
                thread,
                "tool_use_limit_reached_error",
                f"The turn was ended after {limits.MAX_TOOL_ROUNDS} rounds of tool calls.",
            )
            return None
        compacting = compaction.is_due(thread)
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
        start = log.append(thread, "span.model_request_start", {}, cause=cause)
        record = _record(thread, step, start)

        def save() -> None:
            step.save()
            record.step, record.start_event = step, start
            record.save()

        log.later(save)
    request = _request(run, log.session, thread)
    if compacting:
        request = compaction.request_for(request)
    return Attempt(step=step, start=start, record=record, request=request)


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


def _take_inputs(log: Log, thread: Thread) -> list[Event]:
    """Everything a client has queued for this thread, in order, is part of the turn from here on."""
    waiting = list(
        Event.objects.filter(
            thread=thread,
            type__in=("user.message", "system.message"),
            processed_at__isnull=True,
            visible=True,
        ).order_by("seq")
    )
    for event in waiting:
        event.thread = thread
        log.mark_processed(event)
    return waiting


def _read_context(run: Run, thread: Thread) -> None:
    """Bring the run's copy of the conversation up to date: only what is new is read."""
    if run.context and run.context[0].position < thread.context_base_seq:
        run.context.clear()
    last = run.context[-1].position if run.context else thread.context_base_seq - 1
    run.context.extend(
        Event.objects.filter(
            thread=thread, type__in=CONTEXT_TYPES, processed_at__isnull=False, position__gt=last
        ).order_by("position")
    )


def _answered_seq(context: list[Event]) -> int | None:
    """The event a request answers when nothing new was said: the last result or message in the context."""
    return next((event.seq for event in reversed(context) if event.type != "agent.thinking"), None)


def _request(run: Run, session: Session, thread: Thread) -> ModelRequest:
    """What the model is asked: nothing in it depends on a clock or on chance."""
    snapshot, place = thread.agent_snapshot, run.workplace
    model = snapshot["model"]
    return ModelRequest(
        model=model["id"],
        system=system_prompt(snapshot, mounts=place.mounts, mode=place.mode, network=place.has_network),
        messages=ContextBuilder(place.file_reader()).build(run.context),
        tools=definitions(snapshot),
        max_tokens=catalog.lookup(model["id"]).max_tokens,
        effort=(model.get("effort") or {}).get("type"),
        seed=_seed(session, thread),
    )


def _seed(session: Session, thread: Thread) -> str:
    """`<session seed>/<thread>/<turn>.<round>/<attempt>`: the same for the same run, whatever its ids are."""
    place = f"{thread.turn_no}.{thread.tool_rounds}"
    return f"{session.metadata.get('seed', '0')}/{thread.ordinal}/{place}/{thread.model_attempts}"


def _store(run: Run, attempt: Attempt, answer: Answer | None) -> None:
    """Keep the request and its answer as deduplicated blobs: one per message, and a list of them."""
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
    store_many(parts, known=run.stored)


def _ask(run: Run, attempt: Attempt) -> Answer:
    """The answer. Holds no database connection while it waits.

    Raises a ProviderError; RequestCancelled when the run was interrupted or lost.
    """
    thread = attempt.step.thread
    provider = catalog.provider_for(attempt.request.model)
    if has_sandbox_tools(thread.agent_snapshot) and not run.sandbox_started:
        run.workplace.start_sandbox()
        run.sandbox_started = True
    if not connection.in_atomic_block:
        connection.close()
    deltas = DeltaPublisher(thread, attempt.message_id)
    answer: Answer | None = None
    for event in provider.request(attempt.request, run.cancellation):
        if isinstance(event, TextDelta):
            deltas.text(event.index, event.text)
        elif isinstance(event, ThinkingStarted):
            deltas.thinking_started()
        else:
            answer = event
    if run.cancellation.cancelled:
        raise RequestCancelled("The request was interrupted.")
    if answer is None:
        raise ProviderError("The provider ended without an answer.")
    deltas.flush()
    return answer
