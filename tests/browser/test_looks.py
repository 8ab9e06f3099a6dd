"""Every page in both themes and at both widths: no serious finding of axe, nothing wider than the window."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.browser.conftest import NARROW, WIDE
from tests.browser.scenes import furnish

pytestmark = [pytest.mark.chromium, pytest.mark.done_when(6)]

WIDER = """() => document.documentElement.scrollWidth > window.innerWidth
  ? [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1)
      .slice(0, 3).map((e) => e.outerHTML.slice(0, 120)) : []"""


# `DAYBREAK_PICTURES=docs/images pytest tests/browser/test_looks.py` renews the pictures of the documentation.
PICTURED = ("home", "sessions", "session", "waiting", "compare", "team", "edit-lead")


def keep_picture(page: Any, name: str, width: int, theme: str) -> None:
    folder = os.environ.get("DAYBREAK_PICTURES")
    if folder and name in PICTURED:
        page.screenshot(path=f"{folder}/{name}-{width}-{theme}.png")


def findings(tab: Any) -> list[str]:
    """What axe calls serious or worse, with the element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab.page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_page(open_tab, ana, lab, width, theme):
    tab = open_tab(ana, width=width, theme=theme, axe=True)
    for name, path in furnish(lab).items():
        page = tab.open(path)
        assert page.evaluate(WIDER) == [], name
        assert findings(tab) == [], name
        keep_picture(page, name, width, theme)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_of_visitors_and_empty_pages(open_tab, ana, theme):
    visitor = open_tab(theme=theme, width=NARROW, axe=True)
    for path in ("/sign-in", "/sign-in/link/x"):
        assert visitor.open(path) and findings(visitor) == [], path
    tab = open_tab(ana, theme=theme, axe=True)
    for path in ("/", "/sessions", "/agents", "/environments", "/keys", "/sessions/new"):
        page = tab.open(path)
        assert page.evaluate(WIDER) == [], path
        assert findings(tab) == [], path


def test_what_opens_on_request(open_tab, ana, lab):
    """Menus, dialogs and opened events are part of the page."""
    paths = furnish(lab)
    tab = open_tab(ana, axe=True)
    page = tab.open(paths["session"])
    page.locator(".event summary").first.click()
    page.locator(".event-detail").first.wait_for()
    page.locator(".raw summary").first.click()
    page.locator(".menu summary").last.click()
    assert findings(tab) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete…").click()
    assert page.get_by_role("dialog", name="Delete this session?").is_visible()
    assert findings(tab) == []


def test_forced_colours_keep_every_state_readable(open_tab, ana, lab):
    paths = furnish(lab)
    tab = open_tab(ana, axe=True)
    tab.page.emulate_media(forced_colors="active")
    page = tab.open(paths["sessions"])
    shapes = page.eval_on_selector_all(
        ".status", "all => all.map((s) => [s.dataset.kind, s.querySelector('svg').innerHTML])"
    )
    assert len({shape for _, shape in shapes}) == len({kind for kind, _ in shapes}) >= 4
    assert findings(tab) == []


def test_at_twice_the_size_nothing_is_cut_off(open_tab, ana, lab):
    """200 % zoom of a 1280 wide window is a 640 wide one."""
    paths = furnish(lab)
    tab = open_tab(ana, width=640)
    for name in ("sessions", "session", "agent", "edit-agent"):
        assert tab.open(paths[name]).evaluate(WIDER) == [], name
