"""Teams whose models say what a test tells them to, driven one step at a time or by real threads.

A test module takes the fixture `models` with `from tests.agents.runtime.teams import *`.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.errors import RequestCancelled
from agents.models import Session, Thread
from agents.providers import catalog
from agents.providers.base import Answer, Cancellation, ModelEvent, ModelRequest, Usage
from agents.runtime import engine, limits
from agents.services.agents import create_agent
from tests.runs import TOOLSET, start_session

__all__ = ["models"]

CHILD, SECOND = 1, 2  # ordinals; the lead's is 0
LEAD = 0
PATIENCE_S = 20.0

Said = Answer | Callable[[ModelRequest], Answer]


def says(text: str = "", *calls: tuple[str, dict[str, Any]], stop_reason: str | None = None) -> Answer:
    """An answer: a text, and calls as (tool, input)."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    content += [{"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": v} for n, (name, v) in enumerate(calls)]
    reason = stop_reason or ("tool_use" if calls else "end_turn")
    return Answer(content=content, stop_reason=reason, usage=Usage(input_tokens=10, output_tokens=5))


def spawn(task: str = "Do it.", agent: Any = "Worker") -> tuple[str, dict[str, Any]]:
    return "spawn_agent", {"agent": agent, "task": task}


def wait(**values: Any) -> tuple[str, dict[str, Any]]:
    return "wait_for_agents", values


class Models:
    """Answers by thread ordinal, in order; "ok" when none is left. `gates` hold a thread's answers back.

    `requests[ordinal]` are the requests a thread has made; `asked(ordinal)` waits for one to be under way.
    """

    name, simulated = "simulated", True

    def __init__(self) -> None:
        self.answers: dict[int, list[Said]] = defaultdict(list)
        self.requests: dict[int, list[ModelRequest]] = defaultdict(list)
        self.gates: dict[int, threading.Event] = {}
        self.problems: list[str] = []  # requests that a vendor would refuse
        self._changed = threading.Condition()

    def tell(self, ordinal: int, *answers: Said) -> None:
        self.answers[ordinal] += answers

    def hold(self, ordinal: int) -> threading.Event:
        """Keep this thread's answers back until the event that is returned is set."""
        self.gates[ordinal] = threading.Event()
        return self.gates[ordinal]

    def asked(self, ordinal: int, count: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests[ordinal]) >= count, PATIENCE_S)

    def request(self, request: ModelRequest, cancellation: Cancellation) -> Iterator[ModelEvent]:
        ordinal = int(request.seed.split("/")[1])
        with self._changed:
            self.requests[ordinal].append(request)
            self.problems += unanswered(request)
            answer = self.answers[ordinal].pop(0) if self.answers[ordinal] else says("ok")
            self._changed.notify_all()
        gate = self.gates.get(ordinal)
        while gate is not None and not gate.wait(0.01):
            if cancellation.cancelled:
                raise RequestCancelled("interrupted")
        yield answer(request) if callable(answer) else answer


def unanswered(request: ModelRequest) -> list[str]:
    """Each tool use must be answered, once, at the start of the message that follows it."""
    found = []
    following = [*request.messages[1:], {"role": "none", "content": []}]
    for message, after in zip(request.messages, following, strict=True):
        wanted = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        first = after["content"][: len(wanted)]
        given = [block["tool_use_id"] for block in first if block["type"] == "tool_result"]
        if wanted and (after["role"] != "user" or sorted(wanted) != sorted(given)):
            found.append(f"{message} is followed by {after}")
    return found


@pytest.fixture
def models(settings: Any, committed_db: None, monkeypatch: Any) -> Iterator[Models]:
    """The test drives threads itself, and says what their models answer."""
    settings.DAYBREAK_HINTS = False
    settings.DAYBREAK_RETRY_BASE_S = 0.0
    found = Models()
    monkeypatch.setattr(catalog, "provider_for", lambda model_id: found)
    yield found
    assert not found.problems, found.problems[0]


_names = itertools.count(1)


