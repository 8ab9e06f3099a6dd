"""Teams of simulated agents through the real engine: every scenario, every fault word in a child's task."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agents.models import ModelAttempt, Session, Thread
from agents.services.blobs import store_bytes
from agents.services.files import create_upload
from agents.services.sandboxes import root_of
from tests.invariants import *  # noqa: F403
from tests.runs import TOOLSET, log_of, make_agent, send, start_session, texts_of, wait_idle
from tests.worker import wait_until

pytestmark = pytest.mark.usefixtures("sessions_hold")
ASKING = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
NOTES = "# Timeline\n- 09:00 it began\n- 09:30 it ended\n- 09:40 all was well\n# Impact\n- 12 orders were lost\n"
SELF = {"type": "self"}
ID = re.compile(r"\b(sthr|sevt|msg|file)_\w+")


def make_lead(workspace: Any, model: str, *members: Any, **definition: Any) -> Any:
    roster = [member if isinstance(member, dict) else member.public_id for member in members]
    team = {"type": "coordinator", "agents": roster}
    return make_agent(workspace, name="Lead", model=model, multiagent=team, **definition)


def member(workspace: Any, name: str = "Worker", model: str = "simulated/tools", **definition: Any) -> Any:
    return make_agent(workspace, name=name, model=model, **definition)


def start_team(workspace: Any, text: str, lead: str = "simulated/tools", *members: Any, **values: Any) -> Session:
    members = members or (member(workspace),)
    return start_session(workspace, text, agent=make_lead(workspace, lead, *members), **values)


def upload(workspace: Any, text: str, path: str) -> dict[str, Any]:
    """A text as a file to mount into a session."""
    data = text.encode()
    file = create_upload(
        workspace, filename=path, mime_type="text/plain", sha256=store_bytes(data), size_bytes=len(data)
    )
    return {"type": "file", "file_id": file.public_id, "mount_path": path}


def children_of(session: Session) -> list[Thread]:
    return list(session.threads.exclude(parent=None).order_by("ordinal"))


def said_by(session: Session, thread: Thread | None = None) -> str:
    """The newest message of a thread, the lead's unless another is named."""
    pk = thread.pk if thread else session.threads.get(parent=None).pk
    rows = [row for row in log_of(session) if row.type == "agent.message" and row.thread_id == pk]
    return "".join(block["text"] for block in rows[-1].data["content"])


def file_of(session: Session, path: str) -> str:
    return (root_of(session.public_id) / path).read_text()


def steps_of(session: Session) -> list[list[tuple[str, str]]]:
    """What each thread committed, in order, without ids and the marks of waiting."""
    found = []
    for thread in session.threads.order_by("ordinal"):
        rows = [row for row in log_of(session, visible=False) if row.thread_id == thread.pk]
        kinds = ("agent.", "daybreak.tool_")
        kept = [row for row in rows if row.type.startswith(kinds) and "session_thread_id" not in row.data]
        own = [row for row in kept if not (thread.is_primary and "thread_message" in row.type)]
        found.append([(row.type, ID.sub("ID", row.payload)) for row in own])
    return found


# Scenarios.


@pytest.mark.bwrap
def test_a_document_is_drafted_by_a_team(workspace, local_worker):
    writers = [member(workspace, name, "simulated/drafting-writer") for name in ("Timeline writer", "Second writer")]
    session = start_team(
        workspace,
        "Write a report on the outage:\n- Timeline\n- Impact",
        "simulated/drafting-lead",
        *writers,
        resources=[upload(workspace, NOTES, "/notes.md")],
    )
    wait_idle(session)
    assert session.stop_reason == {"type": "end_turn"}
    report = file_of(session, "outputs/report.md")
    assert "- 09:00 it began (notes.md:2)" in report
    assert "- 12 orders were lost (notes.md:6)" in report
    assert "09:40" not in report  # the first version of a section is short, and only the shortest is asked for more
    first, second = children_of(session)
    assert (first.turn_no, second.turn_no) == (1, 2)  # the follow-up is a second turn of the same thread
    assert file_of(session, "workspace/parts/impact.md")
    assert "Timeline writer" in file_of(session, "workspace/plan.md")


