"""The simulated provider: answers `simulated/<scenario>` offline, from the scenario's policy.

An answer depends on the model, the system prompt, the messages, the tools and the seed without its last part, and on
nothing else: no clock, no chance, no state. One id of a thread or an event counts as any other. The seed is
"<session>/<thread>/<step>/<attempt>"; the attempt, counted from 1, only decides whether a fault is still on. Time
passes only for show: waits are scaled by DAYBREAK_SIMULATED_LATENCY (1 is 200 to 1,500 ms per answer, 0 is at once) and
end when the request is cancelled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from agents.errors import ProviderRejected, RequestCancelled
from agents.providers.base import (
    Answer,
    Cancellation,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ThinkingStarted,
    Usage,
)
from agents.providers.catalog import SIMULATED_PREFIX, lookup
from agents.simulator.conversation import Conversation, Reply, read_conversation
from agents.simulator.faults import (
    Fault,
    answer_with_faults,
    error_of,
    read_faults,
    request_fault,
)
from agents.simulator.scenarios import Scenario, all_scenarios
from agents.simulator.summary import summarise, without_instruction
from agents.simulator.tokens import count_tokens

LATENCY_VARIABLE = "DAYBREAK_SIMULATED_LATENCY"
FIRST_CHUNK_SHARE = 0.35  # of an answer's time passes before its first piece
PIECE_CHARS = 24
MAX_PIECES = 200
SLOW_PIECES_PER_S = 10
CUT_AFTER_PIECES = 2
ID = re.compile(r"\b(sthr|sevt|sesn|file)_[0-9A-Za-z]{16,}")
MIN_CACHED_TOKENS = 1_024  # vendors do not cache shorter prefixes either


class SimulatedProvider:
    name = "simulated"
    simulated = True

    def __init__(self, latency_scale: float | None = None) -> None:
        self._latency_scale = latency_scale

    def request(self, request: ModelRequest, cancellation: Cancellation) -> Iterator[ModelEvent]:
        scale = _latency_scale() if self._latency_scale is None else self._latency_scale
        scenario = _scenario(request.model)
        _check_size(request)
        digest = _digest(request)
        duration_s = _duration_s(scenario, digest) * scale
        if (to_summarise := without_instruction(request.messages)) is not None and not request.tools:
            window = lookup(request.model).context_window
            reply = summarise(_conversation(request, to_summarise), context_window=window)
            yield from _stream(reply, request, digest, duration_s, cancellation)
            return
        conversation = _conversation(request, request.messages)
        faults = [*scenario.faults, *read_faults(conversation.request)]
        step = len(conversation.steps) + 1
        fault = request_fault(faults, step=step, attempt=_attempt(request.seed))
        if fault is not None and fault.name != "cut_stream":
            _wait(cancellation, duration_s * FIRST_CHUNK_SHARE)
            raise error_of(fault)
        reply = answer_with_faults(scenario.policy, conversation, faults)
        yield from _stream(reply, request, digest, duration_s, cancellation, cut=fault)


def _conversation(request: ModelRequest, messages: list[dict[str, Any]]) -> Conversation:
    return read_conversation(system=request.system, messages=messages, tools=request.tools)


def _scenario(model: str) -> Scenario:
    wanted = model.removeprefix(SIMULATED_PREFIX)
    scenario = next((scenario for scenario in all_scenarios() if scenario.id == wanted), None)
    if scenario is None:
        names = ", ".join(SIMULATED_PREFIX + scenario.id for scenario in all_scenarios())
        raise ProviderRejected(f"There is no simulated model {model}. Use one of {names}.")
    return scenario


def _check_size(request: ModelRequest) -> None:
    """Refuse what does not fit, as a vendor would."""
    window = lookup(request.model).context_window
    size = count_tokens(request.system) + count_tokens(request.messages)
    if size > window:
        raise ProviderRejected(f"The prompt is too long: {size} tokens, but {request.model} reads {window}.")


def _stream(
    reply: Reply,
    request: ModelRequest,
    digest: str,
    duration_s: float,
    cancellation: Cancellation,
    cut: Fault | None = None,
) -> Iterator[ModelEvent]:
    pieces = _pieces(reply)
    seconds = duration_s if reply.over_s is None else reply.over_s
    first_s = seconds * FIRST_CHUNK_SHARE if reply.over_s is None else seconds / (len(pieces) + 1)
    _wait(cancellation, first_s)
    if reply.thinking:
        yield ThinkingStarted()
    pause_s = (seconds - first_s) / len(pieces) if pieces else 0.0
    for number, piece in enumerate(pieces):
        if cut is not None and number == CUT_AFTER_PIECES:
            break
        yield TextDelta(0, piece)
        _wait(cancellation, pause_s)
    if cut is not None:
        raise error_of(cut)
    _wait(cancellation, 0)
    yield _answer(reply, request, digest, first_s)


def _wait(cancellation: Cancellation, seconds: float) -> None:
    if cancellation.wait(seconds) if seconds > 0 else cancellation.cancelled:
        raise RequestCancelled("The request was cancelled.")


def _pieces(reply: Reply) -> list[str]:
    """The text cut into pieces of equal length: several even for a short one."""
    text = reply.text
    if reply.over_s is not None:
        count = max(2, int(reply.over_s * SLOW_PIECES_PER_S))
    else:
        count = max(4, min(MAX_PIECES, len(text) // PIECE_CHARS))
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _answer(reply: Reply, request: ModelRequest, digest: str, first_s: float) -> Answer:
    content: list[dict[str, Any]] = []
    if reply.thinking:
        content.append({"type": "thinking", "thinking": reply.thinking, "signature": "simulated"})
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    for index, call in enumerate(reply.calls):
        call_id = "toolu_sim" + hashlib.sha256(f"{digest}/{index}".encode()).hexdigest()[:20]
        content.append({"type": "tool_use", "id": call_id, "name": call.name, "input": call.input})
    refusal = reply.refusal
    return Answer(
        content=content,
        stop_reason=_stop_reason(reply),
        usage=_usage(request, sum(count_tokens(block) for block in content)),
        response_id=f"msg_sim{digest[:20]}",
        time_to_first_chunk_ms=round(first_s * 1_000, 3),
        stop_details=({"type": "refusal", "category": None, "explanation": refusal} if refusal else None),
    )


def _usage(request: ModelRequest, output_tokens: int) -> Usage:
    """Estimated, and split as if prompts were cached: what the request before sent counts as read from the cache."""
    sizes = [count_tokens(message) for message in request.messages]
    fixed = count_tokens(request.system) + (count_tokens(request.tools) if request.tools else 0)
    answers = [i for i, message in enumerate(request.messages) if message.get("role") == "assistant"]
    read = fixed + sum(sizes[: answers[-1]]) if answers else 0
    if read < MIN_CACHED_TOKENS:
        read = 0
    fresh = fixed + sum(sizes) - read
    all_but_last = fresh - (sizes[-1] if sizes else 0)
    written = all_but_last if read or all_but_last >= MIN_CACHED_TOKENS else 0
    return Usage(
        input_tokens=max(1, fresh - written),
        output_tokens=max(1, output_tokens),
        cache_read_input_tokens=read,
        cache_creation_5m_input_tokens=written,
    )


def _stop_reason(reply: Reply) -> str:
    if reply.refusal:
        return "refusal"
    if reply.cut_at_max_tokens:
        return "max_tokens"
    if reply.calls:
        return "tool_use"
    return "pause_turn" if reply.goes_on else "end_turn"


def _digest(request: ModelRequest) -> str:
    """A name for everything the answer depends on, the same for the same run whatever the ids in it are."""
    base, _, _ = request.seed.rpartition("/")
    parts = [request.model, request.system, request.messages, request.tools, base]
    text = ID.sub(r"\1", json.dumps(parts, ensure_ascii=False, default=str))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _attempt(seed: str) -> int:
    last = seed.rpartition("/")[2]
    return int(last) if last.isdecimal() and len(last) < 10 else 1


def _duration_s(scenario: Scenario, digest: str) -> float:
    low, high = scenario.latency_ms
    share = int(digest[:8], 16) / 0xFFFFFFFF
    return (low + (high - low) * share) / 1_000


def _latency_scale() -> float:
    given = os.environ.get(LATENCY_VARIABLE, "1")
    try:
        scale = float(given)
    except ValueError:
        scale = -1.0
    if not 0 <= scale <= 1_000:  # also refuses nan
        raise ProviderRejected(f"{LATENCY_VARIABLE} must be a number from 0 to 1000, not {given!r}.")
    return scale