def start_team(workspace: Any, text: str | None = "Begin.", *, tools: Any = None, child_tools: Any = None) -> Session:
    """A session of a lead that may start Workers."""
    values: dict[str, Any] = {"model": "simulated/tools", "tools": tools if tools is not None else []}
    worker = create_agent(workspace, definition={**values, "name": "Worker", "tools": child_tools or [TOOLSET]})
    team = {"type": "coordinator", "agents": [worker.public_id]}
    lead = create_agent(workspace, definition={**values, "name": f"Lead {next(_names)}", "multiagent": team})
    return start_session(workspace, text, agent=lead)


def thread(session: Session, ordinal: int) -> Thread:
    return Thread.objects.get(session=session, ordinal=ordinal)


def advance(session: Session, ordinal: int, times: int = 1) -> None:
    for _ in range(times):
        engine.advance(thread(session, ordinal).pk)


def settle(session: Session, rounds: int = 30) -> Session:
    """Drive every thread until none has work."""
    for _ in range(rounds):
        pks = session.threads.order_by("ordinal").values_list("pk", flat=True)
        worked = [engine.advance(pk) for pk in list(pks)]
        if not any(worked) and not session.threads.filter(runnable_at__isnull=False).exists():
            break
    session.refresh_from_db()
    return session


def in_threads(*acts: Callable[[], Any]) -> list[Any]:
    """Do these at the same moment, each in a thread of its own; what they returned or raised."""
    barrier = threading.Barrier(len(acts))
    found: list[Any] = [None] * len(acts)

    def run(place: int, act: Callable[[], Any]) -> None:
        from django.db import connection

        barrier.wait(PATIENCE_S)
        try:
            found[place] = act()
        except Exception as exc:  # noqa: BLE001 (the test looks at it)
            found[place] = exc
        finally:
            connection.close()

    workers = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
        assert not worker.is_alive()
    return found


def background(act: Callable[[], Any]) -> threading.Thread:
    """Run `act` in a thread that closes its connection."""

    def run() -> None:
        from django.db import connection

        try:
            act()
        finally:
            connection.close()

    worker = threading.Thread(target=run)
    worker.start()
    return worker


def reports_in(models: Models, ordinal: int = LEAD) -> list[str]:
    """The messages of agents that the thread's newest request shows it."""
    found = []
    for message in models.requests[ordinal][-1].messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        if blocks and blocks[0].get("text", "").startswith("[Message from agent"):
            found.append(blocks[1]["text"])
    return found


def results_of(session: Session, ordinal: int = LEAD) -> list[tuple[str, bool]]:
    """The results of a thread's delegation calls: text, and whether it is an error."""
    rows = session.events.filter(thread__ordinal=ordinal, type="daybreak.tool_result").order_by("seq")
    return [(row.data["content"][0]["text"], row.data["is_error"]) for row in rows]


def thread_id_of(request: ModelRequest) -> str:
    """The thread id that the first spawn of this conversation gave."""
    for message in request.messages:
        for block in message["content"]:
            if block["type"] == "tool_result" and not block.get("is_error"):
                found = json.loads(block["content"][0]["text"])
                if "thread_id" in found:
                    return found["thread_id"]
    raise AssertionError("no thread was started")


def during(
    monkeypatch: Any, target: Any, name: str, act: Callable[[], Any], *, where: Callable[..., bool] = lambda *_: True
) -> None:
    """Do `act` once, in a thread of its own, right before `target.name` runs where `where` says."""
    real, done = getattr(target, name), []  # type: ignore[var-annotated]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not done and where(*args):
            done.append(True)
            background(act).join(20)
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, wrapped)


def of_lead(run: Any, *rest: Any) -> bool:
    """Whether it is the lead's run: for `during`."""
    return run.thread.is_primary


def turns_of(session: Session, ordinal: int = LEAD) -> int:
    return thread(session, ordinal).turn_no


def assert_reported_once(session: Session, models: Models, *reports: str) -> None:
    """Every report is in the lead's newest request, once."""
    assert session.status == "idle"
    assert sorted(reports_in(models)) == sorted(reports)


def advance_until_asked(session: Session) -> None:
    """Spawn the child without letting the lead go on, then let the child answer."""
    steps, limits.STEPS_PER_ADVANCE = limits.STEPS_PER_ADVANCE, 2
    try:
        advance(session, LEAD)
    finally:
        limits.STEPS_PER_ADVANCE = steps
    advance(session, CHILD)
