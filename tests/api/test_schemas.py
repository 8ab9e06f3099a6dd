"""Bodies and queries are checked by the SDK's own parameter types, rewritten for a server."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from agents.api import schemas
from agents.errors import Invalid

SESSION = {"agent": "agent_1", "environment_id": "env_1"}
TEXT = {"type": "text", "text": "hi"}


@pytest.mark.parametrize("name", [*schemas.BODIES])
def test_every_body_refuses_unknown_keys_and_what_travels_in_headers(name):
    for key in ("surprise", "betas", "workspace_id", "extra_headers"):
        with pytest.raises(Invalid, match=f"{key}: "):
            schemas.parse(name, {key: "x"})
    for body in ([], "text", None, 1):
        with pytest.raises(Invalid, match="JSON object"):
            schemas.parse(name, body)


@pytest.mark.parametrize(
    "name, body",
    [
        ("agents.create", {"name": "A", "model": "m"}),
        ("agents.create", {"name": "A", "model": {"id": "m", "effort": {"type": "low"}, "speed": None}}),
        ("agents.create", {"name": "A", "model": "m", "system": None, "description": None, "multiagent": None}),
        ("agents.update", {}),
        ("agents.update", {"version": 3, "system": None, "tools": None, "metadata": {"a": None, "b": "c"}}),
        ("environments.create", {"name": "E", "config": None, "scope": "account"}),
        ("environments.update", {"name": None, "config": {"type": "self_hosted"}}),
        ("sessions.create", SESSION),
        ("sessions.create", {**SESSION, "agent": {"type": "agent", "id": "a", "version": 2}}),
        ("sessions.create", {**SESSION, "agent": {"type": "agent_with_overrides", "id": "a", "system": None}}),
        ("sessions.create", {**SESSION, "initial_events": [{"type": "user.message", "content": [TEXT]}]}),
        ("sessions.update", {"budget": None, "title": None}),
        ("events.send", {"events": []}),
        ("events.send", {"events": [{"type": "user.interrupt", "session_thread_id": None}]}),
        ("resources.add", {"type": "file", "file_id": "file_1", "mount_path": None}),
        ("resources.update", {"authorization_token": "t"}),
    ],
)
def test_a_good_body_comes_back_with_exactly_the_keys_that_were_sent(name, body):
    assert schemas.parse(name, body) == body


@pytest.mark.parametrize(
    "event",
    [
        {"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "allow"},
        {"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_1"},
        {"type": "user.tool_result", "tool_use_id": "sevt_1"},
    ],
)
def test_events_that_older_sdks_echo_with_their_thread_are_accepted(event):
    for thread in ("sthr_1", None):
        body = {"events": [{**event, "session_thread_id": thread}]}
        assert schemas.parse("events.send", body) == body


def test_other_events_take_no_thread():
    with pytest.raises(Invalid, match="session_thread_id"):
        body = {"events": [{"type": "user.message", "content": [TEXT], "session_thread_id": "sthr_1"}]}
        schemas.parse("events.send", body)


@pytest.mark.parametrize(
    "name, body, message",
    [
        ("agents.create", {"model": "m"}, "name: Field required"),
        ("agents.create", {"name": "A", "model": 3}, "model: Input should be a valid string"),
        ("agents.create", {"name": "A", "model": {}}, "model.id: Field required"),
        ("agents.create", {"name": "A", "model": {"id": "m", "effort": "huge"}}, "model.effort: "),
        (
            "agents.create",
            {"name": "A", "model": "m", "tools": [{"type": "custom", "name": "x", "description": "d"}]},
            "tools.0.custom.input_schema: Field required",
        ),
        ("agents.create", {"name": "A", "model": "m", "tools": {"type": "custom"}}, "tools: Input should be a valid"),
        ("agents.create", {"name": "A", "model": "m", "tools": [{}]}, "tools.0: "),
        ("agents.create", {"name": "A", "model": "m", "metadata": {"a": 1}}, "metadata.a: "),
        ("agents.update", {"version": "1"}, "version: Input should be a valid integer"),
        ("agents.update", {"version": True}, "version: Input should be a valid integer"),
        ("agents.update", {"version": 1.0}, "version: Input should be a valid integer"),
        ("events.send", {"events": [{"type": "nope"}]}, "events.0: .*'nope'"),
        ("events.send", {"events": [{"type": "user.message", "content": "hi"}]}, "events.0.user.message.content: "),
        ("events.send", {"events": [{"type": "user.message", "content": [{"type": "x"}]}]}, "content.0: "),
        ("sessions.create", {**SESSION, "agent": {"type": "odd"}}, "agent: .*'odd'"),
        ("sessions.create", {**SESSION, "resources": [{"type": "file"}]}, "resources.0.file.file_id: Field required"),
        ("environments.update", {"config": {"type": "cloud", "networking": {}}}, "config.cloud.networking"),
    ],
)
def test_errors_name_the_place(name, body, message):
    with pytest.raises(Invalid, match=message) as refused:
        schemas.parse(name, body)
    assert "<" not in refused.value.message.split(":")[0]


def test_a_flood_of_errors_is_cut_short():
    with pytest.raises(Invalid, match="and 995 more"):
        schemas.parse("events.send", {"events": [1] * 1000})


def test_a_json_schema_keeps_keys_the_sdk_does_not_know():
    tool = {
        "type": "custom",
        "name": "x",
        "description": "d",
        "input_schema": {"type": "object", "$defs": {"a": {}}, "additionalProperties": False},
    }
    body = {"name": "A", "model": "m", "tools": [tool]}
    assert schemas.parse("agents.create", body) == body


def query(name: str, text: str) -> dict[str, Any]:
    return schemas.parse_query(RequestFactory().get(f"/v1/x?{text}"), name)


def test_queries_are_parsed_into_their_types():
    found = query(
        "sessions.list",
        "limit=7&order=asc&include_archived=true&agent_id=a&agent_version=2&beta=true&unknown=1"
        "&statuses%5B%5D=idle&statuses[]=running&statuses[]=idle&created_at%5Bgte%5D=2026-11-22T09:30:00Z",
    )
    moment = found.pop("created_at_gte")
    assert moment.isoformat() == "2026-11-22T09:30:00+00:00"
    assert found == {
        "limit": 7,
        "order": "asc",
        "include_archived": True,
        "agent_id": "a",
        "agent_version": 2,
        "statuses": ["idle", "running"],
    }


def test_a_list_always_has_a_limit_and_nothing_else_by_default():
    assert query("agents.list", "") == {"limit": 20}
    assert query("events.list", "") == {"limit": 1000}
    assert query("events.stream", "") == {}
    assert query("events.stream", "event_deltas[]=agent.message") == {"event_deltas": ["agent.message"]}


@pytest.mark.parametrize(
    "name, text",
    [
        ("sessions.list", "limit=0"),
        ("sessions.list", "limit=101"),
        ("sessions.list", "limit=ten"),
        ("sessions.list", "limit=%D9%A1"),
        ("sessions.list", "limit=1.0"),
        ("sessions.list", "order=up"),
        ("sessions.list", "include_archived=yes"),
        ("sessions.list", "statuses[]=asleep"),
        ("sessions.list", "created_at[lt]=now"),
        ("sessions.list", "created_at[lt]=2026-11-22T09:30:00"),
        ("sessions.list", "agent_id=%00"),
        ("events.list", "types[]=bogus"),
        ("events.list", "limit=1001"),
        ("events.stream", "event_deltas[]=bogus"),
        ("threads.events.stream", "event_deltas[]=bogus"),
    ],
)
def test_bad_queries_are_refused(name, text):
    with pytest.raises(Invalid):
        query(name, text)


@pytest.mark.parametrize("name", [*schemas.QUERIES])
def test_every_query_type_can_be_read(name):
    assert query(name, "") in ({}, {"limit": schemas.QUERIES[name][1]})
