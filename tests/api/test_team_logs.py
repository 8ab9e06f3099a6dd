"""What the log of a team holds and what its agents were shown: B6 5, 13 and 14."""

from __future__ import annotations

import json
import threading

from agents.models import Event, ModelAttempt, Session, Thread
from agents.services.blobs import read_blob
from agents.services.rebuild import read_state, rebuild_state
from tests.api.sdk import Watcher, history, make_agent, make_session, send, text, toolset_asking_for, wait_idle
from tests.api.teams import children_of, confirm, interrupt, make_lead, parallel, start_team, thread_history
from tests.invariants import check_session
from tests.worker import wait_until

WORDS = "amber birch cedar daisy ebony fern grape hazel iris jade".split()


def requests_of(thread):
    """Every recorded model request of a thread: what its model was shown, as one text each."""
    found = []
    for attempt in ModelAttempt.objects.filter(step__thread=thread).order_by("pk"):
        manifest = json.loads(read_blob(attempt.request_sha256))
        parts = [manifest["system"], manifest["tools"], *manifest["messages"]]
        found.append("\n".join(read_blob(part).decode() for part in parts))
    return found


def test_b6_5_no_request_shows_what_another_thread_said_unless_it_was_delivered(client, local_worker):
    """Ten agents, each with a word of its own, which it writes, reads, says, and is asked about again."""
    tasks = [f"say: thinking of {word}\\nwrite: {word}.txt | {word}\\nread: {word}.txt" for word in WORDS]
    session = start_team(client, parallel(*(f"spawn: Worker | {task}" for task in tasks), "wait:"))
    wait_idle(client, session, timeout_s=90)
    follow_ups = [f"send: {number} | say: {word} again" for number, word in enumerate(WORDS, start=1)]
    send(client, session, text(parallel(*follow_ups, "wait:")))
    wait_until(lambda: Event.objects.filter(type="session.status_idle").count() == 2, timeout_s=90)
    row = Session.objects.get(public_id=session.id)
    threads = list(row.threads.order_by("ordinal"))
    own_ids = {
        thread.pk: set(row.events.filter(thread=thread).values_list("public_id", flat=True)) for thread in threads
    }
    checked = 0
    for thread in threads:
        delivered = {
            block["text"]
            for event in row.events.filter(thread=thread, type="agent.thread_message_received")
            for block in event.data["content"]
        }
        for request in requests_of(thread):
            checked += 1
            for other in threads:
                if other.pk == thread.pk:
                    continue
                assert not [public_id for public_id in own_ids[other.pk] if public_id in request]
                for event in row.events.filter(thread=other, type__in=("agent.message", "agent.tool_result")):
                    for block in event.data["content"]:
                        if block["text"] not in delivered and not thread.is_primary:
                            assert block["text"] not in request
            if not thread.is_primary:
                word = WORDS[thread.ordinal - 1]
                assert word in request and not [other for other in WORDS if other != word and other in request]
    assert checked >= 10 * 4 + 3
    check_session(row)


def test_b6_13_twenty_five_writers_leave_no_gap_and_a_client_that_reconnects_misses_nothing(client, local_worker):
    """Each agent sends its lead messages as fast as it can; the client follows the documented recipe."""
    task = "\\n".join(f"parent: note {number}" for number in range(3))
    session = start_team(client, None)
    seen: list[str] = []
    known: set[str] = set()
    reconnects = 0

    def keep(events):
        for event in events:
            if event.id not in known:
                known.add(event.id)
                seen.append(event.id)

    done = threading.Event()

    def work():
        send(client, session, text(parallel(*(f"spawn: Worker | {task}" for _ in range(25)))))
        wait_until(lambda: not Thread.objects.filter(session__public_id=session.id, status="running"), timeout_s=100)
        wait_idle(client, session, timeout_s=60)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while reconnects < 20 or not done.is_set():
        watcher = Watcher(lambda: client.beta.sessions.events.stream(session.id))
        keep(history(client, session, limit=1000))
        done.wait(0.15)
        watcher.close()
        keep(watcher.events)
        reconnects += 1
    worker.join(100)
    keep(history(client, session, limit=1000))
    row = Session.objects.get(public_id=session.id)
    kept = list(
        row.events.filter(thread__parent=None, visible=True).order_by("seq").values_list("public_id", flat=True)
    )
    assert seen == kept, "each once, in order"
    assert list(row.events.order_by("seq").values_list("seq", flat=True)) == list(range(1, row.last_seq + 1))
    assert row.events.filter(type="agent.thread_message_sent", thread__parent__isnull=False).count() >= 75
    check_session(row)


def test_b6_14_a_teams_rows_come_from_its_events_alone(client, local_worker):
    """After everything a team can go through, rows that were spoiled are made again as they were."""
    members = [
        make_agent(client, name="Worker"),
        make_agent(client, name="Asker", tools=[toolset_asking_for("bash")]),
        make_agent(client, name="Sleeper", model="simulated/slow", tools=[]),
    ]
    lines = [
        "spawn: Worker | write: a.txt | a",
        "spawn: Worker | fault: 529x1\\nsay: at last",
        "spawn: Worker | fault: loop",
        "spawn: Asker | bash: echo hi",
        "spawn: Sleeper | slow 600s",
    ]
    script = parallel(*lines) + "\nwait: 1 2 3\nstop: 1"
    session = make_session(client, script, agent=make_lead(client, *members))
    row = Session.objects.get(public_id=session.id)
    wait_until(lambda: row.threads.filter(ordinal=1, status="terminated").exists(), timeout_s=60)
    interrupt(client, session, children_of(client, session)[4])
    wait_idle(client, session, timeout_s=60)
    asker = children_of(client, session)[3]
    (call,) = [event for event in thread_history(client, session, asker) if event.type == "agent.tool_use"]
    send(client, session, confirm(call))
    wait_until(lambda: row.threads.filter(ordinal=4, stop_reason={"type": "end_turn"}).exists(), timeout_s=60)
    wait_idle(client, session, timeout_s=60)
    row.refresh_from_db()
    assert rebuild_state(row) == []
    before = read_state(row)
    row.threads.update(status="running", input_tokens=7, active_ms=1, event_count=0, stop_reason=None)
    Session.objects.filter(pk=row.pk).update(last_seq=row.last_seq, thread_count=1, output_tokens=0, tool_call_count=0)
    assert rebuild_state(row)
    assert read_state(row) == before and rebuild_state(row) == []
    assert dict(row.threads.values_list("ordinal", "status"))[3] == "terminated"
    check_session(row)
