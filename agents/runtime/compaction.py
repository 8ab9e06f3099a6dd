"""Keeping a long conversation within the model's window: ask for a summary and go on from it.

The log keeps everything; only what the model is shown starts anew.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from agents.errors import ProviderError
from agents.models import Event, Thread
from agents.providers import catalog
from agents.providers.base import Answer, ModelRequest
from agents.runtime import limits
from agents.runtime.attempts import Attempt, end_answered_span, finish_record
from agents.runtime.leases import Run, fenced_log
from agents.runtime.retries import record_failure, stop_turn
from agents.services.log import clean

INSTRUCTION = (
    "Summarise the conversation so far for yourself: the task and its constraints, what was decided and why, what was "
    "done and found (with paths, names and numbers), what is still open, and what to do next. The summary replaces "
    "the conversation."
)
ANSWERS = frozenset({"agent.message", "agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use"})
CHARS_PER_TOKEN = 4
TRIMMED = "… (trimmed)"


def is_due(thread: Thread, context: Sequence[Event]) -> bool:
    """Whether the conversation nears the window: what the last answer reported, and a guess at what came since."""
    window = catalog.lookup(thread.agent_snapshot["model"]["id"]).context_window
    since = takewhile(lambda event: event.type not in ANSWERS, reversed(context))
    expected = thread.context_tokens + sum(len(event.payload) for event in since) // CHARS_PER_TOKEN
    if thread.context_tokens and expected > limits.COMPACT_AT_SHARE * window:
        return True
    return thread.context_tokens > limits.COMPACT_AT_SHARE * window


def request_for(request: ModelRequest) -> ModelRequest:
    """The conversation as plain text, long tool results trimmed, and the question for a summary at its end.

    Calls and results become text because a request that shows tool blocks must also define the tools, and a model
    that has tools may call them instead of answering.
    """
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        content = [part for block in message["content"] for part in _as_text(block)]
        if content:
            messages.append({"role": message["role"], "content": content})
    ask = {"type": "text", "text": INSTRUCTION}
    if messages and messages[-1]["role"] == "user":
        messages[-1]["content"].append(ask)
    else:
        messages.append({"role": "user", "content": [ask]})
    return dataclasses.replace(request, messages=messages, tools=[])


def _as_text(block: dict[str, Any]) -> list[dict[str, Any]]:
    kind = block["type"]
    if kind in ("thinking", "redacted_thinking"):
        return []
    if kind == "tool_use":
        return [_text(f"[called {block['name']} with {json.dumps(block['input'], ensure_ascii=False)}]")]
    if kind == "tool_result":
        label = "failed" if block.get("is_error") else "returned"
        parts = [part["text"] for part in block["content"] if part["type"] == "text"]
        return [_text(f"[the call {label}: {' '.join(parts)}]")]
    return [block]


def _text(text: str) -> dict[str, Any]:
    if len(text) > limits.TRIMMED_RESULT_CHARS:
        text = text[: limits.TRIMMED_RESULT_CHARS] + TRIMMED
    return {"type": "text", "text": text}


def commit(run: Run, attempt: Attempt, answer: Answer) -> None:
    """Store the summary and let the context begin with it."""
    if not any(block["type"] == "text" and block["text"].strip() for block in answer.content):
        record_failure(run, attempt, ProviderError("The model gave no summary of the conversation."))
        return
    with fenced_log(run) as (log, thread):
        summary = "\n\n".join(block["text"] for block in clean(answer.content) if block["type"] == "text")
        event = log.append(
            thread,
            "agent.thread_context_compacted",
            {},
            private={"summary": summary, "pre_compaction_tokens": thread.context_tokens},
            cause=attempt.start,
        )
        end_answered_span(log, thread, attempt, answer)
        finish_record(log, attempt, usage=answer.usage)
        thread.context_base_seq = event.seq
        thread.context_tokens = answer.usage.output_tokens
        thread.compactions_in_a_row += 1
        thread.model_attempts = thread.takeovers = 0
        log.touch(thread, "takeovers")
        thread.phase, thread.runnable_at = Thread.Phase.READY, log.now
        log.touch(
            thread,
            "context_base_seq",
            "context_tokens",
            "compactions_in_a_row",
            "model_attempts",
            "phase",
            "runnable_at",
        )
        if thread.compactions_in_a_row >= limits.MAX_COMPACTIONS_IN_A_ROW:
            stop_turn(
                log,
                thread,
                "compaction_limit_reached_error",
                "The conversation was summarised several times in a row and still does not fit the model's window.",
            )
