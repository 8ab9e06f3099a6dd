"""The timeline of any log, valid or broken: it never fails, loses nothing, joins only what belongs together."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.timeline import Builder, LightEvent, LightThread, build_timeline, kinds, pack
from agents.timeline.window import MAX_ITEMS, gaps, tail, window

SENT, RECEIVED = kinds.MESSAGE_SENT, kinds.MESSAGE_RECEIVED
TYPES = (
    "user.message",
    "user.interrupt",
    "user.tool_confirmation",
    "user.custom_tool_result",
    "agent.message",
    "agent.thinking",
    "agent.tool_use",
    "agent.mcp_tool_use",
    "agent.custom_tool_use",
    "agent.tool_result",
    "agent.mcp_tool_result",
    "agent.thread_context_compacted",
    SENT,
    RECEIVED,
    "session.error",
    "session.status_idle",
    "session.thread_created",
    "session.thread_status_idle",
    "session.thread_status_running",
    "session.thread_status_rescheduled",
    "session.thread_status_terminated",
    "span.model_request_start",
    "span.model_request_end",
    "span.outcome_evaluation_start",
    "span.outcome_evaluation_ongoing",
    "span.outcome_evaluation_end",
    "daybreak.tool_use",
    "daybreak.tool_result",
    "daybreak.wait_started",
    "daybreak.thread_message_taken",
    "daybreak.event_processed",
    "of.another.kind",
)
TIMES = st.none() | st.integers(-10_000_000, 10_000_000)
PLACES = st.none() | st.integers(-3, 90)


@st.composite
def logs(draw: Any) -> list[LightEvent]:
    """Broken in every way that a database lets through: gaps, wrong joins, clocks that run backwards, unknown types."""
    events, seq = [], 0
    for _ in range(draw(st.integers(0, 60))):
        seq += draw(st.integers(1, 3))
        events.append(
            LightEvent(
                seq,
                draw(st.integers(1, 5)),
                draw(st.sampled_from(TYPES)),
                draw(TIMES),
                draw(PLACES),
                draw(PLACES),
                draw(st.sampled_from(("", "a", "b", "c"))),
                draw(st.booleans()),
                draw(st.booleans()),
                draw(TIMES),
            )
        )
    return events


@st.composite
def teamwork(draw: Any) -> list[LightEvent]:
    """A valid log: agents ask models, run tools, and send each other messages that are received and taken up."""
    events: list[LightEvent] = []
    at = 0

    def write(thread: int, type_: str, **more: Any) -> int:
        nonlocal at
        at += draw(st.integers(0, 50_000))
        events.append(LightEvent(len(events) + 1, thread, type_, at, **more))
        return len(events)

    for number in range(draw(st.integers(1, 12))):
        thread = draw(st.integers(1, 4))
        start = write(thread, "span.model_request_start")
        use = write(thread, "agent.tool_use", cause=start)
        write(thread, "span.model_request_end", cause=start)
        write(thread, "agent.tool_result", cause=use, ref=use, failed=draw(st.booleans()))
        if draw(st.booleans()):
            sent = write(thread, SENT, message=f"m{number}", cause=start)
            received = write(draw(st.integers(1, 4)), RECEIVED, message=f"m{number}", cause=sent)
            write(events[received - 1].thread, "daybreak.thread_message_taken", cause=received)
    return events


THREADS = [LightThread(n, None if n == 1 else 1, ("lead", "north", "south")[n % 3], n) for n in range(1, 6)]


@settings(max_examples=300, deadline=None)
@given(logs() | teamwork(), st.booleans(), st.booleans(), st.booleans())
def test_no_log_makes_it_fail_and_no_event_is_lost(log, by_order, pairs, fold):
    built = build_timeline(log, THREADS, by_order=by_order, pairs_in_turn=pairs, fold=fold)
    carried = Counter(seq for item in built.items for seq in item.carries)
    assert carried == Counter(event.seq for event in log)
    for item in built.items:
        assert item.end is None or item.end >= item.start


@settings(max_examples=300, deadline=None)
@given(logs() | teamwork())
def test_arrows_join_a_message_that_was_sent_with_its_receipt(log):
    by_seq = {event.seq: event for event in log}
    arrows = build_timeline(log, THREADS).arrows
    for arrow in arrows:
        sent, received = by_seq[arrow.sent_seq], by_seq[arrow.received_seq]
        assert (sent.type, received.type) == (SENT, RECEIVED)
        assert (arrow.sent_thread, arrow.received_thread) == (sent.thread, received.thread)
        assert received.cause == sent.seq or (received.message and received.message == sent.message)
        if arrow.taken is not None:
            assert by_seq[arrow.taken_seq].cause == received.seq
    for seqs in ([arrow.sent_seq for arrow in arrows], [arrow.received_seq for arrow in arrows]):
        assert len(seqs) == len(set(seqs))


@settings(deadline=None)
@given(teamwork())
def test_every_message_of_a_valid_log_has_its_arrow(log):
    built = build_timeline(log, THREADS)
    assert {arrow.sent_seq for arrow in built.arrows} == {event.seq for event in log if event.type == SENT}
    assert all(arrow.taken is not None for arrow in built.arrows)
    spans = Counter(item.kind for item in built.items if len(item.carries) == 2)
    assert spans[kinds.TOOL] == spans[kinds.MODEL] == sum(event.type == "agent.tool_use" for event in log)


@settings(max_examples=200, deadline=None)
@given(logs() | teamwork(), st.integers(0, 60), st.booleans())
def test_what_is_built_in_parts_is_what_is_built_at_once(log, cut, by_order):
    whole, parts = Builder(by_order=by_order), Builder(by_order=by_order)
    whole.add(log)
    parts.add(log[:cut])
    before = parts.last_seq
    old = list(parts.items())
    parts.add(log[cut:])
    parts.add(log)  # again, in vain
    assert list(parts.items()) == list(whole.items())
    assert parts.arrows == whole.arrows
    found = tail(parts, dict.fromkeys(range(1, 6), 0), before, limit=MAX_ITEMS)
    told = {(seq, kind) for seq, kind in zip(found.columns.seq, found.columns.kind, strict=True)}
    changed = [new for n, new in enumerate(parts.items()) if n >= len(old) or old[n] != new]
    assert {(item.seq, item.kind) for item in changed} <= told


# Lanes


@st.composite
def lives(draw: Any) -> tuple[list[LightThread], dict[int, tuple[int, int]]]:
    threads, alive = [LightThread(1, None, "lead")], {1: (1, 1_000)}
    for key in range(2, draw(st.integers(2, 30))):
        first = draw(st.integers(1, 900))
        alive[key] = (first * 100 + key, (first + draw(st.integers(0, 90))) * 100 + key)
        name = draw(st.sampled_from(("north", "south", "east")))
        threads.append(LightThread(key, 1, name, key, ended=draw(st.booleans()), archived=draw(st.booleans())))
    return threads, alive


def most_at_once(threads: list[LightThread], alive: dict[int, tuple[int, int]]) -> int:
    spans = [(alive[t.key][0], alive[t.key][1] if t.ended else 10**9) for t in threads if t.parent is not None]
    return max((sum(a <= first <= b for a, b in spans) for first, _ in spans), default=0)


@settings(max_examples=300, deadline=None)
@given(lives())
def test_there_are_as_many_lanes_as_agents_were_ever_alive_at_once(found):
    threads, alive = found
    packed = pack(threads, alive, last_seq=10**8)
    assert packed.lanes[0] == [1]
    assert len(packed.lanes) - 1 == most_at_once(threads, alive)
    assert sorted(key for lane in packed.lanes for key in lane) == sorted(alive)
    for lane in packed.lanes[1:]:
        for before, after in zip(lane, lane[1:], strict=False):
            assert alive[before][1] < alive[after][0]


@settings(max_examples=200, deadline=None)
@given(lives(), st.integers(1, 100_000))
def test_an_agent_keeps_its_lane_when_the_log_grows(found, now):
    """Whoever has not ended for good is alive from its first event on; ends are known only once they are in the log."""
    threads, alive = found
    seen = {key: (first, min(last, now)) for key, (first, last) in alive.items() if first <= now}
    then = [t._replace(ended=t.ended and alive[t.key][1] <= now) for t in threads if t.key in seen]
    early, late = pack(then, seen, last_seq=now), pack(threads, alive, last_seq=10**8)
    for thread in then:
        assert early.lane_of[thread.key] == late.lane_of[thread.key]


@given(lives())
def test_archived_agents_share_a_lane_when_folded(found):
    threads, alive = found
    packed = pack(threads, alive, last_seq=10**8, fold=True)
    away = {thread.key for thread in threads if thread.archived}
    assert {key for key, lane in packed.lane_of.items() if lane == packed.folded} == away
    assert packed.folded is None or packed.folded == len(packed.lanes) - 1


def test_an_agent_prefers_the_lane_its_name_had():
    threads = [LightThread(1, None, "lead")]
    threads += [LightThread(n, 1, name, n, ended=True) for n, name in ((2, "north"), (3, "south"), (4, "south"))]
    alive = {1: (1, 99), 2: (2, 10), 3: (3, 11), 4: (20, 30)}
    assert pack(threads, alive, last_seq=99).lanes == [[1], [2], [3, 4]]


# What is drawn


def log_of(*events: tuple[Any, ...], thread: int = 1) -> list[LightEvent]:
    """(type, milliseconds, other fields) by turns."""
    return [
        LightEvent(n, more.pop("thread", thread), type_, ms * 1000, **more)
        for n, (type_, ms, more) in enumerate(((*event, {})[:3] for event in events), start=1)
    ]


def spans(log: list[LightEvent], **how: Any) -> list[tuple[str, float, float | None]]:
    built = build_timeline(log, THREADS, **how)
    found = [item for item in built.items if item.kind <= kinds.LAST_SPAN]
    return sorted((kinds.KINDS[item.kind], item.start, item.end) for item in found)


def test_a_request_and_a_tool_call_are_as_long_as_they_took():
    log = log_of(
        ("user.message", 0),
        ("span.model_request_start", 1, {"cause": 1}),
        ("agent.tool_use", 30, {"cause": 2}),
        ("span.model_request_end", 30, {"cause": 2}),
        ("agent.tool_result", 80, {"cause": 3}),
    )
    assert spans(log) == [("model", 1, 30), ("tool", 30, 80)]


def test_waiting_for_a_person_is_told_apart_from_working():
    log = log_of(
        ("agent.tool_use", 0),
        ("session.thread_status_idle", 10, {"waits": True}),
        ("user.tool_confirmation", 60, {"cause": 1}),
        ("agent.tool_result", 100, {"cause": 1, "ran_at": 61_000}),
    )
    assert spans(log) == [("tool", 0, 100), ("wait_person", 10, 60)]


def test_a_client_that_has_to_run_a_tool_is_no_person():
    log = log_of(
        ("agent.custom_tool_use", 0),
        ("session.thread_status_idle", 10, {"waits": True}),
        ("user.custom_tool_result", 60, {"cause": 1, "ref": 1}),
    )
    assert spans(log) == [("wait_tool", 0, 60)]


def test_a_call_that_waits_for_agents_is_a_wait():
    log = log_of(
        ("daybreak.tool_use", 0),
        ("daybreak.wait_started", 1, {"cause": 1}),
        ("daybreak.tool_result", 90, {"cause": 1, "ref": 1}),
    )
    assert spans(log) == [("wait_agents", 0, 90)]


def test_time_in_the_queue_is_shown_from_five_milliseconds_on():
    log = log_of(
        ("user.message", 0),
        ("span.model_request_start", 40, {"cause": 1}),
        ("agent.tool_use", 50, {"cause": 2}),
        ("span.model_request_end", 50, {"cause": 2}),
        ("agent.tool_result", 90, {"cause": 3, "ref": 3, "ran_at": 70_000}),
        ("span.model_request_start", 93, {"cause": 5}),
    )
    waits = [span for span in spans(log) if span[0] == "wait_queue"]
    assert waits == [("wait_queue", 0, 40), ("wait_queue", 50, 70)]


def test_a_queued_message_waits_from_when_its_thread_was_free():
    log = log_of(
        ("span.model_request_start", 0),
        ("user.message", 10),
        ("span.model_request_end", 50, {"cause": 1}),
        ("span.model_request_start", 60, {"cause": 2}),
    )
    assert ("wait_queue", 50, 60) in spans(log)


def test_a_retry_is_no_queue():
    log = log_of(
        ("span.model_request_start", 0),
        ("span.model_request_end", 10, {"cause": 1, "failed": True}),
        ("session.thread_status_rescheduled", 10),
        ("session.thread_status_running", 900),
        ("span.model_request_start", 901),
    )
    assert spans(log) == [("model", 0, 10), ("model", 901, None), ("wait_retry", 10, 900)]


def test_a_compaction_is_told_apart_from_other_requests():
    log = log_of(
        ("span.model_request_start", 0),
        ("agent.thread_context_compacted", 40, {"cause": 1}),
        ("span.model_request_end", 40, {"cause": 1}),
    )
    assert spans(log) == [("compaction", 0, 40)]


@pytest.mark.parametrize(
    "pairs, expected", [(True, [("tool", 0, 20), ("tool", 10, 30)]), (False, [("tool", 0, None)] * 1)]
)
def test_results_of_imported_logs_answer_in_turn(pairs, expected):
    log = log_of(("agent.tool_use", 0), ("agent.tool_use", 10), ("agent.tool_result", 20), ("agent.tool_result", 30))
    found = spans(log, pairs_in_turn=pairs)
    assert found == expected if pairs else found == [("tool", 0, None), ("tool", 10, None)]


def test_a_failed_result_marks_its_call_and_stands_alone_without_one():
    log = log_of(("agent.tool_use", 0), ("agent.tool_result", 5, {"ref": 1, "failed": True}))
    log += [LightEvent(3, 1, "agent.tool_result", 9_000, failed=True)]
    items = build_timeline(log, THREADS).items
    assert [(kinds.KINDS[item.kind], item.failed) for item in items] == [("tool", True), ("failed_result", False)]


def test_by_order_places_are_places_in_the_log():
    log = [LightEvent(seq, 1, "agent.message") for seq in (3, 7, 9)]
    assert [item.start for item in build_timeline(log, THREADS, by_order=True).items] == [0, 1, 2]


# Windows


def long_log(events: int = 30_000, threads: int = 5) -> Builder:
    built = Builder()
    types = (
        "span.model_request_start",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        "agent.message",
    )
    log = [
        LightEvent(n, n // 5 % threads + 1, types[n % 5], n * 1000, cause=n - 2 if n % 5 in (2, 3) else None)
        for n in range(5, events)
    ]
    log.append(LightEvent(events, 3, "session.error", (events // 2) * 1000))
    built.add(log)
    return built


def test_a_long_log_is_drawn_in_buckets_with_every_event_counted():
    built = long_log()
    lane_of = {n: n - 1 for n in range(1, 6)}
    shown = window(built, lane_of, start=built.first, end=built.last, width=1_200, limit=10_000)
    assert 0 < shown.buckets <= 1_200
    assert len(shown.columns) <= 10_000
    assert sum(shown.columns.count) == shown.total == len(built.kind)
    error = [n for n, kind in enumerate(shown.columns.kind) if kind == kinds.ERROR]
    assert len(error) == 1
    assert shown.columns.seq[error[0]] == 30_000


def test_a_closer_look_shows_each():
    built = long_log()
    lane_of = {n: n - 1 for n in range(1, 6)}
    shown = window(built, lane_of, start=1_000, end=3_000, width=1_200, limit=10_000)
    assert shown.buckets == 0
    assert {round(start) for start in shown.columns.start} >= set(range(1_100, 2_900, 5))


@settings(max_examples=100, deadline=None)
@given(logs(), st.integers(1, 30), st.floats(-1e5, 1e5), st.floats(0, 1e5), st.integers(1, 3_000))
def test_any_window_of_any_log_stays_within_its_limit(log, limit, start, length, width):
    built = Builder()
    built.add(log)
    lane_of = dict.fromkeys(range(1, 6), 0)
    shown = window(built, lane_of, start=start, end=start + length, width=width, limit=limit)
    assert len(shown.columns) <= max(limit, 50)
    assert all(length == -1 or length >= 0 for length in shown.columns.length)


def test_gaps_are_times_in_which_nobody_worked():
    log = log_of(
        ("user.message", 0),
        ("span.model_request_start", 10),
        ("span.model_request_end", 400, {"cause": 2}),
        ("session.thread_status_idle", 401),
        ("user.message", 900),
        ("agent.message", 1_000),
    )
    built = Builder()
    built.add(log)
    assert gaps(built) == [(401.0, 900.0), (900.0, 1000.0)]
