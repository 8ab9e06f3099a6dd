"""What chat logs become: speakers, arrows, tool calls, labels."""

from __future__ import annotations

import json

import pytest

from agents.ingestion.model import PRIMARY
from tests.agents.ingestion.claude_files import only, read_all, read_one, types


def log_file(folder, value, name="log.json"):
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def labelled(*messages, agent="Solver", step="1", **extra):
    return {
        "question": "How many?",
        "question_ID": "q-1",
        "history": list(messages),
        "mistake_agent": agent,
        "mistake_step": step,
        "mistake_reason": "It miscounted.",
        **extra,
    }


def said(name, words, role="user"):
    return {"name": name, "role": role, "content": words}


def texts(session):
    return [block["text"] for e in session.events for block in e.payload.get("content", [])]


def test_every_speaker_has_a_thread_and_the_first_is_primary(tmp_path):
    log = labelled(said("Planner", "Plan.", role="assistant"), said("Solver", "4"), said("Planner", "Fine."))

    session = read_one(log_file(tmp_path, log))

    assert [(t.agent_name, t.parent) for t in session.threads] == [("Planner", None), ("Solver", "Planner")]
    assert types(session, "Planner") == ["agent.message", "session.thread_created", "agent.message"]
    assert types(session, "Solver") == ["agent.message"]
    assert session.title == "How many?"
    assert session.metadata["question_id"] == "q-1"


def test_a_label_becomes_an_annotation_on_the_step_it_names_counted_from_zero(tmp_path):
    log = labelled(said("Planner", "Plan."), said("Solver", "4"), mistake_type="arithmetic")

    session = read_one(log_file(tmp_path, log))

    (annotation,) = session.annotations
    event = next(e for e in session.events if e.external_id == annotation.event)
    assert event.payload["content"][0]["text"] == "4"
    assert (annotation.kind, annotation.category, annotation.text) == ("failure", "arithmetic", "It miscounted.")
    assert session.notes == []


def test_a_label_that_names_another_agent_keeps_both_and_says_so(tmp_path):
    log = labelled(said("Planner", "Plan."), said("Terminal", "exit 0"), agent="Solver")

    session = read_one(log_file(tmp_path, log))

    note = "The label names Solver, but step 1 was spoken by Terminal."
    assert session.notes == [note]
    assert session.annotations[0].text == f"It miscounted.\n\n{note}"


@pytest.mark.parametrize("step", ["9", "-1", "soon", ["x"]])
def test_a_label_on_a_step_that_does_not_exist_is_told_and_not_guessed(tmp_path, step):
    session = read_one(log_file(tmp_path, labelled(said("Planner", "Plan."), step=step)))

    assert session.annotations == []
    assert "which the log does not have: It miscounted." in session.notes[0]


def test_an_arrow_is_drawn_where_the_role_says_who_was_addressed_and_only_there(tmp_path):
    log = labelled(
        {"role": "human", "content": "Find it."},
        {"role": "Orchestrator (thought)", "content": "Ask the surfer."},
        {"role": "Orchestrator (-> WebSurfer)", "content": "Search."},
        {"role": "WebSurfer", "content": "Found."},
        agent="WebSurfer",
        step="3",
    )

    session = read_one(log_file(tmp_path, log))

    assert [t.agent_name for t in session.threads] == ["human", "Orchestrator", "WebSurfer"]
    assert types(session) == [
        "user.message",
        "session.thread_created",
        "agent.message",
        "session.thread_created",
        "agent.thread_message_sent",
        "agent.thread_message_received",
        "agent.message",
    ]
    sent, received = only(session, "agent.thread_message_sent"), only(session, "agent.thread_message_received")
    assert (sent.thread, sent.payload["to_session_thread_id"]) == ("Orchestrator", "WebSurfer")
    assert (received.thread, received.payload["from_session_thread_id"]) == ("WebSurfer", "Orchestrator")
    assert sent.private["message_id"] == received.private["message_id"]
    thought = session.events[2]
    assert thought.private["label"] == "thought"
    assert not session.has_times
    assert all(event.at is None for event in session.events)


def test_the_same_content_is_the_same_session_under_any_name_and_layout(tmp_path):
    log = labelled(said("Planner", "Plan."), said("Solver", "4"))
    log_file(tmp_path, log, "a.json")
    (tmp_path / "b.json").write_text(json.dumps(log, indent=4, sort_keys=True))
    log_file(tmp_path, {**log, "mistake_reason": "Other."}, "c.json")

    sessions, _ = read_all(tmp_path)

    ids = [session.external_id for session in sessions]
    assert ids[0] == ids[1] != ids[2]


