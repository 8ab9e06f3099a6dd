"""`/v1/environments`."""

from __future__ import annotations

import threading
from typing import Any

import anthropic
import pytest
from anthropic.types.beta import BetaEnvironment
from anthropic.types.beta.beta_environment_archived_error import BetaEnvironmentArchivedError
from anthropic.types.beta.beta_environment_not_found_error import BetaEnvironmentNotFoundError

from agents.errors import Conflict
from agents.models import Environment
from agents.services import agents, environments
from tests.api.strict import check

PACKAGES = {"type": "packages", "apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []}


def raw_environment(raw: Any, environment_id: str) -> dict[str, Any]:
    body = raw.get(f"/v1/environments/{environment_id}").json()
    check(BetaEnvironment, body)
    return body


@pytest.mark.conformance(30)
def test_create_defaults_to_an_unrestricted_cloud(client, raw):
    environment = client.beta.environments.create(name="Plain")
    body = raw_environment(raw, environment.id)
    assert body["created_at"] == body["updated_at"] and body["created_at"].endswith("Z")
    assert body == {
        "id": environment.id,
        "type": "environment",
        "name": "Plain",
        "description": None,
        "scope": "organization",
        "config": {"type": "cloud", "networking": {"type": "unrestricted"}, "packages": PACKAGES},
        "metadata": {},
        "created_at": body["created_at"],
        "updated_at": body["created_at"],
        "archived_at": None,
    }


@pytest.mark.conformance(30)
def test_limited_networking_defaults_to_nothing_allowed(client, raw):
    config = {"type": "cloud", "networking": {"type": "limited"}}
    environment = client.beta.environments.create(name="Limited", config=config)
    assert raw_environment(raw, environment.id)["config"]["networking"] == {
        "type": "limited",
        "allowed_hosts": [],
        "allow_mcp_servers": False,
        "allow_package_managers": False,
    }


@pytest.mark.conformance(30)
@pytest.mark.parametrize(
    "config", [None, {"type": "cloud"}, {"type": "cloud", "networking": None, "packages": {"pip": None}}]
)
def test_null_parts_of_a_config_mean_the_default(client, config):
    environment = client.beta.environments.create(name="Plain", config=config)
    assert environment.config.networking.type == "unrestricted"
    assert environment.config.packages.to_dict() == PACKAGES


@pytest.mark.conformance(31)
def test_the_config_type_cannot_change(client):
    environment = client.beta.environments.create(name="Cloud")
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.beta.environments.update(environment.id, config={"type": "self_hosted"})
    assert refused.value.error_code == "invalid_config_type_change"
    assert client.beta.environments.retrieve(environment.id).config.type == "cloud"


@pytest.mark.conformance(32)
def test_an_archived_environment_cannot_change(client):
    environment = client.beta.environments.create(name="Old")
    archived = client.beta.environments.archive(environment.id)
    assert archived.archived_at is not None
    assert client.beta.environments.archive(environment.id).archived_at == archived.archived_at
    with pytest.raises(BetaEnvironmentArchivedError):
        client.beta.environments.update(environment.id, name="New")
    assert client.beta.environments.list().data == []
    assert [e.id for e in client.beta.environments.list(include_archived=True)] == [environment.id]
    assert client.beta.environments.retrieve(environment.id).name == "Old"


@pytest.mark.conformance(33)
def test_an_environment_in_use_cannot_be_deleted(client, workspace):
    used = client.beta.environments.create(name="Used")
    unused = client.beta.environments.create(name="Unused")
    agent = agents.create_agent(workspace, definition={"name": "Ada", "model": "simulated/default"})
    session = client.beta.sessions.create(agent=agent.public_id, environment_id=used.id)
    with pytest.raises(anthropic.BadRequestError, match="Archive it instead"):
        client.beta.environments.delete(used.id)
    deleted = client.beta.environments.delete(unused.id)
    assert (deleted.id, deleted.type) == (unused.id, "environment_deleted")
    with pytest.raises(anthropic.NotFoundError):
        client.beta.environments.retrieve(unused.id)
    client.beta.sessions.delete(session.id)
    assert client.beta.environments.delete(used.id).type == "environment_deleted"


def test_a_missing_environment_has_its_own_error_class(client):
    with pytest.raises(BetaEnvironmentNotFoundError):
        client.beta.environments.retrieve("env_none")


@pytest.mark.conformance(34)
def test_packages_need_a_way_to_their_registries(client):
    limited = {"type": "cloud", "networking": {"type": "limited"}, "packages": {"pip": ["requests"]}}
    with pytest.raises(anthropic.BadRequestError, match="allow_package_managers"):
        client.beta.environments.create(name="Limited", config=limited)


@pytest.mark.parametrize(
    "config, feature",
    [
        ({"type": "cloud", "packages": {"pip": ["requests"]}}, "packages"),
        (
            {
                "type": "cloud",
                "networking": {"type": "limited", "allow_package_managers": True},
                "packages": {"npm": ["left-pad"]},
            },
            "packages",
        ),
        ({"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["a.com"]}}, "allowed_hosts"),
        ({"type": "self_hosted"}, "Self-hosted"),
    ],
)
def test_what_is_not_built_is_named_and_not_saved(client, config, feature):
    with pytest.raises(anthropic.HTTPNotImplementedError, match=feature):
        client.beta.environments.create(name="E", config=config)
    assert client.beta.environments.list().data == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "n" * 257},
        {"name": "E", "description": "d" * 2049},
        {"name": "E", "scope": "account"},
        {"name": "E", "config": {}},
        {"name": "E", "config": {"type": "cloud", "networking": {"type": "odd"}}},
        {"name": "E", "config": {"type": "cloud", "networking": {"type": "unrestricted", "allowed_hosts": []}}},
        {"name": "E", "config": {"type": "self_hosted", "packages": {}}},
        {"name": "E", "metadata": {"k": None}},
        {"name": "E", "surprise": 1},
    ],
)
def test_bad_definitions_are_refused(raw, body, workspace):
    response = raw.post("/v1/environments", json=body)
    assert response.status_code == 400, response.text
    assert workspace.environments.count() == 0


