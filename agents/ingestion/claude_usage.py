"""Tokens of one model request of Claude Code. Its answer is spread over several lines that repeat the usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.ingestion.claude_lines import Line, text_of

COUNTERS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
MAX_TOKENS = 10**9
CACHE_LIFETIMES = {
    "cache_creation_5m_input_tokens": "ephemeral_5m_input_tokens",
    "cache_creation_1h_input_tokens": "ephemeral_1h_input_tokens",
}


@dataclass(frozen=True)
class RequestUsage:
    payload: dict[str, Any]
    private: dict[str, Any]


def request_usage(pieces: Sequence[Line]) -> RequestUsage | None:
    """The usage of a request from all its lines, counted once. Null when no line says anything about it.

    The lines are written while the answer streams in, so the counts only grow from one to the next.
    """
    usages = [u for line in pieces if isinstance(u := line.message.get("usage"), dict)]
    if not usages:
        return None
    model_usage: dict[str, Any] = {name: _most(usages, name) for name in COUNTERS}
    speed = usages[-1].get("speed")
    if speed in ("standard", "fast"):
        model_usage["speed"] = speed
    caches = [c for u in usages if isinstance(c := u.get("cache_creation"), dict)]
    last = pieces[-1]
    private: dict[str, Any] = {
        "model": text_of(last.message, "model"),
        "model_message": text_of(last.message, "id"),
        "request_id": text_of(last.data, "requestId"),
        "stop_reason": text_of(last.message, "stop_reason"),
    }
    private |= {name: _most(caches, key) for name, key in CACHE_LIFETIMES.items() if caches}
    known = {key: value for key, value in private.items() if value is not None}
    return RequestUsage({"model_usage": model_usage, "is_error": False}, known)


def _most(usages: Sequence[dict[str, Any]], name: str) -> int:
    """The largest count under `name`; anything but a plausible whole number counts as nothing."""
    counts = (usage.get(name) for usage in usages)
    return max((c for c in counts if type(c) is int and 0 < c <= MAX_TOKENS), default=0)
