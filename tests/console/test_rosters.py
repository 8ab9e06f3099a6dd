"""An agent's team: chosen from a list, written as JSON, and shown with its versions."""

from __future__ import annotations

import json

import pytest

from agents.models import Agent
from agents.services import agents as services
from tests import factories
from tests.console.hostile import PAYLOADS
from tests.console.html import Page
from tests.console.test_agents import current, fields, path


@pytest.fixture
def north(workspace):
    return factories.make_agent(workspace, name="north", description="Reads northern logs")


@pytest.fixture
def south(workspace):
    return factories.make_agent(workspace, name="south")


def entry(agent, version=1):
    return {"type": "agent", "id": agent.public_id, "version": version}


def coordinator(*members):
    return {"type": "coordinator", "agents": list(members)}


def made():
    return current(Agent.objects.get(name="Scout"))["multiagent"]


def checkboxes(answer):
    """The offered agents' names with whether each is chosen, disabled, or open."""
    shown = Page(answer)
    found = shown.find_all("input", name="team")
    states = ["chosen" if "checked" in box else "disabled" if "disabled" in box else "open" for box in found]
    return dict(zip([box["value"] for box in found], states, strict=True))


class TestChoosing:
    def test_the_agents_of_the_workspace_are_offered(self, page, workspace, north, south, elsewhere):
        services.archive_agent(factories.make_agent(workspace, name="gone"))
        factories.make_imported(workspace)
        factories.make_agent(elsewhere, name="foreign")
        lead = factories.make_agent(workspace, name="lead", multiagent=coordinator(entry(north)))
        offered = checkboxes(page.get("/agents/new"))
        assert offered == {lead.public_id: "disabled", north.public_id: "open", south.public_id: "open"}
        text = Page(page.get("/agents/new")).text
        assert "leads a team itself" in text
        assert "Reads northern logs" in text
        assert lead.public_id not in checkboxes(page.get(path(lead, "/edit")))

    def test_without_other_agents_it_says_what_to_do(self, page):
        assert "Create the members first, then their lead" in Page(page.get("/agents/new")).text

    def test_the_chosen_become_the_roster(self, page, north, south):
        page.post("/agents/new", fields(team=[south.public_id, north.public_id]))
        assert made() == coordinator(entry(north), entry(south)) or made() == coordinator(entry(south), entry(north))

    def test_copies_of_itself(self, page, north):
        page.post("/agents/new", fields(team=[north.public_id], team_self="on"))
        assert made() == coordinator(entry(north), {"type": "self"})

    def test_helpers_of_its_own(self, page, north):
        page.post("/agents/new", fields(team=[north.public_id], team_inline="on"))
        subagents = made()["subagents"]
        assert subagents["inline_agents"] == {"type": "enabled"}
        assert subagents["predefined_agents"] == [entry(north)]

    def test_nobody_chosen_is_no_team(self, page, north):
        page.post("/agents/new", fields())
        assert made() is None

    def test_more_than_twenty_are_too_many(self, page, workspace):
        ids = [factories.make_agent(workspace, name=f"a{n}").public_id for n in range(21)]
        answer = page.post("/agents/new", fields(team=ids))
        assert answer.status_code == 422
        assert "These are 21 agents. Choose at most 20." in Page(answer).text
        assert set(checkboxes(answer).values()) == {"chosen"}

    def test_an_agent_that_is_gone_is_said_beside_the_list(self, page, north):
        answer = page.post("/agents/new", fields(team=[north.public_id, "agent_gone"]))
        assert answer.status_code == 422
        assert "not there any more" in Page(answer).text
        assert 'id="id_team_error"' in answer.content.decode()

    def test_a_member_that_cannot_be_one_is_named(self, page, workspace, north, south):
        lead = factories.make_agent(workspace, name="lead", multiagent=coordinator(entry(north)))
        answer = page.post("/agents/new", fields(team=[lead.public_id]))
        assert answer.status_code == 422
        shown = Page(answer)
        assert "lead: agent" in shown.text and "delegate only one level deep" in shown.text
        assert 'id="id_team_error"' in shown.source
        assert "multiagent.agents.0" not in shown.text

    def test_in_two_places_it_is_refused(self, page, north):
        rest = json.dumps({"multiagent": coordinator(north.public_id)})
        answer = page.post("/agents/new", fields(team=[north.public_id], rest=rest))
        assert answer.status_code == 422
        assert "The team is chosen above" in Page(answer).text
        assert 'id="id_rest_error"' in answer.content.decode()

    def test_as_json_it_still_works(self, page, north):
        page.post("/agents/new", fields(rest=json.dumps({"multiagent": coordinator(north.public_id)})))
        assert made() == coordinator(entry(north))

    def test_hostile_names_and_descriptions_stay_text(self, page, workspace):
        payload = " ".join(PAYLOADS)
        member = factories.make_agent(workspace, name=payload[:250], description=payload[:2000])
        lead = factories.make_agent(workspace, name="lead", multiagent=coordinator(entry(member)))
        for address in ("/agents/new", path(lead), path(lead, "/edit"), "/agents"):
            shown = Page(page.get(address))
            assert shown.problems == []
            assert "<script>window" not in shown.source
            assert not [a for _, a in shown.elements if any(name.startswith("on") for name in a)]

    @pytest.mark.parametrize("n", [2, 40])
    def test_the_form_takes_the_same_queries(self, page, workspace, django_assert_num_queries, n):
        for number in range(n):
            factories.make_agent(workspace, name=f"a{number}")
        with django_assert_num_queries(4):
            assert page.get("/agents/new").status_code == 200


