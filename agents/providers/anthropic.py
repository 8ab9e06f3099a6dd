"""Claude, or any server that speaks the Messages API at `ANTHROPIC_BASE_URL`, through the official SDK.

Always streamed, never retried here: the engine owns retries, so that every attempt is in the log. The SDK is imported
when the first request is made (it costs 2.5 s). No type of it leaves this package.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agents.errors import ProviderError, RequestCancelled
from agents.providers.anthropic_answer import AnswerBuilder
from agents.providers.anthropic_errors import as_provider_error
from agents.providers.base import Cancellation, ModelEvent, ModelRequest
from agents.providers.catalog import lookup
from agents.providers.connections import Connection, ConnectionPool
from agents.providers.prompt_cache import mark_for_cache

if TYPE_CHECKING:
    from anthropic.lib.streaming import MessageStream

SILENCE_S = 600.0  # no byte for this long means that the stream is dead
CONNECT_S = 5.0


class AnthropicProvider:
    name = "anthropic"
    simulated = False

    def __init__(self, *, api_key: str, base_url: str | None = None, silence_s: float = SILENCE_S) -> None:
        self._connections = ConnectionPool(api_key=api_key, base_url=base_url, read_s=silence_s, connect_s=CONNECT_S)

    def request(self, request: ModelRequest, cancellation: Cancellation) -> Iterator[ModelEvent]:
        if cancellation.cancelled:
            raise RequestCancelled("The request was cancelled.")
        with self._connections.borrow(cancellation) as connection:
            yield from _events(connection, request, cancellation)

    def close(self) -> None:
        """Close idle connections. The provider may be used again afterwards."""
        self._connections.close()


def _events(connection: Connection, request: ModelRequest, cancellation: Cancellation) -> Iterator[ModelEvent]:
    parameters = _parameters(request)
    started = time.monotonic()
    builder = AnswerBuilder()
    with _translated(cancellation), connection.client.messages.stream(**parameters) as stream:
        for event in stream:
            if cancellation.cancelled:
                raise RequestCancelled("The request was cancelled.")
            if builder.first_chunk_ms is None and event.type == "content_block_start":
                builder.first_chunk_ms = (time.monotonic() - started) * 1_000
            yield from builder.take(event)
        if cancellation.cancelled:
            raise RequestCancelled("The request was cancelled.")
        yield builder.answer(_final_message(stream))


def _final_message(stream: MessageStream[Any]) -> Any:
    """What was accumulated; a stream that broke off before its first event has nothing."""
    try:
        return stream.current_message_snapshot
    except AssertionError as exc:
        raise ProviderError("The model's answer ended before it began.") from exc


def _parameters(request: ModelRequest) -> dict[str, Any]:
    """The body of the request, the same for the same request."""
    info = lookup(request.model)
    system: Any = request.system
    tools, messages = request.tools, request.messages
    if info.prompt_caching:
        system, tools, messages = mark_for_cache(request.system, tools, messages)
    parameters: dict[str, Any] = {"model": request.model, "max_tokens": request.max_tokens, "messages": messages}
    if system:
        parameters["system"] = system
    if tools:
        parameters["tools"] = tools
    if info.adaptive_thinking:
        # Newer models leave the text of thinking out unless it is asked for.
        parameters["thinking"] = {"type": "adaptive", "display": "summarized"}
    if request.effort in info.efforts:
        parameters["output_config"] = {"effort": request.effort}
    return parameters


@contextmanager
def _translated(cancellation: Cancellation) -> Iterator[None]:
    """Turn whatever goes wrong into a ProviderError; after a cancel everything is RequestCancelled."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as exc:  # noqa: BLE001 — a socket closed under a reader may raise anything
        if cancellation.cancelled:
            raise RequestCancelled("The request was cancelled.") from exc
        raise as_provider_error(exc) from exc
