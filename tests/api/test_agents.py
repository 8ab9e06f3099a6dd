"""`/v1/agents`: definitions, versions, tools, archive."""

from __future__ import annotations

import threading
from typing import Any

import anthropic
import pytest
from anthropic.types.beta import BetaManagedAgentsAgent

from agents.errors import Conflict
from agents.models import Agent
from agents.services import agents
from tests.api.strict import check

MODEL = "simulated/default"
TOOLSET = {"type": "agent_toolset_20260401"}
SERVER = {"type": "url", "name": "docs", "url": "https://mcp.example.com/sse"}
MCP_TOOLSET = {"type": "mcp_toolset", "mcp_server_name": "docs"}


def custom_tool(name: str = "lookup", **changes: Any) -> dict[str, Any]:
    return {
        "type": "custom",
        "name": name,
        "description": "Looks something up.",
        "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
        **changes,
    }


def raw_agent(raw: Any, agent_id: str) -> dict[str, Any]:
    body = raw.get(f"/v1/agents/{agent_id}").json()
    check(BetaManagedAgentsAgent, body)
    return body


@pytest.mark.conformance(18)
def test_create_writes_out_every_default(client, raw):
    agent = client.beta.agents.create(name="Ada", model=MODEL)
    assert agent.version == 1
    assert raw_agent(raw, agent.id) == {
        "id": agent.id,
        "type": "agent",
        "version": 1,
        "name": "Ada",
        "description": None,
        "system": None,
        "model": {"id": MODEL, "effort": agent.model.effort.to_dict(), "inference_geo": None, "speed": "standard"},
        "tools": [],
        "mcp_servers": [],
        "skills": [],
        "metadata": {},
        "multiagent": None,
        "execution_identity": {"type": "service_account"},
        "created_at": raw_agent(raw, agent.id)["created_at"],
        "updated_at": raw_agent(raw, agent.id)["created_at"],
        "archived_at": None,
    }
    assert agent.model.effort.type in {"low", "medium", "high", "xhigh", "max"}
    assert raw_agent(raw, agent.id)["created_at"].endswith("Z")


@pytest.mark.conformance(18)
@pytest.mark.parametrize("effort", ["low", {"type": "low"}])
def test_effort_is_accepted_as_a_word_and_as_an_object(client, effort):
    agent = client.beta.agents.create(name="Ada", model={"id": "some-vendor/some-model", "effort": effort})
    assert agent.model.effort.type == "low"


def test_an_unknown_model_id_is_saved_as_it_is(client):
    assert client.beta.agents.create(name="Ada", model="acme/llm-9").model.id == "acme/llm-9"


@pytest.mark.conformance(19)
def test_an_update_makes_a_version_and_keeps_the_old(client, raw):
    agent = client.beta.agents.create(name="Ada", model=MODEL, system="First.")
    changed = client.beta.agents.update(agent.id, system="Second.")
    assert (changed.version, changed.system) == (2, "Second.")
    assert changed.created_at == agent.created_at < changed.updated_at
    assert [v.version for v in client.beta.agents.versions.list(agent.id)] == [2, 1]
    assert client.beta.agents.retrieve(agent.id, version=1).system == "First."
    assert client.beta.agents.retrieve(agent.id).system == "Second."
    for version in raw.get(f"/v1/agents/{agent.id}/versions").json()["data"]:
        check(BetaManagedAgentsAgent, version)
    with pytest.raises(anthropic.NotFoundError):
        client.beta.agents.retrieve(agent.id, version=3)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.retrieve(agent.id, version=0)


@pytest.mark.conformance(19)
def test_versions_are_paged(client):
    agent = client.beta.agents.create(name="Ada", model=MODEL)
    for i in range(5):
        client.beta.agents.update(agent.id, system=f"Prompt {i}")
    assert [v.version for v in client.beta.agents.versions.list(agent.id, limit=2)] == [6, 5, 4, 3, 2, 1]


