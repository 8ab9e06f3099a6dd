"""A model request under way, and what is counted when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from agents.errors import ProviderError
from agents.ids import EVENT, new_id
from agents.models import Event, ModelAttempt, Step, Thread
from agents.providers import catalog
from agents.providers.base import Answer, ModelRequest, Usage
from agents.runtime.interrupts import end_span
from agents.services import budgets
from agents.services.blobs import store_many
from agents.services.log import Log

# What becomes known of an attempt when it ends.
ENDED_FIELDS = (
    *ModelAttempt.TOKEN_FIELDS,
    "list_cost_nanousd",
    "request_sha256",
    "response_sha256",
    "response_id",
    "stop_reason",
    "time_to_first_chunk_ms",
    "ended_at",
    "error_type",
    "error_message",
)


@dataclass
class Attempt:
    """`message_id` is the id the answer's `agent.message` will have: its deltas name it before it exists.

    `parts` are the request and its answer as they are kept, stored by the commit that ends the attempt; `stored`
    are the hashes the run has stored before.
    """

    step: Step
    start: Event
    record: ModelAttempt
    request: ModelRequest
    message_id: str = field(default_factory=lambda: new_id(EVENT))
    thinking_id: str = field(default_factory=lambda: new_id(EVENT))
    parts: list[bytes] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    report_path: str | None = None  # where a child's long report is kept


def finish_record(log: Log, attempt: Attempt, *, usage: Usage, error: ProviderError | None = None) -> None:
    """Complete the engine's own record of the attempt and its step. What it cost has been counted before."""
    record, step = attempt.record, attempt.step
    record.ended_at = step.ended_at = log.now
    record.input_tokens = usage.input_tokens
    record.output_tokens = usage.output_tokens
    record.cache_read_input_tokens = usage.cache_read_input_tokens
    record.cache_creation_5m_input_tokens = usage.cache_creation_5m_input_tokens
    record.cache_creation_1h_input_tokens = usage.cache_creation_1h_input_tokens
    step.state = Step.State.FAILED if error else Step.State.COMMITTED
    if error is not None:
        record.error_type, record.error_message = error.wire_type, error.message
    log.change(record, *ENDED_FIELDS)
    log.change(step, "state", "ended_at")
    budgets.settle(log, log.own(step.thread))
    log.later(partial(store_many, attempt.parts, known=attempt.stored))


def end_answered_span(log: Log, thread: Thread, attempt: Attempt, answer: Answer) -> None:
    """Close the span of an answered request and count its tokens and list price for thread and session."""
    usage = answer.usage
    counted = {name: getattr(usage, name) for name in thread.TOKEN_FIELDS}
    counted["list_cost_nanousd"] = catalog.cost_nanousd(attempt.record.model, usage) or 0
    for owner in (thread, log.session):
        for name, value in counted.items():
            setattr(owner, name, getattr(owner, name) + value)
    log.touch(thread, *counted)
    log.touch_session(*counted)
    attempt.record.list_cost_nanousd = counted["list_cost_nanousd"]
    end_span(log, thread, attempt.start, usage=usage_wire(usage), is_error=False, private={"usage": counted})


def usage_wire(usage: Usage) -> dict[str, int]:
    """Counts of one answer as `span.model_request_end` carries them."""
    return {
        "cache_creation_input_tokens": usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
    }
