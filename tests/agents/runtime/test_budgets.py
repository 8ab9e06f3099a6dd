"""One budget for all threads of a session: who may start, who waits in line, who pauses; nobody is forgotten."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.errors import Invalid
from agents.models import ModelAttempt, Session, Thread
from agents.providers import catalog
from agents.runtime import engine, leases
from agents.services import budgets, status
from agents.services.log import open_log, open_thread_log
from agents.services.rebuild import rebuild_state
from agents.services.sessions import archive_session, update_session
from tests.agents.runtime.processes import Nursery, Worker, worker_environment
from tests.fakes import MessagesServer, answer, error, hanging
from tests.runs import TOOLSET, log_of, make_agent, message, send, start_session, texts_of, types_of, wait_idle
from tests.worker import wait_until

CENT = 10_000_000
PRICED = "claude-haiku-4-5"  # 1 dollar for a million tokens in, 5 for a million out
INTERRUPT = {"type": "user.interrupt"}
MODELS = """
models:
  simulated/tools:
    prices: {input: 4, output: 4, cache_read: 4, cache_write_5m: 4, cache_write_1h: 4}
"""


def limit(cents: int) -> dict[str, Any]:
    return {"type": "limit", "max_list_cost": {"amount": str(cents), "currency": "USD"}}


@pytest.fixture
def prices(tmp_path, monkeypatch):
    """simulated/tools costs 4 dollars for a million tokens of any kind."""
    path = tmp_path / "models.yaml"
    path.write_text(MODELS)
    monkeypatch.setenv("DAYBREAK_MODELS", str(path))
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "0.02")
    return path


@pytest.fixture
def vendor(monkeypatch) -> Iterator[MessagesServer]:
    with MessagesServer() as running:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        yield running
        catalog.provider_for(PRICED).close()


@pytest.fixture
def by_hand(settings, committed_db):
    """The test drives threads itself, one `advance` at a time."""
    settings.DAYBREAK_HINTS = False
    settings.DAYBREAK_RETRY_BASE_S = 0.0


def spawns(count: int, task: str) -> list[tuple[str, dict]]:
    """A lead's calls: so many workers, and a wait for all of them."""
    calls: list[tuple[str, dict]] = [("spawn_agent", {"agent": "worker", "task": task})] * count
    return [*calls, ("wait_for_agents", {})]


def make_lead(workspace: Any, *, model: str = "simulated/tools", tools: tuple = (TOOLSET,)) -> Any:
    worker = make_agent(workspace, name="worker", model=model, tools=list(tools))
    roster = {"type": "coordinator", "agents": [worker.public_id]}
    return make_agent(workspace, name="lead", model=model, tools=[], multiagent=roster)


def start_team(workspace: Any, count: int, task: str, *, cents: int) -> Session:
    """A lead that gives the same script to so many workers, and waits."""
    script = [f"  custom: {name} {json.dumps(given)}" for name, given in spawns(count, task)]
    return start_session(workspace, "\n".join(["parallel:", *script]), agent=make_lead(workspace), budget=limit(cents))


def start_vendor_team(workspace: Any, vendor: MessagesServer, count: int, *, cents: int) -> Session:
    """The same with the vendor's model. The lead's answer that starts them costs next to nothing."""
    vendor.add(answer(tool_calls=spawns(count, "Do it.")))
    return start_session(workspace, "go", agent=make_lead(workspace, model=PRICED, tools=()), budget=limit(cents))


def children_of(session: Session) -> list[Thread]:
    return list(session.threads.filter(parent__isnull=False).order_by("ordinal"))


def held_in(session: Session) -> list[Thread]:
    return [thread for thread in children_of(session) if thread.wanted_nanousd]


def raise_budget(session: Session, cents: int | None) -> None:
    update_session(session, changes={"budget": None if cents is None else limit(cents)})


