"""Whole journeys in Chromium, against the running ASGI server of the test process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live import *  # noqa: F403
from tests.worker import *  # noqa: F403

WIDE, NARROW = 1280, 360


@pytest.fixture(scope="module")
def chromium(chromium_executable: str) -> Iterator[Any]:
    """One Chromium per module: while it is open, this thread has an event loop, which other tests cannot have."""
    from playwright.sync_api import sync_playwright

    # Playwright keeps an event loop in this thread, which Django would take for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_executable, args=arguments)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Tab:
    """A page in a browser window of its own, and everything that went wrong in it."""

    def __init__(self, page: Any, base: str) -> None:
        self.page, self.base = page, base
        self.problems: list[str] = []
        self.outside: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def open(self, path: str) -> Any:
        self.page.goto(self.base + path)
        return self.page


@pytest.fixture
def open_tab(chromium: Any, server: str) -> Iterator[Callable[..., Tab]]:
    """`open_tab(user)`: a tab in which this person is signed in. It cannot leave the server."""
    contexts, tabs = [], []

    def make(
        user: Any = None, *, width: int = WIDE, theme: str = "light", scripts: bool = True, axe: bool = False
    ) -> Tab:
        context = chromium.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=theme,
            java_script_enabled=scripts,
            reduced_motion="reduce",
            bypass_csp=axe,  # axe measures with inline styles, which the policy would refuse
        )
        contexts.append(context)
        if user is not None:
            context.add_cookies([{"name": "sessionid", "value": _browser_session(user), "url": server}])
        tab = Tab(context.new_page(), server)
        tabs.append(tab)

        def gate(route: Any) -> None:
            if route.request.url.startswith(server):
                route.continue_()
            else:
                tab.outside.append(route.request.url)
                route.abort()

        context.route("**/*", gate)
        return tab

    yield make
    for context in contexts:
        context.close()
    for tab in tabs:
        assert tab.problems == []
        assert tab.outside == []


def _browser_session(user: Any) -> str:
    from django.test import Client

    browser = Client()
    browser.force_login(user)
    return str(browser.cookies["sessionid"].value)


@pytest.fixture
def lab(server: str, settings: Any) -> Any:
    """A workspace on an empty database; nobody works unless a test asks for a worker."""
    from tests import factories

    settings.DAYBREAK_HINTS = False
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return factories.make_workspace()


@pytest.fixture
def ana(lab: Any) -> Any:
    from tests import factories

    return factories.make_member(lab, name="ana")
