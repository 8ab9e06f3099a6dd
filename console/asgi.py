"""The ASGI application. The SDK is imported in the background right after, so that the first page does not wait."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler

from agents.api.limit_body import LimitBody

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django.setup(set_prefix=False)


class Handler(ASGIHandler):
    """Closes the body of every request. Django leaves it open when the handling of one is cancelled."""

    async def read_body(self, receive: Any) -> Any:
        body = await super().read_body(receive)
        if task := asyncio.current_task():
            task.add_done_callback(lambda _: body.close())
        return body


application = LimitBody(Handler())  # type: ignore[arg-type]


def _warm_up() -> None:
    from agents.api import schemas

    schemas.warm_up()


threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
