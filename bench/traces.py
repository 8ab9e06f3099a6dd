"""The row about traces from elsewhere: how fast spans get from an exporter's request onto a timeline."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from bench.instance import KEY, Instance, running
from bench.rows import Measured, row

SPANS = int(os.environ.get("BENCH_SPANS", "20000"))
BATCH = 512
PER_TRACE = 1_000
EXPORTERS = int(os.environ.get("BENCH_EXPORTERS", "2"))
SPAN_BYTES = 3_000
START = 1_760_000_000_000_000_000
WAITING = "SELECT count(*) FROM agents_trace WHERE waiting_since IS NOT NULL"


@row(
    "traces",
    f"OTLP: {SPANS:,} spans of {SPAN_BYTES // 1000} kB in batches of {BATCH}, until on the timeline",
    "≥ 5,000 spans/s; web process grows by ≤ 150 MiB",
)
def traces() -> Measured:
    """The clock runs from the first request to the moment at which every span of every trace has been told."""
    batches = _batches()
    with running() as instance:
        _send(instance, _batches(1_024, seed=10**6))  # makes web and worker warm
        _wait_until_told(instance)
        before = instance.memory_mib()["uvicorn"]
        cpu = instance.cpu_seconds()
        began = time.monotonic()
        _send(instance, batches)
        accepted = time.monotonic() - began
        _wait_until_told(instance)
        seconds = time.monotonic() - began
        cpu = instance.cpu_seconds() - cpu
        grown = instance.memory_mib()["uvicorn"] - before
        [[spans]] = instance.query("SELECT count(*) FROM agents_tracespan")
        [[events, disk]] = instance.query(
            "SELECT count(*), pg_total_relation_size('agents_tracespan') FROM agents_event"
        )
    per_second = SPANS / seconds
    complete = spans == SPANS + 1_024
    return Measured(
        f"{per_second:,.0f} spans/s ({SPANS / accepted:,.0f}/s accepted, {events:,} events, "
        f"{1000 * cpu / SPANS:.2f} ms CPU and {disk / spans / 1000:.1f} kB each); +{grown:.0f} MiB"
        + ("" if complete else f" (only {spans:,} stored)"),
        complete and per_second >= 5_000 and grown <= 150,
        {
            "per_second": per_second,
            "accepted_per_second": SPANS / accepted,
            "web_grown_mib": grown,
            "cpu_ms_per_span": 1000 * cpu / SPANS,
            "bytes_per_span": disk / spans,
        },
    )


def _send(instance: Instance, batches: list[bytes]) -> None:
    headers = {"x-api-key": KEY, "content-type": "application/x-protobuf"}
    with httpx2.Client(base_url=instance.url, headers=headers, timeout=120) as client:

        def post(body: bytes) -> None:
            client.post("/v1/traces", content=body).raise_for_status()

        with ThreadPoolExecutor(EXPORTERS) as pool:
            list(pool.map(post, batches))


def _wait_until_told(instance: Instance) -> None:
    deadline = time.monotonic() + 300
    while instance.query(WAITING)[0][0]:
        if time.monotonic() > deadline:
            raise SystemExit("The traces of the bench were not told.")
        time.sleep(0.2)  # each look costs a connection


def _batches(count: int = SPANS, *, seed: int = 0) -> list[bytes]:
    """Requests as an exporter makes them: one trace after the other, children before their parents."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = [span for number in range(-(-count // PER_TRACE)) for span in _trace(seed + number)][:count]
    bodies = []
    for start in range(0, count, BATCH):
        request = ExportTraceServiceRequest()
        part = request.resource_spans.add()
        _attribute(part.resource, "service.name", "bench")
        scope = part.scope_spans.add()
        scope.scope.name = "bench"
        scope.spans.extend(spans[start : start + BATCH])
        bodies.append(request.SerializeToString())
    return bodies


def _trace(number: int) -> list[Any]:
    """A lead with nine agents that think and use tools in turn."""
    trace = (number + 1).to_bytes(16, "big")
    spans = []
    for place in range(PER_TRACE - 10):
        agent = 1 + place % 10
        at = START + number * 10**12 + place * 10**8
        if place // 10 % 2 == 0:
            spans.append(_span(trace, 100 + place, agent, "chat", at, _chat(place)))
        else:
            spans.append(_span(trace, 100 + place, agent, "execute_tool", at, _tool(place - 10)))
    for agent in range(10, 0, -1):
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": f"agent {agent}"}
        at = START + number * 10**12 - 10**9 + agent
        spans.append(_span(trace, agent, 0 if agent == 1 else 1, "invoke_agent", at, attributes, 10**12 - 10**10))
    return spans


def _chat(place: int) -> dict[str, Any]:
    question = {"role": "user", "parts": [{"type": "text", "content": f"Step {place}: " + "look again. " * 90}]}
    call = {"type": "tool_call", "id": f"call_{place}", "name": "search", "arguments": {"query": f"step {place}"}}
    said = {"role": "assistant", "parts": [{"type": "text", "content": f"I search. {place} " + "why " * 200}, call]}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.response.model": "claude-sonnet-4-5",
        "gen_ai.response.id": f"msg_{place}",
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.input.messages": json.dumps([question]),
        "gen_ai.output.messages": json.dumps([said]),
        "server.address": "api.anthropic.com",
        "server.port": 443,
    }


def _tool(place: int) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": f"call_{place}",
        "gen_ai.tool.call.arguments": json.dumps({"query": f"step {place}"}),
        "gen_ai.tool.call.result": f"Result {place}. " + "Found a line of text. " * 120,
        "gen_ai.tool.type": "function",
    }


def _span(
    trace: bytes, span: int, parent: int, name: str, at: int, attributes: dict[str, Any], took: int = 5 * 10**7
) -> Any:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    made = Span(trace_id=trace, span_id=span.to_bytes(8, "big"), name=name)
    if parent:
        made.parent_span_id = parent.to_bytes(8, "big")
    made.start_time_unix_nano, made.end_time_unix_nano = at, at + took
    for key, value in attributes.items():
        _attribute(made, key, value)
    missing = SPAN_BYTES - made.ByteSize()
    if missing > 40 and name != "invoke_agent":
        _attribute(made, "bench.padding", "".join(chr(97 + (span * k) % 26) for k in range(missing - 24)))
    return made


def _attribute(holder: Any, key: str, value: Any) -> None:
    pair = holder.attributes.add(key=key)
    if isinstance(value, int):
        pair.value.int_value = value
    else:
        pair.value.string_value = value
