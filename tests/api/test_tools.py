"""People and clients in the loop, through the real SDK: conformance statements 49, 65 to 70 and 74."""

from __future__ import annotations

import asyncio

import anthropic
import pytest

from tests.api.sdk import (
    CUSTOM_TOOL,
    TOOLSET,
    history,
    make_agent,
    make_session,
    of_type,
    said,
    send,
    text,
    toolset_asking_for,
    wait_for,
    wait_idle,
)


def confirm(call, result="allow", **extra):
    return {"type": "user.tool_confirmation", "tool_use_id": call.id, "result": result, **extra}


def asking_session(client, script="bash: echo run > /workspace/ran.txt; cat /workspace/ran.txt"):
    session = make_session(client, script, agent=make_agent(client, tools=[toolset_asking_for("bash")]))
    wait_idle(client, session)
    return session


def results(client, session):
    return of_type(history(client, session), "agent.tool_result")


@pytest.mark.conformance(65)
def test_a_call_that_asks_waits_and_runs_when_allowed(client, local_worker):
    session = asking_session(client)
    events = history(client, session)
    call = of_type(events, "agent.tool_use")[0]
    assert call.evaluated_permission == "ask" and call.evaluation.type == "always_ask"
    idle = of_type(events, "session.status_idle")[-1]
    assert idle.stop_reason.type == "requires_action" and idle.stop_reason.event_ids == [call.id]
    assert results(client, session) == []
    send(client, session, confirm(call))
    wait_for(client, session, "session.status_idle", count=2)
    assert said(results(client, session)[0]).strip() == "run"
    assert of_type(history(client, session), "agent.message"), "the loop went on"


@pytest.mark.conformance(65)
def test_a_refused_call_gives_an_error_result_with_the_message(client, local_worker):
    session = asking_session(client)
    call = of_type(history(client, session), "agent.tool_use")[0]
    send(client, session, confirm(call, "deny", deny_message="Not on a Friday."))
    wait_for(client, session, "session.status_idle", count=2)
    result = results(client, session)[0]
    assert result.is_error and "Not on a Friday." in said(result)
    assert of_type(history(client, session), "agent.message"), "the loop went on"


@pytest.mark.conformance(66)
def test_answering_one_of_two_leaves_the_other_waiting(client, local_worker):
    script = "parallel:\n  bash: echo one\n  bash: echo two"
    session = asking_session(client, script)
    first, second = of_type(history(client, session), "agent.tool_use")
    send(client, session, confirm(first))
    idle = wait_for(client, session, "session.status_idle", count=2)[-1]
    assert idle.stop_reason.event_ids == [second.id]
    assert client.beta.sessions.retrieve(session.id).status == "idle"
    send(client, session, confirm(second))
    wait_for(client, session, "session.status_idle", count=3)
    assert [said(result).strip() for result in results(client, session)] == ["one", "two"]


@pytest.mark.conformance(66)
def test_answering_both_in_one_request_runs_both(client, local_worker):
    session = asking_session(client, "parallel:\n  bash: echo one\n  bash: echo two")
    first, second = of_type(history(client, session), "agent.tool_use")
    send(client, session, confirm(first), confirm(second, "deny"))
    wait_for(client, session, "session.status_idle", count=2)
    assert [result.is_error for result in results(client, session)] == [False, True]


@pytest.mark.conformance(67)
def test_confirmations_that_cannot_be(client, local_worker):
    allowed = make_session(client, "bash: echo hi")
    wait_idle(client, allowed)
    call = of_type(history(client, allowed), "agent.tool_use")[0]
    with pytest.raises(anthropic.BadRequestError):
        send(client, allowed, confirm(call))
    session = asking_session(client)
    waiting = of_type(history(client, session), "agent.tool_use")[0]
    for bad in (
        confirm(waiting, "allow", deny_message="no"),
        {"type": "user.tool_confirmation", "tool_use_id": "sevt_none", "result": "allow"},
        {"type": "user.tool_confirmation", "tool_use_id": "toolu_1", "result": "allow"},
        {"type": "user.custom_tool_result", "custom_tool_use_id": waiting.id, "content": []},
    ):
        with pytest.raises(anthropic.BadRequestError):
            send(client, session, bad)
    send(client, session, confirm(waiting))
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, confirm(waiting))
    wait_for(client, session, "session.status_idle", count=2)
    assert len(results(client, session)) == 1