class TestChanging:
    @pytest.fixture
    def lead(self, workspace, north, south):
        team = coordinator(entry(south), {"type": "self"}, entry(north))
        return factories.make_agent(workspace, name="lead", multiagent=team)

    def given(self, lead, **changes):
        from console.agent_form import initial_of

        values = {k: v for k, v in initial_of(current(lead), lead.version).items() if v not in (False, None)}
        return {**values, "toolset": "on", **changes}

    def test_what_is_there_is_chosen_and_saving_it_changes_nothing(self, page, lead, north, south):
        assert checkboxes(page.get(path(lead, "/edit"))) == {north.public_id: "chosen", south.public_id: "chosen"}
        answer = page.post(path(lead, "/edit"), self.given(lead), follow=True)
        assert "there is no new version" in Page(answer).text

    def test_a_member_keeps_its_version_until_the_newest_is_asked_for(self, page, lead, north):
        services.update_agent(north, changes={"system": "Look twice."})
        assert "v1; v2 is newest" in Page(page.get(path(lead, "/edit"))).text
        page.post(path(lead, "/edit"), self.given(lead, system="Lead on."))
        assert current(lead)["multiagent"]["agents"][2] == entry(north)
        page.post(path(lead, "/edit"), self.given(lead, team_newest="on"))
        assert current(lead)["multiagent"]["agents"][2] == entry(north, 2)

    def test_one_is_taken_out_and_the_others_keep_their_places(self, page, lead, north, south):
        page.post(path(lead, "/edit"), self.given(lead, team=[north.public_id]))
        assert current(lead)["multiagent"] == coordinator({"type": "self"}, entry(north))

    def test_taking_everybody_out_ends_the_team(self, page, lead):
        given = self.given(lead, team=[])
        del given["team_self"]
        page.post(path(lead, "/edit"), given)
        assert current(lead)["multiagent"] is None

    def test_an_archived_member_is_shown_and_its_name_said(self, page, lead, north):
        services.archive_agent(north)
        assert "archived: take it out" in Page(page.get(path(lead, "/edit"))).text
        answer = page.post(path(lead, "/edit"), self.given(lead, system="x"), follow=True)
        assert answer.status_code in (200, 422)
        answer = page.post(path(lead, "/edit"), self.given(lead, team_newest="on"))
        assert answer.status_code == 422
        assert "north: agent" in Page(answer).text and "is archived" in Page(answer).text

    def test_what_the_list_cannot_say_stays_in_the_json(self, page, workspace):
        off = {"type": "multiagent_20261001", "subagents": {"type": "disabled"}}
        agent = factories.make_agent(workspace, name="quiet", multiagent=off)
        before = current(agent)["multiagent"]
        assert "multiagent_20261001" in Page(page.get(path(agent, "/edit"))).text
        page.post(path(agent, "/edit"), self.given(agent, system="Hush."))
        assert (current(agent)["system"], current(agent)["multiagent"]) == ("Hush.", before)

    def test_switching_helpers_on_and_off_keeps_the_members(self, page, lead, north, south):
        page.post(path(lead, "/edit"), self.given(lead, team_inline="on"))
        assert current(lead)["multiagent"]["subagents"]["inline_agents"]["type"] == "enabled"
        lead.refresh_from_db()
        given = self.given(lead)
        del given["team_inline"]
        page.post(path(lead, "/edit"), given)
        stored = current(lead)["multiagent"]["subagents"]
        assert stored["inline_agents"]["type"] == "disabled"
        assert [e.get("id") for e in stored["predefined_agents"]] == [south.public_id, None, north.public_id]


class TestShowing:
    def test_the_page_of_a_lead_lists_its_team(self, page, workspace, north, south):
        subagents = {
            "type": "enabled",
            "inline_agents": {"type": "enabled"},
            "predefined_agents": [entry(north), {"type": "self"}, entry(south)],
        }
        lead = factories.make_agent(
            workspace, name="lead", multiagent={"type": "multiagent_20261001", "subagents": subagents}
        )
        services.update_agent(north, changes={"system": "Look twice."})
        services.archive_agent(south)
        shown = Page(page.get(path(lead)))
        assert f"{path(north)}?version=1" in shown.hrefs()
        assert f"{path(north, '/compare')}?from=1&to=2" in shown.hrefs()
        for words in ("copies of itself", "helpers that it defines itself", "v2 is newest", "archived"):
            assert words in shown.text

    def test_an_agent_that_works_alone_has_no_such_part(self, page, north):
        assert not Page(page.get(path(north))).find_all("h2", id="roster-title")

    def test_the_list_says_who_leads(self, page, workspace, north):
        factories.make_agent(workspace, name="lead", multiagent=coordinator(entry(north), {"type": "self"}))
        assert "leads 2 agents" in Page(page.get("/agents")).text
