"""What models are sent: the same bytes for the same log, prefixes that a vendor can cache, and room after a summary."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest

from agents.models import Event, ModelAttempt, Step
from agents.providers import catalog
from agents.runtime.context import CONTEXT_TYPES, ContextBuilder, canonical
from tests.fakes import MessagesServer, answer
from tests.invariants import check_session
from tests.runs import log_of, make_agent, message, send, start_session, types_of, wait_idle

MODEL = "claude-haiku-4-5"
TURNS = 30
LOOK_BACK = 15
CUSTOM = {"type": "custom", "name": "lookup", "description": "Look it up.", "input_schema": {"type": "object"}}


@pytest.fixture
def vendor(monkeypatch):
    """A vendor's server, and a key for it."""
    with MessagesServer() as running:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-a-key-nobody-may-see")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        yield running
        catalog.provider_for(MODEL).close()


def thirty_turns(workspace: Any, vendor: MessagesServer) -> Any:
    """Short turns, and every third with eleven calls in one answer."""
    agent = make_agent(workspace, model=MODEL, tools=[CUSTOM], system="Be brief. " * 50)
    session = start_session(workspace, None, agent=agent)
    for turn in range(TURNS):
        if turn % 3 == 0:
            vendor.add(answer(f"look {turn}", tool_calls=[("nothing", {"n": n}) for n in range(11)]))
        vendor.add(answer(f"done {turn}"))
        send(session, message(f"turn {turn}"))
        wait_idle(session)
    return session


def blocks_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """System and messages as one row of blocks, as a cache sees them."""
    said = [block for one in body["messages"] for block in one["content"]]
    return [*body["system"], *said]


def without_marks(body: dict[str, Any]) -> list[bytes]:
    plain = copy.deepcopy(blocks_of(body))
    for block in plain:
        block.pop("cache_control", None)
    return [canonical(block) for block in plain]


@pytest.mark.timeout(200)
def test_b6_22_requests_are_the_same_bytes_again_and_their_prefixes_stay_cached(workspace, vendor, local_worker):
    session = thirty_turns(workspace, vendor)
    bodies = [request.body for request in vendor.requests]
    assert len(bodies) == TURNS + TURNS // 3

    events = list(Event.objects.filter(session=session, type__in=CONTEXT_TYPES).order_by("position"))
    renders = [canonical(ContextBuilder(lambda file_id: None).build(events)) for _ in range(2)]
    assert renders[0] == renders[1]
    sent = [canonical({"role": one["role"], "content": blocks}) for one, blocks in _plain_messages(bodies[-1])]
    last_asked = next(
        n for n, event in enumerate(events) if event.type == "user.message" and "turn 29" in event.payload
    )
    again = ContextBuilder(lambda file_id: None).build(events[: last_asked + 1])
    assert [canonical(one) for one in again] == sent, "read anew from the log, it is what was sent"

    cached = total = 0
    for before, after in pairwise(bodies):
        assert before["tools"] == after["tools"]
        prefix, grown = without_marks(before), without_marks(after)
        assert grown[: len(prefix)] == prefix, "a request only ever grows at its end"
        marks = [place for place, block in enumerate(blocks_of(after)) if "cache_control" in block]
        in_messages = [place for place in marks if place >= len(after["system"])]
        assert all(b - a <= LOOK_BACK for a, b in pairwise(in_messages))
        assert len(marks) <= 4, "the vendor takes no more"
        cached += max(marks) + 1
        total += len(grown)
    assert cached / total >= 0.9


def _plain_messages(body: dict[str, Any]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    plain = copy.deepcopy(body["messages"])
    for one in plain:
        for block in one["content"]:
            block.pop("cache_control", None)
    return [(one, one["content"]) for one in plain]


@pytest.mark.bwrap
def test_b6_23_a_summary_makes_room_and_loses_nothing_of_the_log(workspace, local_worker, monkeypatch):
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "0")
    agent = make_agent(workspace, model="simulated/tools-small-window")
    script = "\n".join(f"bash: echo {number}; yes word | head -c 3000" for number in range(14))
    session = wait_idle(start_session(workspace, script, agent=agent), timeout_s=60)
    assert session.stop_reason == {"type": "end_turn"}
    assert "agent.thread_context_compacted" in types_of(session)
    assert types_of(session).count("agent.tool_result") == 14, "what was summarised is still there"
    check_session(session)  # the log has no gap

    window = catalog.lookup("simulated/tools-small-window").context_window
    steps = list(Step.objects.filter(session=session, state="committed").exclude(kind="tool_batch").order_by("no"))
    after = [later for earlier, later in pairwise(steps) if earlier.kind == "compaction"]
    assert after
    for step in after:
        attempt = ModelAttempt.objects.get(step=step)
        read = sum(getattr(attempt, name) for name in ModelAttempt.TOKEN_FIELDS if name != "output_tokens")
        assert read < window / 2
    spans = [row for row in log_of(session) if row.type == "span.model_request_end"]
    assert len(spans) == len(steps)
