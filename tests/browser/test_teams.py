"""A team of agents in the browser: watched, answered, read, and put together."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from agents.models import Agent
from tests.browser.test_journeys import expect, live, session_path
from tests.browser.test_looks import WIDER, findings
from tests.console import teams
from tests.worker import wait_until

pytestmark = pytest.mark.chromium


@pytest.fixture
def team(lab: Any, local_worker: Any) -> Any:
    """A lead with three helpers at rest: two have reported, one waits for a person."""
    north = teams.make_member(lab, "north", description="Reads the logs of the northern pipelines")
    south = teams.make_member(lab, "south", asks=True)
    script = teams.parallel(
        r"spawn: north | say: The disk was full on Tuesday.",
        r"spawn: south | say: The old build is in the way.\nbash: rm -rf build",
        r"spawn: north | say: An expired certificate.",
        "spawn: nobody | x",
        "wait:",
    )
    session = teams.start(lab, script + "\nsay: Two causes.", north, south, title="Why did it fail?")
    return teams.settle(session)


def test_a_helpers_question_is_answered_where_it_stands(open_tab, ana, team):
    (call,) = teams.wait_for_questions(team, 1)
    page = live(open_tab(ana), team, "?tab=threads")
    question = page.get_by_role("article", name=re.compile("south asks to run bash"))
    expect(question).to_contain_text("rm -rf build")
    expect(question).to_contain_text("The old build is in the way.")
    row = page.get_by_role("row", name=re.compile("^south"))
    expect(row).to_contain_text("waits for you")
    expect(page.get_by_role("row", name=re.compile("^lead"))).to_contain_text("waits for 1 agent")
    page.keyboard.press("w")
    assert page.evaluate("document.activeElement.id") == f"pending-{call.use_event.public_id}"
    question.get_by_placeholder("Reason for the agent").fill("Keep the build")
    question.get_by_role("button", name="Refuse").click()
    expect(question).to_have_count(0)
    expect(row).to_contain_text("finished")
    expect(page.locator("#events")).to_contain_text("south reported to lead")
    expect(page.locator("#session-header .status")).to_have_text("done")
    call.refresh_from_db()
    assert (call.decision, call.deny_message, call.decided_by) == ("deny", "Keep the build", "ana")


def test_two_questions_are_decided_each_once(open_tab, ana, lab, local_worker):
    south = teams.make_member(lab, "south", asks=True)
    script = teams.parallel("spawn: south | bash: echo one", "spawn: south | bash: echo two", "wait:")
    session = teams.settle(teams.start(lab, script, south))
    teams.wait_for_questions(session, 2)
    page = live(open_tab(ana), session)
    expect(page.get_by_role("article")).to_have_count(2)
    page.get_by_role("article", name="south asks").first.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("article")).to_have_count(1)
    page.get_by_role("article").get_by_role("button", name="Refuse").click()
    expect(page.locator("#session-header .status")).to_have_text("done")
    decisions = [call.decision for call in session.tool_calls.filter(name="bash").order_by("use_event__seq")]
    assert sorted(decisions) == ["allow", "deny"]
    answers = page.locator('.event[data-type="user.tool_confirmation"]')
    assert sorted(text.split()[1] for text in answers.locator(".event-says").all_inner_texts()) == ["bash", "bash"]


def test_reading_a_run_from_the_team_to_an_agent_and_back(open_tab, ana, team):
    page = open_tab(ana).open(session_path(team, "?tab=threads"))
    region = page.get_by_role("region", name="Team")
    expect(region.get_by_role("row")).to_have_count(5)
    for line in (
        "lead started north and asked",
        "lead could not start another agent There is no agent named",
        "lead waits for 3 agents: north, south, north 2",
        "north reported to lead",
    ):
        assert line in " ".join(page.locator("#events").inner_text().split()), line
    region.get_by_role("link", name="north 2", exact=True).click()
    expect(page.get_by_text("only north 2")).to_be_visible()
    expect(page.locator("#events .event").first).to_contain_text("was asked by lead")
    page.get_by_role("link", name="sent by lead").click()
    focused = page.locator(".event[data-focused]")
    expect(focused).to_contain_text("started north 2 and asked")
    focused.get_by_role("link", name="received by north 2").click()
    expect(page.locator(".event[data-focused]")).to_contain_text("was asked by lead")


def test_an_agent_is_stopped_and_another_is_ended(open_tab, ana, lab, local_worker):
    script = teams.parallel("spawn: north | bash: sleep 60", "spawn: north | say: Done.", "wait: any")
    session = teams.start(lab, script)
    wait_until(lambda: session.tool_calls.filter(name="bash", state="running").exists())
    page = live(open_tab(ana), session, "?tab=threads")
    page.get_by_role("button", name="Interrupt north", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("^north for"))).to_contain_text("finished")
    expect(page.locator("#session-header .status")).to_have_text("done")
    page.get_by_role("button", name="End north 2").click()
    dialog = page.get_by_role("dialog", name="End north 2?")
    dialog.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="End north 2").click()
    dialog.get_by_role("button", name="End the agent").click()
    expect(page.get_by_text("north has ended")).to_be_visible()
    page.locator("#inspector").get_by_role("link", name="Agents").click()
    expect(page.get_by_role("row", name=re.compile("^north 2"))).to_contain_text("ended")


def test_a_lead_is_made_without_writing_json(open_tab, ana, lab):
    for name in ("north", "south", "east"):
        teams.make_member(lab, name, description=f"Works in the {name}")
    page = open_tab(ana).open("/agents/new")
    page.get_by_role("textbox", name="Name").fill("lead")
    page.get_by_role("searchbox", name="Search agents").fill("nor")
    expect(page.get_by_role("checkbox", name=re.compile("^south"))).to_be_hidden()
    page.get_by_role("checkbox", name=re.compile("^north")).check()
    page.get_by_role("searchbox", name="Search agents").fill("")
    page.get_by_role("checkbox", name=re.compile("^east")).check()
    expect(page.get_by_text("2 chosen")).to_be_visible()
    page.get_by_role("checkbox", name="It may define its own helpers").check()
    page.get_by_role("button", name="Create the agent").click()
    panel = page.get_by_role("region", name="Team")
    expect(panel.get_by_role("link", name="north")).to_be_visible()
    expect(panel).to_contain_text("helpers that it defines itself")
    lead = Agent.objects.get(name="lead")
    subagents = lead.versions.get().definition["multiagent"]["subagents"]
    assert [entry["type"] for entry in subagents["predefined_agents"]] == ["agent", "agent"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_a_team_looks_right(open_tab, ana, lab, team, width, theme):
    tab = open_tab(ana, width=width, theme=theme, axe=True)
    lead = team.agent
    paths = {
        "team": session_path(team),
        "lead": f"/agents/{lead.public_id}",
        "roster": f"/agents/{lead.public_id}/edit",
    }
    for name, path in {**paths, "agents": "/agents", "home": "/"}.items():
        page = tab.open(path)
        assert page.evaluate(WIDER) == [], name
        assert findings(tab) == [], name
        if folder := os.environ.get("DAYBREAK_LOOK"):
            page.screenshot(path=f"{folder}/{name}-{width}-{theme}.png", full_page=True)
