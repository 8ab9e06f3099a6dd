"""Who answers a model request: the one interface every provider implements, free of any vendor's types."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer. `input_tokens` excludes what came from or went to the cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0

    @property
    def context_tokens(self) -> int:
        """Everything the model read: what compaction is triggered by."""
        return (
            self.input_tokens
            + self.cache_read_input_tokens
            + self.cache_creation_5m_input_tokens
            + self.cache_creation_1h_input_tokens
        )


@dataclass(frozen=True)
class ModelRequest:
    """One model request, in the shapes of the Messages API (`messages`, `tools`).

    A pure function of the log and the agent snapshot: rendering it twice gives the same bytes. `seed` is stable for
    (session, thread, step) and only the simulated provider reads it.
    """

    model: str
    system: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    max_tokens: int = 16_000
    effort: str | None = None
    seed: str = ""


@dataclass(frozen=True)
class ThinkingStarted:
    """The model has begun to think. At most one per answer."""


@dataclass(frozen=True)
class TextDelta:
    """A piece of answer text. `index` counts text blocks only: 0, 1, 2, ... without holes."""

    index: int
    text: str


@dataclass(frozen=True)
class Answer:
    """The complete answer; always the last thing a provider yields.

    `content` holds Messages API blocks: `thinking`, `redacted_thinking`, `text`, `tool_use` (with `id`, `name`,
    `input`). `stop_reason` is the vendor's word: `end_turn`, `tool_use`, `max_tokens`, `refusal`, ...
    """

    content: list[dict[str, Any]]
    stop_reason: str
    usage: Usage
    response_id: str = ""
    time_to_first_chunk_ms: float | None = None
    stop_details: dict[str, Any] | None = None


ModelEvent = ThinkingStarted | TextDelta | Answer


class Cancellation:
    """Lets one thread stop what another is doing: a flag to wait on and callbacks that unblock a stuck read."""

    def __init__(self) -> None:
        self.lost = False  # what was under way belongs to somebody else now: let go of it, do not end it
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep up to `timeout_s`; True as soon as somebody cancels."""
        return self._event.wait(timeout_s)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` on cancel, or at once when it has already happened. Callbacks must not raise."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def cancel(self, *, lost: bool = False) -> None:
        with self._lock:
            self.lost = self.lost or lost
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class Provider(Protocol):
    name: str
    simulated: bool

    def request(self, request: ModelRequest, cancellation: Cancellation) -> Iterator[ModelEvent]:
        """Yield what the model says as it says it, and the `Answer` last.

        Raises a `ProviderError`; `RequestCancelled` when `cancellation` fired. A stream that ends without a stop
        reason is a failure (`ProviderError`), never an answer. No retries here: the engine owns them.
        """
        ...
