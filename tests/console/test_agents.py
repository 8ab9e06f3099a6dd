"""Agents: list, versions, what changed between them, and the form."""

from __future__ import annotations

import ast
import json

import pytest

from agents.models import Agent
from agents.services import agents as services
from console.definition_text import as_python, as_yaml
from tests import factories
from tests.console.html import Page, same


@pytest.fixture
def agent(workspace):
    return factories.make_agent(workspace, name="Scout", description="Looks around", system="Look.\nThen tell.")


def path(agent, rest=""):
    return f"/agents/{agent.public_id}{rest}"


def fields(**changes):
    """What a browser sends for a new agent."""
    tools = ("bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search")
    given = {
        "name": "Scout",
        "description": "",
        "model": "simulated/default",
        "system": "",
        "toolset": "on",
        "rest": "",
        **{f"tool_{tool}": "allow" for tool in tools},
    }
    return {**given, **changes}


def roster(*members):
    """What a person types to let the agent start others."""
    return json.dumps({"multiagent": {"type": "coordinator", "agents": list(members)}})


def current(agent):
    agent.refresh_from_db()
    return services.get_version(agent).definition


class TestList:
    def test_it_says_what_an_agent_is_while_it_is_empty(self, page):
        shown = Page(page.get("/agents"))
        assert "An agent is a name, a model, a prompt and tools" in shown.text
        assert "/agents/new" in shown.hrefs()

    def test_a_row_shows_name_model_and_version(self, page, agent):
        services.update_agent(agent, changes={"system": "Look twice."})
        text = Page(page.get("/agents")).text
        assert "Scout Looks around simulated/default 2 just now" in text

    def test_archived_ones_are_apart(self, page, agent):
        services.archive_agent(agent)
        assert "Scout" not in Page(page.get("/agents")).text.split("Changed")[-1]
        assert path(agent) in Page(page.get("/agents?archived=1")).hrefs()

    def test_search_by_name(self, page, agent, workspace):
        other = factories.make_agent(workspace, name="Writer")
        shown = Page(page.get("/agents?q=SCO"))
        assert path(agent) in shown.hrefs()
        assert path(other) not in shown.hrefs()
        assert "No agent has “zzz” in its name" in Page(page.get("/agents?q=zzz")).text

    def test_other_workspaces_have_their_own(self, page, elsewhere):
        foreign = factories.make_agent(elsewhere)
        assert path(foreign) not in Page(page.get("/agents")).hrefs()

    def test_htmx_gets_the_list_as_it_stands_in_the_page(self, page, agent):
        fragment = page.get("/agents?q=sco", headers={"HX-Request": "true"})
        assert "<html" not in fragment.content.decode()
        assert same(fragment, page.get("/agents?q=sco"))

    @pytest.mark.parametrize("n", [1, 30])
    def test_it_takes_the_same_queries_however_many_there_are(self, page, workspace, django_assert_num_queries, n):
        for number in range(n):
            factories.make_agent(workspace, name=f"Agent {number}")
        with django_assert_num_queries(5):
            assert page.get("/agents").status_code == 200


