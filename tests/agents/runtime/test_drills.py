"""The failure drills that need no kill and no second database, each by its number in the runtime's design."""

from __future__ import annotations

import errno
import os
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.models import Blob, Event, File, ModelAttempt, Step, Thread
from agents.providers import catalog
from agents.runtime import engine, limits
from agents.services import hints
from tests.agents.runtime.killing import holder
from tests.agents.runtime.processes import *  # noqa: F403
from tests.agents.runtime.same_run import assert_same_run, files_of, outcome_of
from tests.agents.runtime.triage import start_triage
from tests.fakes import MessagesServer, answer, error
from tests.invariants import check_session
from tests.runs import log_of, make_agent, message, send, start_session, texts_of, types_of, wait_idle
from tests.worker import wait_until

MODEL = "claude-haiku-4-5"
AT_ONCE = {"DAYBREAK_SIMULATED_LATENCY": "0"}


@pytest.fixture
def vendor(monkeypatch):
    """A vendor's server, and a key for it."""
    with MessagesServer() as running:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-a-key-nobody-may-see")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        yield running
        catalog.provider_for(MODEL).close()


@pytest.fixture
def by_hand(settings, committed_db):
    settings.DAYBREAK_HINTS = False


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "0")


def errors_of(session: Any) -> list[dict[str, Any]]:
    return [row.data["error"] for row in log_of(session) if row.type == "session.error"]


# 5 and 6: hints


def test_drill_5_the_same_hint_fifty_times_at_once_is_one_step(by_hand, workspace):
    session = start_session(workspace, "hello", agent=make_agent(workspace, model="simulated/echo", tools=[]))
    pk = session.primary_thread.pk
    together = threading.Barrier(50)

    def deliver() -> None:
        together.wait()
        engine.advance(pk)

    hinted = [threading.Thread(target=deliver) for _ in range(50)]
    for thread in hinted:
        thread.start()
    for thread in hinted:
        thread.join(60)
    session.refresh_from_db()
    assert session.stop_reason == {"type": "end_turn"}
    assert Step.objects.filter(session=session).count() == 1 == ModelAttempt.objects.count()
    assert Thread.objects.get(pk=pk).lease_epoch == 1, "forty-nine of them changed nothing"
    assert len(texts_of(session, "agent.message")) == 1
    check_session(session)


@pytest.mark.bwrap
def test_drill_6_lost_hints_and_a_broker_that_is_away_only_cost_a_poll(workspace, make_local_worker, monkeypatch):
    worker = make_local_worker()
    worker.expects_errors = True  # each hint that cannot be sent is logged

    def unreachable(thread_pk: int) -> None:
        raise ConnectionError("no broker")

    session = start_session(workspace, "\n".join(f"bash: sleep 0.1; echo {number}" for number in range(6)))
    wait_until(lambda: texts_of(session, "agent.tool_result"))
    hints.set_sender(lambda thread_pk: None)  # queues purged: what was sent is never delivered
    send(session, message("say: after the purge"))
    wait_until(lambda: "after the purge" in texts_of(session, "agent.message"))
    wait_idle(session)
    hints.set_sender(unreachable)
    monkeypatch.setattr(worker._runtime, "_hint", unreachable)
    send(session, message("bash: echo without a broker"))
    wait_idle(session)
    assert texts_of(session, "agent.tool_result")[-1].strip() == "without a broker"
    assert session.stop_reason == {"type": "end_turn"}
    check_session(session)


# 11 to 13: what providers and models do wrong


def test_drill_11_a_cut_answer_leaves_nothing_in_the_log_and_is_asked_again(workspace, vendor, local_worker):
    vendor.add(answer("a beginning without an end", cut_after=4), answer("whole"))
    session = wait_idle(start_session(workspace, "hello", agent=make_agent(workspace, model=MODEL, tools=[])))
    assert texts_of(session, "agent.message") == ["whole"]
    assert not any("beginning" in row.payload for row in log_of(session, visible=False))
    assert [told["retry_status"]["type"] for told in errors_of(session)] == ["retrying"]
    assert len(vendor.requests) == 2
    check_session(session)


def test_drill_11_silence_is_a_failure_worth_another_try(workspace, local_worker):
    agent = make_agent(workspace, model="simulated/echo", tools=[])
    session = wait_idle(start_session(workspace, "fault: timeoutx1\nhello", agent=agent))
    assert [told["retry_status"]["type"] for told in errors_of(session)] == ["retrying"]
    assert len(texts_of(session, "agent.message")) == 1
    assert session.stop_reason == {"type": "end_turn"}


