"""A believable log of a team at work, written straight into the tables: long sessions without running them.

A lead and its helpers ask models, run tools, sometimes fail, and send each other messages; a person is asked now and
then. The same numbers give the same log, but for ids and times.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agents.ids import EVENT, EXEC, MESSAGE, THREAD, new_id

NAMES = ("north", "south", "east", "west", "centre")
WORDS = (
    "the build failed because the certificate of the mirror expired on tuesday and nobody renewed it so the "
    "pipeline stopped at the third stage while tests for the parser passed the disk of the runner was full logs "
    "were cut at the end of the line retry after cleaning cache found no error in module network timeout reached"
).split()
TOOLS = ("bash", "grep", "read", "edit", "glob")

THREAD_SQL = """
INSERT INTO agents_thread SELECT (jsonb_populate_record(t, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('agents_thread', 'id')), 'public_id', %s::text, 'parent_id', t.id,
    'agent_name', %s::text, 'ordinal', %s::int, 'status', 'idle', 'phase', 'idle', 'runnable_at', NULL))).*
FROM agents_thread t WHERE t.session_id = %s AND t.parent_id IS NULL RETURNING id
"""
EVENT_COLUMNS = (
    "id, public_id, session_id, seq, thread_id, type, payload, private, cause_seq, position, visible, created_at, "
    "processed_at"
)
CALL_COLUMNS = (
    "session_id, thread_id, use_event_id, result_event_id, kind, name, state, permission, decision, deny_message, "
    "decided_by, exec_id, attempt, turn_no, input_sha256, result_sha256, is_error, malformed, started_at, ended_at"
)


@dataclass(eq=False)
class Line:
    """One event that is not written yet. `at` is seconds since the start."""

    at: float
    thread: int
    type: str
    payload: dict[str, Any] = field(default_factory=dict)
    private: dict[str, Any] | None = None
    cause: Line | None = None
    answers: Line | None = None  # the tool use
    visible: bool = True
    seq: int = 0
    pk: int = 0
    public_id: str = ""


def write_log(connection: Any, session_pk: int, *, events: int, helpers: int = 25, seed: int = 4) -> None:
    """Append so many events to a session that nobody works on. `connection` is one of psycopg's, in a transaction."""
    chance = random.Random(seed)  # noqa: S311 (a log, not a secret)
    with connection.cursor() as cursor:
        threads = _threads(cursor, session_pk, helpers)
        first = cursor.execute("SELECT last_seq FROM agents_session WHERE id = %s", [session_pk]).fetchone()[0]
        lines = _in_order(_work(chance, threads, events), events)
        start = datetime.now(UTC) - timedelta(seconds=lines[-1].at + 60)
        ids = cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('agents_event', 'id')) FROM generate_series(1, %s)", [len(lines)]
        ).fetchall()
        for number, (line, (pk,)) in enumerate(zip(lines, ids, strict=True), start=first + 1):
            line.seq, line.pk, line.public_id = number, pk, new_id(EVENT)
        with cursor.copy(f"COPY agents_event ({EVENT_COLUMNS}) FROM STDIN") as copy:
            for line in lines:
                copy.write_row(_event_row(line, session_pk, start))
        with cursor.copy(f"COPY agents_toolcall ({CALL_COLUMNS}) FROM STDIN") as copy:
            for line in lines:
                if line.answers is not None and line.answers.seq:
                    copy.write_row(_call_row(line, session_pk, start))
        _count(cursor, session_pk, lines, start, len(threads))
        cursor.execute("ANALYZE agents_event")


def _threads(cursor: Any, session_pk: int, helpers: int) -> list[int]:
    primary = cursor.execute(
        "SELECT id FROM agents_thread WHERE session_id = %s AND parent_id IS NULL", [session_pk]
    ).fetchone()[0]
    found = [primary]
    for number in range(1, helpers + 1):
        name = NAMES[number % len(NAMES)]
        found.append(cursor.execute(THREAD_SQL, [new_id(THREAD), name, number, session_pk]).fetchone()[0])
    return found


def _work(chance: random.Random, threads: Sequence[int], events: int) -> Iterator[Line]:
    """Rounds of work, each thread at its own pace, until there are enough."""
    lead, *helpers = threads
    asked = Line(0.0, lead, "user.message", {"content": _text(chance, 20)})
    yield asked
    cause: dict[int, Line] = {lead: asked}
    queue = [(0.05, lead)]
    heapq.heapify(queue)
    written, turns = 1, 0
    while written < events:
        at, thread = heapq.heappop(queue)
        turns += 1
        lines = list(_round(chance, at, thread, cause[thread]))
        end = lines[-1].at
        cause[thread] = lines[-1]
        mail = helpers if thread == lead and turns == 1 else _correspondents(chance, lead, helpers, thread)
        for receiver in mail:
            sent, received = _message(chance, end + chance.uniform(0.001, 0.3), thread, receiver, lines[0])
            lines += [sent, received]
            if receiver not in cause:
                cause[receiver] = received
                heapq.heappush(queue, (received.at + chance.uniform(0.01, 1.2), receiver))
        if chance.random() < 0.02:
            lines.append(Line(end, thread, "session.error", {"error": {"type": "overloaded_error", "message": "Busy"}}))
        if chance.random() < 0.03:
            end += chance.uniform(5, 60)  # nothing to do for a while
        heapq.heappush(queue, (end + chance.uniform(0.002, 0.3), thread))
        written += len(lines)
        yield from lines