class TestPage:
    def test_it_shows_the_definition_and_the_same_as_code(self, page, agent):
        shown = Page(page.get(path(agent)))
        assert "Look. Then tell." in shown.text
        assert "permission_policy: type: always_allow" in shown.text
        assert 'client.beta.agents.create( name="Scout"' in shown.text
        assert 'base_url="http://testserver"' in shown.text

    def test_an_older_version_is_marked_as_such(self, page, agent):
        services.update_agent(agent, changes={"system": "Look twice."})
        text = Page(page.get(path(agent, "?version=1"))).text
        assert "version 1 of 2" in text
        assert "This is an older version" in text
        assert "Look. Then tell." in text

    @pytest.mark.parametrize("version, status", [("9", 404), ("0", 404), ("x", 400), ("-1", 400), ("9" * 30, 400)])
    def test_versions_that_are_not_there(self, page, agent, version, status):
        assert page.get(path(agent, f"?version={version}")).status_code == status

    def test_its_sessions_are_listed(self, page, agent, workspace):
        session = factories.make_session(workspace, agent=agent, title="A walk")
        shown = Page(page.get(path(agent)))
        assert f"/sessions/{session.public_id}" in shown.hrefs()
        assert f"/sessions?agent={agent.public_id}" in shown.hrefs()

    def test_an_agent_of_imported_logs_cannot_be_changed(self, page, workspace):
        factories.make_imported(workspace)
        imported = Agent.objects.get(imported=True)
        shown = Page(page.get(path(imported)))
        assert "It cannot run" in shown.text
        assert path(imported, "/edit") not in shown.hrefs()

    def test_archiving_asks_first_and_keeps_it_readable(self, page, agent):
        assert Page(page.get(path(agent))).find_all("dialog", id="archive-agent")
        page.post(path(agent, "/archive"))
        shown = Page(page.get(path(agent)))
        assert "archived" in shown.text
        assert path(agent, "/edit") not in shown.hrefs()


class TestCompare:
    def test_changed_lines_of_a_prompt_are_changed_lines(self, page, agent):
        services.update_agent(agent, changes={"system": "Look.\nThen think.\nThen tell."})
        shown = Page(page.get(path(agent, "/compare?from=1&to=2")))
        lines = shown.source.split("<span data-line=")[1:]
        added = [line for line in lines if line.startswith('"add"')]
        assert len(added) == 1
        assert "Then think." in added[0]
        assert not any(line.startswith('"remove"') for line in lines)

    def test_by_default_with_the_version_before(self, page, agent):
        services.update_agent(agent, changes={"description": "Looks closely"})
        text = Page(page.get(path(agent, "/compare?to=2"))).text
        assert "-description: Looks around" in text
        assert "+description: Looks closely" in text

    def test_a_version_with_itself_has_no_difference(self, page, agent):
        assert "No difference" in Page(page.get(path(agent, "/compare?from=1&to=1"))).text

    def test_what_stayed_the_same_is_shown_on_request(self, page, agent):
        services.update_agent(agent, changes={"description": "Looks closely"})
        assert "execution_identity" not in Page(page.get(path(agent, "/compare"))).text
        assert "execution_identity" in Page(page.get(path(agent, "/compare?whole=1"))).text

    def test_markup_in_a_prompt_is_shown_not_run(self, page, agent):
        services.update_agent(agent, changes={"system": "<script>window.pwned=1</script>"})
        assert "<script>window" not in page.get(path(agent, "/compare")).content.decode()

    def test_versions_that_are_not_there(self, page, agent):
        assert page.get(path(agent, "/compare?from=1&to=7")).status_code == 404


