"""What holds for every session at any moment, whatever happened to it. Checked after the tests of teams.

A conftest or a test module takes the fixture with `from tests.invariants import *`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["sessions_hold"]

USES = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use", "daybreak.tool_use")
RESULTS = {
    "agent.tool_result": "tool_use_id",
    "agent.mcp_tool_result": "mcp_tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
    "daybreak.tool_result": "tool_use_id",
}
LAST_MOVE = {"running": "running", "idle": "idle", "rescheduling": "rescheduled", "terminated": "terminated"}


@pytest.fixture
def sessions_hold(committed_db: None) -> Iterator[None]:
    """Checks every session of the test when it is over."""
    yield
    from agents.models import Session

    for session in Session.objects.all():
        check_session(session)


def check_session(session: Any) -> None:
    """Fails with what is wrong with the session's log or with the rows made from it."""
    from agents.services.log import open_log
    from agents.services.rebuild import rebuild_state

    with open_log(session.pk) as log:
        events = list(log.session.events.order_by("seq"))
        threads = {thread.pk: thread for thread in log.session.threads.order_by("ordinal")}
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "seq has gaps"
    for thread in threads.values():
        _check_calls([event for event in events if event.thread_id == thread.pk], thread)
    _check_messages(events, threads)
    _check_statuses(events, threads)
    _check_idle(events, threads)
    _check_interrupts(events, threads)
    assert rebuild_state(session) == []


def _rests(thread: Any) -> bool:
    return thread.status in ("idle", "terminated") and thread.phase == "idle"


def _check_calls(events: list[Any], thread: Any) -> None:
    """Every call has one result at most, and one exactly when its thread rests; spans likewise."""
    uses = [event.public_id for event in events if event.type in USES and "session_thread_id" not in event.data]
    answered: list[str] = []
    for event in events:
        if event.type in RESULTS and "session_thread_id" not in event.data:
            answered.append(event.data[RESULTS[event.type]])
    assert not [call for call, count in Counter(answered).items() if count > 1], "a call has two results"
    assert set(answered) <= set(uses), "a result of no call of this thread"
    starts = [event.public_id for event in events if event.type == "span.model_request_start"]
    ends = [event.data["model_request_start_id"] for event in events if event.type == "span.model_request_end"]
    assert len(set(ends)) == len(ends) and set(ends) <= set(starts)
    if _rests(thread):
        assert sorted(answered) == sorted(uses), f"a call of {thread} has no result"
        assert sorted(ends) == sorted(starts), f"a span of {thread} is open"


def _check_messages(events: list[Any], threads: dict[int, Any]) -> None:
    """One sent and one received event for each message, and taken up once at most."""
    sent = [event for event in events if event.type == "agent.thread_message_sent"]
    came = {event.private_data["message_id"]: event for event in events if event.type.endswith("message_received")}
    assert len(sent) == len(came)
    for event in sent:
        arrived = came[event.private_data["message_id"]]
        sender, receiver = threads[event.thread_id], threads[arrived.thread_id]
        assert event.data["to_session_thread_id"] == receiver.public_id
        assert arrived.data["from_session_thread_id"] == sender.public_id
        assert event.data.get("to_agent_name") == (None if receiver.is_primary else receiver.agent_name)
        assert arrived.data.get("from_agent_name") == (None if sender.is_primary else sender.agent_name)
        assert event.data["content"] == arrived.data["content"]
        assert arrived.seq == event.seq + 1
    taken = Counter(event.data["event_id"] for event in events if event.type == "daybreak.thread_message_taken")
    assert not [one for one, count in taken.items() if count > 1], "a message was taken up twice"
    for arrived in came.values():
        thread = threads[arrived.thread_id]
        assert (arrived.public_id in taken) == (arrived.seq <= thread.mail_seq), "a message was skipped"


def _check_statuses(events: list[Any], threads: dict[int, Any]) -> None:
    """A child's moves stand on its own stream and on the session's, in the same order."""
    for thread in threads.values():
        own, shown = [], []
        for event in events:
            if event.type.startswith("session.thread_status_"):
                if event.data["session_thread_id"] == thread.public_id:
                    (own if event.thread_id == thread.pk else shown).append(event.type)
        if not thread.is_primary:
            assert own == shown
            assert own.count("session.thread_status_terminated") <= 1
            if own:
                assert LAST_MOVE[thread.status] == own[-1].rpartition("_")[2]


def _check_idle(events: list[Any], threads: dict[int, Any]) -> None:
    """`session.usage` stands directly before each `session.status_idle` of the session's stream."""
    primary = [event for event in events if event.visible and threads[event.thread_id].is_primary]
    for before, event in zip(primary, primary[1:], strict=False):
        if event.type == "session.status_idle":
            assert before.type == "session.usage"


def _check_interrupts(events: list[Any], threads: dict[int, Any]) -> None:
    """An interrupt is recorded as carried out once no thread has it before it."""
    pending = [thread.interrupt_seq for thread in threads.values() if thread.interrupt_pending]
    for event in events:
        if event.type == "user.interrupt" and event.processed_at is None:
            assert any(seq >= event.seq for seq in pending), "nobody will carry out an interrupt"
