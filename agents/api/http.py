"""Everything between the socket and a handler of `/v1/`: keys, beta headers, sizes, routes, errors.

The checks come in a fixed order: authentication, beta, body size, route, and then the handler's own schema. Requests
under `/v1/` never reach the browser middleware behind this one: no cookies, no CSRF, no redirects.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib import import_module
from typing import Any, NoReturn, cast

import orjson
from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils import timezone

from agents.api.betas import check_betas, parse_betas
from agents.api.limit_body import body_limit
from agents.errors import (
    Conflict,
    DaybreakError,
    Invalid,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    NotBuilt,
    NotFound,
    TooLarge,
    Unavailable,
)
from agents.ids import REQUEST, new_id
from agents.models import ApiKey, Workspace

logger = logging.getLogger(__name__)

PREFIX = "/v1/"
KEY_TOUCH_INTERVAL = timedelta(minutes=1)
MAX_JSON_DEPTH = 64
INT64 = 2**63


class ApiRequest(HttpRequest):
    """What a handler is given: a request whose key has been checked."""

    api_key: ApiKey
    workspace: Workspace
    request_id: str


Handler = Callable[..., Any]
View = Callable[..., HttpResponseBase]

# Paths whose clients do not read the contract's errors but those of another specification.
ERROR_FORMATS: dict[str, Callable[[HttpRequest, DaybreakError], HttpResponse]] = {}


def endpoint(**handlers: Handler) -> View:
    """One URL of the API: a handler per method, e.g. `endpoint(GET=list_agents, POST=create_agent)`.

    A handler takes the request and the parts of the path. It returns the wire data of a 200, or a response. Handlers
    are plain functions; one that streams may be a coroutine function.
    """

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        raise RuntimeError("API views are called by ApiMiddleware only")

    view.handlers = handlers  # type: ignore[attr-defined]
    return view


class ApiMiddleware:
    """Answers everything under `/v1/` itself and passes everything else on. Stands first."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        import_module("agents.api.urls")  # before the first answer, which may be an error in a format of its own

    def __call__(self, request: HttpRequest) -> Any:
        if not request.path_info.startswith(PREFIX):
            return self.get_response(request)
        api_request = cast(ApiRequest, request)
        api_request.request_id = new_id(REQUEST)
        return self._answer_async(api_request) if self.is_async else self._answer(api_request)

    def _answer(self, request: ApiRequest) -> HttpResponseBase:
        answer = run(request)
        if not isinstance(answer, HttpResponseBase):
            answer = async_to_sync(finish)(request, answer)
        return sign(request, answer)

    async def _answer_async(self, request: ApiRequest) -> HttpResponseBase:
        # One hop to a thread for all of a plain handler's work.
        answer = await sync_to_async(run, thread_sensitive=True)(request)
        if not isinstance(answer, HttpResponseBase):
            answer = await finish(request, answer)
        return sign(request, answer)


def run(request: ApiRequest) -> HttpResponseBase | Awaitable[Any]:
    """The answer, or the started coroutine of an asynchronous handler."""
    try:
        authenticate(request)
        check_betas(
            request.path_info.removeprefix(PREFIX).partition("/")[0],
            parse_betas(request.headers.get("anthropic-beta", "")),
        )
        check_body_size(request)
        handler, kwargs = find_handler(request)
        answer = handler(request, **kwargs)
        if iscoroutinefunction(handler):
            # A stream may stay open for hours: give the connection that authenticated it back to the pool.
            if not connection.in_atomic_block:
                connection.close()
            return answer
        return answer if isinstance(answer, HttpResponseBase) else json_response(answer)
    except Exception as exc:  # noqa: BLE001 (the last line of defence; what is unexpected is logged as a 500)
        return error_response(request, exc)


async def finish(request: ApiRequest, coroutine: Awaitable[Any]) -> HttpResponseBase:
    try:
        answer = await coroutine
        return answer if isinstance(answer, HttpResponseBase) else json_response(answer)
    except Exception as exc:  # noqa: BLE001 (as above)
        return error_response(request, exc)