@pytest.mark.bwrap
def test_the_default_model_has_its_team_write_a_part_each(workspace, local_worker):
    members = [member(workspace, f"Member {n}", "simulated/default") for n in range(6)]
    session = start_team(workspace, "Write a report.", "simulated/default", *members)
    wait_idle(session)
    assert [child.agent_name for child in children_of(session)] == [f"Member {n}" for n in range(5)]
    report = file_of(session, "outputs/report.md")
    assert re.findall(r"^## (Member \d)$", report, re.MULTILINE) == [f"Member {n}" for n in range(5)]
    assert "No files were uploaded." in report
    assert "gap on purpose" in said_by(session)


@pytest.mark.parametrize(("answer", "outcome"), [("allow", "it-ran"), ("deny", "rejected")])
@pytest.mark.bwrap
def test_a_team_waits_for_a_person_with_nothing_running(workspace, local_worker, answer, outcome):
    operator = member(workspace, "Operator", tools=[ASKING])
    session = start_team(workspace, "bash: echo it-$(echo ran)", "simulated/approval-lead", operator)
    wait_idle(session)
    asked = [row for row in log_of(session) if row.type == "agent.tool_use" and "session_thread_id" in row.data]
    assert session.stop_reason == {"type": "requires_action", "event_ids": [asked[0].public_id]}
    assert not session.threads.exclude(lease_owner="").exclude(lease_owner=None).exists()
    send(session, {"type": "user.tool_confirmation", "tool_use_id": asked[0].public_id, "result": answer})
    wait_until(lambda: "what came back" in " ".join(texts_of(session, "agent.message")))
    wait_idle(session)
    assert outcome in said_by(session)
    assert session.stop_reason == {"type": "end_turn"}


def test_rounds_are_model_requests_without_tools(workspace, local_worker):
    for model in ("simulated/rounds", "simulated/tools"):
        session = start_session(workspace, "rounds: 4", agent=make_agent(workspace, model=model, tools=[]))
        wait_idle(session)
        attempts = ModelAttempt.objects.filter(step__session=session)
        assert [attempt.stop_reason for attempt in attempts.order_by("pk")] == ["pause_turn"] * 3 + ["end_turn"]
        texts = texts_of(session, "agent.message")
        assert [text.split(".")[0] for text in texts] == [f"Round {n} of 4" for n in range(1, 5)]
        assert session.stop_reason == {"type": "end_turn"}


@pytest.mark.bwrap
@pytest.mark.parametrize("hints", [True, False])
def test_a_counting_team_is_the_same_run_however_it_is_driven(workspace, make_local_worker, hints):
    agent = make_lead(workspace, "simulated/crash-in-the-middle", SELF)
    runs = []
    for _ in range(2):
        make_local_worker(hints=hints)
        session = start_session(workspace, "Go with 4 agents: count to 3 every 0.05 s.", agent=agent)
        wait_idle(session, timeout_s=60)
        runs.append((steps_of(session), file_of(session, "outputs/report.md")))
    assert runs[0] == runs[1]
    assert len(runs[0][0]) == 5
    assert "In the file: 1 2 3 4 5\n" in runs[0][1]
    assert runs[0][1].count("In the file: 1 2 3\n") == 3


@pytest.mark.bwrap
def test_a_script_goes_on_after_the_engine_compacted_its_conversation(workspace, local_worker):
    script = "\n".join(f"bash: echo number-{number}; seq 1 800" for number in range(12))
    agent = make_agent(workspace, model="simulated/tools-small-window")
    session = start_session(workspace, script, agent=agent)
    wait_idle(session, timeout_s=60)
    types = [row.type for row in log_of(session)]
    assert "agent.thread_context_compacted" in types
    commands = [row.data["input"]["command"] for row in log_of(session) if row.type == "agent.tool_use"]
    assert [command.split(";")[0] for command in commands] == [f"echo number-{number}" for number in range(12)]
    assert "12 calls, 0 with an error" in said_by(session)


# Runaways (drill 14): limits stop them, and the bill is bounded.


@pytest.mark.bwrap
def test_drill_14_a_child_that_loops_is_ended_and_its_lead_goes_on(workspace, local_worker):
    session = start_team(
        workspace, "Have a child loop.", "simulated/runaway", member(workspace, "A", "simulated/runaway")
    )
    wait_idle(session, timeout_s=60)
    (child,) = children_of(session)
    assert child.status == "terminated"
    assert "tool_use_limit_reached_error" in [
        row.data["error"]["type"] for row in log_of(session) if "error" in row.data
    ]
    assert "was ended" in said_by(session)
    assert session.stop_reason == {"type": "end_turn"}


