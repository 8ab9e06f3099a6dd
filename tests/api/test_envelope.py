"""What every call has in common: keys, beta headers, error bodies, sizes, retries, metadata."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import anthropic
import httpx2
import pytest
from django.urls import get_resolver

from agents.api import http
from agents.models import ApiKey, Environment
from agents.services import keys

MANAGED_AGENTS = "managed-agents-2026-04-01"
AGENT_MEMORY = "agent-memory-2026-07-22"
DREAMING = "dreaming-2026-04-21"


def assert_error(response: httpx2.Response, status: int, kind: str) -> dict[str, Any]:
    """The contract's error body, with the id of the header."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["error"]["message"]
    assert body["request_id"] == response.headers["request-id"]
    assert response.headers["content-type"] == "application/json"
    return body["error"]


@pytest.mark.conformance(1)
def test_every_answer_has_a_request_id(client, raw):
    agent = client.beta.agents.create(name="Ada", model="simulated/default")
    assert agent._request_id.startswith("req_")
    with pytest.raises(anthropic.NotFoundError) as refused:
        client.beta.agents.retrieve("agent_none")
    assert refused.value.request_id.startswith("req_")
    for method, path in (("GET", "/v1/nothing"), ("PUT", "/v1/agents"), ("GET", "/v1/vaults")):
        assert raw.request(method, path).headers["request-id"].startswith("req_")


@pytest.mark.conformance(2)
@pytest.mark.parametrize(
    "method, path, status, kind",
    [
        ("GET", "/v1/agents/agent_none", 404, "not_found_error"),
        ("GET", "/v1/nothing", 404, "not_found_error"),
        ("GET", "/v1/agents/", 404, "not_found_error"),
        ("GET", "/v1/agents/agent_%00", 404, "not_found_error"),
        ("PUT", "/v1/agents", 405, "invalid_request_error"),
        ("OPTIONS", "/v1/agents", 405, "invalid_request_error"),
        ("GET", "/v1/agents?limit=x", 400, "invalid_request_error"),
        ("GET", "/v1/agents?page=%00", 400, "invalid_request_error"),
        ("GET", "/v1/agents?limit=" + "9" * 5000, 400, "invalid_request_error"),
        ("GET", "/v1/agents?" + "&".join(f"a{i}" for i in range(1200)), 400, "invalid_request_error"),
        ("GET", "/v1/vaults", 501, "api_error"),
    ],
)
def test_error_bodies_have_the_contracts_shape(raw, method, path, status, kind):
    assert_error(raw.request(method, path), status, kind)


def test_a_405_says_what_is_possible(raw):
    response = raw.delete("/v1/agents")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.conformance(3)
def test_a_bad_key_is_an_authentication_error(client_for, workspace):
    client = client_for(workspace, api_key="dbk_wrong")
    with pytest.raises(anthropic.AuthenticationError) as refused:
        client.beta.agents.list()
    assert refused.value.type == "authentication_error"


def test_no_key_a_cookie_and_a_revoked_key_open_nothing(server, workspace, admin_cookies):
    key, text = keys.create_api_key(workspace, name="Old")
    headers = {"anthropic-beta": MANAGED_AGENTS}
    with httpx2.Client(base_url=server, headers=headers) as http_client:
        assert http_client.get("/v1/agents", headers={"x-api-key": text}).status_code == 200
        keys.revoke_api_key(key)
        assert_error(http_client.get("/v1/agents", headers={"x-api-key": text}), 401, "authentication_error")
        assert_error(http_client.get("/v1/agents"), 401, "authentication_error")
        assert_error(http_client.get("/v1/agents", headers=admin_cookies), 401, "authentication_error")
        assert_error(http_client.get("/v1/nothing"), 401, "authentication_error")


