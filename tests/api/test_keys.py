"""The rules of API keys."""

from __future__ import annotations

import pytest

from agents.errors import Invalid
from agents.models import ApiKey
from agents.services import keys


def test_the_text_of_a_key_is_stored_nowhere(workspace):
    key, text = keys.create_api_key(workspace, name="  CI  ")
    assert ApiKey.objects.find(text) == key
    assert key.name == "CI"
    stored = " ".join(str(value) for value in ApiKey.objects.filter(pk=key.pk).values().get().values())
    assert text not in stored
    assert text.startswith(key.prefix)
    assert keys.create_api_key(workspace, name="CI")[1] != text


def test_a_given_text_becomes_the_key_once(workspace, other_workspace):
    key, text = keys.create_api_key(workspace, name="Given", text="chosen-by-an-operator")
    assert text == "chosen-by-an-operator"
    assert ApiKey.objects.find(text) == key
    with pytest.raises(Invalid, match="in use"):
        keys.create_api_key(other_workspace, name="Again", text=text)


@pytest.mark.parametrize("name, text", [("", None), ("  ", None), ("n" * 201, None), ("Short", "too-short")])
def test_bad_names_and_texts_are_refused(workspace, name, text):
    with pytest.raises(Invalid):
        keys.create_api_key(workspace, name=name, text=text)
    assert ApiKey.objects.count() == 0


def test_revoking_twice_keeps_the_first_moment(workspace):
    key, text = keys.create_api_key(workspace, name="Old")
    first = keys.revoke_api_key(key).revoked_at
    assert first is not None
    assert ApiKey.objects.find(text) is None
    assert keys.revoke_api_key(key).revoked_at == first