def test_drill_12_a_refused_request_is_not_repeated_and_says_why(workspace, vendor, local_worker):
    vendor.add(error(400, "invalid_request_error", "messages.0: the image is upside down"), answer("well"))
    agent = make_agent(workspace, model=MODEL, tools=[])
    session = wait_idle(start_session(workspace, "hello", agent=agent))
    (told,) = errors_of(session)
    assert "the image is upside down" in told["message"]
    assert told["retry_status"] == {"type": "exhausted"}
    assert len(vendor.requests) == 1 and session.status == "idle"
    send(session, message("again"))
    wait_idle(session)
    assert texts_of(session, "agent.message") == ["well"]
    check_session(session)


@pytest.mark.parametrize("fault", ["bad_inputx1", "unknown_toolx1"])
def test_drill_13_a_call_that_cannot_be_carried_out_gets_one_line_and_the_model_goes_on(workspace, local_worker, fault):
    session = wait_idle(start_session(workspace, f"fault: {fault}\nglob: *.md"))
    results = [row.data for row in log_of(session) if row.type == "agent.tool_result"]
    assert [result["is_error"] for result in results] == [True, False], results[1]["content"]
    (block,) = results[0]["content"]
    assert len(block["text"].splitlines()) == 1
    assert session.stop_reason == {"type": "end_turn"}
    check_session(session)


def test_drill_13_an_argument_of_ten_megabytes_is_refused_and_the_model_goes_on(workspace, vendor, local_worker):
    huge = {"file_path": "/workspace/huge.txt", "content": "x" * (10 * 1024 * 1024)}
    vendor.add(answer(tool_calls=[("write", huge)]), answer("I write less"))
    session = wait_idle(start_session(workspace, "hello", agent=make_agent(workspace, model=MODEL)))
    (refused,) = [row.data for row in log_of(session) if row.type == "agent.tool_result"]
    assert refused["is_error"] and len(refused["content"][0]["text"].splitlines()) == 1
    assert texts_of(session, "agent.message") == ["I write less"]
    assert "workspace/huge.txt" not in files_of(session)
    check_session(session)


@pytest.mark.parametrize("fault", ["bad_input", "unknown_tool"])
def test_drill_13_five_such_answers_in_a_row_end_the_turn(workspace, local_worker, fault):
    session = wait_idle(start_session(workspace, f"fault: {fault}x9\nglob: *.md"))
    results = [row.data for row in log_of(session) if row.type == "agent.tool_result"]
    assert [result["is_error"] for result in results] == [True] * 5
    assert errors_of(session)[-1]["type"] == "tool_use_limit_reached_error"
    assert session.status == "idle"
    check_session(session)


# 14: what never ends by itself (spawn storms, loops of children and ping-pong: see test_teams.py)


def test_drill_14_rounds_without_end_stop_at_the_cap(workspace, local_worker, monkeypatch):
    monkeypatch.setattr(limits, "MAX_TOOL_ROUNDS", 7)
    agent = make_agent(workspace, model="simulated/runaway")
    session = wait_idle(start_session(workspace, "rounds without end", agent=agent))
    assert len(texts_of(session, "agent.tool_result")) == 7
    told = errors_of(session)[-1]
    assert told["type"] == "tool_use_limit_reached_error" and "7" in told["message"]
    assert session.stop_reason == {"type": "retries_exhausted"}
    check_session(session)


def test_drill_14_the_same_call_without_end_is_stopped(workspace, local_worker):
    agent = make_agent(workspace, model="simulated/runaway")
    session = wait_idle(start_session(workspace, "loop", agent=agent))
    assert errors_of(session)[-1]["type"] == "tool_use_limit_reached_error"
    assert len(texts_of(session, "agent.tool_result")) == limits.LOOP_STOP_AT
    check_session(session)


# 15: clocks


