"""A lead and its agents at work: conformance statements 89, 91 to 94 and 96, B6 3 and 21."""

from __future__ import annotations

import json

import anthropic
import pytest

from agents.models import Session, Thread
from tests.api.sdk import history, make_agent, of_type, said, send, text, types, wait_for, wait_idle
from tests.api.teams import (
    archive,
    children_of,
    interrupt,
    last_said,
    parallel,
    raw_history,
    reports,
    retrieve,
    start_team,
    thread_history,
    threads_of,
    wait_for_event,
    wait_for_thread,
)
from tests.invariants import *  # noqa: F403
from tests.worker import wait_until

pytestmark = pytest.mark.usefixtures("sessions_hold")

SLOW = "simulated/slow"


def waited(client, session, *, turns=1):
    """Wait until the session has stopped for the `turns`th time; its history."""
    wait_for(client, session, "session.status_idle", count=turns)
    return history(client, session)


def slow_worker(client):
    return make_agent(client, name="Sleeper", model=SLOW, tools=[])


@pytest.mark.conformance(89)
def test_the_order_of_a_spawn_and_a_report_on_the_sessions_stream(client, raw, local_worker):
    session = start_team(client, parallel("spawn: Worker | say: found it", "wait:"))
    wait_idle(client, session)
    (child,) = children_of(client, session)
    events = raw_history(raw, session)
    order = [event["type"] for event in events]
    assert order == [
        "user.message",
        "session.status_running",
        "session.thread_status_running",
        "span.model_request_start",
        "span.model_request_end",
        "session.thread_created",
        "agent.thread_message_sent",
        "session.thread_status_running",
        "agent.thread_message_received",
        "session.thread_status_idle",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    created, sent, running, received, idle = events[5:10]
    assert created["session_thread_id"] == child.id and created["agent_name"] == "Worker"
    assert sent["to_session_thread_id"] == child.id and sent["to_agent_name"] == "Worker"
    assert sent["content"] == [{"type": "text", "text": "say: found it"}]
    assert running["session_thread_id"] == child.id
    assert received["from_session_thread_id"] == child.id and received["from_agent_name"] == "Worker"
    assert idle["session_thread_id"] == child.id and idle["stop_reason"] == {"type": "end_turn"}


@pytest.mark.conformance(91)
def test_a_report_names_its_sender_and_leaves_the_child_idle(client, local_worker):
    session = start_team(client, parallel("spawn: Worker | say: found it", "wait:"))
    events = waited(client, session)
    (child,) = children_of(client, session)
    (report,) = reports(events)
    assert report.from_session_thread_id == child.id and report.from_agent_name == "Worker"
    assert said(report) == "found it"
    assert child.status == "idle" and child.archived_at is None


@pytest.mark.conformance(91)
def test_a_report_starts_a_turn_of_a_lead_that_has_ended_its_own(client, local_worker):
    sleeper = slow_worker(client)
    session = start_team(client, "spawn: Sleeper | slow 4s", sleeper)
    events = waited(client, session)
    primary = threads_of(client, session)[0]
    moves = [
        event.type.removeprefix("session.")
        for event in events
        if event.type.startswith("session.thread_status") and event.session_thread_id == primary.id
    ]
    assert moves == ["thread_status_running", "thread_status_idle"] * 2
    assert types(client, session).count("session.status_running") == 1, "the session ran on meanwhile"
    assert len(reports(events)) == 1 and len(of_type(events, "agent.message")) == 2


@pytest.mark.conformance(92)
def test_a_follow_up_reaches_the_same_thread_with_its_context(client, local_worker):
    memory = make_agent(client, name="Worker")
    session = start_team(client, parallel("spawn: Worker | write: note.txt | first", "wait:"), memory)
    waited(client, session)
    (child,) = children_of(client, session)
    send(client, session, text("send: 1 | read: note.txt\nwait:"))
    events = waited(client, session, turns=2)
    assert [thread.id for thread in children_of(client, session)] == [child.id]
    assert "first" in said(reports(events)[1])
    own = thread_history(client, session, child)
    assert [said(event) for event in reports(own)] == ["write: note.txt | first", "read: note.txt"]
    assert not of_type(own, "session.error")
    requests = requests_of(Thread.objects.get(public_id=child.id))
    assert len(requests[-1]) > len(requests[0]) and requests[-1][: len(requests[0])] == requests[0]


def requests_of(thread):
    """The messages of each model request of a thread, as they were recorded."""
    from agents.models import ModelAttempt
    from agents.services.blobs import read_blob

    found = []
    for attempt in ModelAttempt.objects.filter(step__thread=thread).order_by("pk"):
        manifest = json.loads(read_blob(attempt.request_sha256))
        found.append([json.loads(read_blob(sha)) for sha in manifest["messages"]])
    return found


@pytest.mark.conformance(93)
def test_two_children_work_at_the_same_time(client, local_worker):
    sleeper = slow_worker(client)
    session = start_team(client, parallel("spawn: Sleeper | slow 3s", "spawn: Sleeper | slow 3s", "wait:"), sleeper)
    wait_until(lambda: all(len(requests) for requests in spans(client, session)) and len(spans(client, session)) == 2)
    whole = client.beta.sessions.retrieve(session.id)
    assert whole.status == "running"
    wait_idle(client, session)
    first, second = (of_type(thread_history(client, session, child), *SPAN) for child in children_of(client, session))
    assert max(first[0].processed_at, second[0].processed_at) < min(first[1].processed_at, second[1].processed_at)
    assert len(of_type(history(client, session), "session.status_idle")) == 1
    whole = client.beta.sessions.retrieve(session.id)
    parts = [retrieve(client, session, thread).stats.active_seconds for thread in threads_of(client, session)]
    assert whole.usage.active_seconds == whole.stats.active_seconds
    assert whole.stats.active_seconds < sum(parts), "time that overlaps counts once for the session"
    assert whole.stats.active_seconds >= max(parts) - 0.01


SPAN = ("span.model_request_start", "span.model_request_end")


def spans(client, session):
    return [of_type(thread_history(client, session, child), SPAN[0]) for child in children_of(client, session)]


@pytest.mark.conformance(94)
def test_children_share_files_and_nothing_of_their_conversations(client, local_worker):
    session = start_team(
        client, "spawn: Worker | write: shared.txt | from one\nwait:\nspawn: Worker | read: shared.txt\nwait:"
    )
    events = waited(client, session)
    first, second = children_of(client, session)
    assert "from one" in said(reports(events)[1])
    ids = {event.id for event in thread_history(client, session, first)}
    shown = json.dumps(requests_of(Thread.objects.get(public_id=second.id)))
    assert "write: shared.txt" not in shown and not [public_id for public_id in ids if public_id in shown]


@pytest.mark.conformance(96)
def test_b6_3_twenty_five_at_once_and_the_next_is_refused_until_a_place_is_free(client, local_worker):
    sleeper = slow_worker(client)
    lines = [f"spawn: Sleeper | slow 600s {number}" for number in range(26)]
    session = start_team(client, parallel(*lines), sleeper)
    wait_for_event(client, session, threads_of(client, session)[0], "agent.message", timeout_s=60)
    assert len(threads_of(client, session, statuses=["running"])) >= 25
    children = children_of(client, session)
    assert [child.status for child in children] == ["running"] * 25
    wait_until(lambda: len([1 for found in spans(client, session) if found]) == 25)
    report = last_said(history(client, session))
    assert "26 calls, 1 with an error" in report and "25 agents already" in report
    with pytest.raises(anthropic.BadRequestError, match="[Ii]nterrupt"):
        archive(client, session, children[0])
    interrupt(client, session, children[0])
    wait_for_thread(client, session, 1, lambda thread: thread.status == "idle")
    send(client, session, text("spawn: Sleeper | slow 600s"))
    wait_until(lambda: len(of_type(history(client, session), "agent.message")) == 2)
    assert "25 agents already" in last_said(history(client, session)), "an idle one counts"
    archive(client, session, children[0])
    send(client, session, text("spawn: Sleeper | slow 600s\nspawn: Sleeper | slow 600s"))
    wait_until(lambda: len(of_type(history(client, session), "agent.message")) == 3)
    assert "2 calls, 1 with an error" in last_said(history(client, session))
    send(client, session, text("stop: 2\nspawn: Sleeper | slow 600s\nspawn: Sleeper | slow 600s"))
    wait_until(lambda: len(of_type(history(client, session), "agent.message")) == 4)
    assert "3 calls, 1 with an error" in last_said(history(client, session))
    wait_for_thread(client, session, 2, lambda thread: thread.status == "terminated")
    assert len(children_of(client, session)) == 27
    assert len(threads_of(client, session, statuses=["running"])) == 25
    interrupt(client, session)
    wait_idle(client, session)


@pytest.mark.parametrize("limit", [3])
def test_a_spawn_storm_ends_at_a_limit_that_is_named(client, local_worker, monkeypatch, limit):
    from agents.services import threads

    monkeypatch.setattr(threads, "MAX_THREADS_EVER", limit)
    storm = "\n".join(f"spawn: Worker | say: {n}\nwait:\nstop: {n + 1}" for n in range(limit))
    session = start_team(client, storm + "\nspawn: Worker | say: one more")
    events = waited(client, session)
    assert f"This session has started {limit} agents" in last_said(events)
    assert len(children_of(client, session)) == limit


def test_b6_21_a_child_that_loops_ends_and_its_lead_goes_on(client, raw, local_worker):
    session = start_team(client, "spawn: Worker | fault: loop\nwait:\nsay: I went on")
    events = waited(client, session)
    (child,) = children_of(client, session)
    assert child.status == "terminated" and child.archived_at is None
    own = raw_history(raw, session, child)
    (error,) = [event for event in own if event["type"] == "session.error"]
    assert error["error"]["type"] == "tool_use_limit_reached_error"
    assert error["error"]["retry_status"] == {"type": "exhausted"}
    assert [event["type"] for event in own[-4:]] == [
        "session.error",
        "agent.thread_message_sent",
        "session.thread_status_idle",
        "session.thread_status_terminated",
    ]
    assert own[-2]["stop_reason"] == {"type": "retries_exhausted"}
    (told,) = reports(events)
    assert "could not finish" in said(told) and "same input" in said(told)
    assert not of_type(events, "session.error"), "it stands on the stream of the thread that failed"
    assert last_said(events).endswith("I went on")
    assert of_type(events, "session.status_idle")[-1].stop_reason.type == "end_turn"


def test_b6_21_a_child_above_the_tool_round_cap_ends_and_its_lead_goes_on(client, local_worker, monkeypatch):
    from agents.runtime import limits

    monkeypatch.setattr(limits, "MAX_TOOL_ROUNDS", 4)
    task = "\\n".join(f"list:\\nparent: step {n}" for n in range(4))
    session = start_team(client, f"spawn: Worker | {task}\nwait:\nwait:\nsay: I went on")
    wait_until(lambda: children_of(client, session) and children_of(client, session)[0].status == "terminated")
    wait_idle(client, session)
    events = history(client, session)
    own = thread_history(client, session, children_of(client, session)[0])
    assert of_type(own, "session.error")[0].error.type == "tool_use_limit_reached_error"
    assert "4 rounds" in said(reports(events)[-1])


def test_a_child_whose_model_fails_for_good_tells_its_lead(client, local_worker):
    session = start_team(client, "spawn: Worker | fault: 400\nwait:\nsay: I went on")
    events = waited(client, session)
    (child,) = children_of(client, session)
    assert child.status == "terminated"
    (told,) = reports(events)
    assert said(told).startswith("This agent could not finish its task")
    assert last_said(events).endswith("I went on")


def test_a_child_that_tries_again_is_shown_as_rescheduling_and_then_reports(client, raw, settings, local_worker):
    settings.DAYBREAK_RETRY_BASE_S = 0.4
    session = start_team(client, parallel("spawn: Worker | fault: 529x1\\nsay: done", "wait:"))
    events = waited(client, session)
    (child,) = children_of(client, session)
    own = raw_history(raw, session, child)
    moves = [event["type"] for event in own if "status_" in event["type"]]
    assert moves == [
        "session.thread_status_running",
        "session.thread_status_rescheduled",
        "session.thread_status_running",
        "session.thread_status_idle",
    ]
    shown = [event.type for event in events if event.type.startswith("session.status")]
    assert shown == [
        "session.status_running",
        "session.status_rescheduled",
        "session.status_running",
        "session.status_idle",
    ]
    assert not of_type(events, "session.error") and said(reports(events)[0]) == "done"


def test_a_child_that_refuses_says_so_to_its_lead(client, local_worker):
    session = start_team(client, "spawn: Worker | fault: refuse\nwait:\nsay: I went on")
    events = waited(client, session)
    (child,) = children_of(client, session)
    assert child.status == "idle"
    assert "refused" in said(reports(events)[0])
    stop = of_type(thread_history(client, session, child), "session.thread_status_idle")[-1].stop_reason
    assert stop.type == "refusal"
    assert of_type(events, "session.status_idle")[-1].stop_reason.type == "end_turn"


def test_a_question_is_answered_by_a_follow_up(client, local_worker):
    session = start_team(client, "spawn: Worker | say: which one?\nwait:\nsend: 1 | say: the second\nwait:")
    events = waited(client, session)
    assert [said(report) for report in reports(events)] == ["which one?", "the second"]
    assert len(children_of(client, session)) == 1


def test_a_message_to_the_lead_in_the_middle_of_a_turn_ends_its_wait(client, local_worker):
    session = start_team(client, "spawn: Worker | parent: half way\\nbash: echo rest\nwait:\nwait:")
    events = waited(client, session)
    first, second = reports(events)
    assert said(first) == "half way" and "echo rest" in said(second)
    assert "A message came in meanwhile" in last_said(events)


def test_a_wait_ends_when_its_time_is_up(client, local_worker):
    session = start_team(client, parallel("spawn: Sleeper | slow 600s", "wait: 0.3s"), slow_worker(client))
    wait_for(client, session, "agent.message")
    assert '"timed_out": true' in last_said(history(client, session))
    (child,) = children_of(client, session)
    assert child.status == "running"
    interrupt(client, session)
    wait_idle(client, session)


def test_a_wait_for_any_ends_with_the_first(client, local_worker):
    session = start_team(
        client,
        parallel("spawn: Worker | say: quick", "spawn: Sleeper | slow 600s", "wait: any"),
        make_agent(client, name="Worker"),
        slow_worker(client),
    )
    wait_for(client, session, "agent.message")
    told = last_said(history(client, session))
    assert '"finished": [{' in told and '"working": [{' in told
    interrupt(client, session)
    wait_idle(client, session)


def test_a_message_of_a_person_ends_the_wait(client, local_worker):
    session = start_team(client, parallel("spawn: Sleeper | slow 600s", "wait:"), slow_worker(client))
    wait_for_thread(client, session, 1, lambda thread: thread.status == "running")
    primary = Thread.objects.get(session__public_id=session.id, parent=None)
    wait_until(lambda: Thread.objects.get(pk=primary.pk).phase == "waiting_agents")
    send(client, session, text("say: yes?"))
    wait_for(client, session, "agent.message")
    assert last_said(history(client, session)) == "yes?"
    interrupt(client, session)
    wait_idle(client, session)


def test_a_long_report_goes_to_a_file_with_its_beginning(client, local_worker):
    session = start_team(
        client,
        "spawn: Worker | bash: seq 1 30000 | head -c 3900\\nsay: " + "x" * 21000 + "\nwait:\nbash: wc -c reports/*",
    )
    events = waited(client, session)
    (report,) = reports(events)
    assert len(said(report)) < 5000 and "/workspace/reports/worker-1-1-" in said(report)
    result = of_type(events, "agent.tool_result")[0]
    assert int(said(result).split()[0]) > 21000


def test_many_runs_of_one_team_are_the_same_run(client, local_worker):
    script = parallel("spawn: Worker | bash: echo a", "spawn: Worker | say: b", "wait:")
    runs = []
    for _ in range(3):
        session = start_team(client, script)
        waited(client, session)
        rows = Session.objects.get(public_id=session.id).events.order_by("seq").select_related("thread")
        lines = [(row.thread.ordinal, row.type, row.thread_seq_text) for row in map(without_ids(session), rows)]
        runs.append([[line for line in lines if line[0] == ordinal] for ordinal in range(3)])
    assert runs[0][1:] == runs[1][1:] == runs[2][1:]


def without_ids(session):
    """Rows whose text has no id in it, so that two runs can be compared."""
    import re

    def cleaned(row):
        row.thread_seq_text = re.sub(r"\b(sevt|sthr)_\w+", "id", row.payload)
        return row

    return cleaned
