"""API keys: made once, shown once, revoked for good."""

from __future__ import annotations

import pytest

from agents.models import ApiKey
from agents.services.keys import create_api_key, revoke_api_key
from tests.console.html import Page


def test_without_keys_the_page_says_how_to_begin(page):
    shown = Page(page.get("/keys"))
    assert "Without a key no program can reach this workspace" in shown.text
    assert "client.beta.agents.create" in shown.text


def test_a_new_key_is_shown_once_and_kept_nowhere(page, workspace):
    answer = page.post("/keys", {"name": "nightly job"})
    assert answer.status_code == 201
    shown = Page(answer)
    text = shown.find_all("copy-text")[0]["value"]
    key = ApiKey.objects.get()
    assert ApiKey.objects.find(text) == key
    assert (key.name, key.created_by.username, key.workspace) == ("nightly job", "ana", workspace)
    assert answer["Cache-Control"] == "private, no-store"
    again = Page(page.get("/keys"))
    assert text not in again.source
    assert "nightly job" in again.text
    assert key.prefix in again.text


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_key_needs_a_name(page, name):
    answer = page.post("/keys", {"name": name})
    assert answer.status_code == 422
    assert not ApiKey.objects.exists()


def test_revoking_asks_first_and_is_final(page, workspace):
    key, text = create_api_key(workspace, name="laptop", by=None)
    shown = Page(page.get("/keys"))
    assert shown.find_all("dialog", id=f"revoke-{key.public_id}")
    assert "Revoke “laptop”?" in shown.text
    answer = page.post(f"/keys/{key.public_id}/revoke", follow=True)
    assert "The key “laptop” is revoked" in Page(answer).text
    assert ApiKey.objects.find(text) is None
    assert "1 revoked key" in Page(page.get("/keys")).text


def test_when_it_was_used_is_shown(page, workspace):
    create_api_key(workspace, name="idle", by=None)
    assert "idle dbk_" in Page(page.get("/keys")).text
    assert "never" in Page(page.get("/keys")).text


def test_keys_of_another_workspace_are_out_of_reach(page, elsewhere):
    key, text = create_api_key(elsewhere, name="foreign", by=None)
    assert "foreign" not in Page(page.get("/keys")).text
    assert page.post(f"/keys/{key.public_id}/revoke").status_code == 404
    assert ApiKey.objects.find(text) == key


@pytest.mark.parametrize("n", [1, 20])
def test_it_takes_the_same_queries_however_many_there_are(page, workspace, ana, django_assert_num_queries, n):
    for number in range(n):
        key, _ = create_api_key(workspace, name=f"key {number}", by=ana)
        if number % 2:
            revoke_api_key(key)
    with django_assert_num_queries(4):
        assert page.get("/keys").status_code == 200