@pytest.mark.parametrize("minutes", [10, -10])
def test_drill_15_a_worker_whose_clock_is_wrong_changes_nothing(workspace, crew, minutes):
    """Retries, leases, the order of events and their times: the database's clock decides."""
    shift = {"CLOCK_SHIFT_S": str(60 * minutes), **AT_ONCE}
    lines = ["fault: 529x2@1", *(f"glob: pattern-{number}" for number in range(8))]
    began = timezone.now()
    session = start_session(workspace, "\n".join(lines))
    wrong = crew(1, **shift)[0]
    wait_idle(session, timeout_s=40)
    assert session.stop_reason == {"type": "end_turn"}
    assert len(texts_of(session, "agent.tool_result")) == 8
    assert types_of(session).count("session.status_rescheduled") == 2
    assert {step.worker.split(":")[-2] for step in Step.objects.filter(session=session)} == {str(wrong.pid)}

    agent = make_agent(workspace, model="simulated/slow", tools=[])
    slow = start_session(workspace, "slow 1s", agent=agent)
    wait_until(lambda: holder(slow) == wrong.pid)
    wrong.kill()
    crew(1, **AT_ONCE)  # a right clock takes over as soon as the lease is over, by the database's
    wait_idle(slow)
    times = [row.created_at for row in (*log_of(session, visible=False), *log_of(slow, visible=False))]
    assert times == sorted(times)
    assert began - timedelta(seconds=5) < times[0] and times[-1] < timezone.now() + timedelta(seconds=5)
    for one in (session, slow):
        check_session(one)


# 16: full disks


@pytest.mark.bwrap
def test_drill_16_a_full_sandbox_is_a_tool_error(workspace, local_worker, monkeypatch):
    monkeypatch.setenv("DAYBREAK_SANDBOX_FILE_SIZE_BYTES", str(1024 * 1024))
    script = "bash: head -c 3000000 /dev/zero > /mnt/session/outputs/big.bin\nbash: rm -f /mnt/session/outputs/big.bin"
    session = wait_idle(start_session(workspace, script))
    results = [row.data for row in log_of(session) if row.type == "agent.tool_result"]
    assert [result["is_error"] for result in results] == [True, False]
    assert session.stop_reason == {"type": "end_turn"}
    for file in File.objects.filter(session=session):
        assert file.size_bytes <= 1024 * 1024
    check_session(session)


@pytest.mark.bwrap
def test_drill_16_a_full_blob_store_costs_no_result_and_leaves_no_broken_file(workspace, local_worker, monkeypatch):
    real, full = os.fsync, threading.Event()

    def fsync(descriptor: int) -> None:
        if full.is_set() and "/blobs/incoming/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    full.set()
    command = "bash: seq 400000 > /mnt/session/outputs/numbers.txt; echo written"
    session = wait_idle(start_session(workspace, command))
    assert [text.strip() for text in texts_of(session, "agent.tool_result")] == ["written"]
    assert not File.objects.filter(session=session).exists()
    full.clear()
    send(session, message("bash: echo and now there is room"))
    wait_idle(session)
    (file,) = File.objects.filter(session=session)
    assert Blob.objects.get(sha256=file.sha256).size_bytes == len(files_of(session)["outputs/numbers.txt"])
    check_session(session)


# 17: deploys


def test_drill_17_a_worker_that_is_told_to_stop_finishes_its_step_and_another_goes_on(workspace, crew):
    from agents.services.agents import update_agent

    agent = make_agent(workspace, system="Version one.")
    old = crew(1, **AT_ONCE)[0]
    steps = "\n".join(["fault: slow@1=1", *(f"glob: pattern-{number}" for number in range(5))])
    session = start_session(workspace, steps, agent=agent)
    wait_until(lambda: holder(session) == old.pid and "span.model_request_start" in types_of(session))
    update_agent(agent, changes={"system": "Version two."})
    old.signal(15)
    old.wait_end()
    thread = session.primary_thread
    assert (thread.lease_owner, thread.lease_until, thread.takeovers) == ("", None, 0)
    first = Step.objects.get(session=session, no=1)
    assert first.state == "committed", "the step that was under way was finished"
    crew(1, **AT_ONCE)
    wait_idle(session)
    assert session.stop_reason == {"type": "end_turn"}
    assert not Step.objects.filter(session=session).exclude(state="committed").exists()
    assert session.primary_thread.agent_snapshot["version"] == 1
    assert session.primary_thread.agent_snapshot["system"] == "Version one."
    check_session(session)