def check_line(session: Session) -> None:
    """What the head of `budgets.py` promises, of the rows as they were committed."""
    session.refresh_from_db()
    threads = list(session.threads.all())
    waiting = [thread for thread in threads if thread.wanted_nanousd]
    held = [thread for thread in waiting if not thread.interrupt_pending]
    reserved = [thread.reserved_nanousd for thread in threads if thread.reserved_nanousd]
    cap = None if session.budget_cents is None else session.budget_cents * CENT
    if held:
        assert reserved, "somebody will let them go on"
        assert cap is not None and session.list_cost_nanousd < cap
    for thread in waiting:
        assert not thread.reserved_nanousd
        assert (thread.status, thread.phase) == ("running", "ready")
        assert (thread.runnable_at is not None) == thread.interrupt_pending
    for thread in threads:
        if thread.reserved_nanousd and thread.phase not in ("model_request", "compacting"):
            assert thread.phase == "ready" and thread.runnable_at is not None, "it may be taken"
        if thread.interrupt_pending:
            assert thread.runnable_at is not None, "somebody will carry it out"
        if thread.phase == "paused":
            assert thread.status == "idle" and (thread.runnable_at is not None) == thread.interrupt_pending
            assert thread.stop_reason == {"type": "budget_reached"}
            assert not thread.reserved_nanousd and not thread.wanted_nanousd


def check_starts(session: Session, *, cents: int, until_seq: int) -> int:
    """No request started that did not fit, unless it was alone. Returns what the dearest request cost."""
    spent, dearest = 0, 0
    under_way: dict[int, int] = {}
    for row in log_of(session):
        if row.seq > until_seq:
            break
        if row.type == "span.model_request_start":
            wanted = row.private_data["reserved_nanousd"]
            assert spent < cents * CENT
            assert not under_way or spent + sum(under_way.values()) + wanted <= cents * CENT
            under_way[row.thread_id] = wanted
        elif row.type == "span.model_request_end":
            del under_way[row.thread_id]
            cost = row.private_data.get("usage", {}).get("list_cost_nanousd", 0)
            spent, dearest = spent + cost, max(dearest, cost)
    return dearest


# Many threads


