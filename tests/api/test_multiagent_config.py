"""`multiagent` of `/v1/agents` and its place in a session, through the real SDK: statements 28 and 29, B6 1 and 2."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any

import anthropic
import pytest
from anthropic.types.beta import BetaManagedAgentsAgent, BetaManagedAgentsSession
from anthropic.types.beta.sessions import BetaManagedAgentsSessionThread
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.services import agents, environments, sessions
from tests.api.sdk import CUSTOM_TOOL, TOOLSET, history, make_environment, of_type, toolset_asking_for
from tests.api.strict import EVENTS, check

MODEL = "simulated/default"
SELF = {"type": "self"}
SWITCHES = "multiagent_20261001"
ENABLED, DISABLED = {"type": "enabled"}, {"type": "disabled"}
_numbers = count(1)


def make_agent(client: Any, **values: Any) -> Any:
    return client.beta.agents.create(**{"name": f"Member {next(_numbers)}", "model": MODEL, **values})


def coordinator(*agents: Any) -> dict[str, Any]:
    return {"type": "coordinator", "agents": list(agents)}


def switches(*agents: Any, **subagents: Any) -> dict[str, Any]:
    return {
        "type": SWITCHES,
        "subagents": {"type": "enabled", "predefined_agents": list(agents), **subagents},
    }


def make_lead(client: Any, *agents: Any, **values: Any) -> Any:
    return make_agent(client, **{"name": "Lead", "multiagent": coordinator(*agents), **values})


def reference(agent: Any, version: int | None = None) -> dict[str, Any]:
    return {"type": "agent", "id": agent.id, "version": version or agent.version}


def raw_agent(raw: Any, agent: Any) -> dict[str, Any]:
    body = raw.get(f"/v1/agents/{agent.id}").json()
    check(BetaManagedAgentsAgent, body)
    return body


def start(client: Any, agent: Any) -> Any:
    """A session of this agent, or of this reference to one."""
    chosen = agent if isinstance(agent, dict) else agent.id
    return client.beta.sessions.create(agent=chosen, environment_id=make_environment(client).id)


def session_agent(raw: Any, session: Any) -> dict[str, Any]:
    body = raw.get(f"/v1/sessions/{session.id}").json()
    check(BetaManagedAgentsSession, body)
    return body["agent"]


def as_member(agent: dict[str, Any]) -> dict[str, Any]:
    """An agent as a session shows it among the members."""
    left_out = {"metadata", "multiagent", "created_at", "updated_at", "archived_at"}
    return {key: value for key, value in agent.items() if key not in left_out}


def refused(call: Any, **values: Any) -> str:
    """The message of the 400 that the call is answered with."""
    with pytest.raises(anthropic.BadRequestError) as error:
        call(**values)
    assert error.value.body["error"]["type"] == "invalid_request_error"
    return error.value.body["error"]["message"]


# What a roster may hold


@pytest.mark.conformance(28)
def test_b6_1_twenty_entries_of_every_form_are_pinned(client, raw):
    members = [make_agent(client) for _ in range(19)]
    client.beta.agents.update(members[1].id, system="Newer.")
    entries = [members[0].id, reference(members[1], 1), {"type": "agent", "id": members[2].id}, SELF]
    lead = make_lead(client, *entries, *[member.id for member in members[3:]])
    shown = raw_agent(raw, lead)["multiagent"]
    assert shown["type"] == "coordinator"
    assert shown["agents"] == [*map(reference, members[:3]), reference(lead), *map(reference, members[3:])]
    assert len(shown["agents"]) == 20


def broken_rosters(client: Any) -> dict[str, tuple[list[Any], str]]:
    """Rosters the contract refuses, each with how its message begins. The first two members are sound."""
    good, better = make_agent(client), make_agent(client)
    archived, nested = make_agent(client), make_lead(client, SELF)
    client.beta.agents.archive(archived.id)
    was_lead = make_lead(client, SELF)
    client.beta.agents.update(was_lead.id, multiagent=None)
    sneaky = make_agent(client, tools=[{**CUSTOM_TOOL, "name": "send_to_parent"}])
    return {
        "none": ([], "multiagent.agents: "),
        "21 entries": ([good.id, *[make_agent(client).id for _ in range(20)]], "multiagent.agents.20: "),
        "a duplicate": ([good.id, better.id, good.id], "multiagent.agents.2: "),
        "a duplicate in another form": ([good.id, reference(good)], "multiagent.agents.1: "),
        "two self": ([good.id, SELF, SELF], "multiagent.agents.2: "),
        "an archived agent": ([good.id, archived.id], "multiagent.agents.1: "),
        "an agent with multiagent": ([good.id, better.id, nested.id], "multiagent.agents.2: "),
        "a version with multiagent": ([good.id, reference(was_lead, 1)], "multiagent.agents.1: "),
        "an unknown agent": ([good.id, "agent_nobody"], "multiagent.agents.1: "),
        "an unknown version": ([{"type": "agent", "id": good.id, "version": 2}], "multiagent.agents.0: "),
        "a version too large for a row": (
            [{"type": "agent", "id": good.id, "version": 2**40}],
            "multiagent.agents.0: ",
        ),
        "version 0": ([good.id, {"type": "agent", "id": better.id, "version": 0}], "multiagent.agents.1.version: "),
        "a tool that children have": ([good.id, sneaky.id], "multiagent.agents.1: "),
    }


@pytest.mark.conformance(28)
def test_b6_1_what_a_roster_may_not_hold_is_refused_and_the_entry_is_named(client):
    broken = broken_rosters(client)
    lead = make_agent(client, name="Lead")
    for case, (entries, beginning) in broken.items():
        subagents = beginning.replace("multiagent.agents", "multiagent.subagents.predefined_agents")
        create = partial(client.beta.agents.create, name="X", model=MODEL)
        assert refused(create, multiagent=coordinator(*entries)).startswith(beginning), case
        if entries:
            assert refused(create, multiagent=switches(*entries)).startswith(subagents), case
        said = refused(client.beta.agents.update, agent_id=lead.id, multiagent=coordinator(*entries))
        assert said.startswith(beginning), case
    assert client.beta.agents.retrieve(lead.id).version == 1
    assert "X" not in [agent.name for agent in client.beta.agents.list(include_archived=True)]


@pytest.mark.conformance(28)
def test_b6_1_an_agent_that_names_itself_by_id_is_its_own_copy_and_a_duplicate_of_self(client, raw):
    lead = make_agent(client)
    said = refused(client.beta.agents.update, agent_id=lead.id, multiagent=coordinator(SELF, lead.id))
    assert said.startswith("multiagent.agents.1: ")
    said = refused(client.beta.agents.update, agent_id=lead.id, multiagent=coordinator(reference(lead), SELF))
    assert said.startswith("multiagent.agents.1: ")
    changed = client.beta.agents.update(lead.id, multiagent=coordinator(lead.id))
    assert raw_agent(raw, lead)["multiagent"]["agents"] == [reference(changed, 2)]


def test_an_older_version_of_the_lead_is_a_member_like_another(client, raw):
    lead = make_agent(client, system="Old.")
    client.beta.agents.update(lead.id, system="New.")
    client.beta.agents.update(lead.id, multiagent=coordinator(reference(lead, 1)))
    client.beta.agents.update(lead.id, system="Newest.")
    assert raw_agent(raw, lead)["multiagent"]["agents"] == [reference(lead, 1)]
    (member,) = session_agent(raw, start(client, lead))["multiagent"]["agents"]
    assert (member["version"], member["system"]) == (1, "Old.")
    said = refused(client.beta.agents.update, agent_id=lead.id, multiagent=coordinator(reference(lead, 3)))
    assert said.startswith("multiagent.agents.0: ") and "one level" in said


def test_an_agent_of_another_workspace_is_unknown(client, client_for, other_workspace):
    foreign = make_agent(client_for(other_workspace))
    said = refused(client.beta.agents.create, name="X", model=MODEL, multiagent=coordinator(foreign.id))
    assert said.startswith("multiagent.agents.0: there is no agent")


@pytest.mark.parametrize(
    "multiagent, place",
    [
        ({"type": "coordinator"}, "agents"),
        ({"type": "coordinator", "agents": None}, "agents"),
        ({"type": "coordinator", "agents": [5]}, "agents.0"),
        ({"type": "coordinator", "agents": [{"type": "agent"}]}, "agents.0"),
        ({"type": "coordinator", "agents": [{"type": "self", "id": "agent_1"}]}, "agents.0"),
        ({"type": "coordinator", "agents": [{"type": "team"}]}, "agents.0"),
        ({"type": "swarm"}, "multiagent"),
        ({"type": SWITCHES, "subagents": {}}, "subagents"),
        (
            {
                "type": SWITCHES,
                "subagents": {"type": "enabled", "predefined_agents": [{"type": "advisor", "model": "m"}]},
            },
            "0",
        ),
        ({"type": SWITCHES, "subagents": {"type": "disabled", "inline_agents": DISABLED}}, "inline_agents"),
        ({"type": SWITCHES, "agents": []}, "agents"),
        ({"type": SWITCHES, "subagents": {"type": "enabled", "inline_agents": DISABLED}}, "subagents"),
        (switches(inline_agents=DISABLED), "subagents"),
    ],
)
def test_a_malformed_configuration_is_refused(raw, multiagent, place):
    answer = raw.post("/v1/agents", json={"name": "X", "model": MODEL, "multiagent": multiagent})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"].startswith("multiagent")
    assert place in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "multiagent",
    [
        coordinator(SELF, {"type": "advisor", "model": "m"}),
        {"type": SWITCHES, "advisor": {"type": "enabled", "model": "m"}},
    ],
    ids=["coordinator", "switches"],
)
def test_an_advisor_is_named_as_not_built(client, multiagent):
    with pytest.raises(anthropic.HTTPNotImplementedError, match="[Aa]dvisor"):
        make_agent(client, multiagent=multiagent)
    assert client.beta.agents.list().data == []


def test_enabling_workflows_is_refused_by_name(client):
    said = refused(
        client.beta.agents.create,
        name="X",
        model=MODEL,
        multiagent={"type": SWITCHES, "workflows": {"type": "enabled"}},
    )
    assert said.startswith("multiagent.workflows: ") and "disabled" in said
    lead = make_agent(client, multiagent={"type": SWITCHES})
    said = refused(
        client.beta.agents.update, agent_id=lead.id, multiagent={"type": SWITCHES, "workflows": {"type": "enabled"}}
    )
    assert said.startswith("multiagent.workflows: ")


# Names of tools


@pytest.mark.parametrize("name", ["spawn_agent", "send_to_agent", "list_agents", "wait_for_agents", "stop_agent"])
def test_a_lead_has_no_custom_tool_with_the_name_of_a_delegation_tool(client, name):
    tool = {**CUSTOM_TOOL, "name": name}
    for multiagent in (coordinator(SELF), {"type": SWITCHES}):
        said = refused(client.beta.agents.create, name="X", model=MODEL, tools=[TOOLSET, tool], multiagent=multiagent)
        assert said.startswith("tools.1.name: ") and name in said
    alone = make_agent(client, tools=[tool], multiagent={"type": SWITCHES, "subagents": DISABLED})
    assert alone.tools[0].name == name, "who cannot delegate may use the name"
    lead = make_lead(client, SELF)
    assert refused(client.beta.agents.update, agent_id=lead.id, tools=[tool]).startswith("tools.0.name: ")
    overrides = {"type": "agent_with_overrides", "id": lead.id, "tools": [tool]}
    assert name in refused(lambda: start(client, overrides))
    session = start(client, lead)
    assert name in refused(client.beta.sessions.update, session_id=session.id, agent={"tools": [tool]})


def test_copies_of_a_lead_have_no_custom_tool_with_the_name_of_a_childs_tool(client):
    tool = {**CUSTOM_TOOL, "name": "send_to_parent"}
    member = make_agent(client)
    said = refused(
        client.beta.agents.create, name="X", model=MODEL, tools=[tool], multiagent=coordinator(member.id, SELF)
    )
    assert said.startswith("multiagent.agents.1: ") and "send_to_parent" in said
    assert make_lead(client, member.id, tools=[tool]).tools[0].name == "send_to_parent"


# Pins


@pytest.mark.conformance(29)
def test_a_roster_pins_versions(client, raw):
    member, pinned = make_agent(client, system="One."), make_agent(client, system="First.")
    client.beta.agents.update(pinned.id, system="Second.")
    lead = make_lead(client, member.id, reference(pinned, 1))
    before = raw_agent(raw, lead)
    client.beta.agents.update(member.id, system="Two.")
    assert raw_agent(raw, lead) == before
    shown = session_agent(raw, start(client, lead))["multiagent"]["agents"]
    assert [(m["version"], m["system"]) for m in shown] == [(1, "One."), (1, "First.")]


@pytest.mark.conformance(20, 29)
def test_only_naming_a_member_again_moves_its_pin(client, raw):
    member = make_agent(client)
    lead = make_lead(client, member.id)
    client.beta.agents.update(member.id, system="Two.")
    assert client.beta.agents.update(lead.id, multiagent=coordinator(reference(member, 1))).version == 1
    renamed = client.beta.agents.update(lead.id, name="Renamed")
    assert (renamed.version, raw_agent(raw, lead)["multiagent"]["agents"]) == (2, [reference(member, 1)])
    again = client.beta.agents.update(lead.id, multiagent=coordinator(member.id))
    assert (again.version, raw_agent(raw, lead)["multiagent"]["agents"]) == (3, [reference(member, 2)])
    assert client.beta.agents.update(lead.id, multiagent=coordinator(member.id)).version == 3
    old = raw.get(f"/v1/agents/{lead.id}?version=1").json()
    assert old["multiagent"]["agents"] == [reference(member, 1)]


@pytest.mark.conformance(20)
def test_self_is_the_version_that_is_shown_and_a_roster_sent_back_changes_nothing(client, raw):
    lead = make_lead(client, make_agent(client).id, SELF)
    shown = raw_agent(raw, lead)["multiagent"]
    assert shown["agents"][1] == reference(lead, 1)
    assert client.beta.agents.update(lead.id, multiagent=shown).version == 1
    assert client.beta.agents.update(lead.id, multiagent=coordinator(shown["agents"][0], SELF)).version == 1
    changed = client.beta.agents.update(lead.id, system="New.")
    assert raw_agent(raw, lead)["multiagent"]["agents"][1] == reference(lead, 2)
    assert changed.multiagent.agents[1].version == 2
    assert client.beta.agents.retrieve(lead.id, version=1).multiagent.agents[1].version == 1
    versions = list(client.beta.agents.versions.list(lead.id))
    assert [version.multiagent.agents[1].version for version in versions] == [2, 1]


def test_a_member_may_become_a_lead_itself_because_its_pin_stays(client, raw):
    member = make_agent(client)
    lead = make_lead(client, member.id)
    client.beta.agents.update(member.id, multiagent=coordinator(SELF))
    assert session_agent(raw, start(client, lead))["multiagent"]["agents"][0]["version"] == 1
    said = refused(client.beta.agents.update, agent_id=lead.id, multiagent=coordinator(member.id))
    assert said.startswith("multiagent.agents.0: ")


@pytest.mark.conformance(27, 28)
def test_a_member_archived_later_takes_no_new_session_and_keeps_the_old(client, raw):
    member, kept = make_agent(client), make_agent(client)
    lead = make_lead(client, kept.id, member.id)
    session = start(client, lead)
    before = session_agent(raw, session)
    client.beta.agents.archive(member.id)
    said = refused(lambda: start(client, lead))
    assert said.startswith("agent.multiagent.agents.1: ") and member.id in said
    assert session_agent(raw, session) == before
    client.beta.sessions.update(session.id, agent={"tools": [TOOLSET]})
    assert session_agent(raw, session)["multiagent"] == before["multiagent"]
    assert client.beta.agents.update(lead.id, name="Renamed").version == 2, "what is not touched is not checked"
    client.beta.agents.update(lead.id, multiagent=coordinator(kept.id))
    assert start(client, lead).status == "idle"


def test_a_cleared_roster_is_gone(client, raw):
    lead = make_lead(client, SELF)
    client.beta.agents.update(lead.id, multiagent=None)
    assert raw_agent(raw, lead)["multiagent"] is None
    assert session_agent(raw, start(client, lead))["multiagent"] is None


# multiagent_20261001


def test_b6_2_defaults_are_written_out(client, raw):
    lead = make_agent(client, multiagent={"type": SWITCHES})
    everything = {
        "type": SWITCHES,
        "advisor": DISABLED,
        "subagents": {"type": "enabled", "inline_agents": ENABLED, "predefined_agents": []},
        "workflows": DISABLED,
    }
    assert raw_agent(raw, lead)["multiagent"] == everything
    nulls = {"type": SWITCHES, "advisor": None, "subagents": None, "workflows": None}
    assert raw_agent(raw, make_agent(client, multiagent=nulls))["multiagent"] == everything
    inner = {"type": "enabled", "inline_agents": None, "predefined_agents": None}
    assert raw_agent(raw, make_agent(client, multiagent={**nulls, "subagents": inner}))["multiagent"] == everything


def test_b6_2_an_update_is_merged_level_by_level(client, raw):
    one, two = make_agent(client), make_agent(client)
    lead = make_agent(client, multiagent=switches(one.id, SELF, inline_agents=DISABLED))

    def update(**values: Any) -> dict[str, Any]:
        client.beta.agents.update(lead.id, multiagent={"type": SWITCHES, **values})
        return raw_agent(raw, lead)["multiagent"]["subagents"]

    def pins(subagents: dict[str, Any]) -> list[str]:
        return [member["id"] for member in subagents["predefined_agents"]]

    client.beta.agents.update(one.id, system="Newer.")
    kept = update()
    assert (pins(kept), kept["inline_agents"]) == ([one.id, lead.id], DISABLED)
    kept = update(workflows=DISABLED, advisor=None)
    assert (pins(kept), kept["inline_agents"]) == ([one.id, lead.id], DISABLED)
    assert client.beta.agents.retrieve(lead.id).version == 1, "nothing was different until here"
    opened = update(subagents={"type": "enabled", "inline_agents": None})
    assert (pins(opened), opened["inline_agents"]) == ([one.id, lead.id], ENABLED)
    assert opened["predefined_agents"][0]["version"] == 1, "what is left out keeps its pin"
    replaced = update(subagents={"type": "enabled", "predefined_agents": [two.id]})
    assert (pins(replaced), replaced["inline_agents"]) == ([two.id], ENABLED)
    said = refused(
        client.beta.agents.update,
        agent_id=lead.id,
        multiagent={
            "type": SWITCHES,
            "subagents": {"type": "enabled", "inline_agents": DISABLED, "predefined_agents": []},
        },
    )
    assert said.startswith("multiagent.subagents: ")
    assert pins(update(subagents={"type": "enabled", "predefined_agents": None})) == []
    said = refused(
        client.beta.agents.update,
        agent_id=lead.id,
        multiagent={"type": SWITCHES, "subagents": {"type": "enabled", "inline_agents": DISABLED}},
    )
    assert said.startswith("multiagent.subagents: "), "the merged result is what is checked"


def test_b6_2_another_type_replaces_at_its_level(client, raw):
    member = make_agent(client)
    lead = make_agent(client, multiagent=switches(member.id, inline_agents=DISABLED))
    client.beta.agents.update(lead.id, multiagent={"type": SWITCHES, "subagents": DISABLED})
    assert raw_agent(raw, lead)["multiagent"]["subagents"] == DISABLED
    client.beta.agents.update(lead.id, multiagent={"type": SWITCHES, "subagents": ENABLED})
    opened = {"type": "enabled", "inline_agents": ENABLED, "predefined_agents": []}
    assert raw_agent(raw, lead)["multiagent"]["subagents"] == opened
    client.beta.agents.update(lead.id, multiagent=coordinator(member.id, SELF))
    roster = raw_agent(raw, lead)["multiagent"]
    assert roster == coordinator(reference(member), reference(lead, 4))
    client.beta.agents.update(lead.id, multiagent={"type": SWITCHES})
    assert raw_agent(raw, lead)["multiagent"]["subagents"] == opened
    client.beta.agents.update(lead.id, multiagent=switches(member.id))
    client.beta.agents.update(lead.id, multiagent={"type": SWITCHES, "subagents": None})
    assert raw_agent(raw, lead)["multiagent"]["subagents"] == opened


@pytest.mark.conformance(23)
def test_b6_2_what_is_read_can_be_sent_back(client, raw):
    for multiagent in (switches(make_agent(client).id, SELF), {"type": SWITCHES, "subagents": DISABLED}):
        lead = make_agent(client, multiagent=multiagent)
        shown = raw_agent(raw, lead)["multiagent"]
        assert client.beta.agents.update(lead.id, multiagent=shown).version == 1
        assert client.beta.agents.retrieve(lead.id).multiagent.to_dict() == shown


# In a session


@pytest.mark.parametrize("form", ["coordinator", SWITCHES])
def test_a_session_shows_whole_definitions_fixed_at_its_creation(client, raw, form):
    member = make_agent(client, description="Reads.", system="Read.", tools=[toolset_asking_for("bash")])
    make = coordinator if form == "coordinator" else switches
    lead = make_agent(client, name="Lead", multiagent=make(member.id, SELF), metadata={"team": "north"})
    session = start(client, lead)
    definition, own = raw_agent(raw, member), raw_agent(raw, lead)
    for step in ("at creation", "later"):
        shown = session_agent(raw, session)["multiagent"]
        members = shown["agents"] if form == "coordinator" else shown["subagents"]["predefined_agents"]
        assert members == [as_member(definition), as_member(own)], step
        assert shown["type"] == form
        client.beta.agents.update(member.id, system="Read more.")
        client.beta.agents.update(lead.id, multiagent=None)
    (thread,) = raw.get(f"/v1/sessions/{session.id}/threads").json()["data"]
    check(BetaManagedAgentsSessionThread, thread)
    assert thread["agent"] == as_member(own)


def test_switched_off_subagents_are_shown_as_such(client, raw):
    lead = make_agent(client, multiagent={"type": SWITCHES, "subagents": DISABLED})
    shown = session_agent(raw, start(client, lead))["multiagent"]
    assert shown == {"type": SWITCHES, "advisor": DISABLED, "subagents": DISABLED, "workflows": DISABLED}


def test_overrides_reach_the_lead_and_its_copies_only(client, raw):
    member = make_agent(client, system="Member.", tools=[TOOLSET])
    lead = make_lead(client, SELF, member.id, system="Lead.")
    overrides = {"type": "agent_with_overrides", "id": lead.id, "system": "Changed.", "tools": [CUSTOM_TOOL]}
    shown = session_agent(raw, start(client, overrides))
    copy, other = shown["multiagent"]["agents"]
    assert copy == {key: value for key, value in shown.items() if key != "multiagent"}
    assert (copy["id"], copy["version"], copy["system"]) == (lead.id, 1, "Changed.")
    assert [tool["type"] for tool in copy["tools"]] == ["custom"]
    assert other == as_member(raw_agent(raw, member))
    assert raw_agent(raw, lead)["system"] == "Lead."


def test_changed_tools_of_a_session_reach_the_lead_and_its_copies_only(client, raw):
    member = make_agent(client, tools=[TOOLSET])
    session = start(client, make_agent(client, multiagent=switches(member.id, SELF)))
    before = session_agent(raw, session)
    client.beta.sessions.update(session.id, agent={"tools": [CUSTOM_TOOL]})
    after = session_agent(raw, session)
    other, copy = after["multiagent"]["subagents"]["predefined_agents"]
    assert copy["tools"] == after["tools"] and copy["tools"][0]["name"] == CUSTOM_TOOL["name"]
    assert other == before["multiagent"]["subagents"]["predefined_agents"][0]
    (updated,) = of_type(history(client, session), "session.updated")
    assert check(EVENTS, updated.to_dict(mode="json")).agent.multiagent.subagents.predefined_agents[1].tools
    client.beta.sessions.update(session.id, agent={"tools": [CUSTOM_TOOL]})
    assert len(of_type(history(client, session), "session.updated")) == 1


def test_a_chosen_version_of_the_lead_brings_its_own_roster(client, raw):
    member = make_agent(client)
    lead = make_lead(client, member.id, SELF)
    client.beta.agents.update(lead.id, multiagent=coordinator(SELF))
    shown = session_agent(raw, start(client, reference(lead, 1)))
    assert [(m["id"], m["version"]) for m in shown["multiagent"]["agents"]] == [(member.id, 1), (lead.id, 1)]
    shown = session_agent(raw, start(client, lead))
    assert [(m["id"], m["version"]) for m in shown["multiagent"]["agents"]] == [(lead.id, 2)]


def test_a_full_roster_takes_as_many_queries_as_a_small_one(workspace, server):
    members = [agents.create_agent(workspace, definition={"name": f"M{i}", "model": MODEL}) for i in range(20)]
    environment = environments.create_environment(workspace, definition={"name": "E"})
    counts = []
    for size in (2, 20):
        roster = [member.public_id for member in members[:size]]
        with CaptureQueriesContext(connection) as queries:
            definition = {"name": "Lead", "model": MODEL, "multiagent": coordinator(*roster)}
            lead = agents.create_agent(workspace, definition=definition)
            values = {"agent": lead.public_id, "environment_id": environment.public_id}
            sessions.create_session(workspace, values=values)
        counts.append(len(queries))
    assert counts[0] == counts[1]