def test_drill_14_a_spawn_storm_ends_at_the_limit(workspace, local_worker):
    session = start_team(workspace, "spawn agents for ever", "simulated/runaway", member(workspace, tools=[]))
    wait_idle(session, timeout_s=60)
    assert len(children_of(session)) == 25
    errors = [row.data["error"] for row in log_of(session) if row.type == "session.error"]
    assert {error["type"] for error in errors} == {"tool_use_limit_reached_error"}
    assert len(errors) <= 26, "a report that comes after the end starts one more turn, which ends the same way"
    refused = [row.payload for row in log_of(session, visible=False) if row.type == "daybreak.tool_result"]
    assert any("25 agents already" in payload for payload in refused)


def test_drill_14_endless_ping_pong_is_warned_of_and_ends_at_the_limit(workspace, local_worker):
    session = start_team(
        workspace, "ping-pong", "simulated/runaway", member(workspace, "A", "simulated/runaway", tools=[])
    )
    wait_idle(session, timeout_s=60)
    assert session.events.filter(type="daybreak.warning").count() == 1
    (error,) = [row.data["error"] for row in log_of(session) if row.type == "session.error"]
    assert error["type"] == "tool_use_limit_reached_error"
    assert "50 messages without using a tool" in error["message"]
    assert session.stop_reason == {"type": "retries_exhausted"}
    assert session.events.filter(type="agent.thread_message_received").count() <= 51


# Fault words in a child's task.


def run_child(workspace: Any, task: str, **values: Any) -> tuple[Session, Thread]:
    session = start_team(workspace, f"spawn: Worker | {task}\nwait:\nsay: The lead goes on.", **values)
    wait_idle(session, timeout_s=60)
    (child,) = children_of(session)
    assert said_by(session).endswith("The lead goes on.")
    return session, child


@pytest.mark.parametrize(
    "word", ["529x2", "429x1", "timeoutx1", "cut_streamx1", "bad_json_inputx1", "503x1", "slow=0.1"]
)
def test_a_childs_request_that_fails_is_tried_again(workspace, local_worker, word):
    session, child = run_child(workspace, rf"say: done\nfault: {word}")
    assert said_by(session, child) == "done"
    assert child.status == "idle"
    attempts = ModelAttempt.objects.filter(step__thread=child).count()
    assert attempts == {"529x2": 3, "slow=0.1": 1}.get(word, 2)
    assert not ModelAttempt.objects.filter(step__thread__parent=None, attempt__gt=1).exists()


@pytest.mark.parametrize("word", ["529", "400", "timeout", "cut_stream", "bad_json_input"])
def test_a_child_whose_requests_always_fail_is_ended_and_its_lead_is_told(workspace, local_worker, word):
    session, child = run_child(workspace, rf"say: done\nfault: {word}")
    assert child.status == "terminated"
    assert "Message from Worker:" in said_by(session)


@pytest.mark.bwrap
@pytest.mark.parametrize("word", ["unknown_toolx2", "bad_inputx2", "huge_output", "loopx2"])
def test_a_childs_bad_calls_get_results_and_the_work_is_done(workspace, local_worker, word):
    session, child = run_child(workspace, rf"bash: echo worked\nfault: {word}")
    assert "worked" in said_by(session, child)
    assert child.status == "idle"


@pytest.mark.bwrap
@pytest.mark.parametrize("word", ["unknown_tool", "bad_input", "loop"])
def test_a_child_that_never_gets_its_calls_right_is_ended(workspace, local_worker, word):
    session, child = run_child(workspace, rf"bash: echo worked\nfault: {word}")
    assert child.status == "terminated"
    assert "Message from Worker:" in said_by(session)


@pytest.mark.parametrize(("word", "told"), [("refuse", "told to refuse"), ("max_tokens", "   somethin\n")])
def test_a_child_may_refuse_or_be_cut_short(workspace, local_worker, word, told):
    session, _ = run_child(workspace, rf"say: something to say\nfault: {word}")
    assert "Message from Worker:" in said_by(session)
    assert told in said_by(session)


# Honesty.


def test_a_simulated_team_says_so_and_costs_nothing(workspace, local_worker):
    session, child = run_child(workspace, r"bash: echo hi")
    assert session.simulated
    assert all(
        attempt.simulated and not attempt.list_cost_nanousd
        for attempt in ModelAttempt.objects.filter(step__session=session)
    )
    for thread in (None, child):
        assert "imulated" in said_by(session, thread)
