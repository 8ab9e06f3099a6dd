"""A session's budget through the SDK: what may be set, what happens at the limit, and how work goes on."""

from __future__ import annotations

import anthropic
import pytest

from tests.api.sdk import (
    history,
    make_agent,
    make_environment,
    make_session,
    of_type,
    said,
    send,
    text,
    toolset_asking_for,
    types,
    wait_for,
    wait_idle,
)

MODELS = """
models:
  simulated/tools:
    prices: {input: 0, output: 10000, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0}
  simulated/echo:
    prices: null
"""
ACCEPTED = ("user.tool_confirmation", "user.tool_result", "user.custom_tool_result", "user.interrupt")
TWO_STEPS = "write: a.txt | one\nsay: both done"


@pytest.fixture(autouse=True)
def prices(tmp_path, monkeypatch):
    """A word of simulated/tools costs some cents, so that any answer uses up a budget of one cent."""
    path = tmp_path / "models.yaml"
    path.write_text(MODELS)
    monkeypatch.setenv("DAYBREAK_MODELS", str(path))


def budget(cents, currency="USD"):
    return {"type": "limit", "max_list_cost": {"amount": cents, "currency": currency}}


def update(client, session, **values):
    return client.beta.sessions.update(session.id, **values)


def refused(act, *words):
    with pytest.raises(anthropic.BadRequestError) as caught:
        act()
    for word in words:
        assert word in caught.value.message
    return caught.value.message


@pytest.mark.conformance(126)
def test_a_budget_is_shown_as_it_was_set(client, raw, local_worker):
    created = make_session(client, "say: hello", budget=budget("2500"))
    assert created.budget.type == "limit"
    assert (created.budget.max_list_cost.amount, created.budget.max_list_cost.currency) == ("2500", "USD")
    found = wait_idle(client, created)
    assert found.budget == created.budget
    listed = next(row for row in client.beta.sessions.list() if row.id == created.id)
    assert listed.budget == created.budget
    usage = of_type(history(client, created), "session.usage")[-1]
    assert usage.budget == created.budget
    assert int(usage.usage.list_cost.amount) > 0
    body = raw.get(f"/v1/sessions/{created.id}").json()
    assert body["budget"] == budget("2500")


@pytest.mark.conformance(126)
@pytest.mark.parametrize("amount", ["0", "-5", "05", "1.5", "1e3", " 5", "5 ", "٥", "", "five", "9" * 30])
def test_an_amount_is_whole_cents_above_zero(client, amount):
    refused(lambda: make_session(client, budget=budget(amount)), "budget.max_list_cost.amount")


@pytest.mark.conformance(126)
@pytest.mark.parametrize(
    "bad",
    [
        {"type": "limit"},
        {"type": "limit", "max_list_cost": {"amount": 100, "currency": "USD"}},
        {"type": "limit", "max_list_cost": {"amount": "100"}},
        {"type": "limit", "max_list_cost": {"amount": "100", "currency": "EUR"}},
        {"type": "soft", "max_list_cost": {"amount": "100", "currency": "USD"}},
        {**budget("100"), "window": "day"},
    ],
)
def test_a_budget_of_another_shape_is_refused(client, bad):
    refused(lambda: make_session(client, budget=bad), "budget")


@pytest.mark.conformance(126)
@pytest.mark.parametrize("model", ["simulated/echo", "claude-mythos-preview", "qwen3"])
def test_a_model_without_a_list_price_takes_no_budget(client, model):
    agent = make_agent(client, model=model)
    message = refused(lambda: make_session(client, agent=agent, budget=budget("100")), "model_not_budgetable")
    assert model in message
    assert make_session(client, agent=agent).budget is None


@pytest.mark.conformance(126)
def test_a_roster_with_a_model_without_a_list_price_takes_no_budget(client):
    member = make_agent(client, model="simulated/echo", name="Echo")
    roster = {"type": "coordinator", "agents": [member.id]}
    lead = make_agent(client, name="Lead", multiagent=roster)
    refused(lambda: make_session(client, agent=lead, budget=budget("100")), "model_not_budgetable", "simulated/echo")


