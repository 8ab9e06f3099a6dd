"""Live streams through the real SDK and as raw frames: conformance statements 52 to 54, 59 and 60."""

from __future__ import annotations

import json
import threading
import time

import anthropic
import pytest

from tests.api.sdk import (
    Watcher,
    history,
    make_agent,
    make_session,
    of_type,
    said,
    send,
    text,
    wait_idle,
    watching,
)
from tests.api.strict import STREAM_EVENTS, check


def read_frames(raw, path, *, until, timeout_s=20.0):
    """`(name, data)` of each frame up to the first of type `until`; call in a thread of its own."""
    frames = []
    with raw.stream("GET", path, timeout=timeout_s) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        name, data = None, []
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data.append(line.removeprefix("data: "))
            elif line == "" and name is not None:
                frames.append((name, "\n".join(data)))
                if name == until:
                    return frames
                name, data = None, []
    return frames


@pytest.mark.conformance(52)
def test_stream_and_list_together_never_miss_an_event(client, local_worker):
    session = make_session(client)
    known: set[str] = set()
    stop = threading.Event()

    def load() -> None:
        for turn in range(12):
            send(client, session, text(f"bash: echo {turn}"))
            time.sleep(0.05)
        stop.set()

    thread = threading.Thread(target=load)
    thread.start()
    reconnects = 0
    while reconnects < 20 or not stop.is_set():
        # The documented recipe: open the stream, then read the history, then skip what was seen.
        watcher = Watcher(lambda: client.beta.sessions.events.stream(session.id))
        known |= {event.id for event in history(client, session)}
        time.sleep(0.05)
        watcher.close()
        known |= {event.id for event in watcher.events}
        reconnects += 1
    thread.join()
    final = Watcher(lambda: client.beta.sessions.events.stream(session.id))
    known |= {event.id for event in history(client, session)}
    wait_idle(client, session)
    time.sleep(0.3)
    final.close()
    known |= {event.id for event in final.events}
    assert {event.id for event in history(client, session)} == known


@pytest.mark.conformance(53)
def test_every_frame_is_named_after_its_type(client, raw, local_worker):
    session = make_session(client)
    frames: list[tuple[str, str]] = []
    path = f"/v1/sessions/{session.id}/events/stream"
    opened = threading.Event()

    def read() -> None:
        opened.set()
        frames.extend(read_frames(raw, path, until="session.status_idle"))

    reader = threading.Thread(target=read)
    reader.start()
    opened.wait(5)
    time.sleep(0.5)
    send(client, session, text("bash: printf 'two\\nlines\\u2028and more'"))
    reader.join(30)
    assert frames[-1][0] == "session.status_idle"
    for name, data in frames:
        assert json.loads(data)["type"] == name
        if name != "ping":
            check(STREAM_EVENTS, json.loads(data))


@pytest.mark.conformance(54)
def test_a_quiet_stream_is_kept_alive(client, raw, settings, local_worker):
    settings.DAYBREAK_SSE_PING_S = 0.2
    session = make_session(client)
    path = f"/v1/sessions/{session.id}/events/stream"
    pings = 0
    with raw.stream("GET", path, timeout=10) as answer:
        for line in answer.iter_lines():
            pings += line == "event: ping"
            if pings == 4:
                break
    with watching(client, session) as watcher:
        time.sleep(0.7)
        send(client, session, text("say: hello"))
        watcher.wait_for("session.status_idle")
    assert watcher.error is None
    assert "ping" not in [event.type for event in watcher.events]


def test_the_ping_interval_is_fifteen_seconds_by_default():
    from console import settings

    assert settings.DAYBREAK_SSE_PING_S == 15


@pytest.mark.conformance(59)
def test_deltas_are_a_prefix_of_the_message_and_carry_its_id(client, local_worker):
    from anthropic.lib.sessions._accumulate import accumulate_managed_agents_event

    session = make_session(client, agent=make_agent(client, model="simulated/slow", tools=[]))
    with watching(client, session, event_deltas=["agent.message"]) as watcher:
        send(client, session, text("slow 1s"))
        watcher.wait_for("session.status_idle")
    starts = of_type(watcher.events, "event_start")
    deltas = of_type(watcher.events, "event_delta")
    message = of_type(watcher.events, "agent.message")[0]
    assert len(starts) == 1 and starts[0].event.id == message.id
    assert len(deltas) >= 2
    assert {delta.event_id for delta in deltas} == {message.id}
    written = "".join(delta.delta.content.text for delta in deltas)
    assert written and said(message).startswith(written)
    kinds = [event.type for event in watcher.events]
    assert kinds.index("event_start") < kinds.index("event_delta")
    assert kinds.index("agent.message") > len(kinds) - 1 - kinds[::-1].index("event_delta")
    snapshot = None
    for event in watcher.events:
        if event.type in ("event_start", "event_delta"):
            snapshot = accumulate_managed_agents_event(snapshot, event)
    assert said(message).startswith(said(snapshot)) and said(snapshot) == written
    assert of_type(history(client, session), "event_start", "event_delta") == []