@pytest.mark.conformance(20)
def test_an_update_without_effect_makes_no_version(client):
    agent = client.beta.agents.create(name="Ada", model=MODEL, system="First.", tools=[TOOLSET], metadata={"a": "b"})
    changes: dict[str, Any] = {
        "name": "Ada",
        "model": MODEL,
        "system": "Second.",
        "tools": [{**TOOLSET, "default_config": {"enabled": True}, "configs": []}],
        "metadata": {"a": "b", "absent": None},
    }
    second = client.beta.agents.update(agent.id, **changes)
    assert second.version == 2
    third = client.beta.agents.update(agent.id, **changes)
    assert third.to_dict() == second.to_dict()
    assert client.beta.agents.update(agent.id).to_dict() == second.to_dict()
    assert Agent.objects.get(public_id=agent.id).versions.count() == 2


@pytest.mark.conformance(21)
def test_a_stale_version_is_a_conflict_even_without_effect(client):
    agent = client.beta.agents.create(name="Ada", model=MODEL)
    client.beta.agents.update(agent.id, version=1, system="New.")
    for stale in ({"system": "Other."}, {"system": "New."}, {}):
        with pytest.raises(anthropic.ConflictError) as refused:
            client.beta.agents.update(agent.id, version=1, **stale)
        assert refused.value.type == "conflict_error"
        assert refused.value.response.headers["x-should-retry"] == "false"
    assert client.beta.agents.retrieve(agent.id).version == 2
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.update(agent.id, version=0, system="Other.")


@pytest.mark.conformance(21)
def test_of_two_updates_of_the_same_version_one_wins(workspace):
    agent = agents.create_agent(workspace, definition={"name": "Ada", "model": MODEL})
    ready = threading.Barrier(2)
    outcomes: list[str] = []

    def update(system: str) -> None:
        from django.db import connection

        ready.wait()
        try:
            agents.update_agent(agent, changes={"system": system}, expected_version=1)
            outcomes.append("won")
        except Conflict:
            outcomes.append("lost")
        finally:
            connection.close()

    racers = [threading.Thread(target=update, args=(text,)) for text in ("A", "B")]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == ["lost", "won"]
    assert Agent.objects.get().version == 2


@pytest.mark.conformance(22)
def test_without_a_version_the_last_write_wins(client):
    agent = client.beta.agents.create(name="Ada", model=MODEL)
    client.beta.agents.update(agent.id, system="One.")
    assert client.beta.agents.update(agent.id, system="Two.").version == 3


@pytest.mark.conformance(23)
@pytest.mark.parametrize("empty", [None, ""])
def test_texts_are_cleared_by_null_or_empty_and_kept_when_absent(client, empty):
    agent = client.beta.agents.create(name="Ada", model=MODEL, system="S", description="D")
    kept = client.beta.agents.update(agent.id, name="Ada 2")
    assert (kept.system, kept.description) == ("S", "D")
    cleared = client.beta.agents.update(agent.id, system=empty, description=empty)
    assert (cleared.system, cleared.description) == (None, None)


@pytest.mark.conformance(23)
@pytest.mark.parametrize("empty", [None, []])
def test_lists_are_replaced_whole_and_cleared_by_null_or_empty(client, empty):
    agent = client.beta.agents.create(
        name="Ada", model=MODEL, tools=[TOOLSET, MCP_TOOLSET, custom_tool()], mcp_servers=[SERVER]
    )
    assert len(client.beta.agents.update(agent.id, name="Ada 2").tools) == 3
    replaced = client.beta.agents.update(agent.id, tools=[MCP_TOOLSET])
    assert [tool.type for tool in replaced.tools] == ["mcp_toolset"]
    cleared = client.beta.agents.update(agent.id, tools=empty, mcp_servers=empty, skills=empty)
    assert (cleared.tools, cleared.mcp_servers, cleared.skills) == ([], [], [])


@pytest.mark.conformance(23)
def test_name_and_model_cannot_be_cleared(raw, client):
    agent = client.beta.agents.create(name="Ada", model=MODEL)
    for bad in ({"name": None}, {"name": ""}, {"name": "  "}, {"model": None}, {"model": ""}, {"model": {}}):
        assert raw.post(f"/v1/agents/{agent.id}", json=bad).status_code == 400, bad
    assert client.beta.agents.retrieve(agent.id).version == 1


