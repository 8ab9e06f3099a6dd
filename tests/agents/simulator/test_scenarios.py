"""Scenario files: what ships, what a bad one says, and how rules choose the next answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.simulator.conversation import Conversation
from agents.simulator.scenarios import ScenarioInvalid, all_scenarios, read_scenario
from agents.simulator.steps import Call, Step
from tests.agents.simulator.driver import Sandbox, drive

RULES = """
title: A team
description: Spawns one helper per name that a listing shows.
rules:
  - name: list
    when: {step: 1, tools: [bash], request: 'look at (?P<what>\\w+)'}
    do:
      - think: 'I list {{what}}.'
      - call: {tool: bash, input: {command: 'ls {{what}}'}}
  - name: spawn
    when: {result: {tool: bash, error: false, matches: '\\.log'}}
    do:
      - say: 'Step {{step}}: one helper each.'
      - call: {tool: spawn_agent, each: '^(?P<name>\\w+)\\.log$', input: {agent: '{{name}}', task: 'read {{name}}.log'}}
  - name: nothing
    when: {result: {tool: bash}}
    do:
      - say: 'Nothing in {{what}}: {{result}}'
  - name: report
    when: {seen: {tool: spawn_agent, error: false}, step: {min: 3}}
    times: 0
    do:
      - write: {path: /mnt/session/outputs/report.md, content: 'by {{request}}'}
"""


@pytest.fixture
def team(tmp_path):
    path = tmp_path / "team.yaml"
    path.write_text(RULES)
    return read_scenario(path)


def conversation(*steps, request="Please look at logs"):
    return Conversation(request, request, steps, {"bash": {}, "spawn_agent": {}})


def bash(result, *, is_error=False):
    return Step(calls=(Call("bash", {"command": "ls logs"}, result, is_error),))


def test_rules_act_on_what_tools_return(team):
    first = team.policy(conversation())
    assert (first.thinking, first.calls[0].input) == ("I list logs.", {"command": "ls logs"})
    second = team.policy(conversation(bash("cart.log\nledger.log\nnotes.txt")))
    assert second.text == "Step 2: one helper each."
    assert [call.input["agent"] for call in second.calls] == ["cart", "ledger"]
    other = team.policy(conversation(bash("no such folder", is_error=True)))
    assert other.text == "Nothing in : no such folder"
    assert other.calls == ()


def test_a_rule_fires_once_unless_it_says_otherwise(team):
    again = team.policy(conversation(bash("a.log"), bash("a.log")))
    assert again.text.startswith("Nothing in")
    spawned = Step(calls=(Call("spawn_agent", {}, "sthr_1"),))
    for _ in range(3):
        reply = team.policy(conversation(bash("a.log"), spawned))
        assert reply.calls[0].input["content"] == "by Please look at logs"


def test_without_a_fitting_rule_the_turn_ends(team):
    reply = team.policy(conversation(request="Hello"))
    assert reply.calls == ()
    assert "simulated model" in reply.text


@settings(deadline=None)
@given(st.lists(st.builds(bash, st.one_of(st.none(), st.text(max_size=20)), is_error=st.booleans()), max_size=5))
def test_shipped_policies_never_fail_on_odd_results(made):
    for scenario in all_scenarios():
        for request in ("", "summarise the files", "bash: ls"):
            conversation = Conversation(request, request, tuple(made), {"bash": {}, "write": {}, "read": {}})
            assert scenario.policy(conversation) == scenario.policy(conversation)


def test_the_default_comes_first_and_ids_are_file_names():
    ids = [scenario.id for scenario in all_scenarios()]
    assert ids[0] == "default"
    assert {"echo", "tools", "slow", "build-log-triage"} < set(ids)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("title: A team", "titel: A team"), "titel"),
        (("title: A team", "title: ''"), "title"),
        (("step: 1,", "stap: 1,"), "stap"),
        (("(?P<what>", "(?P<what"), "regular expression"),
        (("- think:", "- dream:"), "dream"),
        (("name: spawn", "name: list"), "same name"),
        (("rules:", "policy: tools\nrules:"), "either"),
        (("rules:", "policy: nope\nruls:"), "ruls"),
    ],
)
def test_a_bad_scenario_names_file_and_place(tmp_path, change, complaint):
    path = tmp_path / "bad.yaml"
    path.write_text(RULES.replace(*change))
    with pytest.raises(ScenarioInvalid, match=complaint) as caught:
        read_scenario(path)
    assert "bad.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "title: x", "title: [x", "title: x\nlatency_ms: 3"])
def test_files_that_are_no_scenario_are_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioInvalid, match=r"bad\.yaml"):
        read_scenario(path)


def test_disk_check_reads_the_figure_from_the_tool(tmp_path):
    run = drive("simulated/disk-check", "Is there room?", Sandbox(tmp_path))
    assert "% full" in run.text
    full = Step(calls=(Call("bash", {}, "Filesystem\n/dev/vda1 9 9 0 97% /workspace"),))
    scenario = next(s for s in all_scenarios() if s.id == "disk-check")
    assert "97 % full: free some space" in scenario.policy(conversation(full)).text
    refused = drive("simulated/disk-check", "Is there room?", Sandbox(tmp_path, bash="refused"))
    assert "could not be measured: bash is not available" in refused.text