class TestCreate:
    def test_the_form_offers_the_models_there_are(self, page):
        shown = Page(page.get("/agents/new"))
        assert shown.find_all("option", value="simulated/default")

    def test_it_makes_the_agent_of_the_form(self, page, workspace):
        answer = page.post("/agents/new", fields(system="Be brief.\r\nBe kind.", tool_bash="ask", tool_write="off"))
        made = Agent.objects.get()
        assert answer["Location"] == path(made)
        definition = current(made)
        assert definition["system"] == "Be brief.\nBe kind."
        (toolset,) = definition["tools"]
        policies = {c["name"]: (c["enabled"], c["permission_policy"]["type"]) for c in toolset["configs"]}
        assert policies == {"bash": (True, "always_ask"), "write": (False, "always_allow")}
        assert toolset["default_config"]["enabled"] is True

    def test_without_the_built_in_tools(self, page):
        given = fields()
        del given["toolset"]
        page.post("/agents/new", given)
        assert current(Agent.objects.get())["tools"] == []

    def test_the_rest_is_json_as_in_the_api(self, page):
        tool = {"type": "custom", "name": "weather", "description": "d", "input_schema": {"type": "object"}}
        page.post("/agents/new", fields(rest=json.dumps({"tools": [tool], "metadata": {"team": "north"}})))
        definition = current(Agent.objects.get())
        assert [t["type"] for t in definition["tools"]] == ["agent_toolset_20260401", "custom"]
        assert definition["metadata"] == {"team": "north"}

    @pytest.mark.parametrize(
        "change, field, sentence",
        [
            ({"name": ""}, "name", "This field is required"),
            ({"model": " "}, "model", "This field is required"),
            ({"rest": "{"}, "rest", "This is not JSON"),
            ({"rest": "[]"}, "rest", "Write a JSON object"),
            ({"rest": '{"tool": []}'}, "rest", "tool: not known here"),
            ({"rest": '{"tools": [{"type": "custom", "name": "x"}]}'}, "rest", "Field required"),
            ({"rest": '{"multiagent": 1}'}, "rest", "multiagent"),
            ({"rest": roster("agent_nobody")}, "rest", "multiagent.agents.0: there is no agent"),
            ({"rest": roster("agent_\x00")}, "rest", "multiagent.agents.0: there is no agent"),
            ({"rest": roster("agent_\ud800")}, "rest", "multiagent.agents.0: there is no agent"),
            ({"rest": roster({"type": "self"}, {"type": "self"})}, "rest", "multiagent.agents.1: "),
            ({"rest": roster({"type": "advisor", "model": "m"})}, "rest", "not built yet"),
            (
                {"rest": '{"multiagent": {"type": "multiagent_20261001", "workflows": {"type": "enabled"}}}'},
                "rest",
                "multiagent.workflows: ",
            ),
            ({"rest": '{"skills": [{"type": "anthropic", "skill_id": "xlsx"}]}'}, "rest", "not built yet"),
            ({"rest": '{"metadata": {"k": 1}}'}, "rest", "metadata"),
            ({"system": "x" * 100_001}, "system", "100,000"),
        ],
    )
    def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_lost(self, page, change, field, sentence):
        answer = page.post("/agents/new", fields(**{"description": "kept", **change}))
        assert answer.status_code == 422
        shown = Page(answer)
        assert sentence in shown.text
        assert f'id="id_{field}_error"' in shown.source
        assert "kept" in shown.text
        assert not Agent.objects.exists()


