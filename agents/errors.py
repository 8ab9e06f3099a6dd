"""The exception tree. Services raise these; only `agents/api/http.py` and the console turn them into answers.

Each class carries the HTTP status and the wire `error.type` of the Managed Agents API, and may carry a stable
`code` (the wire's `error.details.error_code`). Not found and not allowed look the same to outsiders.
"""

from __future__ import annotations


class DaybreakError(Exception):
    """Root of every error Daybreak raises on purpose. The message is a full sentence for a person to read."""

    status = 500
    type = "api_error"
    code: str | None = None

    def __init__(self, message: str, *, code: str | None = None, **data: object) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.data = data


class Invalid(DaybreakError):
    """The request cannot be carried out as it stands: a bad value, or a state that forbids it (400)."""

    status = 400
    type = "invalid_request_error"


class NotAuthenticated(DaybreakError):
    status = 401
    type = "authentication_error"


class NotAllowed(DaybreakError):
    status = 403
    type = "permission_error"


class NotFound(DaybreakError):
    """No such thing in this workspace, whether it is missing or somebody else's."""

    status = 404
    type = "not_found_error"


class MethodNotAllowed(DaybreakError):
    status = 405
    type = "invalid_request_error"


class Conflict(DaybreakError):
    """A deterministic conflict: repeating the same request cannot help, so clients are told not to retry."""

    status = 409
    type = "conflict_error"


class TooLarge(DaybreakError):
    status = 413
    type = "request_too_large"


class NotBuilt(DaybreakError):
    """The contract has it, Daybreak does not have it yet. The message names the feature."""

    status = 501
    type = "api_error"
    code = "not_implemented"


class Unavailable(DaybreakError):
    status = 503
    type = "overloaded_error"


class ProviderError(Exception):
    """A model request failed. Never shown raw to an API caller: the engine turns it into a `session.error` event.

    Attributes:
        wire_type: the `error.type` of the `session.error` event.
        retryable: whether another attempt may help.
        retry_after_s: how long the vendor asked us to wait, if it did.
    """

    wire_type = "model_request_failed_error"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class ProviderOverloaded(ProviderError):
    wire_type = "model_overloaded_error"


class ProviderRateLimited(ProviderError):
    wire_type = "model_rate_limited_error"


class ProviderRejected(ProviderError):
    """The vendor refused the request itself (a 4xx, an unknown model, no key). Repeating it cannot help."""

    retryable = False


class RequestCancelled(ProviderError):
    """Somebody interrupted the request. Not a failure: no error event is written."""

    retryable = False
