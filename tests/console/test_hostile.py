"""Every field that somebody else may fill holds an attack; every page that shows it stays a page."""

from __future__ import annotations

import re

import pytest

from agents.ids import EVENT, new_id
from agents.models import Agent, Annotation, Environment, File, Session, Thread
from agents.services import agents as agent_services
from agents.services import blobs
from agents.services.keys import create_api_key
from tests import factories
from tests.console.hostile import PAYLOADS, hostile_events
from tests.console.html import Page

EVERYTHING = "\n".join(PAYLOADS)
# What is edited must come back exactly as it was: a field holds the text itself, which nothing in it can leave.
FIELDS = re.compile(r"<textarea.*?</textarea>|<input[^>]*>", re.DOTALL)
NEVER = {"iframe", "object", "embed", "base", "style", "math", "template", "xmp", "foreignobject"}


@pytest.fixture
def hostile(page, workspace):
    """A workspace in which every text of others is an attack, and the addresses of all pages that show it."""
    payload = EVERYTHING
    name = " ".join(PAYLOADS)[:250]
    agent = factories.make_agent(workspace, name=name, description=payload[:2000], system=payload)
    agent_services.update_agent(agent, changes={"system": payload + "\nmore", "description": "x" + payload[:2000]})
    environment = factories.make_environment(workspace, name=name, description=payload[:2000])
    create_api_key(workspace, name=name[:200], by=None)
    session = factories.make_session(workspace, agent=agent, title=payload)
    hostile_events(session, payload)
    event = session.events.get(type="agent.message")
    factories.ask(session, name[:200], {"command": payload})
    Session.objects.filter(pk=session.pk).update(
        metadata={payload: payload}, external_id=name, environment=environment, imported_format=""
    )
    Thread.objects.create(session=session, parent=session.primary_thread, agent_name=name, agent_snapshot={}, ordinal=1)
    Annotation.objects.create(
        session=session, event=event, kind="failure", category=name[:100], text=payload, author_name=name[:200]
    )
    for kind in (File.Kind.OUTPUT, File.Kind.MOUNT):
        File.objects.create(
            workspace=workspace,
            session=session,
            kind=kind,
            filename=name,
            mime_type="text/html",
            size_bytes=1,
            sha256=blobs.store_bytes(b"x"),
            path=name,
        )
    session.resources.create(file=session.files.get(kind=File.Kind.MOUNT), mount_path=name)
    base = f"/sessions/{session.public_id}"
    return [
        *("/", "/sessions", "/sessions/new", "/agents", "/environments", "/keys", f"{base}", f"{base}?events=all"),
        *(f"{base}/events/{public_id}" for public_id in session.events.values_list("public_id", flat=True)),
        f"/agents/{agent.public_id}",
        f"/agents/{agent.public_id}/edit",
        f"/agents/{agent.public_id}/compare",
        f"/environments/{environment.public_id}",
    ]


def test_no_page_of_a_hostile_workspace_holds_anything_that_acts(page, hostile):
    for path in hostile:
        for headers in ({}, {"HX-Request": "true"}):
            answer = page.get(path, headers=headers)
            assert answer.status_code == 200, path
            check(answer, path)


def check(answer, path):
    shown = Page(answer)
    for tag, attributes in shown.elements:
        assert tag not in NEVER, (path, tag)
        if tag == "script":
            assert attributes.get("src", "").startswith("/static/"), path
        if tag in ("img", "link"):
            ours = ("/static/", "data:image/") if attributes.get("as") != "fetch" else ("/sessions/sesn_",)
            assert attributes.get("src", attributes.get("href", "/")).startswith(ours), path
        for name, value in attributes.items():
            assert not name.startswith(("on", "hx-on", "data-hx")), (path, tag, name)
            assert name != "style", (path, tag)
            if name in ("href", "action", "src", "hx-get", "hx-post", "formaction"):
                assert not value.lower().strip().startswith(("javascript:", "vbscript:", "data:text")), (path, value)
            if name.startswith("hx-") and name in ("hx-get", "hx-post"):
                assert value.startswith(("/sessions", "/agents")), (path, value)
    assert shown.problems == [], path
    body = FIELDS.sub("", shown.source)
    assert "window.pwned=1</script>" not in body, path
    for sign in ("\u202e", "\u2066", "\u200f", "\x1b", "\x9b", "\x07", "\U000e0041"):
        assert sign not in body, (path, hex(ord(sign)))
    leading_away = [href for href in shown.hrefs() if href.startswith("//") or not href.startswith(("/", "?", "#"))]
    assert "beacon.example" not in " ".join(leading_away), path


@pytest.mark.parametrize("payload", PAYLOADS)
def test_each_attack_alone_is_shown_as_text(page, workspace, payload):
    """Alone, so that none hides behind another; the reader still sees what was written."""
    session = factories.make_session(workspace, title=payload)
    event = factories.write_one(session, "agent.tool_result", {"tool_use_id": "", "content": factories.text(payload)})
    for path in (f"/sessions/{session.public_id}", f"/sessions/{session.public_id}/events/{event.public_id}"):
        answer = page.get(path)
        check(answer, path)
    if payload.isprintable() and payload.isascii() and "&" not in payload:
        assert " ".join(payload.split()) in Page(answer).text


def test_error_messages_of_services_are_text_too(page, workspace):
    answer = page.post("/environments/new", {"name": PAYLOADS[0], "network": "limited"})
    answer = page.post("/environments/new", {"name": PAYLOADS[0], "network": "limited"})
    assert answer.status_code == 422
    check(answer, "/environments/new")


def test_a_search_text_comes_back_as_text(page, workspace):
    factories.make_session(workspace)
    for payload in PAYLOADS:
        check(page.get("/sessions", {"q": payload}), payload)
        check(page.get("/agents", {"q": payload}), payload)


def test_ids_are_made_by_us_alone():
    """Addresses and element ids are built from public ids, so those must hold nothing but letters and digits."""
    assert new_id(EVENT).replace("_", "").isalnum()
    assert Agent._meta.get_field("public_id").unique
    assert Environment._meta.get_field("public_id").unique
