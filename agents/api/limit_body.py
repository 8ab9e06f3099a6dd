"""The outermost ASGI layer: no request can fill the disk before its key has been checked.

Django collects the whole body before any middleware runs. This layer passes on no more than the limit; the rest is
read and thrown away, so that the client gets to read its 413, which `ApiMiddleware` gives in its proper order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MULTIPART_OVERHEAD_BYTES = 1024 * 1024  # boundaries and part headers around an upload
TRACES_BYTES = 20 * 1024 * 1024  # uncompressed; a compressed body has a limit of its own
THROWN_AWAY_BYTES = 64 * 1024 * 1024  # read beyond the limit before giving up on the client


def body_limit(path: str) -> int:
    if path == "/v1/files":
        return settings.DAYBREAK_UPLOAD_LIMIT_BYTES + MULTIPART_OVERHEAD_BYTES
    if path == "/v1/traces":
        return TRACES_BYTES
    return settings.DAYBREAK_BODY_LIMIT_BYTES


class LimitBody:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = body_limit(scope["path"])
        # Django refuses a query that is not UTF-8 before any middleware could word the answer.
        query = scope.get("query_string", b"").decode("utf-8", "replace").encode("utf-8")
        scope = {**scope, "query_string": query, "daybreak.body_bytes": 0}

        async def receive_limited() -> dict[str, Any]:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                before = scope["daybreak.body_bytes"]
                body = message.get("body", b"")
                scope["daybreak.body_bytes"] = before + len(body)
                more = message.get("more_body", False) and before <= limit + THROWN_AWAY_BYTES
                if before <= limit or not more:
                    return {"type": "http.request", "body": body if before <= limit else b"", "more_body": more}

        await self.app(scope, receive_limited, send)
