"""Signing in with a password or by a link, and out again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from agents.models import SignInLink
from agents.services.setup import new_sign_in_link
from console.sign_in import PER_ACCOUNT_AND_ADDRESS, PER_ADDRESS
from tests.console.html import Page
from tests.factories import PASSWORD


@pytest.fixture(autouse=True)
def no_failures_yet():
    cache.clear()
    yield
    cache.clear()


def try_password(client, password, name="ana", **more):
    return client.post("/sign-in", {"username": name, "password": password, **more})


def is_signed_in(client):
    return "_auth_user_id" in client.session


class TestPassword:
    def test_the_right_one_opens_the_console(self, client, ana):
        answer = try_password(client, PASSWORD)
        assert answer.status_code == 302
        assert answer["Location"] == "/"
        assert is_signed_in(client)

    @pytest.mark.parametrize("name, password", [("ana", "wrong"), ("nobody", PASSWORD), ("nobody", "wrong")])
    def test_the_wrong_one_says_the_same_for_known_and_unknown_names(self, client, ana, name, password):
        answer = try_password(client, password, name)
        assert answer.status_code == 422
        assert "This name and password do not go together" in Page(answer).text
        assert not is_signed_in(client)

    def test_the_name_stays_and_the_password_goes(self, client, ana):
        shown = Page(try_password(client, "wrong"))
        assert shown.find_all("input", name="username", value="ana")
        assert not any(field.get("value") for field in shown.find_all("input", name="password"))

    def test_an_empty_form_names_what_is_missing(self, client, workspace):
        answer = client.post("/sign-in", {})
        assert answer.status_code == 422
        assert Page(answer).text.count("This field is required") == 2

    def test_somebody_deactivated_stays_outside(self, client, ana):
        ana.is_active = False
        ana.save()
        assert try_password(client, PASSWORD).status_code == 422

    def test_it_leads_back_to_where_one_wanted_to_go(self, client, ana):
        answer = client.get("/sessions?q=x")
        shown = Page(client.get(answer["Location"]))
        assert shown.find_all("input", type="hidden", name="next", value="/sessions?q=x")
        assert try_password(client, PASSWORD, next="/sessions?q=x")["Location"] == "/sessions?q=x"

    @pytest.mark.parametrize(
        "bad", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
    )
    def test_it_never_leads_elsewhere(self, client, ana, bad):
        assert try_password(client, PASSWORD, next=bad)["Location"] == "/"

    def test_the_key_of_the_browser_session_changes(self, client, ana):
        client.get("/sign-in")
        session = client.session
        session["planted"] = "by an attacker"
        session.save()
        client.cookies["sessionid"] = session.session_key
        try_password(client, PASSWORD)
        assert client.session.session_key != session.session_key
        assert "planted" not in client.session
        assert not client.session.exists(session.session_key)

    def test_who_is_in_already_goes_on(self, page):
        assert page.get("/sign-in")["Location"] == "/"


class TestGuessing:
    def test_it_is_stopped_after_some_failures_even_with_the_right_password(self, client, ana):
        for _ in range(PER_ACCOUNT_AND_ADDRESS):
            assert try_password(client, "wrong").status_code == 422
        answer = try_password(client, PASSWORD)
        assert answer.status_code == 429
        assert "Too many tries" in Page(answer).text
        assert not is_signed_in(client)

    def test_it_is_stopped_for_names_that_do_not_exist_too(self, client, workspace):
        for _ in range(PER_ACCOUNT_AND_ADDRESS):
            try_password(client, "wrong", "nobody")
        assert try_password(client, "wrong", "Nobody ").status_code == 429

    def test_somebody_elsewhere_is_not_locked_out(self, client, ana):
        for _ in range(PER_ACCOUNT_AND_ADDRESS):
            try_password(client, "wrong")
        other = Client(REMOTE_ADDR="192.0.2.7")
        assert try_password(other, PASSWORD).status_code == 302

    def test_one_address_cannot_try_many_names(self, client, ana):
        for n in range(PER_ADDRESS):
            try_password(client, "wrong", f"name{n}")
        assert try_password(client, PASSWORD).status_code == 429

    def test_a_success_forgets_the_failures(self, client, ana):
        for _ in range(PER_ACCOUNT_AND_ADDRESS - 1):
            try_password(client, "wrong")
        assert try_password(client, PASSWORD).status_code == 302
        client.logout()
        assert try_password(client, "wrong").status_code == 422


class TestLink:
    def test_looking_at_it_does_not_use_it_up(self, client, ana):
        path = new_sign_in_link(ana)
        for _ in range(3):
            answer = client.get(path)
            assert answer.status_code == 200
            assert "Sign in as ana" in Page(answer).text
        assert client.head(path).status_code == 200
        assert "Account" not in Page(answer).text
        assert not is_signed_in(client)
        assert client.post(path)["Location"] == "/"
        assert is_signed_in(client)

    def test_it_works_once(self, client, ana):
        path = new_sign_in_link(ana)
        client.post(path)
        second = Client()
        for answer in (second.get(path), second.post(path)):
            assert answer.status_code == 410
            assert "does not work any more" in Page(answer).text
        assert not is_signed_in(second)

    def test_it_works_for_a_day(self, client, ana):
        path = new_sign_in_link(ana)
        SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert client.get(path).status_code == 410
        assert client.post(path).status_code == 410

    def test_an_unknown_one_tells_nothing(self, client, workspace):
        unknown = client.get("/sign-in/link/guess")
        assert unknown.status_code == 410
        assert "Sign in as" not in Page(unknown).text

    def test_it_is_of_no_use_for_somebody_deactivated(self, client, ana):
        path = new_sign_in_link(ana)
        ana.is_active = False
        ana.save()
        assert client.post(path).status_code == 410

    def test_the_loser_of_a_race_gets_nothing(self, client, ana, monkeypatch):
        """Both have found the link usable; the row decides."""
        from console import sign_in

        path = new_sign_in_link(ana)
        found = sign_in.find_link(path.rsplit("/", 1)[1])
        client.post(path)
        monkeypatch.setattr(sign_in, "find_link", lambda token: found)
        second = Client()
        assert second.post(path).status_code == 410
        assert not is_signed_in(second)

    def test_it_is_kept_nowhere(self, client, ana):
        answer = client.get(new_sign_in_link(ana))
        assert "no-store" in answer["Cache-Control"]
        assert answer["Referrer-Policy"] == "same-origin"


class TestSignOut:
    def test_it_ends_the_browser_session(self, page):
        key = page.session.session_key
        assert page.post("/sign-out")["Location"] == "/sign-in"
        assert not is_signed_in(page)
        assert not page.session.exists(key)
        assert page.get("/").status_code == 302

    def test_it_says_so(self, page):
        assert "You are signed out" in Page(page.post("/sign-out", follow=True)).text


class TestTheme:
    def test_the_choice_is_remembered_for_every_page(self, page):
        answer = page.post("/theme", {"theme": "dark", "next": "/sessions"})
        assert answer["Location"] == "/sessions"
        assert Page(page.get("/sessions")).find_all("html", data_theme="dark")

    def test_system_is_no_theme_at_all(self, page):
        page.post("/theme", {"theme": "dark"})
        page.post("/theme", {"theme": ""})
        (html,) = Page(page.get("/")).find_all("html")
        assert "data-theme" not in html

    def test_visitors_have_it_too(self, client, workspace):
        client.post("/theme", {"theme": "light"})
        assert Page(client.get("/sign-in")).find_all("html", data_theme="light")

    def test_anything_else_is_refused(self, page):
        assert page.post("/theme", {"theme": '"><script>'}).status_code == 400
        page.cookies["theme"] = '"><script>'
        (html,) = Page(page.get("/")).find_all("html")
        assert "data-theme" not in html

    @pytest.mark.parametrize("bad", ["https://evil.example", "//evil.example"])
    def test_the_way_back_stays_here(self, page, bad):
        assert page.post("/theme", {"theme": "dark", "next": bad})["Location"] == "/"