def test_updates_keep_what_they_leave_out(client):
    environment = client.beta.environments.create(
        name="E",
        description="D",
        metadata={"a": "1", "b": "2", "c": "3"},
        config={"type": "cloud", "networking": {"type": "limited", "allow_mcp_servers": True}},
    )
    update = client.beta.environments.update
    kept = update(environment.id, name="E2")
    assert (kept.name, kept.description, kept.metadata) == ("E2", "D", environment.metadata)
    limited = {"type": "limited", "allow_package_managers": True}
    changed = update(environment.id, config={"type": "cloud", "networking": limited})
    assert changed.config.networking.allow_mcp_servers is True
    assert changed.config.networking.allow_package_managers is True
    assert update(environment.id, config={"type": "cloud"}).config == changed.config
    opened = update(environment.id, config={"type": "cloud", "networking": {"type": "unrestricted"}})
    assert opened.config.networking.to_dict() == {"type": "unrestricted"}
    closed = update(environment.id, config={"type": "cloud", "networking": {"type": "limited"}})
    assert closed.config.networking.allow_package_managers is False


def test_null_and_empty_descriptions_differ(client):
    environment = client.beta.environments.create(name="E", description="D")
    assert client.beta.environments.update(environment.id, description="").description == ""
    assert client.beta.environments.update(environment.id, description=None).description is None


@pytest.mark.conformance(11)
def test_metadata_is_deleted_by_null_or_empty(client):
    environment = client.beta.environments.create(name="E", metadata={"a": "1", "b": "2", "c": "3"})
    patched = client.beta.environments.update(environment.id, metadata={"a": None, "b": "", "d": "4"})
    assert patched.metadata == {"c": "3", "d": "4"}


def test_only_a_change_moves_updated_at(client):
    environment = client.beta.environments.create(name="E")
    assert client.beta.environments.update(environment.id, name="E").updated_at == environment.updated_at
    assert client.beta.environments.update(environment.id, name="F").updated_at > environment.updated_at


def test_names_are_unique_among_those_in_use(client, client_for, other_workspace):
    first = client.beta.environments.create(name="E")
    second = client.beta.environments.create(name="F")
    for call in (
        lambda: client.beta.environments.create(name="E"),
        lambda: client.beta.environments.update(second.id, name="E"),
    ):
        with pytest.raises(anthropic.ConflictError) as refused:
            call()
        assert refused.value.response.headers["x-should-retry"] == "false"
    client_for(other_workspace).beta.environments.create(name="E")
    client.beta.environments.archive(first.id)
    assert client.beta.environments.update(second.id, name="E").name == "E"


def test_of_two_creates_with_one_name_one_wins(workspace):
    ready = threading.Barrier(2)
    outcomes: list[str] = []

    def create() -> None:
        from django.db import connection

        ready.wait()
        try:
            environments.create_environment(workspace, definition={"name": "Same"})
            outcomes.append("won")
        except Conflict:
            outcomes.append("lost")
        finally:
            connection.close()

    racers = [threading.Thread(target=create) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == ["lost", "won"]
    assert Environment.objects.count() == 1


@pytest.mark.conformance(12)
def test_pages_hold_every_environment_once(client):
    made = [client.beta.environments.create(name=f"E{i}").id for i in range(7)]
    assert [e.id for e in client.beta.environments.list(limit=3)] == made[::-1]


@pytest.mark.parametrize("count", [2, 30])
def test_a_list_takes_a_fixed_number_of_queries(workspace, count_queries, count):
    for i in range(count):
        environments.create_environment(workspace, definition={"name": f"E{i}"})
    assert count_queries("/v1/environments?limit=100") == 2  # key, environments