def call(tool_id, name, arguments):
    return {"id": tool_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_tool_calls_pair_with_their_results_even_when_ids_repeat(tmp_path):
    run = {
        "task_id": 3,
        "trial": 1,
        "reward": 1.0,
        "info": {"source": "user"},
        "traj": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Two lookups."},
            {"role": "assistant", "content": "Sure.", "tool_calls": [call("c1", "look", '{"n": 1}')]},
            {"role": "tool", "tool_call_id": "c1", "name": "look", "content": "one"},
            {"role": "assistant", "content": None, "tool_calls": [call("c1", "look", '{"n": 2}')]},
            {"role": "tool", "tool_call_id": "c1", "name": "look", "content": "two"},
        ],
    }

    session = read_one(log_file(tmp_path, [run], "runs.json"))

    assert types(session) == [
        "system.message",
        "user.message",
        "agent.message",
        "agent.tool_use",
        "agent.tool_result",
        "agent.tool_use",
        "agent.tool_result",
    ]
    by_id = {event.external_id: event for event in session.events}
    results = [event for event in session.events if event.type == "agent.tool_result"]
    assert [by_id[r.payload["tool_use_id"]].payload["input"] for r in results] == [{"n": 1}, {"n": 2}]
    assert [thread.key for thread in session.threads] == [PRIMARY]
    assert session.external_id == "tau-bench/runs/3/1"
    assert session.metadata | {"reward": "1.0", "task_id": "3", "trial": "1"} == session.metadata
    assert session.events[0].private == {"run": {"source": "user"}, "speaker": "system"}


def test_parallel_calls_under_one_id_are_answered_in_the_order_they_were_made(tmp_path):
    calls = [call("c1", "look", '{"n": 1}'), call("c1", "look", '{"n": 2}')]
    results = [{"role": "tool", "tool_call_id": "c1", "content": words} for words in ("one", "two", "three")]
    messages = [{"role": "assistant", "content": None, "tool_calls": calls}, *results]

    session = read_one(log_file(tmp_path, messages))

    first, second, *answers = session.events
    assert [e.payload["tool_use_id"] for e in answers] == [first.external_id, second.external_id, "c1"]
    assert answers[2].private == {"tool_use": "not in the log"}


@pytest.mark.parametrize("shape", [lambda m: m, lambda m: {"messages": m}, lambda m: {"history": m}])
def test_plain_chats_are_one_thread_in_every_common_shape(tmp_path, shape):
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

    session = read_one(log_file(tmp_path, shape(messages)))

    assert types(session) == ["user.message", "agent.message"]
    assert len(session.threads) == 1


def test_a_chat_with_an_id_of_its_own_keeps_it_when_it_grows(tmp_path):
    messages = [{"role": "user", "content": "Hi"}]
    short = read_one(log_file(tmp_path, {"id": "c-7", "messages": messages}))
    messages.append({"role": "assistant", "content": "Hello"})
    long = read_one(log_file(tmp_path, {"id": "c-7", "messages": messages}))

    assert short.external_id == long.external_id
    assert [e.external_id for e in long.events][:1] == [e.external_id for e in short.events]


def test_a_jsonl_file_may_hold_one_chat_per_line(tmp_path):
    lines = [json.dumps({"messages": [{"role": "user", "content": words}]}) for words in ("one", "two")]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join([lines[0], "{broken", lines[1], '{"other": 1}']))

    sessions, report = read_all(path)

    assert [texts(session) for session in sessions] == [["one"], ["two"]]
    assert [(p.line, p.path) for p in report.problems] == [(2, path)]
    assert report.skipped_lines == {"line without a conversation": 1}


def test_openai_content_parts_keep_text_and_images(tmp_path):
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "audio", "data": "x"},
    ]

    session = read_one(log_file(tmp_path, [{"role": "user", "content": parts}]))

    content = session.events[0].payload["content"]
    assert [block["type"] for block in content] == ["text", "image", "image", "text"]
    assert content[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}
    assert "audio" in content[3]["text"]


@pytest.mark.parametrize("arguments", ["{broken", "[1]", None, 5, '{"a": "\\u0000"}'])
def test_odd_tool_arguments_still_give_an_object(tmp_path, arguments):
    message = {"role": "assistant", "content": None, "tool_calls": [call("c1", "look", arguments)]}

    session = read_one(log_file(tmp_path, [message]))

    used = only(session, "agent.tool_use")
    assert isinstance(used.payload["input"], dict)
    assert "\x00" not in json.dumps(used.payload, ensure_ascii=False)
