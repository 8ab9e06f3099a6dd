"""A headless Chromium that is signed in to an instance, without anything kept from earlier."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.instance import PASSWORD, Instance

ADMIN = "admin"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")


@contextmanager
def open_browser(instance: Instance, *, width: int = 1280, height: int = 800) -> Iterator[Any]:
    """A page of the instance's administrator."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("There is no Chromium on this machine.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": width, "height": height}).new_page()
        page.goto(f"{instance.url}/sign-in")
        page.get_by_label("Name").fill(ADMIN)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{instance.url}/")
        yield page
        browser.close()