@pytest.mark.bwrap
def test_drill_17_a_step_that_takes_too_long_is_handed_over_without_counting_as_a_crash(workspace, crew):
    old = crew(1, DAYBREAK_DRAIN_S="0.5", **AT_ONCE)[0]
    session = start_session(workspace, "bash: echo ran >> /workspace/count; sleep 4; echo done")
    wait_until(lambda: files_of(session).get("workspace/count"))
    old.signal(15)
    old.wait_end()
    assert "agent.tool_result" not in types_of(session)
    thread = session.primary_thread
    assert (thread.lease_owner, thread.takeovers) == ("", 0)
    crew(1, **AT_ONCE)
    wait_idle(session)
    assert [text.strip() for text in texts_of(session, "agent.tool_result")] == ["done"]
    assert files_of(session)["workspace/count"] == b"ran\n"
    check_session(session)


# 18: poison


def poisoned(workspace: Any, **definition: Any) -> Any:
    """An agent at whose requests a worker with `POISON` dies, a moment after it began."""
    return make_agent(workspace, name="Poison", model="simulated/echo", tools=[], system="poison-pill", **definition)


def lose_workers(crew: Any, count: int) -> None:
    """One worker after another, until `count` have died."""
    for _ in range(count):
        crew(1, POISON="poison-pill", **AT_ONCE)[0].wait_end()


@pytest.mark.bwrap
@pytest.mark.timeout(180)
def test_b6_25_drill_18_a_poison_step_stops_only_its_own_thread(workspace, crew):
    slow = make_agent(workspace, model="simulated/slow", tools=[])
    script = "\n".join(f"bash: sleep 0.1; echo {number}" for number in range(4))
    others = [start_session(workspace, "slow 600ms", agent=slow) for _ in range(7)]
    others += [start_session(workspace, script) for _ in range(3)]
    poison = start_session(workspace, "hello", agent=poisoned(workspace))
    lose_workers(crew, 3)
    survivor = crew(1, POISON="poison-pill", **AT_ONCE)[0]
    for session in (poison, *others):
        wait_idle(session, timeout_s=60)
    assert survivor.alive
    assert poison.stop_reason == {"type": "retries_exhausted"}
    (told,) = errors_of(poison)
    assert told["retry_status"] == {"type": "exhausted"} and "3 times" in told["message"]
    for session in others:
        assert session.stop_reason == {"type": "end_turn"} and errors_of(session) == []
    for session in others[7:]:
        assert [text.strip() for text in texts_of(session, "agent.tool_result")] == ["0", "1", "2", "3"]
    for session in (poison, *others):
        check_session(session)


@pytest.mark.timeout(180)
def test_drill_18_a_poisoned_child_ends_and_its_lead_is_told(workspace, crew):
    child = poisoned(workspace)
    team = {"type": "coordinator", "agents": [child.public_id]}
    lead = make_agent(workspace, name="Lead", tools=[], multiagent=team)
    script = 'parallel:\n  custom: spawn_agent {"agent": "Poison", "task": "hello"}\n  custom: wait_for_agents {}'
    session = start_session(workspace, f"{script}\nsay: on without it", agent=lead)
    lose_workers(crew, 3)
    crew(1, POISON="poison-pill", **AT_ONCE)
    wait_idle(session, timeout_s=60)
    ended = session.threads.get(ordinal=1)
    assert ended.status == "terminated"
    came = [row for row in log_of(session) if row.type == "agent.thread_message_received" and row.thread.is_primary]
    assert len(came) == 1 and "could not finish" in came[0].payload
    assert texts_of(session, "agent.message")[-1].endswith("on without it")
    assert session.stop_reason == {"type": "end_turn"}
    check_session(session)


@pytest.mark.bwrap
@pytest.mark.parametrize("how", ["hints off", "each hint ten times"])
def test_b6_11_without_hints_and_with_ten_of_each_the_run_is_the_same(workspace, make_local_worker, how):
    with_hints = make_local_worker()
    wanted = outcome_of(wait_idle(start_triage(workspace), timeout_s=90))
    with_hints.stop()
    other = make_local_worker(hints=how != "hints off")
    if how != "hints off":
        real = other.hint
        hints.set_sender(lambda pk: [real(pk) for _ in range(10)] and None)
    session = wait_idle(start_triage(workspace), timeout_s=90)
    assert_same_run(session, wanted)
    if how != "hints off":
        time.sleep(0.5)
        assert not Event.objects.filter(session=session, seq__gt=session.last_seq).exists()