def test_a_stored_effort_survives_an_update_of_the_same_model_only(client):
    agent = client.beta.agents.create(name="Ada", model={"id": "acme/one", "effort": "low"})
    assert client.beta.agents.update(agent.id, model="acme/one").model.effort.type == "low"
    assert client.beta.agents.update(agent.id, model={"id": "acme/one"}).version == 1
    moved = client.beta.agents.update(agent.id, model="acme/two")
    assert moved.model.effort.type == client.beta.agents.create(name="B", model="acme/two").model.effort.type


@pytest.mark.conformance(24)
@pytest.mark.parametrize(
    "tools, servers, hint",
    [
        ([], [SERVER], "refers to"),
        ([MCP_TOOLSET], [], "does not declare"),
        ([MCP_TOOLSET, MCP_TOOLSET], [SERVER], "more than one"),
        ([MCP_TOOLSET], [SERVER, SERVER], "used more than once"),
        ([MCP_TOOLSET], [{**SERVER, "name": ""}], "1 to 255"),
        ([{**MCP_TOOLSET, "mcp_server_name": "n" * 256}], [{**SERVER, "name": "n" * 256}], "1 to 255"),
        ([MCP_TOOLSET], [{**SERVER, "url": "ftp://example.com"}], "http"),
        ([MCP_TOOLSET], [{**SERVER, "url": "https://"}], "http"),
        ([MCP_TOOLSET], [{**SERVER, "url": "https://e.com/" + "a" * 2048}], "2048"),
        (
            [{**MCP_TOOLSET, "mcp_server_name": f"s{i}"} for i in range(21)],
            [{**SERVER, "name": f"s{i}"} for i in range(21)],
            "the most is 20",
        ),
    ],
)
def test_mcp_servers_and_toolsets_must_match(client, tools, servers, hint):
    with pytest.raises(anthropic.BadRequestError, match=hint):
        client.beta.agents.create(name="Ada", model=MODEL, tools=tools, mcp_servers=servers)
    assert client.beta.agents.list().data == []


@pytest.mark.conformance(24)
def test_twenty_mcp_servers_are_fine_and_an_update_is_checked_as_a_whole(client):
    servers = [{**SERVER, "name": f"s{i}"} for i in range(20)]
    tools = [{**MCP_TOOLSET, "mcp_server_name": f"s{i}"} for i in range(20)]
    agent = client.beta.agents.create(name="Ada", model=MODEL, tools=tools, mcp_servers=servers)
    for bad in ({"mcp_servers": []}, {"tools": []}, {"mcp_servers": servers[:19]}):
        with pytest.raises(anthropic.BadRequestError):
            client.beta.agents.update(agent.id, **bad)
    assert client.beta.agents.retrieve(agent.id).version == 1


@pytest.mark.conformance(25)
@pytest.mark.parametrize(
    "tools",
    [
        [custom_tool("")],
        [custom_tool("has space")],
        [custom_tool("dot.ted")],
        [custom_tool("ünicode")],
        [custom_tool("n" * 129)],
        [custom_tool(), custom_tool()],
        [TOOLSET, custom_tool("bash")],
        [custom_tool(input_schema={"type": "string"})],
        [custom_tool(input_schema={})],
        [custom_tool(input_schema={"type": "object", "properties": {"q": "string"}})],
        [custom_tool(input_schema={"type": "object", "required": "q"})],
        [{"type": "custom", "name": "x", "description": "d"}],
        [custom_tool(surprise=1)],
        [custom_tool(f"t{i}") for i in range(257)],
        [TOOLSET] + [custom_tool(f"t{i}") for i in range(249)],
        [TOOLSET, TOOLSET],
        [{"type": "bash_20250124"}],
    ],
)
def test_bad_tools_are_refused(client, tools):
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.create(name="Ada", model=MODEL, tools=tools)


