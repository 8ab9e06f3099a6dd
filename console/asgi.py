"""The ASGI application. The SDK is imported in the background right after, so that the first page does not wait."""

from __future__ import annotations

import os
import threading

from django.core.asgi import get_asgi_application

from agents.api.limit_body import LimitBody

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
application = LimitBody(get_asgi_application())  # type: ignore[arg-type]


def _warm_up() -> None:
    from agents.api import schemas

    schemas.warm_up()


threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
