"""Which agents an agent may put to work: chosen from a list in its form, and shown on its page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import F, Q

from agents.errors import DaybreakError
from agents.models import Agent, AgentVersion, Workspace
from agents.services import multiagent
from agents.services.multiagent import COORDINATOR, DISABLED, ENABLED, MAX_MEMBERS, SELF, SWITCHES

Wire = dict[str, Any]

LISTED = 300  # agents to choose from; the others can be named in the JSON
_PLACE = re.compile(r"^multiagent\.(?:agents|subagents\.predefined_agents)\.(\d+)(?:\.\w+)?: ")
_SHOWN = ("agent__public_id", "agent__name", "agent__archived_at", "version", "definition__description")


@dataclass(frozen=True)
class Candidate:
    """An agent that can be chosen. `kept` is the version that the roster names, where it names one already."""

    public_id: str
    name: str
    description: str
    version: int
    leads: bool
    archived: bool
    chosen: bool
    kept: int | None

    @property
    def is_behind(self) -> bool:
        return self.kept is not None and self.kept != self.version


@dataclass(frozen=True)
class RosterLine:
    """A member as the page of its lead names it. `agent` is None for the lead itself."""

    agent: Agent | None
    version: int | None

    @property
    def is_behind(self) -> bool:
        return self.agent is not None and self.version != self.agent.version


class RosterFields(forms.Form):
    """The part of an agent's form that is about its team."""

    team = forms.MultipleChoiceField(
        required=False,
        label="Agents it can start",
        error_messages={"invalid_choice": "One of the chosen agents is not there any more. Choose again."},
    )
    team_self = forms.BooleanField(required=False, label="Copies of this agent itself")
    team_inline = forms.BooleanField(required=False, label="It may define its own helpers, within its own tools")
    team_newest = forms.BooleanField(required=False, label="Use the newest version of every chosen agent")

    candidates: list[Candidate]

    def offer(self, workspace: Workspace, *, owner: Agent | None, stored: Wire | None) -> None:
        """List the agents to choose from. `stored` is the roster as it is."""
        kept = {entry["id"]: entry["version"] for entry in _members(stored)} if is_choosable(stored) else {}
        chosen = {str(value) for value in self["team"].value() or []}
        rows = _candidates(workspace, owner, also={*kept, *chosen})
        self.candidates = [
            Candidate(
                public_id=row["agent__public_id"],
                name=row["agent__name"],
                description=row["definition__description"] or "",
                version=row["version"],
                leads=row["definition__multiagent"] is not None,
                archived=row["agent__archived_at"] is not None,
                chosen=row["agent__public_id"] in chosen,
                kept=kept.get(row["agent__public_id"]),
            )
            for row in rows
        ]
        field: forms.MultipleChoiceField = self.fields["team"]  # type: ignore[assignment]
        field.choices = [(one.public_id, one.name) for one in self.candidates]

    @property
    def some_are_behind(self) -> bool:
        return any(candidate.is_behind for candidate in self.candidates)

    def clean_team(self) -> list[str]:
        chosen: list[str] = self.cleaned_data["team"]
        if len(chosen) > MAX_MEMBERS:
            raise forms.ValidationError(f"These are {len(chosen)} agents. Choose at most {MAX_MEMBERS}.")
        return chosen

    @property
    def has_team(self) -> bool:
        data = self.cleaned_data
        return bool(data.get("team") or data.get("team_self") or data.get("team_inline"))

    def roster(self, stored: Wire | None) -> Wire | None:
        """What was chosen, as the API takes it. Members that were there before keep their place and version."""
        data = self.cleaned_data
        if not self.has_team:
            return None
        before = multiagent.roster(stored) if is_choosable(stored) else []
        members = [
            entry for _, entry in before if (data["team_self"] if entry == SELF else entry["id"] in data["team"])
        ]
        known = [entry.get("id") for entry in members]
        members += [{"type": "agent", "id": public_id} for public_id in data["team"] if public_id not in known]
        if data["team_newest"]:
            members = [entry if entry == SELF else {"type": "agent", "id": entry["id"]} for entry in members]
        if data["team_self"] and SELF not in members:
            members.append(dict(SELF))
        if not data["team_inline"] and (stored is None or stored["type"] == COORDINATOR or not members):
            return {"type": COORDINATOR, "agents": members}
        inline = dict(ENABLED if data["team_inline"] else DISABLED)
        subagents = {"type": "enabled", "inline_agents": inline, "predefined_agents": members}
        return {"type": SWITCHES, "advisor": dict(DISABLED), "subagents": subagents, "workflows": dict(DISABLED)}

    def said_of_team(self, exc: DaybreakError, asked: Wire | None) -> str:
        """A complaint about a place in the roster, with the agent's name instead of the place."""
        place = _PLACE.match(exc.message)
        if place is None:
            return exc.message.removeprefix("multiagent: ")
        names = {one.public_id: one.name for one in self.candidates}
        entries = [entry for _, entry in multiagent.roster(asked)]
        number = int(place[1])
        entry = entries[number] if number < len(entries) else {}
        name = "This agent itself" if entry == SELF else names.get(entry.get("id", ""), "One of the agents")
        return f"{name}: {exc.message[place.end() :]}"


def is_choosable(stored: Wire | None) -> bool:
    """Whether the fields can say everything that a stored roster says."""
    return stored is None or multiagent.can_delegate(stored)


def initial_roster(stored: Wire | None) -> dict[str, Any]:
    """The fields' initial values; none of them is set for a roster that they cannot say."""
    if not is_choosable(stored):
        stored = None
    return {
        "team": [entry["id"] for entry in _members(stored)],
        "team_self": any(entry == SELF for _, entry in multiagent.roster(stored)),
        "team_inline": multiagent.allows_inline(stored),
    }


def lines_of(workspace: Workspace, stored: Wire | None) -> list[RosterLine]:
    """A stored roster as its lead's page lists it. One query."""
    entries = [entry for _, entry in multiagent.roster(stored)]
    ids = [entry["id"] for entry in entries if entry != SELF]
    known = {agent.public_id: agent for agent in Agent.objects.in_workspace(workspace).filter(public_id__in=ids)}
    found = [RosterLine(None, None) if e == SELF else RosterLine(known.get(e["id"]), e["version"]) for e in entries]
    return [line for line in found if line.agent is not None or line.version is None]


def _members(stored: Wire | None) -> list[Wire]:
    return [entry for _, entry in multiagent.roster(stored) if entry != SELF]


def _candidates(workspace: Workspace, owner: Agent | None, *, also: set[str]) -> list[Wire]:
    """The newest versions of agents that can be chosen, by name, and of those that are chosen already."""
    newest = AgentVersion.objects.filter(agent__workspace=workspace, version=F("agent__version"))
    if owner is not None:
        newest = newest.exclude(agent=owner)
    named = {public_id for public_id in also if public_id.isprintable()}
    open_ones = Q(agent__archived_at__isnull=True, agent__imported=False)
    fields = newest.values(*_SHOWN, "definition__multiagent").order_by("agent__name", "agent_id")
    rows = list(fields.filter(open_ones)[:LISTED])
    missing = named - {row["agent__public_id"] for row in rows}
    return rows + (list(fields.filter(agent__public_id__in=missing)) if missing else [])