@pytest.mark.conformance(126)
def test_at_the_limit_a_session_pauses_and_goes_on_when_the_budget_is_raised(client, local_worker):
    session = make_session(client, TWO_STEPS, budget=budget("1"))
    paused = wait_idle(client, session)
    events = history(client, session)
    last = events[-3:]
    assert [event.type for event in last] == [
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    assert last[0].stop_reason.type == last[2].stop_reason.type == "budget_reached"
    assert last[1].budget.max_list_cost.amount == "1"
    assert len(of_type(events, "span.model_request_start")) == 1, "the request that crossed the limit was the last"
    assert len(of_type(events, "agent.tool_result")) == 1, "its calls are carried out"
    assert int(paused.usage.list_cost.amount) >= 1

    updated = update(client, session, budget=budget("100000"))
    assert (updated.status, updated.budget.max_list_cost.amount) == ("running", "100000")
    wait_idle(client, session)
    after = history(client, session)[len(events) :]
    assert [event.type for event in after][:4] == [
        "session.updated",
        "session.status_running",
        "session.thread_status_running",
        "span.model_request_start",
    ]
    changed = after[0].model_dump(exclude_unset=True)
    assert set(changed) == {"id", "type", "processed_at", "budget"}
    assert changed["budget"] == budget("100000")
    assert said(of_type(after, "agent.message")[-1]).endswith("both done")
    assert after[-1].stop_reason.type == "end_turn"
    assert not of_type(after, "user.message"), "nothing has to be said again"


@pytest.mark.conformance(126)
def test_removing_the_budget_resumes_and_cannot_be_undone(client, raw, local_worker):
    session = make_session(client, TWO_STEPS, budget=budget("1"))
    wait_idle(client, session)
    assert update(client, session, budget=None).budget is None
    wait_idle(client, session)
    events = history(client, session)
    assert events[-1].stop_reason.type == "end_turn"
    changed = raw.get(f"/v1/sessions/{session.id}/events?types[]=session.updated").json()["data"]
    assert [event["budget"] for event in changed] == [None]
    assert of_type(events, "session.usage")[-1].budget is None
    refused(lambda: update(client, session, budget=budget("100000")), "budget_create_only")
    assert update(client, session, budget=None).budget is None
    assert len(of_type(history(client, session), "session.updated")) == 1, "there was nothing left to remove"


@pytest.mark.conformance(126)
def test_a_session_without_a_budget_is_given_none_later(client):
    session = make_session(client)
    refused(lambda: update(client, session, title="New", budget=budget("100")), "budget_create_only")
    assert client.beta.sessions.retrieve(session.id).title is None, "the whole request is refused"
    assert update(client, session, budget=None).budget is None
    assert types(client, session) == []


@pytest.mark.conformance(126)
def test_a_new_budget_exceeds_what_was_spent(client, local_worker):
    session = make_session(client, "say: hello", budget=budget("1"))
    spent = wait_idle(client, session).usage.list_cost.amount
    refused(lambda: update(client, session, budget=budget(str(int(spent) - 1))), "budget_not_raised")
    assert client.beta.sessions.retrieve(session.id).budget.max_list_cost.amount == "1"
    lowered = make_session(client, "say: hello", budget=budget("90000"))
    wait_idle(client, lowered)
    assert update(client, lowered, budget=budget("80000")).budget.max_list_cost.amount == "80000"
    same = update(client, lowered, budget=budget("80000"))
    assert same.status == "idle"
    assert len(of_type(history(client, lowered), "session.updated")) == 1


@pytest.mark.conformance(126)
def test_an_archived_session_keeps_its_budget(client):
    session = make_session(client, budget=budget("100"))
    client.beta.sessions.archive(session.id)
    refused(lambda: update(client, session, budget=budget("200")), "archived")
    assert client.beta.sessions.retrieve(session.id).budget.max_list_cost.amount == "100"


@pytest.mark.conformance(126)
def test_a_turn_that_ends_with_the_request_that_crosses_ends_as_it_would(client, local_worker):
    session = make_session(client, "say: hello", budget=budget("1"))
    wait_idle(client, session)
    events = history(client, session)
    assert events[-1].stop_reason.type == "end_turn"
    assert of_type(events, "session.thread_status_idle")[-1].stop_reason.type == "end_turn"
    refused(lambda: send(client, session, text("say: more")), *ACCEPTED)


@pytest.mark.conformance(126)
def test_at_the_limit_only_open_work_can_be_settled(client, local_worker):
    session = make_session(client, TWO_STEPS, budget=budget("1"))
    wait_idle(client, session)
    before = types(client, session)
    refused(lambda: send(client, session, text("say: more")), "budget", *ACCEPTED)
    system = {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]}
    refused(lambda: send(client, session, system), *ACCEPTED)
    refused(lambda: send(client, session, {"type": "user.interrupt"}, text("say: more")), *ACCEPTED)
    echo = send(client, session, {"type": "user.interrupt"}).data[0]
    assert echo.type == "user.interrupt" and echo.id.startswith("sevt_") and echo.processed_at is not None
    assert types(client, session) == before, "it is not in the history"
    assert client.beta.sessions.retrieve(session.id).status == "idle"
    update(client, session, budget=None)
    wait_idle(client, session)
    assert said(of_type(history(client, session), "agent.message")[-1]).endswith("both done"), "nor did it stop it"


@pytest.mark.conformance(126)
def test_an_answer_is_taken_at_the_limit_and_the_session_pauses_after_it(client, local_worker):
    agent = make_agent(client, tools=[toolset_asking_for("write")])
    session = make_session(client, TWO_STEPS, agent=agent, budget=budget("1"))
    asking = wait_idle(client, session)
    assert int(asking.usage.list_cost.amount) >= 1
    stop = history(client, session)[-1].stop_reason
    assert stop.type == "requires_action"
    send(client, session, {"type": "user.tool_confirmation", "tool_use_id": stop.event_ids[0], "result": "allow"})
    wait_for(client, session, "session.status_idle", count=2)
    events = history(client, session)
    assert len(of_type(events, "agent.tool_result")) == 1
    assert events[-1].stop_reason.type == "budget_reached"
    update(client, session, budget=budget("100000"))
    wait_idle(client, session)
    assert history(client, session)[-1].stop_reason.type == "end_turn"


@pytest.mark.conformance(126)
def test_a_budget_changes_while_the_session_works(client, local_worker, monkeypatch):
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "1")
    session = make_session(client, TWO_STEPS, budget=budget("1"))
    wait_for(client, session, "span.model_request_start")
    assert update(client, session, budget=budget("100000")).budget.max_list_cost.amount == "100000"
    wait_idle(client, session)
    events = history(client, session)
    assert [event.stop_reason.type for event in of_type(events, "session.status_idle")] == ["end_turn"]
    assert len(of_type(events, "session.updated")) == 1


@pytest.mark.conformance(126)
def test_simulated_models_are_free_and_take_a_budget(client, local_worker, monkeypatch):
    monkeypatch.delenv("DAYBREAK_MODELS")
    environment = make_environment(client)
    agent = make_agent(client)
    session = client.beta.sessions.create(
        agent=agent.id, environment_id=environment.id, budget=budget("1"), initial_events=[text(TWO_STEPS)]
    )
    found = wait_idle(client, session)
    assert history(client, session)[-1].stop_reason.type == "end_turn"
    assert found.usage.list_cost.amount == "0"