@pytest.mark.conformance(25)
def test_a_custom_tool_keeps_its_whole_schema(client, raw):
    schema = {
        "type": "object",
        "properties": {"q": {"type": "string", "maxLength": 10}, "any": True},
        "required": ["q"],
        "additionalProperties": False,
        "$defs": {"x": {"type": "number", "maximum": 1.5}},
    }
    tools = [custom_tool("n" * 128, input_schema=schema)] + [custom_tool(f"t-{i}_") for i in range(247)] + [TOOLSET]
    agent = client.beta.agents.create(name="Ada", model=MODEL, tools=tools)
    assert raw_agent(raw, agent.id)["tools"][0]["input_schema"] == schema


@pytest.mark.conformance(26)
def test_toolset_defaults_are_written_out(client, raw):
    agent = client.beta.agents.create(
        name="Ada",
        model=MODEL,
        mcp_servers=[SERVER],
        tools=[
            {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]},
            {**MCP_TOOLSET, "configs": [{"name": "search", "enabled": False}]},
        ],
    )
    allow, ask = {"type": "always_allow"}, {"type": "always_ask"}
    assert raw_agent(raw, agent.id)["tools"] == [
        {
            "type": "agent_toolset_20260401",
            "default_config": {"enabled": True, "permission_policy": allow},
            "configs": [{"name": "bash", "type": "bash", "enabled": True, "permission_policy": ask}],
        },
        {
            "type": "mcp_toolset",
            "mcp_server_name": "docs",
            "default_config": {"enabled": True, "permission_policy": ask},
            "configs": [{"name": "search", "enabled": False, "permission_policy": ask}],
        },
    ]


@pytest.mark.conformance(26)
def test_a_tool_inherits_what_it_leaves_open(client):
    tools = [
        {
            **TOOLSET,
            "default_config": {"enabled": False, "permission_policy": {"type": "always_ask"}},
            "configs": [{"name": "read", "type": "read", "enabled": True}, {"name": "web_fetch"}],
        }
    ]
    read, fetch = client.beta.agents.create(name="Ada", model=MODEL, tools=tools).tools[0].configs
    assert (read.enabled, read.permission_policy.type) == (True, "always_ask")
    assert (fetch.enabled, fetch.permission_policy.type) == (False, "always_ask")


@pytest.mark.parametrize(
    "config",
    [
        {"name": "bash", "type": "read"},
        {"name": "teleport"},
        {"name": "bash", "permission_policy": {"type": "auto"}},
        {"name": "web_search", "allowed_domains": []},
        {"name": "web_search", "allowed_domains": ["a.com"], "blocked_domains": ["b.com"]},
        {"name": "web_search", "allowed_domains": [f"h{i}.com" for i in range(65)]},
        {"name": "web_search", "user_location": {"type": "exact"}},
        *({"name": "web_fetch", "blocked_domains": [bad]} for bad in (
            "", "com", "localhost", "https://a.com", "a.com:80", "a.com/x", "*.a.com", "10.0.0.1", "[::1]", "a..com",
        )),
        {"name": "web_fetch", "max_content_tokens": 0},
        {"name": "web_fetch", "url_sources": dict.fromkeys(
            ("user_input", "client_tool_results", "server_tool_results"), "none")},
        {"name": "web_fetch", "url_sources": {"client_tool_results": {
            "type": "only", "tools": [{"type": "tool_reference", "name": "unknown"}]}}},
    ],
)  # fmt: skip
def test_bad_tool_configs_are_refused(client, config):
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.create(name="Ada", model=MODEL, tools=[{**TOOLSET, "configs": [config]}])


def test_web_options_are_kept_and_sources_become_objects(client, raw):
    fetch = {
        "name": "web_fetch",
        "allowed_domains": ["docs.example.com"],
        "max_content_tokens": 1000,
        "url_sources": {
            "user_input": "none",
            "client_tool_results": {"type": "only", "tools": [{"type": "tool_reference", "name": "lookup"}]},
        },
    }
    search = {"name": "web_search", "blocked_domains": ["ads.example.com"], "user_location": {"type": "approximate"}}
    agent = client.beta.agents.create(
        name="Ada", model=MODEL, tools=[{**TOOLSET, "configs": [fetch, search]}, custom_tool("lookup")]
    )
    stored_fetch, stored_search = raw_agent(raw, agent.id)["tools"][0]["configs"]
    assert stored_fetch["allowed_domains"] == ["docs.example.com"]
    assert stored_fetch["max_content_tokens"] == 1000
    assert stored_fetch["url_sources"] == {
        "user_input": {"type": "none"},
        "client_tool_results": {"type": "only", "tools": [{"type": "tool_reference", "name": "lookup"}]},
        "server_tool_results": None,
    }
    assert stored_search["blocked_domains"] == ["ads.example.com"]
    assert stored_search["user_location"] == {"type": "approximate"}


