from __future__ import annotations

import pytest

from agents.providers.anthropic import AnthropicProvider
from agents.providers.base import ModelRequest
from tests.fakes import MessagesServer


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # whatever the machine's proxy settings are
    with MessagesServer() as running:
        yield running


@pytest.fixture
def provider(server):
    provider = AnthropicProvider(api_key="test-key", base_url=server.url)
    yield provider
    provider.close()


@pytest.fixture
def make_request():
    def make(text="Hello", **changes):
        given = {
            "model": "claude-opus-5-5",
            "system": "You help.",
            "messages": [{"role": "user", "content": text}],
            "seed": "sesn_1/sthr_1/1/1",
            **changes,
        }
        return ModelRequest(**given)

    return make
