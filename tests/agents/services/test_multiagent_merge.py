"""Updates of a `multiagent_20261001` configuration: absent keeps, null is the default, another type replaces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import Invalid
from agents.services.definitions import changed_definition, new_definition

SWITCHES = "multiagent_20261001"
MEMBERS = st.lists(st.sampled_from(["agent_a", "agent_b", "agent_c"]), unique=True)
SWITCH = st.sampled_from([None, "enabled", "disabled"])


@dataclass(frozen=True)
class Subagents:
    """The state by the rules of the contract, one level after the other."""

    enabled: bool = True
    inline: bool = True
    members: tuple[str, ...] = ()

    def after(self, sent: dict[str, Any]) -> Subagents:
        if "subagents" not in sent:
            return self
        subagents = sent["subagents"]
        if subagents is None:
            return Subagents()
        if subagents["type"] == "disabled":
            return Subagents(enabled=False)
        found = self if self.enabled else Subagents()
        if "inline_agents" in subagents:
            inline = subagents["inline_agents"]
            found = replace(found, inline=inline is None or inline["type"] == "enabled")
        if "predefined_agents" in subagents:
            found = replace(found, members=tuple(entry["id"] for entry in subagents["predefined_agents"] or []))
        return found

    @property
    def is_allowed(self) -> bool:
        return not self.enabled or self.inline or bool(self.members)

    @property
    def wire(self) -> dict[str, Any]:
        if not self.enabled:
            return {"type": "disabled"}
        inline = {"type": "enabled" if self.inline else "disabled"}
        return {"type": "enabled", "inline_agents": inline, "predefined_agents": references(self.members)}


def references(members: Any) -> list[dict[str, Any]]:
    return [{"type": "agent", "id": member, "version": 1} for member in members]


def switch(word: str | None) -> dict[str, Any] | None:
    return None if word is None else {"type": word}


enabled_subagents = st.fixed_dictionaries(
    {"type": st.just("enabled")},
    optional={
        "inline_agents": SWITCH.map(switch),
        "predefined_agents": st.one_of(st.none(), MEMBERS.map(references)),
    },
)
any_subagents = st.one_of(enabled_subagents, enabled_subagents, st.none(), st.just({"type": "disabled"}))
updates = st.fixed_dictionaries(
    {"type": st.just(SWITCHES)},
    optional={
        "subagents": any_subagents,
        "advisor": st.sampled_from([None, {"type": "disabled"}]),
        "workflows": st.sampled_from([None, {"type": "disabled"}]),
    },
)


@settings(max_examples=200)
@given(st.lists(updates, min_size=4, max_size=10))
def test_b6_2_any_row_of_updates_ends_where_the_rules_say(row):
    definition = new_definition({"name": "Lead", "model": "simulated/default", "multiagent": {"type": SWITCHES}})
    expected = Subagents()
    for sent in row:
        wanted = expected.after(sent)
        if not wanted.is_allowed:
            with pytest.raises(Invalid, match=r"^multiagent\.subagents: "):
                changed_definition(definition, {"multiagent": sent})
            continue
        expected = wanted
        definition = changed_definition(definition, {"multiagent": sent})
        stored = definition["multiagent"]
        assert stored["subagents"] == expected.wire
        assert (stored["advisor"], stored["workflows"]) == ({"type": "disabled"}, {"type": "disabled"})
        assert changed_definition(definition, {"multiagent": stored}) == definition
        assert changed_definition(definition, {"system": None}) == definition


@given(updates)
def test_b6_2_another_topology_replaces_all(sent):
    roster = {"type": "coordinator", "agents": references(["agent_z"])}
    definition = new_definition({"name": "Lead", "model": "simulated/default", "multiagent": roster})
    wanted = Subagents().after(sent)
    if wanted.is_allowed:
        changed = changed_definition(definition, {"multiagent": sent})
        assert changed["multiagent"]["subagents"] == wanted.wire
        assert changed_definition(changed, {"multiagent": roster}) == definition