def _round(chance: random.Random, at: float, thread: int, cause: Line) -> Iterator[Line]:
    """A request, what it said, its tools and their results."""
    start = Line(at, thread, "span.model_request_start", cause=cause)
    yield start
    end = at + chance.uniform(0.4, 6)
    yield Line(end, thread, "agent.thinking", private={"thinking": _words(chance, 25)}, cause=start)
    if chance.random() < 0.5:
        yield Line(end, thread, "agent.message", {"content": _text(chance, 30)}, cause=start)
    uses = [
        Line(end, thread, "agent.tool_use", {"name": name, "input": {"command": _words(chance, 8)}}, cause=start)
        for name in chance.sample(TOOLS, chance.choice((1, 1, 2)))
    ]
    yield from uses
    usage = {"input_tokens": chance.randint(500, 9_000), "output_tokens": chance.randint(20, 900)}
    yield Line(end, thread, "span.model_request_end", {"model_usage": usage, "is_error": False}, cause=start)
    if chance.random() < 0.01:  # a person has to allow it, and takes a while
        wait = {"stop_reason": {"type": "requires_action"}}
        yield Line(end, thread, "session.thread_status_idle", wait, cause=start)
        end += chance.uniform(5, 30)
        yield Line(end, thread, "user.tool_confirmation", {"result": "allow"}, cause=uses[0])
    for use in uses:
        end += chance.uniform(0.01, 3)
        found = {"content": _text(chance, 60), "is_error": chance.random() < 0.02}
        yield Line(end, thread, "agent.tool_result", found, cause=use, answers=use)


def _correspondents(chance: random.Random, lead: int, helpers: Sequence[int], thread: int) -> list[int]:
    if not helpers or chance.random() > 0.08:
        return []
    return [chance.choice(helpers)] if thread == lead else [lead]


def _message(chance: random.Random, at: float, sender: int, receiver: int, start: Line) -> tuple[Line, Line]:
    private = {"message_id": new_id(MESSAGE), "kind": "message"}
    said = {"content": _text(chance, 25)}
    sent = Line(at, sender, "agent.thread_message_sent", said, private, start)
    return sent, Line(at, receiver, "agent.thread_message_received", said, private, sent)


def _in_order(lines: Iterator[Line], events: int) -> list[Line]:
    """By time, causes first: what was written first stays first at one moment."""
    return sorted(lines, key=lambda line: line.at)[:events]


def _words(chance: random.Random, number: int) -> str:
    return " ".join(chance.choices(WORDS, k=number))


def _text(chance: random.Random, number: int) -> list[dict[str, str]]:
    return [{"type": "text", "text": _words(chance, number)}]


def _event_row(line: Line, session_pk: int, start: datetime) -> tuple[Any, ...]:
    at = start + timedelta(seconds=line.at)
    payload = dict(line.payload)
    if line.answers is not None:
        payload = {"tool_use_id": line.answers.public_id, **payload}
    elif line.type == "span.model_request_end" and line.cause is not None:
        payload = {"model_request_start_id": line.cause.public_id, **payload}
    cause = line.cause.seq or None if line.cause is not None else None
    return (
        line.pk,
        line.public_id,
        session_pk,
        line.seq,
        line.thread,
        line.type,
        json.dumps(payload, separators=(",", ":")),
        json.dumps(line.private, separators=(",", ":")) if line.private else None,
        cause,
        line.seq,
        line.visible,
        at,
        at,
    )


def _call_row(result: Line, session_pk: int, start: datetime) -> tuple[Any, ...]:
    use = result.answers
    assert use is not None
    began = start + timedelta(seconds=max(use.at, result.at - 0.5))
    ended = start + timedelta(seconds=result.at)
    named = (use.payload["name"], "done", "allow", "", "", "")
    failed = result.payload["is_error"]
    return (
        *(session_pk, use.thread, use.pk, result.pk, "agent", *named, new_id(EXEC), 1, 0, "0" * 64, ""),
        *(failed, False, began, ended),
    )


def _count(cursor: Any, session_pk: int, lines: Sequence[Line], start: datetime, threads: int) -> None:
    calls = sum(line.type == "agent.tool_use" for line in lines)
    errors = sum(line.type == "session.error" for line in lines)
    cursor.execute(
        """
        UPDATE agents_session SET last_seq = %s, event_count = event_count + %s, tool_call_count = %s,
            error_count = %s, thread_count = %s, created_at = %s, stop_reason = '{"type": "end_turn"}'::jsonb,
            status = 'idle' WHERE id = %s
        """,
        [lines[-1].seq, len(lines), calls, errors, threads, start, session_pk],
    )
