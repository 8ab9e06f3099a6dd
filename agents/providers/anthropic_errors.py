"""What the SDK and its HTTP client raise, as the provider errors of `agents/errors.py`."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from typing import Any

from agents.errors import (
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)

REQUEST_TIMEOUT, CONFLICT, RATE_LIMITED, OVERLOADED = 408, 409, 429, 529
RETRYABLE_TYPES = ("api_error", "timeout_error")


def as_provider_error(exc: Exception) -> ProviderError:
    import anthropic
    import httpx2

    if isinstance(exc, anthropic.APIStatusError):
        return _status_error(exc)
    if isinstance(exc, anthropic.APITimeoutError | httpx2.TimeoutException):
        return ProviderError("The model did not answer in time.")
    if isinstance(exc, anthropic.APIConnectionError | httpx2.TransportError):
        reason = str(exc.__cause__ or exc) or type(exc).__name__
        return ProviderError(f"The connection to the model failed: {reason}")
    if isinstance(exc, ValueError):
        # The SDK's own parser: a frame or a tool input that is not JSON.
        return ProviderError(f"The model's answer could not be read: {_short(str(exc))}")
    return ProviderError(f"The model request failed: {_short(str(exc) or type(exc).__name__)}")


def _status_error(exc: Any) -> ProviderError:
    """By status; an error inside a stream has status 200 and is told apart by its type."""
    message = _short(exc.api_message or exc.message)
    retry_after_s = retry_after(exc.response.headers)
    status, kind = exc.status_code, exc.type
    if exc.response.headers.get("x-should-retry") == "false":
        return ProviderRejected(message)
    if status == RATE_LIMITED or kind == "rate_limit_error":
        return ProviderRateLimited(message, retry_after_s=retry_after_s)
    if status == OVERLOADED or kind == "overloaded_error":
        return ProviderOverloaded(message, retry_after_s=retry_after_s)
    if status >= 500 or status in (REQUEST_TIMEOUT, CONFLICT):
        return ProviderError(message, retry_after_s=retry_after_s)
    if status < 400 and (kind is None or kind in RETRYABLE_TYPES):
        return ProviderError(message, retry_after_s=retry_after_s)
    return ProviderRejected(message)


def retry_after(headers: Any) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or a date); None when neither is usable."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name)
        if given is None:
            continue
        try:
            seconds = float(given) * unit_s
        except ValueError:
            seconds = _until(given)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _until(date: str) -> float:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return math.nan


def _short(text: str) -> str:
    return text if len(text) <= 2_000 else text[:1_999] + "…"
