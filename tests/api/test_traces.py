"""`POST /v1/traces` over real HTTP: both encodings, limits, partial success, isolation, repeats."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.api.trace_bodies import PROTOBUF, TRACE, as_json, request, span

pytestmark = pytest.mark.done_when(4)

CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.usage.input_tokens": 30,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "How many?"}]}]),
    "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Three."}]}]),
}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "counter"}


def conversation(**more):
    return request(
        span(1, "invoke_agent counter", a=AGENT, took=5), span(2, "chat", 1, at=1, a={**CHAT, "colour": "blue"}), **more
    )


def tell():
    from agents.services import traces_told

    traces_told.tell_waiting(everything=True)


def only_session(workspace):
    from agents.models import Session

    return Session.objects.in_workspace(workspace).get()


def types(session):
    return list(session.events.order_by("seq").values_list("type", flat=True))


STORY = ["user.message", "span.model_request_start", "agent.message", "span.model_request_end"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["protobuf", "json"])
def test_spans_in_either_encoding_become_a_session(raw, workspace, kind, packed):
    message = conversation()
    body = message.SerializeToString() if kind == "protobuf" else json.dumps(as_json(message)).encode()
    headers = PROTOBUF if kind == "protobuf" else {"content-type": "application/json"}
    if packed:
        body, headers = gzip.compress(body), {**headers, "content-encoding": "gzip"}

    answer = raw.post("/v1/traces", content=body, headers=headers)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == headers["content-type"]
    if kind == "protobuf":
        assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    else:
        assert answer.json() == {}
    tell()
    session = only_session(workspace)
    assert types(session) == STORY
    assert session.external_id == TRACE
    assert session.title == "How many?"
    assert session.primary_thread.agent_name == "counter"
    assert (session.input_tokens, session.output_tokens) == (30, 5)
    assert session.events.get(type="span.model_request_end").private_data["attributes"] == {"colour": "blue"}


def test_the_key_may_come_as_a_bearer_token_and_no_beta_header_is_needed(server, workspace):
    import httpx2

    from agents.services.keys import create_api_key

    _, key = create_api_key(workspace, name="exporter")
    body = conversation().SerializeToString()

    answer = httpx2.post(f"{server}/v1/traces", content=body, headers={**PROTOBUF, "authorization": f"Bearer {key}"})

    assert answer.status_code == 200


def test_spans_without_usable_ids_are_rejected_and_the_others_are_kept(raw, workspace):
    good = span(1, "chat", a=CHAT)
    bad = [
        span(2, "x", trace="00" * 16),
        span(3, "x", trace=""),
        span(0, "x"),
        {**span(4, "x"), "id": b"short"},
    ]
    message = request(good, *bad)

    binary = raw.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF)
    text = raw.post("/v1/traces", json=as_json(message))

    told = ExportTraceServiceResponse.FromString(binary.content).partial_success
    assert told.rejected_spans == 4
    assert "trace id" in told.error_message
    assert text.json()["partialSuccess"]["rejectedSpans"] == "4"
    tell()
    assert types(only_session(workspace)) == STORY


def status_of(answer):
    """The fields of a `google.rpc.Status`, in either encoding."""
    if answer.headers["content-type"] == "application/json":
        return answer.json()["code"], answer.json()["message"]
    from google.rpc.status_pb2 import Status

    status = Status.FromString(answer.content)
    return status.code, status.message


@pytest.mark.parametrize(
    "body, headers, expected, code",
    [
        (b"\xff\xff\xff", PROTOBUF, 400, 3),
        (b"\x0a\x05ab", PROTOBUF, 400, 3),
        (b"not json", {"content-type": "application/json"}, 400, 3),
        (b"[1]", {"content-type": "application/json"}, 400, 3),
        (b'{"resourceSpans": 7}', {"content-type": "application/json"}, 400, 3),
        (b"[" * 100_000, {"content-type": "application/json"}, 400, 3),
        (b"x", {"content-type": "text/plain"}, 415, 3),
        (b"x", {**PROTOBUF, "content-encoding": "zstd"}, 415, 3),
        (b"no gzip", {**PROTOBUF, "content-encoding": "gzip"}, 400, 3),
        (gzip.compress(b"\x0a\x00" * 500)[:-12], {**PROTOBUF, "content-encoding": "gzip"}, 400, 3),
        (b"\x0a\x00" * 200_000, PROTOBUF, 413, 8),
        (b"[" + b"{}," * 1_000_000 + b"{}]", {"content-type": "application/json"}, 413, 8),
        (b" " * (20 * 2**20 + 1), PROTOBUF, 413, 8),
        (b" " * (8 * 2**20 + 1), {**PROTOBUF, "content-encoding": "gzip"}, 413, 8),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_read_is_refused_with_a_status_in_the_requests_encoding(raw, body, headers, expected, code):
    answer = raw.post("/v1/traces", content=body, headers=headers)

    assert answer.status_code == expected
    binary = headers["content-type"] == "application/x-protobuf"
    assert answer.headers["content-type"] == ("application/x-protobuf" if binary else "application/json")
    found, message = status_of(answer)
    assert found == code
    assert message.endswith(".")


def test_a_gzip_bomb_is_cut_off_while_it_is_inflated(raw):
    import resource
    import time

    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**20)
    bomb = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()

    answer = raw.post("/v1/traces", content=bomb, headers={**PROTOBUF, "content-encoding": "gzip"})

    assert answer.status_code == 413
    assert time.monotonic() - began < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB: the test's own included


def test_without_a_key_nothing_is_read(server, committed_db):
    import httpx2

    answer = httpx2.post(f"{server}/v1/traces", content=b"\xff", headers=PROTOBUF)

    assert answer.status_code == 401
    assert status_of(answer)[0] == 16


def test_only_post_is_possible(raw):
    answer = raw.get("/v1/traces")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_sending_again_changes_nothing(raw, workspace):
    body = conversation().SerializeToString()
    raw.post("/v1/traces", content=body, headers=PROTOBUF)
    tell()
    session = only_session(workspace)
    before = list(session.events.order_by("seq").values_list("public_id", "pk", "seq"))

    raw.post("/v1/traces", content=body, headers=PROTOBUF)
    tell()

    assert list(session.events.order_by("seq").values_list("public_id", "pk", "seq")) == before


def test_two_workspaces_with_the_same_trace_know_nothing_of_each_other(raw_for, workspace, other_workspace):
    from agents.models import Session

    raw_for(workspace).post("/v1/traces", content=conversation().SerializeToString(), headers=PROTOBUF)
    other = request(span(1, "chat", a={**CHAT, "gen_ai.agent.name": "other"}))
    raw_for(other_workspace).post("/v1/traces", content=other.SerializeToString(), headers=PROTOBUF)
    tell()

    assert only_session(workspace).thread_count == only_session(other_workspace).thread_count == 1
    assert only_session(workspace).primary_thread.agent_name == "counter"
    assert Session.objects.count() == 2
    found = raw_for(other_workspace).get(f"/v1/sessions/{only_session(workspace).public_id}")
    assert found.status_code == 404


def test_a_value_of_a_million_characters_and_a_clock_that_runs_backwards_are_told(raw, workspace):
    long = span(1, "note", a={"input.value": "x" * 3_000_000}, took=-5)

    answer = raw.post("/v1/traces", content=request(long).SerializeToString(), headers=PROTOBUF)
    tell()

    assert answer.status_code == 200
    private = only_session(workspace).events.get().private_data
    assert private["notes"]["cut_values_bytes"] == {"input.value": 3_000_000}
    assert private["notes"]["clock_ran_backwards_by_ns"] == 5_000_000_000
    assert len(private["attributes"]["input.value"]) < 1_100_000
    assert private["duration_ms"] == 0


def test_children_before_parents_are_joined_and_keep_their_ids(raw, workspace):
    child = request(span(2, "chat", 1, at=1, a=CHAT))
    raw.post("/v1/traces", content=child.SerializeToString(), headers=PROTOBUF)
    tell()
    session = only_session(workspace)
    ids = dict(session.events.values_list("type", "public_id"))
    message = session.events.get(type="agent.message")
    session.annotations.create(event=message, kind="good", text="Right.", author_name="Ann")

    lead = span(9, "invoke_agent lead", a={**AGENT, "gen_ai.agent.name": "lead"}, took=9, at=-2)
    parents = request(lead, span(1, "invoke_agent counter", 9, a=AGENT, took=5))
    raw.post("/v1/traces", content=parents.SerializeToString(), headers=PROTOBUF)
    tell()

    session.refresh_from_db()
    threads = dict(session.threads.values_list("agent_name", "parent__agent_name"))
    assert threads == {"lead": None, "counter": "lead"}
    assert session.events.get(type="agent.message").public_id == ids["agent.message"]
    assert session.events.get(type="agent.message").thread.agent_name == "counter"
    assert session.annotations.get().event.public_id == ids["agent.message"]
    assert [*session.events.order_by("seq").values_list("seq", flat=True)] == list(range(1, session.last_seq + 1))
    from agents.services.rebuild import rebuild_state

    assert rebuild_state(session) == []