@pytest.fixture
def admin_cookies(committed_db: None) -> dict[str, str]:
    """The cookies of a signed-in administrator."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    browser = Client()
    browser.force_login(get_user_model().objects.create_superuser("root", password="long-enough-1"))
    return {"cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())}


def test_an_expired_key_opens_nothing(server, workspace):
    key, text = keys.create_api_key(workspace, name="Brief")
    ApiKey.objects.filter(pk=key.pk).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    response = httpx2.get(f"{server}/v1/agents", headers={"x-api-key": text})
    assert_error(response, 401, "authentication_error")


def test_both_key_headers_work_and_no_cookie_is_set(server, workspace):
    _, text = keys.create_api_key(workspace, name="Both")
    for header in ({"x-api-key": text}, {"authorization": f"Bearer {text}"}, {"authorization": f"bearer {text}"}):
        response = httpx2.get(f"{server}/v1/agents", headers={**header, "anthropic-beta": MANAGED_AGENTS})
        assert response.status_code == 200, header
        assert "set-cookie" not in response.headers
        assert response.headers["anthropic-workspace-id"] == workspace.public_id


def test_the_last_use_of_a_key_is_written_at_most_once_a_minute(raw, workspace):
    raw.get("/v1/agents")
    first = workspace.api_keys.get().last_used_at
    assert first is not None
    raw.get("/v1/agents")
    assert workspace.api_keys.get().last_used_at == first
    long_ago = first - 2 * http.KEY_TOUCH_INTERVAL
    workspace.api_keys.update(last_used_at=long_ago)
    raw.get("/v1/agents")
    assert workspace.api_keys.get().last_used_at > long_ago


def test_a_workspace_header_must_name_the_keys_own(raw, workspace, other_workspace):
    same = raw.get("/v1/agents", headers={"anthropic-workspace-id": workspace.public_id})
    assert same.status_code == 200
    for wrong in (other_workspace.public_id, "wrkspc_none"):
        response = raw.get("/v1/agents", headers={"anthropic-workspace-id": wrong})
        assert_error(response, 403, "permission_error")


@pytest.mark.conformance(4)
def test_unknown_ids_are_not_found(client):
    beta = client.beta
    calls: list[Callable[[], Any]] = [
        lambda: beta.agents.retrieve("agent_none"),
        lambda: beta.agents.update("agent_none", name="x"),
        lambda: beta.agents.archive("agent_none"),
        lambda: beta.agents.versions.list("agent_none"),
        lambda: beta.environments.retrieve("env_none"),
        lambda: beta.environments.update("env_none", name="x"),
        lambda: beta.environments.archive("env_none"),
        lambda: beta.environments.delete("env_none"),
        lambda: beta.files.retrieve_metadata("file_none"),
        lambda: beta.files.download("file_none"),
        lambda: beta.files.delete("file_none"),
        lambda: beta.models.retrieve("no-such-model"),
        lambda: beta.sessions.retrieve("sesn_none"),
        lambda: beta.sessions.events.list("sesn_none"),
        lambda: beta.sessions.threads.retrieve("sthr_none", session_id="sesn_none"),
        lambda: beta.sessions.resources.retrieve("sesrsc_none", session_id="sesn_none"),
    ]
    for call in calls:
        with pytest.raises(anthropic.NotFoundError):
            call()


@pytest.mark.conformance(4)
def test_ids_of_another_workspace_are_not_found(client_for, client, other_workspace):
    elsewhere = client_for(other_workspace).beta
    agent = elsewhere.agents.create(name="Theirs", model="simulated/default")
    environment = elsewhere.environments.create(name="Theirs")
    file = elsewhere.files.upload(file=("a.txt", b"secret"))
    for call in (
        lambda: client.beta.agents.retrieve(agent.id),
        lambda: client.beta.agents.update(agent.id, name="Mine"),
        lambda: client.beta.agents.archive(agent.id),
        lambda: client.beta.environments.retrieve(environment.id),
        lambda: client.beta.environments.update(environment.id, name="Mine"),
        lambda: client.beta.environments.delete(environment.id),
        lambda: client.beta.files.retrieve_metadata(file.id),
        lambda: client.beta.files.delete(file.id),
    ):
        with pytest.raises(anthropic.NotFoundError):
            call()
    assert client.beta.agents.list().data == []
    assert client.beta.environments.list().data == []
    assert client.beta.files.list(ids=[file.id]).data == []
    assert elsewhere.agents.retrieve(agent.id).name == "Theirs"
    assert elsewhere.files.retrieve_metadata(file.id).filename == "a.txt"


def v1_routes() -> Iterator[tuple[str, str, str]]:
    """Method, a concrete path, and the pattern of every endpoint in the URL table."""
    v1 = next(entry for entry in get_resolver().url_patterns if str(entry.pattern) == "v1/")
    for entry in v1.url_patterns:
        pattern = str(entry.pattern)
        concrete = "/".join("some_id" if part.startswith("<") else part for part in pattern.split("/"))
        for method in entry.callback.handlers:
            yield method, f"/v1/{concrete}", pattern


@pytest.mark.conformance(3)
def test_every_route_of_the_url_table_asks_for_a_key(server):
    routes = list(v1_routes())
    assert len(routes) > 30
    with httpx2.Client(base_url=server, headers={"anthropic-beta": MANAGED_AGENTS}) as stranger:
        for method, path, _ in routes:
            assert stranger.request(method, path).status_code == 401, (method, path)


@pytest.mark.conformance(5)
def test_any_api_version_and_a_beta_query_are_fine(raw, client):
    for version in ("2026-10-21", "2023-06-01"):
        headers = {"anthropic-version": version}
        assert raw.get("/v1/agents", headers=headers).status_code == 200
        assert raw.get("/v1/agents?beta=true", headers=headers).status_code == 200
    client.beta.agents.list(extra_query={"beta": "true"})


@pytest.mark.conformance(6)
def test_without_its_beta_header_an_endpoint_does_not_exist(raw):
    for path in ("agents", "environments", "sessions", "sessions/sesn_x/events", "vaults", "memory_stores", "dreams"):
        response = raw.get(f"/v1/{path}", headers={"anthropic-beta": ""})
        assert_error(response, 404, "not_found_error")
    for path in ("files", "models", "skills"):
        assert raw.get(f"/v1/{path}", headers={"anthropic-beta": ""}).status_code != 404


@pytest.mark.conformance(7)
def test_an_unknown_beta_value_is_named(raw, client):
    response = raw.get("/v1/agents", headers={"anthropic-beta": f"{MANAGED_AGENTS},made-up-2020-01-01"})
    assert "made-up-2020-01-01" in assert_error(response, 400, "invalid_request_error")["message"]
    with pytest.raises(anthropic.BadRequestError, match="nonsense-1"):
        client.beta.agents.list(betas=["nonsense-1"])


def test_known_betas_of_other_features_are_accepted(raw, client):
    for value in ("files-api-2025-04-14", "daybreak-2026-11-22"):
        assert client.beta.agents.list(betas=[value]).data == []
        assert raw.get("/v1/files", headers={"anthropic-beta": value}).status_code == 200


@pytest.mark.conformance(8)
def test_memory_stores_take_either_beta_value_but_not_both(raw):
    # 501 says that the request got past the header check; the endpoint itself comes later.
    for value in (AGENT_MEMORY, MANAGED_AGENTS):
        assert raw.get("/v1/memory_stores", headers={"anthropic-beta": value}).status_code == 501
    both = raw.get("/v1/memory_stores", headers={"anthropic-beta": f"{AGENT_MEMORY}, {MANAGED_AGENTS}"})
    assert_error(both, 400, "invalid_request_error")


@pytest.mark.conformance(9)
def test_dreams_need_their_own_beta_value(raw):
    assert_error(raw.get("/v1/dreams", headers={"anthropic-beta": MANAGED_AGENTS}), 404, "not_found_error")
    for value in (DREAMING, f"{DREAMING},{MANAGED_AGENTS}"):
        assert raw.get("/v1/dreams", headers={"anthropic-beta": value}).status_code == 501


@pytest.mark.conformance(10)
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"name": "a", "name": "b", "model": "m"}',
        b'{"name": "a\\u0000b", "model": "m"}',
        b'{"name": "\\ud800", "model": "m"}',
        b'{"name": "a", "model": "m", "metadata": {"k\\u0000": "v"}}',
        b'{"name": NaN, "model": "m"}',
        b'{"name": "a", "model": "m", "version": 1e999}',
        b'{"name": "a", "model": "m", "metadata": ' + b'{"a":' * 80 + b"1" + b"}" * 80 + b"}",
        b"[" * 100_000,
        b'{"name": "a", "model": "m", "version": ' + b"9" * 5000 + b"}",
        b"",
    ],
)
def test_malformed_bodies_are_400_and_leave_nothing(raw, body, workspace):
    assert_error(raw.post("/v1/agents", content=body), 400, "invalid_request_error")
    assert workspace.agents.count() == 0


BIG_NAME = b'{"model": "m", "name": "' + b"a" * (33 * 1024 * 1024) + b'"}'


@pytest.mark.conformance(10)
def test_a_body_over_32_mb_is_413(raw):
    assert_error(raw.post("/v1/agents", content=BIG_NAME), 413, "request_too_large")


@pytest.mark.conformance(10)
def test_a_chunked_body_over_32_mb_is_413(raw):
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(BIG_NAME), 1 << 20):
            yield BIG_NAME[start : start + (1 << 20)]

    assert_error(raw.post("/v1/agents", content=chunks()), 413, "request_too_large")


def test_a_chunked_body_is_read_like_any_other(raw):
    body = json.dumps({"name": "Chunked", "model": "simulated/default"}).encode()
    response = raw.post("/v1/agents", content=iter([body[:10], body[10:]]))
    assert response.status_code == 200
    assert response.json()["name"] == "Chunked"


def test_the_checks_come_in_a_fixed_order(raw, server):
    """Authentication, beta, body size, route, schema."""
    wrong_everything = {"anthropic-beta": "made-up", "content-type": "application/json"}
    response = httpx2.post(f"{server}/v1/agents", headers=wrong_everything, content=BIG_NAME)
    assert response.status_code == 401
    assert raw.post("/v1/agents", headers={"anthropic-beta": "made-up"}, content=BIG_NAME).status_code == 400
    assert raw.post("/v1/agents", headers={"anthropic-beta": ""}, content=BIG_NAME).status_code == 404
    assert raw.post("/v1/nothing", content=BIG_NAME).status_code == 413
    assert raw.post("/v1/nothing", content=b"{").status_code == 404


@pytest.mark.conformance(11)
def test_metadata_limits(client):
    def create(metadata: dict[str, str]) -> Any:
        return client.beta.agents.create(name="A", model="simulated/default", metadata=metadata)

    full = {f"{i:064d}": "v" * 512 for i in range(16)}
    agent = create(full)
    assert agent.metadata == full
    for bad in ({f"k{i}": "v" for i in range(17)}, {"k" * 65: "v"}, {"": "v"}, {"k": "v" * 513}):
        with pytest.raises(anthropic.BadRequestError) as refused:
            create(bad)
        assert refused.value.error_code == "invalid_metadata"
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.update(agent.id, metadata={"one more": "v"})


@pytest.mark.conformance(11)
def test_metadata_updates_are_patches(client):
    agent = client.beta.agents.create(name="A", model="simulated/default", metadata={"keep": "1", "drop": "2"})
    agent = client.beta.agents.update(agent.id, metadata={"drop": None, "new": "3", "absent": None})
    assert agent.metadata == {"keep": "1", "new": "3"}
    assert client.beta.agents.update(agent.id, name="B").metadata == {"keep": "1", "new": "3"}


class Counter(BaseHTTPRequestHandler):
    """Passes every request on and counts it."""

    target = ""
    count = 0

    def do_POST(self) -> None:
        type(self).count += 1
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "content-length"}}
        answer = httpx2.post(self.target + self.path, headers=headers, content=body)
        self.send_response(answer.status_code)
        for name in ("content-type", "content-length", "request-id", "x-should-retry"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def counting_proxy(server: str) -> Iterator[type[Counter]]:
    class Counting(Counter):
        target = server

    listener = HTTPServer(("127.0.0.1", 0), Counting)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Counting.url = f"http://127.0.0.1:{listener.server_port}"
    yield Counting
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.mark.conformance(16)
def test_a_conflict_costs_the_sdk_one_request(counting_proxy, client_for, workspace, client):
    agent = client.beta.agents.create(name="A", model="simulated/default")
    through = client_for(workspace, base_url=counting_proxy.url)
    with pytest.raises(anthropic.ConflictError) as refused:
        through.beta.agents.update(agent.id, version=7, name="B")
    assert refused.value.type == "conflict_error"
    assert counting_proxy.count == 1


@pytest.mark.conformance(16)
def test_what_is_not_built_costs_the_sdk_one_request(counting_proxy, client_for, workspace):
    through = client_for(workspace, base_url=counting_proxy.url)
    with pytest.raises(anthropic.HTTPNotImplementedError, match="Vaults"):
        through.beta.vaults.create(display_name="V")
    assert counting_proxy.count == 1


def test_an_unexpected_error_shows_nothing_of_itself(raw, monkeypatch, caplog):
    def explode(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("agents.services.agents.get_agent", explode)
    response = raw.get("/v1/agents/agent_x")
    error = assert_error(response, 500, "api_error")
    assert "secret" not in response.text
    assert "request id" in error["message"]
    record = next(r for r in caplog.records if r.name == "agents.api.http")
    assert response.headers["request-id"] in record.getMessage()


def test_an_unreachable_database_is_a_503(raw, monkeypatch, caplog):
    from django.db import OperationalError

    def gone(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused by 10.0.0.1")

    monkeypatch.setattr(Environment.objects, "in_workspace", gone)
    response = raw.get("/v1/environments")
    assert_error(response, 503, "overloaded_error")
    assert "10.0.0.1" not in response.text


def test_every_unbuilt_family_names_itself(raw_for, workspace):
    cases = {
        "/v1/environments/env_x/work/poll": (MANAGED_AGENTS, "work queue"),
        "/v1/vaults/vlt_x/credentials": (MANAGED_AGENTS, "Vaults"),
        "/v1/deployments": (MANAGED_AGENTS, "Deployments"),
        "/v1/deployment_runs": (MANAGED_AGENTS, "Deployment runs"),
        "/v1/memory_stores/m/memories": (AGENT_MEMORY, "Memory stores"),
        "/v1/dreams": (DREAMING, "Dreams"),
        "/v1/skills": ("", "Skills"),
        "/v1/user_profiles": ("user-profiles-2026-08-18", "User profiles"),
        "/v1/messages": ("", "Messages API"),
    }
    for path, (beta, feature) in cases.items():
        response = raw_for(workspace, **{"anthropic-beta": beta}).get(path)
        error = assert_error(response, 501, "api_error")
        assert feature in error["message"]
        assert error["details"]["error_code"] == "not_implemented"
