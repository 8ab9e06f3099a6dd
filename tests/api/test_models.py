"""`/v1/models`."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types import ModelInfo
from anthropic.types.beta import BetaModelInfo

from agents.providers import catalog
from tests.api.strict import check


def test_the_list_is_the_catalogue(client, raw):
    body = raw.get("/v1/models?limit=1000", headers={"anthropic-beta": ""}).json()
    assert set(body) == {"data", "has_more", "first_id", "last_id"}
    for model in body["data"]:
        check(BetaModelInfo, model)
        check(ModelInfo, model)
    ids = [model.id for model in catalog.list_models()]
    assert [model["id"] for model in body["data"]] == ids
    assert "simulated/default" in ids
    assert [model.id for model in client.models.list()] == ids


def test_vendor_models_are_listed_only_with_a_key(client, monkeypatch):
    without = {model.id for model in client.models.list()}
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    added = {model.id for model in client.models.list()} - without
    assert added and not any(model_id.startswith("simulated/") for model_id in added)


def test_both_clients_page_forwards_and_backwards(client, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    ids = [model.id for model in catalog.list_models()]
    assert len(ids) > 5
    for models in (client.models, client.beta.models):
        assert [model.id for model in models.list(limit=2)] == ids
        back = models.list(limit=2, before_id=ids[4])
        assert [model.id for model in back.data] == ids[2:4]
        assert back.has_more is True
        assert models.list(limit=2, before_id=ids[1]).has_more is False
        assert models.list(limit=2, after_id=ids[-1]).data == []


def test_one_model(client):
    for model_id in ("simulated/default", *(model.id for model in catalog.list_models())):
        assert client.models.retrieve(model_id).id == model_id
        assert client.beta.models.retrieve(model_id).display_name
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("acme/none")


def test_bad_queries_are_refused(client, raw):
    for query in ("limit=0", "limit=1001", "after_id=none", "before_id=none", "lifecycle[]=odd"):
        assert raw.get(f"/v1/models?{query}").status_code == 400, query
    both = {"after_id": "simulated/default", "before_id": "simulated/default"}
    assert raw.get("/v1/models", params=both).status_code == 400


def test_lifecycle_filters(client):
    assert client.beta.models.list(lifecycle=["retired"]).data == []
    assert client.beta.models.list(lifecycle=["active", "retired"]).data
