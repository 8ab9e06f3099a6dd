"""API tests drive the official SDK, or plain HTTP, against a running server (see `tests/live.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.live import *  # noqa: F403
from tests.worker import *  # noqa: F403


@pytest.fixture
def count_queries(workspace: Any) -> Callable[[str], int]:
    """`count_queries(path)`: how many database queries a GET takes, the look-up of the key included."""
    from django.conf import settings
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from agents.services.keys import create_api_key

    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns when it is missing
    _, key = create_api_key(workspace, name="queries")
    browser = Client(headers={"x-api-key": key, "anthropic-beta": "managed-agents-2026-04-01"})

    def count(path: str) -> int:
        browser.get(path)  # the first use of a key is written down
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(path).status_code == 200
        return len(queries)

    return count