@pytest.mark.conformance(126)
@pytest.mark.timeout(240)
def test_b6_20_twenty_five_threads_share_ten_cents(workspace, prices, local_worker):
    prices.write_text(MODELS.replace(": 4", ": 8"))
    task = "\n".join(f"glob: pattern-{number}" for number in range(6))
    session = wait_idle(start_team(workspace, 25, task, cents=10))
    assert session.stop_reason == {"type": "budget_reached"}
    check_line(session)
    paused_at = session.last_seq
    dearest = check_starts(session, cents=10, until_seq=paused_at)
    assert 10 * CENT <= session.list_cost_nanousd < 10 * CENT + dearest

    children = children_of(session)
    assert len(children) == 25
    assert {thread.phase for thread in children} == {"paused"}
    assert {json.dumps(thread.stop_reason) for thread in session.threads.all()} == {'{"type": "budget_reached"}'}
    stream = [row for row in log_of(session) if row.thread.is_primary]
    assert [row.type for row in stream[-4:]] == [
        "session.thread_status_idle",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    assert stream[-3].data["session_thread_id"] == session.primary_thread.public_id
    idle = [row for row in stream if row.type == "session.thread_status_idle"]
    assert {row.data["session_thread_id"] for row in idle} == {t.public_id for t in session.threads.all()}
    assert not any(row.type == "agent.thread_message_received" for row in stream), "the lead is not told"
    pauses = [row for row in stream if row.type == "session.usage"]
    assert all(row.data["budget"] == limit(10) for row in pauses)

    raise_budget(session, 1_000_000)
    assert {thread.status for thread in children_of(session)} == {"running"}
    wait_idle(session, timeout_s=120)
    assert session.stop_reason == {"type": "end_turn"}
    assert {json.dumps(thread.stop_reason) for thread in children_of(session)} == {'{"type": "end_turn"}'}
    assert {thread.tool_rounds for thread in children_of(session)} == {6}
    assert len([row for row in log_of(session) if row.type == "agent.thread_message_received"]) == 25 + 25
    check_line(session)
    assert rebuild_state(session) == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_interrupts_and_changes_at_any_moment_leave_nobody_behind(workspace, prices, local_worker, seed):
    moments = random.Random(seed)
    task = "\n".join(f"glob: pattern-{number}" for number in range(4))
    session, cents = start_team(workspace, 10, task, cents=3), 3
    wait_until(lambda: len(children_of(session)) == 10)
    for _ in range(12):
        time.sleep(moments.uniform(0, 0.1))
        check_line_while_it_moves(session)
        if moments.random() < 0.5:
            child = moments.choice(children_of(session))
            send(session, {**INTERRUPT, "session_thread_id": child.public_id})
        else:
            cents += 1
            try:
                raise_budget(session, cents)
            except Invalid as refusal:
                assert "budget_not_raised" in refusal.message
    wait_idle(session)
    check_line(session)
    raise_budget(session, 1_000_000)
    wait_idle(session, timeout_s=60)
    check_line(session)
    assert session.stop_reason == {"type": "end_turn"}
    assert {thread.phase for thread in session.threads.all()} == {"idle"}
    assert not session.threads.filter(runnable_at__isnull=False).exists()
    assert rebuild_state(session) == []


def check_line_while_it_moves(session: Session) -> None:
    """The rows as one commit left them: nobody commits while the session is locked."""
    with open_log(session.pk):
        check_line(session)


@pytest.fixture
def crew(committed_db: None, database_dsn: str, settings: Any) -> Iterator[Callable[..., Worker]]:
    """`crew(**environment)`: a worker process; those still alive are ended after the test."""
    nursery = Nursery(worker_environment(database_dsn, settings))
    started: list[Worker] = []

    def start(**environment: str) -> Worker:
        started.append(nursery.start(**environment))
        return started[-1]

    yield start
    for worker in started:
        worker.signal(signal.SIGCONT)
        worker.kill()
    nursery.close()
    from agents.sandbox import client

    client.stop_all(settings.DAYBREAK_DATA_DIR)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_workers_leave_no_reservation_behind(workspace, prices, crew, settings, seed):
    settings.DAYBREAK_HINTS = False
    environment = {"DAYBREAK_SIMULATED_LATENCY": "0.1", "DAYBREAK_MODELS": str(prices)}
    task = "\n".join(f"glob: pattern-{number}" for number in range(4))
    session = start_team(workspace, 6, task, cents=5)
    moments = random.Random(seed)
    for _ in range(2):  # a step that takes down three workers is given up, which is another rule
        worker = crew(**environment)
        wait_until(lambda: any(thread.reserved_nanousd for thread in session.threads.all()))
        time.sleep(moments.uniform(0, 0.5))
        worker.kill()
        check_line_while_it_moves(session)
    crew(**environment)
    wait_idle(session, timeout_s=60)
    check_line(session)
    assert session.stop_reason == {"type": "budget_reached"}
    raise_budget(session, 1_000_000)
    wait_idle(session, timeout_s=60)
    check_line(session)
    assert session.stop_reason == {"type": "end_turn"}
    assert not any(thread.reserved_nanousd or thread.wanted_nanousd for thread in session.threads.all())
    assert rebuild_state(session) == []


# Held


def test_a_request_that_does_not_fit_is_held_until_another_ends(workspace, vendor, local_worker):
    session = start_vendor_team(workspace, vendor, 3, cents=1)
    vendor.add(hanging())
    vendor.wait_for_requests(2, 30)  # the lead's, and that of the one child that may ask
    wait_until(lambda: len(held_in(session)) == 2)
    check_line(session)
    asking = next(thread for thread in children_of(session) if thread.reserved_nanousd)
    held = held_in(session)
    assert all("span.model_request_start" not in [e.type for e in t.events.all()] for t in held)
    assert session.status == "running"
    assert not Thread.objects.filter(pk__in=[t.pk for t in held]).exclude(lease_owner="").exists(), "nobody holds them"

    send(session, {**INTERRUPT, "session_thread_id": asking.public_id})
    wait_idle(session)
    assert session.stop_reason == {"type": "end_turn"}
    assert len(vendor.requests) == 1 + 3 + 1
    check_line(session)
    ends = {t.pk: t.events.filter(type="span.model_request_end").count() for t in session.threads.all()}
    assert set(ends.values()) == {1, 2}


def test_a_held_thread_can_be_interrupted(workspace, vendor, local_worker):
    session = start_vendor_team(workspace, vendor, 3, cents=1)
    vendor.add(hanging())
    wait_until(lambda: len(held_in(session)) == 2)
    stopped, waiting = held_in(session)
    send(session, {**INTERRUPT, "session_thread_id": stopped.public_id})
    wait_until(lambda: Thread.objects.get(pk=stopped.pk).status == "idle")
    stopped.refresh_from_db()
    assert (stopped.phase, stopped.stop_reason, stopped.wanted_nanousd) == ("idle", {"type": "end_turn"}, 0)
    assert not stopped.events.filter(type__startswith="span.").exists(), "it asked nothing"
    assert held_in(session) == [waiting]
    send(session, INTERRUPT)
    wait_idle(session)
    assert {thread.phase for thread in session.threads.all()} == {"idle"}
    check_line(session)


def test_raising_or_removing_the_budget_lets_held_threads_go_on(workspace, vendor, local_worker):
    for cents in (100, None):
        before = len(vendor.requests)
        session = start_vendor_team(workspace, vendor, 3, cents=1)
        vendor.add(hanging())
        wait_until(lambda session=session: len(held_in(session)) == 2)
        raise_budget(session, cents)
        vendor.wait_for_requests(before + 4, 30)
        wait_until(lambda session=session: sum(t.status == "idle" for t in children_of(session)) == 2)
        send(session, INTERRUPT)
        wait_idle(session)
        check_line(session)
        assert not any(thread.reserved_nanousd for thread in session.threads.all())


def test_held_threads_pause_when_the_one_that_asks_uses_the_budget_up(workspace, vendor, local_worker):
    session = start_vendor_team(workspace, vendor, 3, cents=1)
    dear = answer("Much.", usage={"output_tokens": 5_000}, delay_s=0.05)
    vendor.add(dear)
    wait_idle(session)
    assert session.stop_reason == {"type": "budget_reached"}
    check_line(session)
    done, *paused = sorted(children_of(session), key=lambda thread: thread.phase)
    assert (done.phase, done.stop_reason) == ("idle", {"type": "end_turn"}), "it crossed the limit and was done"
    assert {thread.phase for thread in paused} == {"paused"}
    assert len(vendor.requests) == 2
    assert session.list_cost_nanousd >= CENT
    told = [row for row in log_of(session) if row.type == "agent.thread_message_received" and row.thread.is_primary]
    assert [row.data["from_session_thread_id"] for row in told] == [done.public_id]
    assert session.primary_thread.phase == "waiting_agents", "paused agents have not finished"

    raise_budget(session, 5)
    wait_idle(session)
    assert session.stop_reason == {"type": "end_turn"}
    assert len(vendor.requests) == 2 + 2 + 1


def test_a_reservation_expects_two_thousand_tokens_then_the_mean_of_the_last_answers(workspace, vendor, local_worker):
    looks = [("glob", {"pattern": "*"}), ("glob", {"pattern": "a"}), ("glob", {"pattern": "b"})]
    outputs = (100, 201, 40)
    for call, tokens in zip(looks, outputs, strict=True):
        vendor.add(answer(tool_calls=[call], usage={"input_tokens": 1_000, "output_tokens": tokens}))
    session = wait_idle(start_session(workspace, "go", agent=make_agent(workspace, model=PRICED), budget=limit(1000)))
    starts = [row.private_data["reserved_nanousd"] for row in log_of(session) if row.type == "span.model_request_start"]
    means = (2_000, 100, 151, 114)
    ins = [cost - mean * 5_000 for cost, mean in zip(starts, means, strict=True)]
    assert 200_000 < ins[0] < 20_000_000, "the prompt and the tools, by their length"
    for known, tokens in zip(ins[1:], outputs, strict=True):
        said = (1_000 + tokens) * 1_000
        assert said < known < said + 500_000, "what the last answer's usage says, and the result since"


def test_an_error_releases_what_was_reserved(workspace, vendor, local_worker):
    session = start_vendor_team(workspace, vendor, 3, cents=1)
    vendor.add(error(400, "invalid_request_error", "No."))
    wait_idle(session)
    assert session.stop_reason == {"type": "end_turn"}
    assert [thread.status for thread in children_of(session)].count("terminated") == 1
    check_line(session)


def test_a_provider_that_makes_a_thread_wait_does_not_keep_others_from_their_share(workspace, prices, by_hand):
    session = start_session(workspace, None, budget=limit(1))
    threads = [add_thread(session, number) for number in range(3)]
    asking, granted, waiting = threads
    assert ask(session, asking, tokens=100)
    assert not ask(session, granted, tokens=500)
    assert not ask(session, waiting, tokens=500)
    finish(session, asking, cost=0)
    granted.refresh_from_db()
    assert granted.reserved_nanousd == CENT
    from agents.services import provider_holds

    provider_holds.hold(provider_holds.key_of(session, "simulated/tools"), 600)
    engine.advance(granted.pk)
    granted.refresh_from_db()
    waiting.refresh_from_db()
    assert (granted.status, granted.reserved_nanousd) == ("rescheduling", 0)
    assert waiting.reserved_nanousd == CENT and waiting.runnable_at is not None
    check_line(session)


def test_a_worker_that_dies_with_a_reservation_is_succeeded(workspace, prices, by_hand, monkeypatch):
    session = start_session(workspace, "say: hello", budget=limit(100))
    thread = session.primary_thread

    class Dies:
        def request(self, request: Any, cancellation: Any) -> Iterator[Any]:
            raise leases.Fenced  # nothing is written any more, as after a crash
            yield

    monkeypatch.setattr(catalog, "provider_for", lambda model: Dies())
    monkeypatch.setattr(leases, "release", lambda run: leases.held_runs.remove(run))
    engine.advance(thread.pk)
    thread.refresh_from_db()
    assert thread.phase == "model_request" and thread.reserved_nanousd > 0 and thread.lease_owner
    monkeypatch.undo()
    monkeypatch.setenv("DAYBREAK_MODELS", str(prices))
    Thread.objects.filter(pk=thread.pk).update(lease_until="2020-01-01T00:00:00Z")
    engine.advance(thread.pk)
    thread.refresh_from_db()
    assert (thread.status, thread.reserved_nanousd) == ("idle", 0)
    assert texts_of(session, "agent.message") == ["hello"]


# Paused


def test_a_question_to_a_person_outranks_the_budget(workspace, prices, local_worker):
    asking = {**TOOLSET, "configs": [{"name": "glob", "permission_policy": {"type": "always_ask"}}]}
    lead = make_lead(workspace, tools=(asking,))
    script = ["parallel:"]
    for task in ("glob: a\nsay: one", "\n".join(f"write: {n}.txt | x" for n in range(20))):
        script.append(f"  custom: spawn_agent {json.dumps({'agent': 'worker', 'task': task})}")
    script.append("  custom: wait_for_agents {}")
    session = start_session(workspace, "\n".join(script), agent=lead, budget=limit(4))
    wait_idle(session)
    asks, pauses = children_of(session)
    assert (asks.phase, pauses.phase) == ("waiting_user", "paused")
    assert session.stop_reason["type"] == "requires_action"
    with pytest.raises(Invalid, match="budget"):
        send(session, message("hello?"))
    (call,) = session.stop_reason["event_ids"]
    send(session, {"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow"})
    wait_until(lambda: types_of(session).count("session.status_idle") == 2)
    wait_idle(session)
    assert session.stop_reason == {"type": "budget_reached"}
    raise_budget(session, None)
    wait_idle(session, timeout_s=60)
    assert session.stop_reason == {"type": "end_turn"}
    check_line(session)


def test_a_model_whose_price_is_gone_pauses_until_the_budget_is_removed(workspace, prices, local_worker):
    session = start_session(workspace, None, budget=limit(100))
    prices.write_text("models: {simulated/tools: {prices: null}}")
    send(session, message("say: hello"))
    wait_idle(session)
    assert session.stop_reason == {"type": "budget_reached"}
    assert not ModelAttempt.objects.filter(step__session=session).exists()
    with pytest.raises(Invalid, match="model_not_budgetable"):
        raise_budget(session, 200)
    raise_budget(session, None)
    wait_idle(session)
    assert texts_of(session, "agent.message") == ["hello"]


def test_a_paused_session_can_be_archived(workspace, prices, local_worker):
    session = wait_idle(start_team(workspace, 3, "glob: a\nglob: b", cents=1))
    assert session.stop_reason == {"type": "budget_reached"}
    archive_session(session)
    assert set(session.threads.values_list("status", flat=True)) == {"terminated"}
    with pytest.raises(Invalid, match="archived"):
        raise_budget(session, 100)


def test_an_agent_made_on_the_spot_needs_a_price_too(workspace, prices, local_worker):
    lead = make_agent(
        workspace, name="lead", tools=[], multiagent={"type": "multiagent_20261001", "subagents": {"type": "enabled"}}
    )
    inline = {"agent": {"name": "cheap", "system": "Help.", "model": "claude-mythos-preview"}, "task": "Do it."}
    script = f"custom: spawn_agent {json.dumps(inline)}"
    refused = wait_idle(start_session(workspace, script, agent=lead, budget=limit(100_000)))
    said = texts_of(refused, "agent.message")[-1]
    assert "model_not_budgetable" in said and not children_of(refused)


def test_sessions_without_a_budget_pay_no_query_for_it(workspace, by_hand, django_assert_num_queries):
    session = start_session(workspace, "say: hello")
    with open_thread_log(session.pk, session.primary_thread.pk) as (log, thread), django_assert_num_queries(0):
        assert budgets.reserve(log, thread, model="simulated/tools", expected_input_tokens=10)
        budgets.settle(log, thread)


# The line itself, move by move


def add_thread(session: Session, number: int) -> Thread:
    with open_log(session.pk) as log:
        thread = Thread.objects.create(
            session=log.session,
            parent=log.primary(),
            agent_name=f"worker {number}",
            agent_snapshot=log.primary().agent_snapshot,
            ordinal=number + 1,
            phase=Thread.Phase.READY,
            runnable_at=log.now,
        )
        status.set_running(log, thread)
    return thread


def ask(session: Session, thread: Thread, *, tokens: int) -> bool:
    """What a worker does before a request that reads so many tokens, and is expected to write 2,000."""
    with open_thread_log(session.pk, thread.pk) as (log, own):
        status.set_running(log, own)
        if not budgets.reserve(log, own, model="simulated/tools", expected_input_tokens=tokens):
            return False
        own.phase, own.runnable_at = Thread.Phase.MODEL_REQUEST, log.now
        log.touch(own, "phase", "runnable_at")
    check_start(session)
    return True


def check_start(session: Session) -> None:
    session.refresh_from_db()
    reserved = [thread.reserved_nanousd for thread in session.threads.all() if thread.reserved_nanousd]
    if session.budget_cents is not None and len(reserved) > 1:
        assert session.list_cost_nanousd + sum(reserved) <= session.budget_cents * CENT


def finish(session: Session, thread: Thread, *, cost: int, again: bool = True) -> None:
    """What a worker does when a request has ended, in whatever way."""
    with open_thread_log(session.pk, thread.pk) as (log, own):
        log.session.list_cost_nanousd += cost
        log.touch_session("list_cost_nanousd")
        budgets.settle(log, own)
        own.phase, own.runnable_at = (Thread.Phase.READY, log.now) if again else (Thread.Phase.IDLE, None)
        log.touch(own, "phase", "runnable_at")
        if not again:
            status.set_idle(log, own, {"type": "end_turn"})


MOVE = st.tuples(
    st.integers(0, 3),
    st.sampled_from(
        ["ask"] * 3 + ["answer"] * 2 + ["fail", "end", "stop", "stop", "stopped", "raise", "lower", "remove"]
    ),
    st.sampled_from([0, 500, 1_500, 3_000, 5_500]),
)


@pytest.mark.timeout(300)
@hypothesis_settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moves=st.lists(MOVE, min_size=20, max_size=40))
def test_whatever_happens_the_line_keeps_its_promises(workspace, prices, by_hand, moves):
    """Every order of moves of four threads: nobody is held alone, nothing is overspent, all can go on in the end."""
    session = start_session(workspace, None, budget=limit(3))
    threads = [add_thread(session, number) for number in range(4)]
    removed = False
    for place, move, size in moves:
        thread = threads[place]
        thread.refresh_from_db()
        session.refresh_from_db()
        under_way = thread.phase == "model_request"
        if move == "ask" and may_be_taken(thread):
            ask(session, thread, tokens=size)
        elif move in ("answer", "fail", "end") and under_way:
            again = move != "end" or thread.interrupt_pending
            finish(session, thread, cost=0 if move == "fail" else size * 6_000, again=again)
        elif move == "stop":
            send(session, {**INTERRUPT, "session_thread_id": thread.public_id})
        elif move == "stopped" and thread.interrupt_pending:
            engine.advance(thread.pk)
        elif move == "remove" and size == 0:
            raise_budget(session, None)
            removed = True
        elif move == "raise" and not removed:
            raise_budget(session, max(session.list_cost_nanousd // CENT + 1, session.budget_cents) + size // 1_000)
        elif move == "lower" and not removed and session.threads.filter(reserved_nanousd__gt=0).count() < 2:
            raise_budget(session, session.list_cost_nanousd // CENT + 1)
        check_line(session)
    let_all_end(session, threads, removed=removed)


def may_be_taken(thread: Thread) -> bool:
    return thread.phase == "ready" and thread.runnable_at is not None and not thread.interrupt_pending


def let_all_end(session: Session, threads: list[Thread], *, removed: bool) -> None:
    """Nothing but workers doing their part, and one last raise: every thread gets to its end."""
    if not removed:
        raise_budget(session, session.list_cost_nanousd // CENT + 1_000)
    for _ in range(20):
        for thread in threads:
            thread.refresh_from_db()
            if thread.interrupt_pending:
                engine.advance(thread.pk)
            elif may_be_taken(thread):
                ask(session, thread, tokens=100)
            thread.refresh_from_db()
            if thread.phase == "model_request":
                finish(session, thread, cost=4_000, again=False)
        check_line(session)
        if session.status == "idle":
            break
    assert session.status == "idle"
    assert {thread.phase for thread in session.threads.all()} == {"idle"}


def test_those_who_are_held_go_on_in_thread_order_as_far_as_the_money_goes(workspace, prices, by_hand):
    session = start_session(workspace, None, budget=limit(2))
    asking, one, more, another = [add_thread(session, number) for number in range(4)]
    assert ask(session, asking, tokens=3_000), "two cents"
    for thread, tokens in ((another, 500), (more, 1_750), (one, 500)):
        assert not ask(session, thread, tokens=tokens)
    finish(session, asking, cost=0, again=False)
    check_line(session)
    assert held_in(session) == [more], "a cent each for the others, and no cent and a half is left"
    assert ask(session, one, tokens=500)
    finish(session, one, cost=0, again=False)
    assert held_in(session) == [more]
    assert ask(session, another, tokens=500)
    finish(session, another, cost=0, again=False)
    assert held_in(session) == []
    assert ask(session, more, tokens=1_750)
    check_line(session)


def test_who_needs_more_than_was_set_aside_gives_its_share_to_others(workspace, prices, by_hand):
    session = start_session(workspace, None, budget=limit(2))
    first, grown, other = [add_thread(session, number) for number in range(3)]
    assert ask(session, first, tokens=1_000)
    assert not ask(session, grown, tokens=500)
    assert not ask(session, other, tokens=500)
    finish(session, first, cost=0)
    assert not ask(session, first, tokens=500), "both cents are set aside"
    assert not ask(session, grown, tokens=1_000), "much was said to it meanwhile"
    assert held_in(session) == [grown]
    assert ask(session, first, tokens=500) and ask(session, other, tokens=500)
    check_line(session)


@pytest.mark.parametrize("cost", [0, 5 * CENT])
def test_a_held_thread_that_is_being_stopped_is_neither_paused_nor_served(workspace, prices, by_hand, cost):
    session = start_session(workspace, None, budget=limit(2))
    asking, stopped, other = [add_thread(session, number) for number in range(3)]
    assert ask(session, asking, tokens=3_000)
    assert not ask(session, stopped, tokens=500)
    assert not ask(session, other, tokens=3_000)
    send(session, {**INTERRUPT, "session_thread_id": stopped.public_id})
    finish(session, asking, cost=cost, again=False)
    check_line(session)
    other.refresh_from_db()
    assert (other.phase, other.reserved_nanousd) == (("paused", 0) if cost else ("ready", 2 * CENT))
    engine.advance(stopped.pk)
    stopped.refresh_from_db()
    assert (stopped.phase, stopped.stop_reason) == ("idle", {"type": "end_turn"})
    check_line(session)


def test_threads_that_ask_at_the_same_time_never_reserve_more_than_there_is(workspace, prices, by_hand):
    session = start_session(workspace, None, budget=limit(10))
    workers = [add_thread(session, number) for number in range(16)]
    ready = threading.Barrier(len(workers))
    granted: list[bool] = []

    def work(thread: Thread) -> None:
        ready.wait(20)
        granted.append(ask(session, thread, tokens=500))
        connection.close()

    running = [threading.Thread(target=work, args=(thread,)) for thread in workers]
    for one in running:
        one.start()
    for one in running:
        one.join(30)
    assert sum(granted) == 10, "ten requests of a cent each"
    check_line(session)
    assert len(held_in(session)) == 6