def test_no_deltas_are_sent_unless_asked_for(client, local_worker):
    session = make_session(client, agent=make_agent(client, model="simulated/slow", tools=[]))
    with watching(client, session) as watcher:
        send(client, session, text("slow 0.5s"))
        watcher.wait_for("session.status_idle")
    assert of_type(watcher.events, "event_start", "event_delta") == []


@pytest.mark.conformance(60)
def test_unknown_deltas_are_refused_and_a_thread_stream_takes_known_ones(client, local_worker):
    session = make_session(client, agent=make_agent(client, model="simulated/slow", tools=[]))
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.events.stream(session.id, event_deltas=["bogus"])
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.events.stream(session.id, event_deltas=["agent.message"] * 101)
    thread = client.beta.sessions.threads.list(session.id).data[0]
    watcher = Watcher(
        lambda: client.beta.sessions.threads.events.stream(
            thread.id, session_id=session.id, event_deltas=["agent.message"]
        )
    )
    send(client, session, text("slow 0.5s"))
    watcher.wait_for("session.thread_status_idle")
    watcher.close()
    assert of_type(watcher.events, "event_delta")


def test_a_stream_of_another_workspace_is_not_found(client, client_for, other_workspace):
    session = make_session(client)
    stranger = client_for(other_workspace)
    with pytest.raises(anthropic.NotFoundError):
        stranger.beta.sessions.events.stream(session.id)


def test_archiving_ends_the_stream(client, local_worker):
    session = make_session(client)
    with watching(client, session) as watcher:
        client.beta.sessions.archive(session.id)
        watcher.wait_end()
    assert watcher.events[-1].type == "session.status_terminated"


def test_thinking_is_announced_with_the_id_it_will_have(client, local_worker, monkeypatch):
    monkeypatch.setenv("DAYBREAK_SIMULATED_LATENCY", "1")  # an answer in no time is there before its preview
    session = make_session(client)
    with watching(client, session, event_deltas=["agent.thinking"]) as watcher:
        send(client, session, text("think: hm\nbash: echo hi"))
        watcher.wait_for("session.status_idle")
    starts = of_type(watcher.events, "event_start")
    thoughts = of_type(watcher.events, "agent.thinking")
    assert starts and [start.event.id for start in starts] == [thought.id for thought in thoughts[: len(starts)]]


def test_a_summary_is_not_previewed_as_a_message(client, local_worker):
    session = make_session(client, agent=make_agent(client, model="simulated/tools-small-window"))
    with watching(client, session, event_deltas=["agent.message"]) as watcher:
        for turn in range(4):
            send(client, session, text(f"bash: seq {turn} 4000"))
            watcher.wait_for("session.status_idle", count=turn + 1)
    assert of_type(watcher.events, "agent.thread_context_compacted")
    announced = {start.event.id for start in of_type(watcher.events, "event_start")}
    assert announced <= {message.id for message in of_type(watcher.events, "agent.message")}


def test_a_stream_of_an_archived_session_ends_by_itself(client):
    session = make_session(client)
    client.beta.sessions.archive(session.id)
    assert list(client.beta.sessions.events.stream(session.id)) == []


def test_a_list_never_skips_what_was_queued_when_a_page_was_read(client, local_worker):
    session = make_session(client, "slow 1s", agent=make_agent(client, model="simulated/slow", tools=[]))
    send(client, session, text("slow 0.1s queued"))
    page = client.beta.sessions.events.list(session.id, limit=3)
    seen = [event.id for event in page.data]
    wait_idle(client, session)
    while page.has_next_page():
        page = page.get_next_page()
        seen += [event.id for event in page.data]
    assert {event.id for event in history(client, session)} == set(seen)