class TestEdit:
    def test_the_form_holds_what_is_there(self, page, workspace):
        configs = [{"name": "bash", "permission_policy": {"type": "always_ask"}}, {"name": "grep", "enabled": False}]
        toolset = {"type": "agent_toolset_20260401", "configs": configs}
        agent = factories.make_agent(workspace, tools=[toolset], metadata={"a": "b"})
        shown = Page(page.get(path(agent, "/edit")))
        chosen = [o["value"] for o in shown.find_all("option") if "selected" in o]
        assert chosen == ["ask", "allow", "allow", "allow", "allow", "off", "allow", "allow"]
        assert '"a": "b"' in shown.text

    def test_saving_without_a_change_makes_no_version(self, page, workspace):
        tool = {"type": "custom", "name": "weather", "description": "d", "input_schema": {"type": "object"}}
        configs = [{"name": "bash", "permission_policy": {"type": "always_ask"}}, {"name": "read", "enabled": True}]
        toolset = {"type": "agent_toolset_20260401", "configs": configs}
        agent = factories.make_agent(workspace, tools=[toolset, tool], metadata={"a": "b"}, system="Be kind.")
        before = current(agent)
        from console.agent_form import initial_of

        given = {k: v for k, v in initial_of(before, 1).items() if v not in (False, None)}
        answer = page.post(path(agent, "/edit"), {**given, "toolset": "on"}, follow=True)
        assert "there is no new version" in Page(answer).text
        assert current(agent) == before
        assert agent.version == 1

    def test_a_change_makes_the_next_version(self, page, agent):
        answer = page.post(path(agent, "/edit"), fields(system="Look hard.", version=1), follow=True)
        assert "Version 2 is saved" in Page(answer).text
        definition = current(agent)
        assert (definition["system"], definition["description"]) == ("Look hard.", None)

    def test_a_roster_is_saved_and_kept_by_other_changes(self, page, workspace):
        member = factories.make_agent(workspace, name="Member")
        page.post("/agents/new", fields(name="Lead", rest=roster(member.public_id, {"type": "self"})))
        lead = Agent.objects.get(name="Lead")
        stored = current(lead)["multiagent"]
        assert stored["agents"] == [{"type": "agent", "id": member.public_id, "version": 1}, {"type": "self"}]
        services.update_agent(member, changes={"system": "Newer."})
        shown = Page(page.get(path(lead)))
        assert member.public_id in shown.text and "multiagent" in shown.text
        from console.agent_form import initial_of

        given = {k: v for k, v in initial_of(current(lead), 1).items() if v not in (False, None)}
        page.post(path(lead, "/edit"), {**given, "toolset": "on", "system": "Lead on."})
        assert (current(lead)["system"], current(lead)["multiagent"]) == ("Lead on.", stored)
        page.post(path(lead, "/edit"), fields(name="Lead", version=2, rest='{"multiagent": null}'))
        assert current(lead)["multiagent"] is None

    @pytest.mark.parametrize(
        "member, sentence",
        [
            ("agent_nobody", "multiagent.agents.0: there is no agent"),
            ({"type": "advisor", "model": "m"}, "not built yet"),
        ],
    )
    def test_what_is_wrong_with_a_roster_is_said_beside_it(self, page, agent, member, sentence):
        answer = page.post(path(agent, "/edit"), fields(version=1, rest=roster(member)))
        assert answer.status_code == 422
        assert sentence in Page(answer).text
        assert 'id="id_rest_error"' in Page(answer).source
        assert agent.versions.count() == 1

    def test_metadata_that_was_removed_is_removed(self, page, workspace):
        agent = factories.make_agent(workspace, metadata={"keep": "1", "drop": "2"})
        page.post(path(agent, "/edit"), fields(version=1, rest='{"metadata": {"keep": "1"}}'))
        assert current(agent)["metadata"] == {"keep": "1"}

    def test_the_same_model_keeps_its_effort(self, page, workspace):
        agent = factories.make_agent(workspace, model={"id": "simulated/default", "effort": "low"})
        page.post(path(agent, "/edit"), fields(version=1, system="New."))
        assert current(agent)["model"]["effort"] == {"type": "low"}

    def test_somebody_quicker_wins_and_nothing_typed_is_lost(self, page, agent):
        services.update_agent(agent, changes={"system": "First."})
        answer = page.post(path(agent, "/edit"), fields(system="Second.", version=1))
        shown = Page(answer)
        assert answer.status_code == 422
        assert "is at version 2, not 1" in shown.text
        assert "Second." in shown.text
        assert current(agent)["system"] == "First."

    def test_an_archived_agent_stays_as_it_is(self, page, agent):
        services.archive_agent(agent)
        answer = page.post(path(agent, "/edit"), fields(version=1, system="No."))
        assert answer.status_code == 422
        assert "is archived and cannot change" in Page(answer).text


def test_yaml_keeps_prompts_readable():
    text = as_yaml({"metadata": {}, "system": "One\nTwo \nThree\t!", "name": "x\u202ey"})
    assert text == "name: x‹U+202E›y\nsystem: |-\n  One\n  Two\n  Three    !\nmetadata: {}\n"


@pytest.mark.parametrize(
    "value",
    [
        {"a": "b"},
        ["x" * 90, {"k": ['it\'s "quoted"', None, True, 1.5]}],
        "line\nbreak",
        "emoji 👩\u200d👧 \u202e \ud83d",
        "it's",
        'say "hi"',
    ],
)
def test_code_to_paste_means_the_same(value):
    assert ast.literal_eval(as_python(value)) == value