@pytest.mark.conformance(68)
def test_a_message_is_refused_while_a_call_waits(client, local_worker):
    session = asking_session(client)
    with pytest.raises(anthropic.BadRequestError, match="waits"):
        send(client, session, text("never mind"))
    call = of_type(history(client, session), "agent.tool_use")[0]
    send(client, session, confirm(call), text("say: thanks"))
    wait_for(client, session, "agent.message")
    wait_idle(client, session)


def test_an_interrupt_answers_what_waits(client, local_worker):
    session = asking_session(client)
    send(client, session, {"type": "user.interrupt"})
    wait_for(client, session, "session.status_idle", count=2)
    events = history(client, session)
    assert of_type(events, "session.status_idle")[-1].stop_reason.type == "end_turn"
    result = of_type(events, "agent.tool_result")[0]
    assert result.is_error and "interrupted" in said(result)
    send(client, session, text("say: on we go"))
    wait_for(client, session, "agent.message")


def test_a_waiting_session_holds_no_lease_and_survives_a_change_of_workers(client, make_local_worker, workspace):
    from agents.models import Thread

    first = make_local_worker()
    session = asking_session(client)
    first.stop()
    thread = Thread.objects.get(session__public_id=session.id)
    assert (thread.lease_owner, thread.lease_until, thread.runnable_at) == ("", None, None)
    make_local_worker()
    send(client, session, confirm(of_type(history(client, session), "agent.tool_use")[0]))
    wait_for(client, session, "session.status_idle", count=2)
    assert len(results(client, session)) == 1


@pytest.mark.conformance(49, 69)
@pytest.mark.parametrize("is_error", [False, True])
def test_a_custom_tool_is_answered_by_the_client(client, local_worker, is_error):
    agent = make_agent(client, tools=[TOOLSET, CUSTOM_TOOL])
    session = make_session(client, 'custom: lookup {"id": "7"}', agent=agent)
    call = wait_for(client, session, "agent.custom_tool_use")[0]
    assert (call.name, call.input) == ("lookup", {"id": "7"})
    idle = wait_for(client, session, "session.status_idle")[0]
    assert idle.stop_reason.event_ids == [call.id]
    answer = {
        "type": "user.custom_tool_result",
        "custom_tool_use_id": call.id,
        "content": [{"type": "text", "text": "order 7 is late"}],
        "is_error": is_error,
    }
    echo = send(client, session, answer).data[0]
    assert echo.processed_at is not None, "a result counts at once"
    wait_for(client, session, "session.status_idle", count=2)
    assert "order 7 is late" in said(of_type(history(client, session), "agent.message")[-1])
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, answer)


@pytest.mark.conformance(70)
def test_a_tool_result_from_the_client_is_refused_in_a_cloud_session(client, local_worker):
    session = asking_session(client)
    call = of_type(history(client, session), "agent.tool_use")[0]
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, {"type": "user.tool_result", "tool_use_id": call.id, "content": []})
    send(client, session, {"type": "user.interrupt"})
    wait_for(client, session, "session.status_idle", count=2)


@pytest.mark.conformance(74)
def test_the_sdks_own_tool_runner_answers_custom_tools(client, server, local_worker):
    agent = make_agent(client, tools=[CUSTOM_TOOL])
    session = make_session(client, agent=agent)
    asked = []

    @anthropic.beta_async_tool
    async def lookup(id: str) -> str:  # noqa: A002 (the tool's own field)
        """Look up an order.

        Args:
            id: the order
        """
        asked.append(id)
        return f"order {id} is late"

    async def run() -> None:
        async with anthropic.AsyncAnthropic(base_url=server, api_key=client.api_key) as sdk:
            await sdk.beta.sessions.events.send(session.id, events=[text('custom: lookup {"id": "7"}')])
            async for _ in sdk.beta.sessions.events.tool_runner(session.id, tools=[lookup], max_idle=0.5):
                pass

    asyncio.run(run())
    assert asked == ["7"]
    wait_idle(client, session)
    assert "order 7 is late" in said(of_type(history(client, session), "agent.message")[-1])


def test_a_disabled_or_unknown_tool_is_denied_with_a_result(client, local_worker):
    toolset = {**TOOLSET, "configs": [{"name": "bash", "enabled": False}]}
    session = make_session(client, "bash: echo hi\ncustom: nonsense {}", agent=make_agent(client, tools=[toolset]))
    wait_idle(client, session)
    events = history(client, session)
    calls = of_type(events, "agent.tool_use")
    assert [call.evaluated_permission for call in calls] == ["deny", "deny"]
    assert all(result.is_error for result in of_type(events, "agent.tool_result"))
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, confirm(calls[0]))