def sign(request: ApiRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The headers every answer carries, streams and errors included."""
    response["request-id"] = request.request_id
    if not response.streaming:
        response.setdefault("Content-Length", str(len(cast(HttpResponse, response).content)))
    response.setdefault("X-Content-Type-Options", "nosniff")
    response.setdefault("Cache-Control", "no-store")
    if hasattr(request, "workspace"):
        response["anthropic-workspace-id"] = request.workspace.public_id
    return response


# Checks


def authenticate(request: ApiRequest) -> None:
    """Set `api_key` and `workspace` from `x-api-key` or a bearer token. Cookies mean nothing here."""
    text = request.headers.get("x-api-key", "").strip()
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if not text and scheme.lower() == "bearer":
        text = bearer.strip()
    if not text:
        raise NotAuthenticated("Send an API key as `x-api-key` or as `Authorization: Bearer …`.")
    key = ApiKey.objects.find(text)
    if key is None:
        raise NotAuthenticated("This API key is unknown, revoked or expired. Create one on the console's keys page.")
    wanted = request.headers.get("anthropic-workspace-id")
    if wanted and wanted != key.workspace.public_id:
        raise NotAllowed("This API key belongs to another workspace than `anthropic-workspace-id` names.")
    request.api_key, request.workspace = key, key.workspace
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > KEY_TOUCH_INTERVAL:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def check_body_size(request: ApiRequest) -> None:
    limit = body_limit(request.path_info)
    if received_bytes(request) > limit:
        raise TooLarge(f"The request body is larger than the {limit // (1024 * 1024)} MB this endpoint takes.")


def received_bytes(request: ApiRequest) -> int:
    """How large the body is, whether it was announced or came in chunks (then `LimitBody` counted it)."""
    counted = getattr(request, "scope", {}).get("daybreak.body_bytes")
    if counted is not None:
        return int(counted)
    announced = request.META.get("CONTENT_LENGTH") or "0"
    return int(announced) if announced.isascii() and announced.isdigit() else 0


def find_handler(request: ApiRequest) -> tuple[Handler, dict[str, Any]]:
    path = request.path_info
    try:
        if "\x00" in path:
            raise Resolver404
        match = resolve(path)
    except Resolver404 as exc:
        raise NotFound(f"There is no endpoint {path[:200]!a}. The contract's endpoints start with {PREFIX}.") from exc
    request.resolver_match = match
    handlers: dict[str, Handler] = getattr(match.func, "handlers", {})
    if request.method not in handlers:
        allowed = ", ".join(sorted(handlers))
        raise MethodNotAllowed(f"{request.method} is not possible here; use {allowed}.", allow=allowed)
    return handlers[request.method], match.kwargs


# Answers


def json_response(data: object, status: int = 200) -> HttpResponse:
    """`data` as JSON. Times come out in UTC with `Z`; `orjson.Fragment` passes stored JSON through unread."""
    body = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    return HttpResponse(body, status=status, content_type="application/json")


def error_response(request: ApiRequest, exc: Exception) -> HttpResponse:
    """The contract's error body for `exc`. Nothing of an unexpected exception is shown."""
    error = known_error(exc)
    if error.status == 500 and not isinstance(exc, DaybreakError):
        logger.exception("unexpected error request=%s path=%s", request.request_id, request.path_info, exc_info=exc)
    elif isinstance(error, Unavailable):
        logger.error("request=%s unavailable: %s", request.request_id, exc)
    other_format = ERROR_FORMATS.get(request.path_info)
    if other_format is not None:
        response = other_format(request, error)
    else:
        response = json_response(error_body(error, request.request_id), error.status)
    if isinstance(error, Conflict | NotBuilt):
        response["x-should-retry"] = "false"  # the SDK repeats every 409 and 5xx unless told not to
    if isinstance(error, MethodNotAllowed):
        response["Allow"] = str(error.data.get("allow", ""))
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log each 501 as an error
    return response


def error_body(error: DaybreakError, request_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": error.type, "message": error.message}
    if error.code:
        shown["details"] = {"error_code": error.code}
    return {"type": "error", "error": shown, "request_id": request_id}


def known_error(exc: Exception) -> DaybreakError:
    if isinstance(exc, DaybreakError):
        return exc
    if isinstance(exc, RequestDataTooBig):
        return TooLarge("The request body is larger than this endpoint takes.")
    if isinstance(exc, OperationalError | InterfaceError):
        return Unavailable("The database cannot be reached at the moment. Try again shortly.")
    if isinstance(exc, SuspiciousOperation | BadRequest):
        return Invalid(f"The request could not be read: {exc}")
    return DaybreakError("Something went wrong on our side. The request id leads to the server's log.")


# Bodies


def read_json(request: HttpRequest) -> Any:
    """The parsed body; `{}` when it is empty.

    Stricter than JSON: no repeated keys, NUL characters, lone surrogates, numbers beyond 64 bits, or more than 64
    levels, because none of them could be stored and given back unchanged.
    """
    raw = request.body
    if not raw.strip():
        return {}
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object_without_repeats, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as exc:
        raise Invalid(f"The request body is not valid JSON: {exc}.") from exc
    _check_value(value, depth=1)
    return value


def read_object(request: HttpRequest) -> dict[str, Any]:
    """`read_json` where the contract has an object."""
    value = read_json(request)
    if not isinstance(value, dict):
        raise Invalid("The request body must be a JSON object.")
    return value


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise Invalid(f"The request body repeats the key {next(k for k in keys if keys.count(k) > 1)!r}.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _check_value(value: Any, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth > MAX_JSON_DEPTH:
            raise Invalid(f"The request body is nested deeper than {MAX_JSON_DEPTH} levels.")
        if isinstance(value, dict):
            for key in value:
                _check_text(key)
            value = list(value.values())
        for item in value:
            _check_value(item, depth + 1)
    elif isinstance(value, int | float) and not -INT64 <= value < INT64:
        raise Invalid("The request body holds a number outside the range of 64 bits.")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise Invalid("The request body holds a NUL character, which cannot be stored.")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise Invalid("The request body holds half of a surrogate pair, which is not text.") from exc
