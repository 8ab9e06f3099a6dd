"""The traces of ../shared/data, counted straight from the files: nothing here uses the converters' code.

What is counted is what each source itself calls an agent, a tool, an error or a message; a history that every request
repeats counts once.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter

import pytest

from tests.agents.ingestion.claude_files import read_all
from tests.api import strict

pytestmark = pytest.mark.done_when(1)

SAID = ("user.message", "agent.message", "system.message", "agent.thread_message_received")
FOLDERS = ("agentevals", "any-agent", "langfuse", "openinference", "inspect", "agento-otlp")


@pytest.fixture(scope="module")
def sessions(shared_data):
    """The sessions of each file, by the file's name."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((shared_data / folder).rglob("*")):
            if path.suffix in (".json", ".eval"):
                found[f"{folder}/{path.name}"] = read_all(path)
    return found


def counts(session):
    types = Counter(event.type for event in session.events)
    errors = types["session.error"] + sum(e.payload.get("is_error") is True for e in session.events if "tool" in e.type)
    return {
        "agents": len(session.threads),
        "tool calls": types["agent.tool_use"],
        "results": types["agent.tool_result"],
        "requests": types["span.model_request_start"],
        "errors": errors,
    }


def texts(session, *types):
    return sorted(
        block["text"].strip()
        for event in session.events
        if event.type in types
        for block in event.payload["content"]
        if block["type"] == "text"
    )


def only(found):
    (session,), _ = found
    return session


def test_every_event_is_one_of_the_wire_or_ours(sessions):
    for name, (found, _) in sessions.items():
        for session in found:
            for event in session.events:
                if event.visible:
                    wire = {**event.payload, "id": "sevt_1", "type": event.type, "processed_at": "2026-01-01T00:00:00Z"}
                    strict.check(strict.EVENTS, wire)
                else:
                    assert event.type == "daybreak.span", name


def test_every_file_of_traces_opens_and_the_others_say_why_not(sessions):
    without = {
        name: [problem.reason for problem in report.problems] for name, (found, report) in sessions.items() if not found
    }

    assert without == {
        "agentevals/evalset_helm_3_2026-02-23.json": ["an evaluation set, not a trace"],
        "agentevals/evalset_k8s_2026-02-20.json": ["an evaluation set, not a trace"],
        "openinference/capture-results.json": ["no conversation found in it"],
        "inspect/2025-05-12T20-28-13-04-00_no-samples.json": ["an evaluation log without samples"],
    }
    for name, (found, _) in sessions.items():
        for session in found:
            assert session.events, name
            assert session.title, name


# Jaeger and Tempo exports of a Kubernetes agent


def jaeger_spans(path):
    (trace,) = json.loads(path.read_text())["data"]
    return [
        {"name": span["operationName"], **{tag["key"]: tag["value"] for tag in span["tags"]}} for span in trace["spans"]
    ]


def tempo_spans(path):
    for batch in json.loads(path.read_text())["batches"]:
        for scope in batch["instrumentationLibrarySpans"]:
            for span in scope["spans"]:
                pairs = {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}
                yield {"name": span["name"], "otel.status_code": {2: "ERROR"}.get(span["status"]["code"]), **pairs}


def openllmetry(spans):
    """Counted as OpenLLMetry numbers messages: one request per `openai.chat`, its history in numbered attributes."""
    chats = [span for span in spans if span["name"] == "openai.chat"]
    said = set()
    for chat in chats:
        for key, value in chat.items():
            if key.startswith(("gen_ai.prompt.", "gen_ai.completion.")) and key.endswith(".content"):
                role = chat[key.removesuffix("content") + "role"]
                if role != "tool" and value:
                    said.add((role, value.strip()))
    agents = {span["gen_ai.agent.name"] for span in spans if span.get("gen_ai.operation.name") == "invoke_agent"}
    tools = sum(span.get("gen_ai.operation.name") == "execute_tool" for span in spans)
    errors = sum(span.get("otel.status_code") == "ERROR" for span in spans)
    return {
        "agents": len(agents),
        "tool calls": tools,
        "results": tools,
        "requests": len(chats),
        "errors": errors,
    }, said


