"""What a page is given never hides what every page is given."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import pytest
from django.test import RequestFactory

from console import views
from console.context import console

MODULES = [importlib.import_module(f"console.views.{found.name}") for found in pkgutil.iter_modules(views.__path__)]
CONTEXTS = {
    value
    for module in MODULES
    for name, value in vars(module).items()
    if name.endswith("Page") and dataclasses.is_dataclass(value)
}


@pytest.mark.parametrize("context", sorted(CONTEXTS, key=lambda found: found.__qualname__))
def test_no_page_takes_a_name_that_all_pages_use(context):
    shared = set(console(RequestFactory().get("/"))) | {"request", "user", "perms", "messages", "csrf_token"}
    assert {field.name for field in dataclasses.fields(context)} & shared == set()


def test_pages_were_found():
    assert len(CONTEXTS) >= 10
