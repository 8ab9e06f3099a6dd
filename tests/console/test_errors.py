"""When something is wrong, a page says what and offers a way on. And every page carries its armour."""

from __future__ import annotations

import pytest
from django.conf import settings as django_settings
from django.template.loader import render_to_string

from tests import factories
from tests.console.html import Page

PUBLIC = ["/sign-in", "/sign-in/link/x", "/nowhere"]


def test_an_unknown_address_is_a_404_for_everybody(client, page):
    for browser in (client, page):
        answer = browser.get("/nowhere/at/all")
        assert answer.status_code == 404
        assert "There is nothing here" in Page(answer).text
        assert "/" in Page(answer).hrefs()


def test_a_bug_is_a_500_without_details(page, workspace, monkeypatch):
    from console.views import home

    def break_down(*args, **kwargs):
        raise RuntimeError("secret detail")

    page.raise_request_exception = False
    monkeypatch.setattr(home, "_days", break_down)
    answer = page.get("/")
    assert answer.status_code == 500
    assert "Something broke" in Page(answer).text
    assert "secret detail" not in answer.content.decode()


def test_the_page_for_a_bug_needs_nothing_that_may_be_broken():
    """No request, no person, no database."""
    assert "Something broke" in render_to_string("console/errors/broken.html")


def test_a_wrong_host_is_refused(client, db):
    assert client.get("/sign-in", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", PUBLIC)
def test_every_answer_carries_its_armour(client, workspace, path):
    answer = client.get(path)
    policy = answer["Content-Security-Policy"]
    for rule in ("default-src 'self'", "script-src 'self'", "frame-ancestors 'none'", "object-src 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.fixture
def pages(page, workspace):
    """The answers of every kind of page, with something in each."""
    session = factories.make_session(workspace, says="Go")
    event = factories.turn(session)[1]
    factories.ask(session)
    agent, environment = session.agent, session.environment
    return {
        path: page.get(path)
        for path in (
            *(
                "/",
                "/sessions",
                "/sessions/new",
                "/agents",
                "/agents/new",
                "/environments",
                "/environments/new",
                "/keys",
            ),
            *("/sessions?q=nothing", "/sessions?page=bad", "/nowhere"),
            f"/sessions/{session.public_id}",
            f"/sessions/{session.public_id}?events=all",
            f"/sessions/{session.public_id}/events/{event.public_id}",
            f"/agents/{agent.public_id}",
            f"/agents/{agent.public_id}/edit",
            f"/agents/{agent.public_id}/compare",
            f"/environments/{environment.public_id}",
        )
    }


def test_pages_are_well_formed_and_need_no_inline_style_or_script(pages):
    for path, answer in pages.items():
        shown = Page(answer)
        assert shown.problems == [], path
        assert shown.open == [], path
        for tag, attributes in shown.elements:
            assert "style" not in attributes, (path, tag)
            assert not any(name.startswith("on") for name in attributes), (path, tag)
            assert not any(name.startswith("hx-on") for name in attributes), (path, tag)
        for script in shown.find_all("script"):
            assert script.get("src", "").startswith("/static/"), path
        assert not shown.find_all("style"), path


def test_every_page_has_its_title_heading_and_skip_link(pages):
    titles = {}
    for path, answer in pages.items():
        shown = Page(answer)
        assert len(shown.find_all("h1")) == 1, path
        assert "#main" in shown.hrefs(), path
        assert shown.find_all("main", id="main"), path
        assert shown.find_all("div", id="announcer", aria_live="polite"), path
        title = answer.content.decode().split("<title>")[1].split("</title>")[0]
        assert title.endswith(" · Daybreak"), path
        titles.setdefault(title, []).append(path)


def test_ids_are_unique_and_what_refers_to_one_finds_it(pages):
    for path, answer in pages.items():
        shown = Page(answer)
        ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), (path, sorted(i for i in ids if ids.count(i) > 1))
        for _, attributes in shown.elements:
            for name in ("for", "aria-labelledby", "aria-describedby", "list", "data-opens"):
                for wanted in attributes.get(name, "").split():
                    assert wanted in ids, (path, name, wanted)


def test_every_field_has_a_label(pages):
    for path, answer in pages.items():
        shown = Page(answer)
        labelled = {label["for"] for label in shown.find_all("label") if "for" in label}
        for tag in ("input", "select", "textarea"):
            for field in shown.find_all(tag):
                if field.get("type") not in ("hidden", "checkbox"):
                    assert field.get("id") in labelled, (path, field)


def test_links_are_relative_to_the_site(pages):
    for path, answer in pages.items():
        for href in Page(answer).hrefs():
            assert href.startswith(("/", "?", "#")), (path, href)


def test_htmx_is_configured_for_a_strict_policy(page):
    (meta,) = Page(page.get("/")).find_all("meta", name="htmx-config")
    for setting in (
        '"allowEval":false',
        '"includeIndicatorStyles":false',
        '"historyCacheSize":0',
        '"selfRequestsOnly":true',
    ):
        assert setting in meta["content"]


def test_cookies_cannot_be_read_or_sent_from_elsewhere(client, ana):
    answer = client.post("/sign-in", {"username": "ana", "password": factories.PASSWORD})
    cookie = answer.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert django_settings.SESSION_COOKIE_SECURE == django_settings.HTTPS