@pytest.mark.parametrize("name", ["helm_3.json", "k8s.json", "tempo_export_with_batches.json"])
def test_agentevals(sessions, shared_data, name):
    path = shared_data / "agentevals" / name
    spans = list(tempo_spans(path)) if "tempo" in name else jaeger_spans(path)
    expected, said = openllmetry(spans)
    session = only(sessions[f"agentevals/{name}"])

    # The Tempo export begins in the middle: its two agents have no common parent, so the session itself is a thread.
    together = expected["agents"] > 1
    assert counts(session) == {**expected, "agents": expected["agents"] + together}
    assert texts(session, *SAID) == sorted(text for _, text in said)


# any-agent


@pytest.mark.parametrize("framework", ["LANGCHAIN", "OPENAI", "SMOLAGENTS", "TINYAGENT"])
def test_any_agent(sessions, shared_data, framework):
    name = f"{framework}_trace.json"
    spans = json.loads((shared_data / "any-agent" / name).read_text())["spans"]
    operations = Counter(span["attributes"]["gen_ai.operation.name"] for span in spans)
    asked = [
        json.loads(s["attributes"]["gen_ai.input.messages"])
        for s in spans
        if "gen_ai.input.messages" in s["attributes"]
    ]
    answers = [
        span["attributes"]["gen_ai.output"].strip()
        for span in spans
        if span["attributes"]["gen_ai.operation.name"] == "call_llm"
        and "tool.name" not in span["attributes"]["gen_ai.output"]
    ]
    session = only(sessions[f"any-agent/{name}"])

    assert counts(session) == {
        "agents": operations["invoke_agent"],
        "tool calls": operations["execute_tool"],
        "results": operations["execute_tool"],
        "requests": operations["call_llm"],
        "errors": sum(span["status"]["status_code"] == "error" for span in spans),
    }
    assert texts(session, "agent.message") == sorted(answers)
    wanted = {
        message["role"]: "user.message" if message["role"] == "user" else "system.message" for message in asked[0]
    }
    assert Counter(e.type for e in session.events if e.type in ("user.message", "system.message")) == Counter(
        wanted.values()
    )


# Langfuse

# file -> agents, tool calls, model requests, errors. A request that two integrations recorded, one inside the other,
# is one request; what OpenInference calls an agent in BeeAI's trace are its framework's signals, not agents.
NESTED_REQUESTS = {"agno-2025-06-11": 2, "vercel-aisdk-2025-11-17": 1}
SIGNALS = "beeai-2025-08-01"


def _is_langchains_tool(output):
    return '"type": "tool"' in output and "messages" not in output


def langfuse_counts(path):
    observations = json.loads(path.read_text())["observations"]
    found = Counter()
    for observation in observations:
        metadata = observation["metadata"]
        metadata = json.loads(metadata) if isinstance(metadata, str) else metadata or {}
        attributes = metadata.get("attributes") or {}
        kind = {"SPAN": attributes.get("openinference.span.kind")}.get(observation["type"], observation["type"])
        output = observation["output"] if isinstance(observation["output"], str) else ""
        if kind == "GENERATION":
            found["requests"] += 1
        elif (
            kind == "TOOL"
            or "gen_ai.tool.name" in attributes
            or '"type": "tool"' in output
            and "messages" not in output
        ):
            found["tool spans"] += 1
        elif kind == "AGENT" or "agent_name" in attributes:
            found["agents", attributes.get("agent_name") or observation["id"]] = 1
        found["errors"] += observation["level"] == "ERROR"
    return found


@pytest.mark.parametrize(
    "name",
    [
        "agno-2025-06-11",
        "autogen-2025-06-06",
        "claude-agent-2025-12-22",
        "google-gemini-2025-08-01",
        "koog-2025-08-26",
        "langgraph-python-2025-08-22",
        "llamaindex-2025-06-05",
        "openai-agents-2025-09-30",
        "pydantic-ai-2025-06-06",
        "pydantic-ai-tools-2025-06-06",
        "pydantic-ai-tools-2025-12-04",
        "vercel-aisdk-2025-11-17",
        "vertex-ai-2025-08-01",
    ],
)
def test_langfuse(sessions, shared_data, name):
    found = langfuse_counts(shared_data / "langfuse" / f"{name}.trace.json")
    agents = sum(key[0] == "agents" for key in found)
    session = only(sessions[f"langfuse/{name}.trace.json"])
    told = counts(session)

    # Without an agent, or with several beside each other, the session itself is a thread.
    beside = name == "pydantic-ai-tools-2025-12-04"
    assert told["agents"] == (agents or 1) + beside
    assert told["requests"] == found["requests"] - NESTED_REQUESTS.get(name, 0)
    assert told["results"] == found["tool spans"]
    # Pydantic AI's `final_result` is called by the model, and run by nobody.
    assert told["tool calls"] == found["tool spans"] + (1 if beside else 0)
    assert told["errors"] == found["errors"]


