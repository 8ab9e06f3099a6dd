"""The picture tells what happened when, holds on to its limits, and never fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.story import lanes
from console.story.lanes import CELLS, WIDTH, Light, build_picture, merge
from console.story.words import known_types
from tests import factories

START = datetime(2026, 1, 1, tzinfo=UTC)


def fake_lanes(*pks):
    return {pk: SimpleNamespace(label=f"agent {pk}", thread=None, hue=0) for pk in pks}


def light(seq, type_, at, thread=1):
    return Light(seq, thread, type_, START + timedelta(seconds=at))


def shapes(picture, kind):
    return [(round(s.x), round(s.width), s.seq) for track in picture.tracks for s in track.shapes if s.kind == kind]


def test_a_request_and_a_tool_call_are_drawn_as_long_as_they_took():
    events = [
        light(1, "user.message", 0),
        light(2, "span.model_request_start", 10),
        light(3, "agent.tool_use", 30),
        light(4, "span.model_request_end", 30),
        light(5, "agent.tool_result", 80),
        light(6, "session.status_idle", 100),
    ]
    picture = build_picture(events, fake_lanes(1), by_order=False)
    assert shapes(picture, "model") == [(100, 200, 2)]
    assert shapes(picture, "tool") == [(300, 500, 3)]
    assert picture.ticks == ("0", "25 s", "50 s", "1 min 15 s", "1 min 40 s")
    assert picture.tracks[0].summary == "1 model request, 1 tool call"


def test_parallel_calls_are_one_stretch_until_the_last_result():
    events = [
        light(1, "agent.tool_use", 0),
        light(2, "agent.tool_use", 0),
        light(3, "agent.tool_result", 40),
        light(4, "agent.tool_result", 100),
    ]
    assert shapes(build_picture(events, fake_lanes(1), by_order=False), "tool") == [(0, 1000, 1)]


def test_waiting_for_a_person_is_told_apart_from_working():
    events = [
        light(1, "agent.tool_use", 0),
        light(2, "session.thread_status_idle", 10),
        light(3, "user.tool_confirmation", 60),
        light(4, "agent.tool_result", 100),
    ]
    picture = build_picture(events, fake_lanes(1), by_order=False)
    assert shapes(picture, "waiting") == [(100, 500, 2)]
    assert shapes(picture, "tool") == [(0, 100, 1), (600, 400, 3)]


def test_what_goes_on_reaches_beyond_the_last_event():
    events = [light(1, "user.message", 0), light(2, "span.model_request_start", 100)]
    (shape,) = shapes(build_picture(events, fake_lanes(1), by_order=False, open_ended=True), "model")
    assert shape[0] + shape[1] == WIDTH
    assert shape[1] > 10


def test_without_times_places_are_the_order_and_widths_are_equal():
    events = [light(n, "agent.message", 0, thread=n % 2) for n in range(1, 11)]
    picture = build_picture(events, fake_lanes(1, 0), by_order=True)
    assert [x for x, _, _ in shapes(picture, "said")] == [0, 200, 400, 600, 800, 100, 300, 500, 700, 900]
    assert {width for _, width, _ in shapes(picture, "said")} == {90}
    assert picture.ticks == ("event 1", "event 10")


def test_a_marked_event_stands_out():
    events = [light(1, "user.message", 0), light(2, "agent.message", 50), light(3, "agent.message", 100)]
    picture = build_picture(events, fake_lanes(1), by_order=False, marked=frozenset({2}))
    assert [seq for _, _, seq in shapes(picture, "marked")] == [2]


@pytest.mark.parametrize("threads", [1, 26])
def test_a_long_log_stays_within_the_limits(threads):
    events = [
        light(n, ("span.model_request_start", "span.model_request_end")[n // threads % 2], n, thread=n % threads)
        for n in range(1, 20_000)
    ]
    picture = build_picture(events, fake_lanes(*range(threads)), by_order=False)
    assert picture.bucketed
    assert all(len(track.shapes) <= CELLS for track in picture.tracks)
    assert sum(len(track.shapes) for track in picture.tracks) <= lanes.MAX_SHAPES


def test_the_strongest_thing_in_a_place_wins():
    busy = [lanes.Shape("model", n, 1, n) for n in range(1000)] + [lanes.Shape("error", 500, 2, 7)]
    merged = merge(busy, 10)
    assert [(shape.kind, round(shape.x)) for shape in merged] == [("model", 0), ("error", 500), ("model", 600)]


def test_a_long_gap_is_noticed():
    together = [light(n, "agent.message", n) for n in range(1, 70)]
    assert not build_picture(together, fake_lanes(1), by_order=False).mostly_empty
    assert build_picture([*together, light(99, "agent.message", 9999)], fake_lanes(1), by_order=False).mostly_empty


EVENTS = st.lists(
    st.tuples(st.sampled_from(sorted(known_types())), st.integers(-10_000, 10_000), st.integers(0, 3)), max_size=60
)


@settings(max_examples=200)
@given(EVENTS, st.booleans(), st.booleans(), st.frozensets(st.integers(1, 60), max_size=5))
def test_any_log_can_be_drawn(found, by_order, open_ended, marked):
    events = [light(n, type_, at, thread) for n, (type_, at, thread) in enumerate(found, start=1)]
    picture = build_picture(events, fake_lanes(0, 1, 2), by_order=by_order, open_ended=open_ended, marked=marked)
    for track in picture.tracks:
        for shape in track.shapes:
            assert shape.x >= -lanes.WIDTH / 2
            assert shape.x <= WIDTH + lanes.MARK_WIDTH
            assert shape.width > 0


@pytest.mark.django_db
@pytest.mark.parametrize("by_order", [False, True])
def test_the_database_counts_what_reading_would(workspace, monkeypatch, by_order):
    """A log too long to read is drawn from counts: the same lanes and the same words about them."""
    session = factories.make_session(workspace, says="Go")
    child = factories.make_child(session)
    for _ in range(3):
        factories.turn(session)
    factories.write_one(session, "agent.message", {"content": factories.text("hi")}, thread=child)
    session.refresh_from_db()
    from console.story.rows import lanes_of

    read = lanes.draw(session, lanes_of(session), by_order=by_order)
    monkeypatch.setattr(lanes, "MAX_LIGHT_ROWS", 1)
    counted = lanes.draw(session, lanes_of(session), by_order=by_order)
    assert [track.summary for track in counted.tracks] == [track.summary for track in read.tracks]
    assert counted.bucketed
    assert all(track.shapes for track in counted.tracks)
    assert all(0 <= shape.x <= WIDTH for track in counted.tracks for shape in track.shapes)
