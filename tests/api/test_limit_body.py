"""No request can fill the disk before its key has been checked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.api.limit_body import THROWN_AWAY_BYTES, LimitBody

MB = 1024 * 1024


def send_body(path: str, chunks: int, *, chunk: bytes = b"x" * MB) -> tuple[int, int, int]:
    """Bytes the application was given, bytes counted, and chunks taken from the client."""
    taken = 0
    seen: dict[str, Any] = {"given": 0}

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": chunk, "more_body": taken < chunks}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            seen["given"] += len(message["body"])
            more = message["more_body"]
        seen["counted"] = scope["daybreak.body_bytes"]

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError("the layer answers nothing itself")

    scope = {"type": "http", "path": path, "query_string": b"a=\xff"}
    asyncio.run(LimitBody(app)(scope, receive, send))
    return seen["given"], seen["counted"], taken


def test_a_body_within_the_limit_passes_whole():
    assert send_body("/v1/agents", 32) == (32 * MB, 32 * MB, 32)


def test_of_a_larger_body_only_the_beginning_is_passed_on_and_the_rest_is_read():
    given, counted, taken = send_body("/v1/agents", 60)
    assert given == 33 * MB
    assert counted == 60 * MB
    assert taken == 60


def test_an_endless_body_is_given_up_on():
    _, counted, taken = send_body("/sign-in", 10**9)
    assert counted <= 33 * MB + THROWN_AWAY_BYTES + MB
    assert taken <= 100


def test_uploads_have_a_limit_of_their_own(settings):
    settings.DAYBREAK_UPLOAD_LIMIT_BYTES = 40 * MB
    assert send_body("/v1/files", 41)[0] == 41 * MB
    assert send_body("/v1/files", 60)[0] == 42 * MB


def test_the_application_is_wrapped_in_it(settings):
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    from console.asgi import application

    assert isinstance(application, LimitBody)


def test_other_protocols_pass():
    passed = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    asyncio.run(LimitBody(app)({"type": "lifespan"}, pytest.fail, pytest.fail))
    assert passed == ["lifespan"]
