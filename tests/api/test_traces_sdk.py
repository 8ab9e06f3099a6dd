"""The official SDK with its spans on and their content in them, sent by the OpenTelemetry exporter over HTTP."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from anthropic import AsyncAnthropic, beta_async_tool
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.api.sdk import CUSTOM_TOOL, TOOLSET, make_agent, make_environment, make_session, text, types
from tests.api.strict import EVENTS, check
from tests.api.teams import children_of, make_lead, raw_history
from tests.worker import wait_until

pytestmark = pytest.mark.done_when(4)

SPAN = "daybreak.span"


@beta_async_tool
async def lookup(id: str) -> str:  # noqa: A002 (the name the agent knows)
    """Look up an order."""
    return f"order {id} is on its way"


@pytest.fixture
def api_key(workspace):
    from agents.services.keys import create_api_key

    return create_api_key(workspace, name="exporter")[1]


@pytest.fixture
def provider(server, api_key):
    """OpenTelemetry's own exporter, compressing, pointed here."""
    exporter = OTLPSpanExporter(
        f"{server}/v1/traces", headers={"authorization": f"Bearer {api_key}"}, compression=Compression.Gzip, timeout=10
    )
    made = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    made.add_span_processor(SimpleSpanProcessor(exporter))
    yield made
    made.shutdown()


@pytest.fixture
def traced(provider):
    return {"tracer_provider": provider, "traces": {"content_mode": "content"}}


def run_tools(server, api_key, traced, session):
    """The SDK's own loop over a session's tool calls, until the session has ended its turn."""

    async def loop():
        async with AsyncAnthropic(base_url=server, api_key=api_key, open_telemetry=traced) as client:
            calls = client.beta.sessions.events.tool_runner(session.id, tools=[lookup], max_idle=0.5)
            return [call async for call in calls]

    return asyncio.run(asyncio.wait_for(loop(), 30))


def spans_of(session, name):
    from agents.models import Event

    found = Event.objects.filter(session__public_id=session.id, type=SPAN).select_related("thread")
    return [event for event in found.order_by("seq") if event.data["name"] == name]


def test_a_tool_run_by_the_sdk_appears_with_its_content_on_its_session(
    client, raw, server, api_key, traced, local_worker
):
    agent = make_agent(client, tools=[TOOLSET, CUSTOM_TOOL])
    session = make_session(client, 'custom: lookup {"id": "7"}', agent=agent)

    (call,) = run_tools(server, api_key, traced, session)
    (event,) = wait_until(lambda: spans_of(session, "anthropic.custom_tool_use lookup"))

    private = event.private_data
    assert event.thread.is_primary
    assert private["attributes"]["gen_ai.tool.call.arguments"] == '{"id": "7"}'.replace(" ", "")
    assert "order 7 is on its way" in private["attributes"]["anthropic.tool_result.content"]
    assert private["resource"]["service.name"] == "shop"
    use = event.session.events.get(public_id=call.tool_use_id)
    assert (event.cause_seq, use.type) == (use.seq, "agent.custom_tool_use")
    assert SPAN not in types(client, session)
    for told in raw_history(raw, session):
        check(EVENTS, told)


def test_a_tool_run_for_another_agent_appears_on_that_agents_thread(client, server, api_key, traced, local_worker):
    worker = make_agent(client, name="Worker", tools=[TOOLSET, CUSTOM_TOOL])
    session = make_session(client, 'spawn: Worker | custom: lookup {"id": "9"}', agent=make_lead(client, worker))

    run_tools(server, api_key, traced, session)
    (event,) = wait_until(lambda: spans_of(session, "anthropic.custom_tool_use lookup"))

    (child,) = children_of(client, session)
    assert event.thread.public_id == child.id
    assert event.private_data["attributes"]["anthropic.session.thread.id"] == child.id


def test_spans_of_the_calls_trace_that_name_no_session_belong_to_it(
    server, api_key, traced, provider, workspace, client
):
    agent = make_agent(client)
    environment = make_environment(client)
    tracer = provider.get_tracer("shop")
    with anthropic.Anthropic(base_url=server, api_key=api_key, open_telemetry=traced) as instrumented:
        with tracer.start_as_current_span("checkout") as root:
            root.set_attribute("input.value", "a customer pays")
            session = instrumented.beta.sessions.create(agent=agent.id, environment_id=environment.id)
            instrumented.beta.sessions.events.send(session.id, events=[text("Hello.")])
            instrumented.beta.sessions.retrieve(session.id)
    from agents.models import Session
    from agents.services import traces_told

    traces_told.tell_waiting(everything=True)

    names = ["checkout", "anthropic.sessions.create", "anthropic.sessions.events.send"]
    assert [len(spans_of(session, name)) for name in names] == [1, 1, 1]
    assert spans_of(session, "anthropic.sessions.retrieve") == []
    assert Session.objects.count() == 1


def test_a_span_that_names_a_session_of_another_workspace_does_not_reach_it(
    client, raw_for, other_workspace, workspace
):
    from agents.models import Event, Session
    from agents.services import traces_told
    from tests.api.trace_bodies import PROTOBUF, request, span

    session = make_session(client)
    body = request(span(1, "note", a={"anthropic.session.id": session.id, "input.value": "planted"}))

    answer = raw_for(other_workspace).post("/v1/traces", content=body.SerializeToString(), headers=PROTOBUF)
    traces_told.tell_waiting(everything=True)

    assert answer.status_code == 200
    assert not Event.objects.filter(session__public_id=session.id, type=SPAN).exists()
    assert Session.objects.in_workspace(other_workspace).get().is_imported


def test_the_same_span_is_told_once_however_often_it_is_sent(client, raw, workspace):
    from agents.models import Event
    from agents.services import traces_told
    from tests.api.trace_bodies import PROTOBUF, request, span

    session = make_session(client)
    for number in (1, 2, 1):
        body = request(span(number, "note", a={"anthropic.session.id": session.id, "input.value": "x"}))
        raw.post("/v1/traces", content=body.SerializeToString(), headers=PROTOBUF)
        traces_told.tell_waiting(everything=True)

    events = Event.objects.filter(session__public_id=session.id, type=SPAN)
    assert events.count() == 2
    from agents.models import Session
    from agents.services.rebuild import rebuild_state

    assert rebuild_state(Session.objects.get()) == []
