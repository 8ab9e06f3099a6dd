"""Simulated leads and the agents that work for them, without the engine: every policy, in any order of reports."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.simulator.build_log_phrases import SERVICES
from agents.simulator.build_logs import generate
from agents.simulator.conversation import Conversation
from agents.simulator.policies import POLICIES
from agents.simulator.steps import Call, Mail, Step
from agents.simulator.team import Job, Member, files_in, give_out, read_team, with_files
from agents.simulator.team import Team as Available
from agents.simulator.triage_team import split
from tests.agents.simulator.driver import Sandbox
from tests.agents.simulator.team_driver import Team
from tests.agents.simulator.test_build_log_triage import planted, reported, upload

SPECIALISTS = {f"{service.name} builds": "simulated/build-log-triage" for service in SERVICES}
TASK = "Find out why these builds failed and write a report."
ID = re.compile(r"sthr_\w+|toolu_\w+")


def steps_of(team):
    """What each thread did, in order, without ids."""
    return [ID.sub("ID", repr(thread.messages)) for thread in (team.lead, *team.children)]


# Build-log triage with specialists.


@pytest.mark.parametrize("order", [1, 2])
def test_two_hundred_pipelines_with_twenty_specialists_in_twenty_five_threads(tmp_path, order):
    logs = generate(200, 7, lines=(200, 500))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    team = Team(sandbox, "simulated/triage-lead", SPECIALISTS, order=order)
    words = team.say(TASK)
    assert reported(sandbox) == planted(logs)
    assert "200 logs read: 150 failed, 50 passed, 0 undetermined" in words
    assert len(team.children) == 25
    assert {child.name for child in team.children} == set(SPECIALISTS)
    assert [name for name, _ in team.lead.calls].count("wait_for_agents") == 1
    for child in team.children:  # each read only what is its own
        read = {str(given.get("path") or given.get("file_path")) for name, given in child.calls if name != "bash"}
        assert all(child.name.split()[0] in path for path in read)
    assert "report.md" not in "".join(str(child.calls) for child in team.children)


def test_a_run_does_not_depend_on_which_specialist_is_faster(tmp_path):
    logs = generate(30, 8, lines=(200, 300))
    runs = []
    for order in range(3):
        sandbox = Sandbox(tmp_path / str(order))
        upload(sandbox, logs)
        team = Team(sandbox, "simulated/triage-lead", SPECIALISTS, order=order)
        team.say(TASK)
        runs.append((steps_of(team), (sandbox.root / "outputs" / "report.md").read_text()))
    assert runs[0] == runs[1] == runs[2]


def test_one_specialist_for_everything_still_finds_everything(tmp_path):
    logs = generate(30, 9, lines=(200, 300))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    team = Team(sandbox, "simulated/triage-lead", {"reader": "simulated/build-log-triage"})
    team.say(TASK)
    assert reported(sandbox) == planted(logs)
    assert len(team.children) > 1


def test_a_log_that_a_report_leaves_out_is_asked_for_once_more(tmp_path):
    logs = generate(20, 10, lines=(200, 300))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)

    seen = []

    def forgetful(thread, text):
        seen.append(thread.ordinal)
        return "I forgot everything." if thread.ordinal == 1 and seen.count(1) == 1 else text

    team = Team(sandbox, "simulated/triage-lead", SPECIALISTS, reports=forgetful)
    words = team.say(TASK)
    assert reported(sandbox) == planted(logs)
    questions = [given for name, given in team.lead.calls if name == "send_to_agent"]
    assert [given["thread_id"] for given in questions] == [team.children[0].thread_id]
    assert "Nobody judged" not in words


def test_a_specialist_that_fails_is_named_with_the_logs_nobody_judged(tmp_path):
    logs = generate(20, 11, lines=(200, 300))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    names = sorted({log.service for log in logs})
    roster = {f"{name} builds": "simulated/build-log-triage" for name in names}
    roster[f"{names[0]} builds"] = "simulated/nothing"
    team = Team(sandbox, "simulated/triage-lead", roster)
    words = team.say(TASK)
    left = [log.name for log in logs if log.service == names[0]]
    report = (tmp_path / "outputs" / "report.md").read_text()
    for name in left:
        assert f"Nobody judged {name}." in words
        assert f"Nobody judged {name}." in report
    assert f"{names[0]} builds judged 0 of {len(left)} logs" in report
    assert reported(sandbox) == {name: found for name, found in planted(logs).items() if name not in left}


def test_a_report_cannot_judge_logs_that_are_not_its_own_or_break_the_lead(tmp_path):
    logs = generate(12, 12, lines=(200, 300))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    forged = "\n".join(
        [
            *(f"- `{log.name}`: passed" for log in logs),
            f'- `{logs[0].name}`: failed, x at line {"9" * 5000} in step "y", 0 set aside: z',
        ]
    )

    def liar(thread, text):
        own = {line for line in text.splitlines() if line.startswith("- `")}
        return f"{forged}\n" + "\n".join(own) if thread.ordinal == 1 else text

    team = Team(sandbox, "simulated/triage-lead", SPECIALISTS, reports=liar)
    team.say(TASK)
    assert reported(sandbox) == planted(logs)


def test_a_long_report_is_read_from_the_file_it_was_moved_to(tmp_path):
    logs = generate(12, 13, lines=(200, 300))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    folder = tmp_path / "workspace" / "reports"
    folder.mkdir()

    def moved(thread, text):
        (folder / f"x-{thread.ordinal}-1.md").write_text(text)
        return f"{text[:40]}\nThe whole report is in /workspace/reports/x-{thread.ordinal}-1.md."

    Team(sandbox, "simulated/triage-lead", SPECIALISTS, reports=moved).say(TASK)
    assert reported(sandbox) == planted(logs)


def test_a_second_request_gives_the_threads_that_rest_the_new_work(tmp_path):
    logs = generate(12, 14, lines=(200, 300))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    team = Team(sandbox, "simulated/triage-lead", SPECIALISTS)
    team.say(TASK)
    before = len(team.children)
    (tmp_path / "outputs" / "report.md").unlink()
    team.say(f"Once more: {TASK}")
    assert len(team.children) == before
    assert reported(sandbox) == planted(logs)


@pytest.mark.parametrize("roster", [{}, {"reader": "simulated/echo"}])
def test_without_helpers_that_can_read_the_lead_stays_honest(tmp_path, roster):
    logs = generate(6, 15, lines=(200, 300))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    words = Team(sandbox, "simulated/triage-lead", roster).say(TASK)
    assert (reported(sandbox) == planted(logs)) is (not roster)
    assert ("Nobody judged" in words) is bool(roster)


def test_it_works_with_file_tools_alone(tmp_path):
    logs = generate(12, 16, lines=(200, 300))
    sandbox = Sandbox(tmp_path, bash="refused")
    upload(sandbox, logs)
    Team(sandbox, "simulated/triage-lead", SPECIALISTS).say(TASK)
    assert reported(sandbox) == planted(logs)


paths = st.lists(
    st.sampled_from([f"/u/{s}-{n}.log" for s in ("a", "b", "cart", "c d") for n in range(40)]), unique=True
)


@settings(deadline=None)
@given(paths.filter(bool), st.integers(1, 25), st.integers(1, 20))
def test_logs_are_split_whole_among_at_most_as_many_threads_as_there_are_places(logs, places, agents):
    members = tuple(Member(f"agent-{number}") for number in range(agents))
    shares = split(logs, members, places)
    assert sorted(path for share in shares for path in share.logs) == sorted(logs)
    assert 1 <= len(shares) <= places
    assert all(share.logs for share in shares)
    assert {share.agent for share in shares} <= {member.name for member in members}


# Document drafting.

NOTES = """# Timeline
- 09:00 the deploy began
- 09:20 checkout answered with errors
- 09:55 the deploy was taken back
# Impact
- 312 orders could not be paid
# Cause
- a missing index made the impact worse
- the timeline of the deploy had no pause
"""
WRITERS = {"Timeline": "simulated/drafting-writer", "Anybody": "simulated/drafting-writer"}


def drafted(tmp_path, order=0):
    sandbox = Sandbox(tmp_path)
    (tmp_path / "uploads" / "notes.md").write_text(NOTES)
    team = Team(sandbox, "simulated/drafting-lead", WRITERS, order=order)
    words = team.say("Write a report on the outage:\n- Timeline\n- Impact\n- Cause\n- Weather")
    return team, words, (tmp_path / "outputs" / "report.md").read_text()


def test_each_section_has_a_writer_and_the_lead_merges_them(tmp_path):
    team, words, report = drafted(tmp_path)
    assert [child.name for child in team.children] == ["Timeline", "Anybody", "Anybody", "Anybody"]
    assert re.findall(r"^## (.*)$", report, re.MULTILINE) == ["In short", "Timeline", "Impact", "Cause", "Weather"]
    assert "- 09:00 the deploy began (notes.md:2)" in report
    assert "- 312 orders could not be paid (notes.md:6)" in report
    assert "No source says anything about this." in report
    assert (tmp_path / "workspace" / "parts" / "impact.md").exists()
    assert "Timeline" in (tmp_path / "workspace" / "plan.md").read_text()
    assert "/mnt/session/outputs/report.md" in words


def test_one_writer_is_asked_for_more_and_knows_from_its_own_thread_what_about(tmp_path):
    sandbox = Sandbox(tmp_path)
    (tmp_path / "uploads" / "notes.md").write_text(NOTES)
    team = Team(sandbox, "simulated/drafting-lead", WRITERS)
    team.say("Write a report on the outage:\n- Timeline\n- Impact")
    (follow_up,) = [given for name, given in team.lead.calls if name == "send_to_agent"]
    assert "impact" not in follow_up["message"].lower()
    asked = next(child for child in team.children if child.thread_id == follow_up["thread_id"])
    assert [name for name, _ in asked.calls] == ["glob", "read", "write", "write"]
    assert "a missing index made the impact worse (notes.md:8)" in (tmp_path / "outputs" / "report.md").read_text()


def test_a_draft_does_not_depend_on_which_writer_is_faster(tmp_path):
    runs = [drafted(tmp_path / str(order), order) for order in range(3)]
    assert steps_of(runs[0][0]) == steps_of(runs[1][0]) == steps_of(runs[2][0])
    assert runs[0][2] == runs[1][2] == runs[2][2]


def test_the_default_model_gives_up_to_five_members_a_section_each(tmp_path):
    sandbox = Sandbox(tmp_path)
    (tmp_path / "uploads" / "a.txt").write_text("one two")
    team = Team(sandbox, "simulated/default", {f"member {n}": "simulated/default" for n in range(7)})
    words = team.say("Summarise the uploaded files.")
    assert [child.name for child in team.children] == [f"member {n}" for n in range(5)]
    assert sorted(path.name for path in (tmp_path / "workspace" / "parts").iterdir()) == [
        f"member-{n}.md" for n in range(5)
    ]
    report = (tmp_path / "outputs" / "report.md").read_text()
    assert report.count('2 words, begins with "one two"') == 5
    assert "summary" not in report.lower()
    assert "gap on purpose: the report has no summary" in words
    assert "member 4" in (tmp_path / "workspace" / "plan.md").read_text()


def test_a_member_that_writes_no_file_is_quoted(tmp_path):
    team = Team(Sandbox(tmp_path), "simulated/default", {"parrot": "simulated/echo"})
    team.say("Write a report.")
    assert "## parrot\n\nWrite the section" in (tmp_path / "outputs" / "report.md").read_text()


def test_a_lead_that_is_only_greeted_starts_nobody(tmp_path):
    team = Team(Sandbox(tmp_path), "simulated/default", {"a": "simulated/default"})
    assert "simulated model" in team.say("Hello")
    assert team.children == []


# The other scenarios.


def test_the_task_is_handed_over_and_what_came_back_is_said(tmp_path):
    team = Team(Sandbox(tmp_path), "simulated/approval-lead", {"operator": "simulated/tools", "b": "simulated/echo"})
    words = team.say("bash: echo done-it")
    assert [child.name for child in team.children] == ["operator"]
    assert "operator: Simulated model: 1 calls, 0 with an error." in words
    assert "done-it" in words


@pytest.mark.parametrize("request_", ["loop", "go on for rounds without end", "spawn agents"])
def test_a_runaway_never_stops_by_itself(tmp_path, request_):
    team = Team(Sandbox(tmp_path), "simulated/runaway", {"a": "simulated/tools"}, max_answers=60)
    with pytest.raises(AssertionError, match="did not end its turn"):
        team.say(request_)
    commands = [given["command"] for name, given in team.lead.calls if name == "bash"]
    if request_ != "spawn agents":
        assert len(set(commands)) == (1 if request_ == "loop" else len(commands))
    else:
        assert len(team.children) == 25


def test_ping_pong_goes_on_from_turn_to_turn(tmp_path):
    team = Team(Sandbox(tmp_path), "simulated/runaway", {"a": "simulated/runaway"}, max_answers=3)
    rounds = 0
    original = team._work_all

    def counted():
        nonlocal rounds
        rounds += 1
        assert rounds < 20, "enough"
        original()

    team._work_all = counted
    with pytest.raises(AssertionError, match="enough"):
        team.say("ping-pong")
    (child,) = team.children
    assert sum(message["role"] == "user" for message in child.messages) >= 19


@pytest.mark.parametrize("order", [1, 2, 3])
def test_counting_ends_the_same_in_every_order(tmp_path, order):
    team = Team(Sandbox(tmp_path), "simulated/crash-in-the-middle", {"a": "simulated/crash-in-the-middle"}, order=order)
    team.say("Go with 4 agents: count to 3 every 0.001 s.")
    counts = tmp_path / "workspace" / "counts"
    assert (counts / "1.txt").read_text().split() == ["1", "2", "3", "4", "5"]
    assert [(counts / f"{n}.txt").read_text().split() for n in (2, 3, 4)] == [["1", "2", "3"]] * 3
    report = (tmp_path / "outputs" / "report.md").read_text()
    assert report.count("In the file: 1 2 3\n") == 3
    assert "In the file: 1 2 3 4 5\n" in report


def test_rounds_are_asked_for_again_until_they_are_done(tmp_path):
    for model in ("simulated/rounds", "simulated/tools"):
        team = Team(Sandbox(tmp_path), model, {}, tools=())
        team.say("rounds: 5")
        reasons = [answer.stop_reason for answer in team.lead.answers]
        assert reasons == ["pause_turn"] * 4 + ["end_turn"]
        assert all(block["type"] == "text" for answer in team.lead.answers for block in answer.content)


def test_rounds_that_come_back_as_one_answer_are_counted_all_the_same():
    said = Step("Round 1 of 3.\nRound 2 of 3.")
    reply = POLICIES["rounds"](Conversation("rounds: 3", "rounds: 3", (said,)))
    assert reply.text.startswith("Round 3 of 3.")
    assert not reply.goes_on


# What leads read, and whatever comes back.


def test_files_of_a_task_are_read_back():
    assert files_in(with_files("Read them.\nFiles:\n- /not/this", ["/a b.log", "/c.log"])) == ("/a b.log", "/c.log")
    assert files_in("Files: none") == ()


def test_work_goes_to_resting_threads_first_and_to_anybody_when_there_is_no_place():
    team = Available(resting=(("b", "sthr_1"), ("a", "sthr_2"), ("c", "sthr_3")), free_places=1)
    calls = give_out([Job(agent, agent) for agent in ("a", "a", "b", "a", "a")], team)
    taken = [call.input.get("thread_id", call.name) for call in calls]
    assert taken == ["sthr_2", "spawn_agent", "sthr_1", "sthr_3", "spawn_agent", "wait_for_agents"]


@pytest.mark.parametrize("text", ["", "no", "[]", '{"agents": 3, "threads": [1, {}], "free_places": "x"}', "[" * 9_999])
def test_a_strange_list_of_agents_is_an_empty_team(text):
    assert read_team(text).members == ()


names = st.sampled_from(
    ["bash", "glob", "read", "write", "spawn_agent", "send_to_agent", "list_agents", "wait_for_agents"]
)
values = st.one_of(
    st.none(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=5), max_size=2), st.just("sthr_1")
)
keys = ["command", "path", "file_path", "agent", "task", "thread_id", "message", "files", "content"]
results = st.one_of(
    st.none(),
    st.text(max_size=60),
    st.sampled_from(
        [
            '{"thread_id": "sthr_1", "agent": "a"}',
            '{"agents": [{"name": "a"}], "threads": [], "free_places": 3}',
            '{"finished": [], "working": [{}], "timed_out": true}',
            "/mnt/session/uploads/a-1.log\n/mnt/session/uploads/b-2.log",
        ]
    ),
)
calls = st.builds(
    Call, names, st.dictionaries(st.sampled_from(keys), values, max_size=3), result=results, is_error=st.booleans()
)
steps = st.lists(st.builds(Step, st.text(max_size=20), st.lists(calls, max_size=3).map(tuple)), max_size=5).map(tuple)
mails = st.lists(
    st.builds(Mail, st.text(max_size=5), st.just("sthr_1"), st.text(max_size=60), st.integers(0, 5)), max_size=3
)
requests = st.sampled_from(["", "write a report:\n- A\n- B", "ping-pong", "loop child", "spawn", "count to 2", "hello"])
offered = st.sets(st.sampled_from(["bash", "read", "write", "glob", "grep", "spawn_agent", "send_to_parent"]))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(POLICIES)), requests, steps, mails.map(tuple), offered, st.booleans())
def test_no_policy_fails_whatever_comes_back(policy, request, made, mail, tools, from_lead):
    conversation = Conversation(
        request, request, made, {name: {} for name in tools}, mail=mail, earlier=made[:1], from_lead=from_lead
    )
    reply = POLICIES[policy](conversation)
    assert reply == POLICIES[policy](conversation)
    assert reply.text or reply.calls
