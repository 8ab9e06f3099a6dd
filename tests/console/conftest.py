"""Tests of pages use Django's test client on a workspace with one member; live ones a running server."""

from __future__ import annotations

from typing import Any

import pytest

from tests import factories


@pytest.fixture
def quiet(settings: Any) -> None:
    """No worker listens here, passwords need not be strong, and whitenoise warns when its folder is missing."""
    settings.DAYBREAK_HINTS = False
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)


@pytest.fixture
def workspace(db: None, quiet: None) -> Any:
    return factories.make_workspace()


@pytest.fixture
def ana(workspace: Any) -> Any:
    """A member with every role."""
    return factories.make_member(workspace, name="ana")


@pytest.fixture
def viewer(workspace: Any) -> Any:
    """A member who may only look."""
    return factories.make_member(workspace, "viewer", name="vera")


@pytest.fixture
def elsewhere(db: None, quiet: None) -> Any:
    """A workspace in which Ana is nobody."""
    return factories.make_workspace("Elsewhere")


@pytest.fixture
def page(client: Any, ana: Any) -> Any:
    """`page.get(path)` as Ana."""
    client.force_login(ana)
    client.get("/agents")  # the first visit is written down
    return client
