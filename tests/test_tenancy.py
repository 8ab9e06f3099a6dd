"""Nobody reads anything of another workspace: every route of the URL table, with another workspace's ids.

A route whose path holds an id this test does not know fails it, so that a new route cannot be forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from agents.models import Annotation, Event, File, Membership, Session
from agents.models.people import Role
from agents.services import keys
from agents.services.blobs import store_bytes
from tests.live import *  # noqa: F403
from tests.runs import make_agent, make_environment, start_session

MARK = "belongs-to-the-other-workspace"
METHODS = ("GET", "POST", "DELETE")
# Pages of nobody in particular: what they hold is the visitor's own or nothing.
OWN_PAGES = {"healthz", "sign-in", "sign-in-link", "sign-out", "theme", "workspace"}


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, path)
        else:
            yield path, entry


@pytest.fixture
def secret(workspace: Any) -> dict[str, str]:
    """One of everything in the workspace that must not be seen; ids by the name they have in a path."""
    agent = make_agent(workspace, name=f"{MARK} agent")
    environment = make_environment(workspace, name=f"{MARK} environment")
    data = MARK.encode()
    upload = File.objects.create(
        workspace=workspace,
        filename=f"{MARK}.txt",
        mime_type="text/plain",
        size_bytes=len(data),
        sha256=store_bytes(data),
    )
    session = start_session(
        workspace,
        MARK,
        agent=agent,
        title=MARK,
        resources=[{"type": "file", "file_id": upload.public_id}],
    )
    key, _ = keys.create_api_key(workspace, name=f"{MARK} key")
    event = Event.objects.filter(session=session, visible=True).order_by("seq")[0]
    mark = Annotation.objects.create(
        session=session, event=event, kind="note", text=MARK, author_name=MARK, written_here=True
    )
    return {
        "agent_id": agent.public_id,
        "environment_id": environment.public_id,
        "session_id": session.public_id,
        "thread_id": session.primary_thread.public_id,
        "resource_id": session.resources.get().public_id,
        "event_id": event.public_id,
        "annotation_id": str(mark.pk),
        "file_id": upload.public_id,
        "key_id": key.public_id,
        "model_id": "simulated/echo",
        "rest": "x",
        "token": "x",
        "tab": "summary",
    }


def fill(path: str, ids: dict[str, str]) -> str:
    while "<" in path:
        before, _, rest = path.partition("<")
        name, _, after = rest.partition(">")
        name = name.rpartition(":")[2]
        assert name in ids, f"the tenancy test knows no id named {name}: add one to its secret"
        path = before + ids[name] + after
    return "/" + path


def api_routes() -> list[str]:
    return [path for path, _ in routes(get_resolver()) if path.startswith("v1/")]


def page_routes() -> list[str]:
    return [
        path
        for path, entry in routes(get_resolver())
        if not path.startswith(("v1/", "static", "admin")) and entry.name not in OWN_PAGES
    ]


def test_the_url_table_is_walked():
    assert len(api_routes()) > 25
    assert len(page_routes()) > 10


@pytest.mark.parametrize("path", api_routes())
def test_an_api_key_of_another_workspace_finds_nothing(path, secret, raw_for, other_workspace, workspace):
    before = counts(workspace)
    stranger = raw_for(other_workspace, **betas_for(path))
    for method in METHODS:
        body = b"{}" if method == "POST" else None
        answer = stranger.request(method, fill(path, secret), content=body)
        text = answer.text
        assert MARK not in text, f"{method} {path}"
        if "<" in path and "model_id>" not in path:
            assert answer.status_code in (400, 404, 405, 501), f"{method} {path}: {answer.status_code}"
            if answer.status_code == 400:
                assert "multipart" in text or "file" in text or "body" in text, f"{method} {path}: {text}"
    assert counts(workspace) == before


@pytest.mark.parametrize("path", page_routes())
@pytest.mark.parametrize("htmx", [False, True])
def test_a_member_of_another_workspace_finds_nothing(path, htmx, secret, other_workspace, workspace, settings):
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    stranger = User.objects.create_user("stranger", password="correct horse battery")
    Membership.objects.create(user=stranger, workspace=other_workspace, roles=[role.value for role in Role])
    browser = Client(headers={"HX-Request": "true"} if htmx else {})
    browser.force_login(stranger)
    before = counts(workspace)
    for method in ("GET", "POST"):
        answer = browser.generic(method, fill(path, secret))
        text = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert MARK.encode() not in text, f"{method} {path}"
        if "<" in path:
            assert answer.status_code in (404, 405), f"{method} {path}: {answer.status_code}"
    assert counts(workspace) == before


@pytest.mark.parametrize("path", page_routes())
def test_a_visitor_who_has_not_signed_in_is_sent_to_sign_in(path, secret, settings):
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    answer = Client().get(fill(path, secret))
    if answer.status_code == 302:
        assert answer["Location"].startswith("/sign-in")
    else:
        assert answer.status_code in (403, 404, 405), f"{path}: {answer.status_code}"
    assert MARK.encode() not in b"".join(answer.streaming_content if answer.streaming else [answer.content])


def counts(workspace: Any) -> str:
    """A picture of the secret workspace that any write would change."""
    sessions = list(Session.objects.filter(workspace=workspace).values("status", "last_seq", "archived_at", "title"))
    others = [
        list(workspace.agents.values("version", "archived_at")),
        list(workspace.environments.values("archived_at")),
        list(workspace.files.values("filename")),
        list(workspace.api_keys.values("name", "revoked_at")),
        list(Annotation.objects.filter(session__workspace=workspace).values("kind", "text")),
    ]
    return json.dumps([sessions, others], default=str)


def betas_for(path: str) -> dict[str, str]:
    if path.startswith("v1/memory_stores"):
        return {"anthropic-beta": "agent-memory-2026-07-22"}
    if path.startswith("v1/dreams"):
        return {"anthropic-beta": "dreaming-2026-04-21"}
    if path.startswith("v1/user_profiles"):
        return {"anthropic-beta": "user-profiles-2026-08-18"}
    return {}