@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"name": "Ada"},
        {"model": MODEL},
        {"name": "", "model": MODEL},
        {"name": "n" * 257, "model": MODEL},
        {"name": "Ada", "model": MODEL, "description": "d" * 2049},
        {"name": "Ada", "model": MODEL, "system": "s" * 100_001},
        {"name": "Ada", "model": "m" * 201},
        {"name": "Ada", "model": {"id": MODEL, "effort": "extreme"}},
        {"name": "Ada", "model": {"id": MODEL, "speed": "fast"}},
        {"name": "Ada", "model": {"id": MODEL, "inference_geo": "moon"}},
        {"name": "Ada", "model": MODEL, "surprise": 1},
        {"name": "Ada", "model": MODEL, "metadata": {"a": 1}},
        {"name": "Ada", "model": MODEL, "metadata": None},
        {"name": 1, "model": MODEL},
    ],
)
def test_bad_definitions_are_refused(raw, definition, workspace):
    response = raw.post("/v1/agents", json=definition)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert workspace.agents.count() == 0


def test_the_largest_texts_are_fine(client):
    agent = client.beta.agents.create(name="n" * 256, model=MODEL, description="d" * 2048, system="s" * 100_000)
    assert len(agent.system) == 100_000


@pytest.mark.parametrize(
    "extra, feature",
    [
        ({"skills": [{"type": "anthropic", "skill_id": "xlsx"}]}, "Skills"),
        ({"execution_identity": {"type": "aws_role", "role_arn": "arn:aws:iam::1:role/x"}}, "service_account"),
        ({"model": {"id": MODEL, "inference_geo": "us"}}, "inference_geo"),
    ],
)
def test_what_is_not_built_is_named_and_not_saved(client, extra, feature):
    with pytest.raises(anthropic.HTTPNotImplementedError, match=feature):
        client.beta.agents.create(**{"name": "Ada", "model": MODEL, **extra})
    assert client.beta.agents.list().data == []


@pytest.mark.conformance(27)
def test_archiving_is_one_way_and_repeatable(client):
    agent = client.beta.agents.create(name="Ada", model=MODEL)
    kept = client.beta.agents.create(name="Bea", model=MODEL)
    archived = client.beta.agents.archive(agent.id)
    assert archived.archived_at is not None
    assert client.beta.agents.archive(agent.id).archived_at == archived.archived_at
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        client.beta.agents.update(agent.id, name="Other")
    assert client.beta.agents.retrieve(agent.id).archived_at == archived.archived_at
    assert [a.id for a in client.beta.agents.list()] == [kept.id]
    assert [a.id for a in client.beta.agents.list(include_archived=True)] == [kept.id, agent.id]


@pytest.mark.parametrize("count", [2, 40])
def test_a_list_takes_a_fixed_number_of_queries(workspace, count_queries, count):
    for i in range(count):
        agents.create_agent(workspace, definition={"name": f"A{i}", "model": MODEL})
    assert count_queries("/v1/agents?limit=100") == 3  # key, agents, their current versions


@pytest.mark.conformance(27)
def test_an_archived_agent_takes_no_new_session_and_keeps_the_old(client):
    agent = client.beta.agents.create(name="Ada", model=MODEL)
    environment = client.beta.environments.create(name="E")
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    client.beta.agents.archive(agent.id)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    message = {"type": "user.message", "content": [{"type": "text", "text": "Still there?"}]}
    sent = client.beta.sessions.events.send(session.id, events=[message])
    assert sent.data[0].type == "user.message"