def test_langfuse_scores_are_annotations(sessions, shared_data):
    for name, (found, _) in sessions.items():
        if name.startswith("langfuse/"):
            scores = json.loads((shared_data / name).read_text())["trace"]["scores"]
            (session,) = found
            assert sorted(a.category for a in session.annotations) == sorted(score["name"] for score in scores)


def test_beeais_signals_are_no_agents(sessions, shared_data):
    observations = json.loads((shared_data / "langfuse" / f"{SIGNALS}.trace.json").read_text())["observations"]
    told = counts(only(sessions[f"langfuse/{SIGNALS}.trace.json"]))

    assert told["agents"] == 1
    assert told["requests"] == sum(o["type"] == "GENERATION" for o in observations)
    assert told["tool calls"] == sum(".start-" in o["name"] and o["name"].startswith("tool.") for o in observations)


# The Vercel AI SDK


def test_vercel(sessions, shared_data):
    (path,) = (shared_data / "openinference").rglob("all-spans.json")
    spans = {span["spanContext"]["traceId"]: span for span in json.loads(path.read_text())}
    found, _ = sessions["openinference/all-spans.json"]

    assert {session.external_id for session in found} == set(spans)
    for session in found:
        attributes = spans[session.external_id]["attributes"]
        given = json.loads(attributes.get("ai.prompt.messages") or attributes.get("ai.prompt") or "{}")
        listed = (
            given if isinstance(given, list) else given.get("messages") or [given[k] for k in ("prompt",) if k in given]
        )
        answered = "ai.response.text" in attributes or "ai.response.object" in attributes
        assert len(texts(session, *SAID)) == len(listed) + answered
        assert counts(session)["requests"] == ("embed" not in attributes["ai.operationId"])


# Inspect


def inspect_samples(path):
    if path.suffix == ".eval":
        with zipfile.ZipFile(path) as archive:
            return [json.loads(archive.read(n)) for n in sorted(archive.namelist()) if n.startswith("samples/")]
    return json.loads(path.read_text()).get("samples") or []


@pytest.mark.parametrize(
    "name",
    [
        "2025-05-12T20-27-36-04-00_browser.json",
        "2025-05-12T20-28-26-04-00_security-guide.json",
        "log_formats.json",
        "log_formats.eval",
        "log_message_deduplication.eval",
        "log_streaming.eval",
        "log_tool_call_error.json",
    ],
)
def test_inspect(sessions, shared_data, name):
    (path,) = (shared_data / "inspect").rglob(name)
    samples = inspect_samples(path)
    found, _ = sessions[f"inspect/{name}"]

    assert len(found) == len(samples)
    for session, sample in zip(found, samples, strict=True):
        events = sample.get("events") or sample.get("transcript", {}).get("events") or []
        models = [event for event in events if event["event"] == "model"]
        tools = [message for message in sample["messages"] if message["role"] == "tool"]
        graded = {event["name"] for event in events if event["event"] == "span_begin" and event["type"] == "scorer"}
        graders = sum(any(m.get("span_id") == e.get("id") for m in models) for e in events if e.get("name") in graded)
        assert counts(session) == {
            "agents": 1 + graders,
            "tool calls": sum(len(message.get("tool_calls") or []) for message in sample["messages"]),
            "results": len(tools),
            "requests": len(models) or 1,
            "errors": sum("error" in message for message in tools),
        }
        conversation = [m["content"].strip() for m in sample["messages"] if m["role"] != "tool" and m["content"]]
        told = texts(session, *SAID)
        assert [text for text in conversation if text not in told] == []
        assert len(told) == len(conversation) + 2 * graders  # what the grader was asked, and said
        assert len(session.annotations) == len(sample.get("scores") or {})


def test_agento(sessions, shared_data):
    lines = (shared_data / "agento-otlp" / "test-traces.json").read_text().splitlines()
    found, report = sessions["agento-otlp/test-traces.json"]

    assert report.lines == report.imported_lines == len(lines) == len(found)
    for session in found:
        (event,) = session.events
        assert len(event.private["attributes"]["large_attribute_truncated"]) == 8192
        assert [e["name"] for e in event.private["events"]] == ["ai.payload.large", "test_event"]
