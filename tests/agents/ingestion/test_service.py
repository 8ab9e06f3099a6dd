"""Storing imported sessions: ordinary rows, repeatable, never runnable."""

from __future__ import annotations

import json

import pytest

from tests.agents.ingestion.claude_files import (
    SESSION,
    assistant,
    read_all,
    read_one,
    text,
    tool_result,
    tool_use,
    user,
    write,
)

pytestmark = [pytest.mark.django_db, pytest.mark.done_when(4)]

TURN = (
    user("u1", "Count the files."),
    assistant("a1", tool_use("toolu_1", "Bash", command="ls"), parent="u1", second=1, tokens=(10, 1)),
    user("u2", [tool_result("toolu_1", "a.txt")], parent="a1", second=2),
    assistant("a2", text("One."), parent="u2", second=4, message_id="msg_2", tokens=(20, 7)),
)
SUB_AGENT = (
    user("c1", "Look.", second=5, agentId="ab12"),
    assistant("c2", text("Seen."), parent="c1", second=6, message_id="msg_c", agentId="ab12"),
)


@pytest.fixture
def workspace():
    from agents.models import Workspace

    return Workspace.objects.create(name="Home", slug="home")


def import_path(workspace, path):
    from agents.services.ingestion import import_session

    return [import_session(workspace, session) for session in read_all(path)[0]]


def import_lines(workspace, folder, *lines):
    (result,) = import_path(workspace, write(folder / f"{SESSION}.jsonl", *lines))
    return result


def log_of(session):
    return list(session.events.order_by("seq").select_related("thread"))


def wire(session):
    """What the log says on the wire, with everything that names a row replaced by the row's place."""
    events = log_of(session)
    ids = {event.public_id: f"event {event.seq}" for event in events}
    ids |= {thread.public_id: f"thread {thread.external_id}" for thread in session.threads.all()}
    told = [[e.type, e.thread.external_id, e.payload, e.private, e.cause_seq, e.external_id] for e in events]
    text_of_all = json.dumps(told)
    for public_id, place in ids.items():
        text_of_all = text_of_all.replace(public_id, place)
    return json.loads(text_of_all)


def check_consistent(session):
    """The log is dense, its references lead to rows of the session, and the cached counts are those of the log."""
    from agents.services.rebuild import rebuild_state

    session.refresh_from_db()
    events = log_of(session)
    assert [event.seq for event in events] == list(range(1, len(events) + 1)) == [e.position for e in events]
    by_id = {event.public_id: event for event in events}
    threads = {thread.public_id for thread in session.threads.all()}
    for event in events:
        assert event.cause_seq is None or event.cause_seq < event.seq
        assert event.processed_at == event.created_at
        for name, value in event.data.items():
            if name.endswith("session_thread_id"):
                assert value in threads
            elif name in ("tool_use_id", "mcp_tool_use_id"):
                assert by_id[value].type.removesuffix("use") == event.type.removesuffix("result")
            elif name == "model_request_start_id":
                assert by_id[value].type == "span.model_request_start"
    assert rebuild_state(session) == []


def test_an_imported_session_is_an_ordinary_session_marked_imported(workspace, tmp_path):
    result = import_lines(workspace, tmp_path, *TURN, *SUB_AGENT)

    session = result.session
    check_consistent(session)
    assert (result.created, result.new_events, result.total_events) == (True, 13, 13)
    assert session.is_imported
    assert session.status == "idle"
    assert session.title == "Count the files."
    assert session.metadata["imported_from"] == "claude-code"
    assert session.environment.name == "Imported"
    assert session.environment.archived_at is not None
    assert session.agent.name == "Claude Code"
    assert session.agent.imported
    assert session.agent.archived_at is not None
    primary, child = session.threads.order_by("ordinal")
    assert primary.is_primary
    assert (child.parent, child.agent_name) == (primary, "sub-agent ab12")
    assert child.agent_snapshot["model"]["id"] == "claude-opus-4-7"
    assert (session.thread_count, session.tool_call_count) == (2, 1)
    assert not session.threads.exclude(runnable_at=None).exists()


def test_tokens_add_up_in_the_session_and_in_its_threads(workspace, tmp_path):
    session = import_lines(workspace, tmp_path, *TURN, *SUB_AGENT).session

    assert (session.input_tokens, session.output_tokens) == (40, 13)
    assert (session.cache_read_input_tokens, session.cache_creation_5m_input_tokens) == (9, 21)
    primary, child = session.threads.order_by("ordinal")
    assert (primary.output_tokens, child.output_tokens) == (8, 5)
    assert session.list_cost_nanousd == primary.list_cost_nanousd + child.list_cost_nanousd > 0


def test_times_are_those_of_the_source(workspace, tmp_path):
    session = import_lines(workspace, tmp_path, *TURN).session

    assert session.has_times
    assert [event.created_at.second for event in log_of(session)] == [0, 0, 1, 1, 2, 2, 4, 4]
    assert session.created_at == log_of(session)[0].created_at
    assert session.terminated_at == log_of(session)[-1].created_at


def test_a_source_without_times_is_stored_in_order_and_says_so(workspace, tmp_path):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]))

    (result,) = import_path(workspace, path)

    check_consistent(result.session)
    assert not result.session.has_times
    assert len({event.created_at for event in log_of(result.session)}) == 1


def test_importing_the_same_files_twice_adds_nothing(workspace, tmp_path):
    first = import_lines(workspace, tmp_path, *TURN, *SUB_AGENT)
    before = wire(first.session)

    second = import_lines(workspace, tmp_path, *TURN, *SUB_AGENT)

    assert (second.created, second.new_events, second.total_events) == (False, 0, 13)
    assert second.session.pk == first.session.pk
    assert wire(first.session) == before
    check_consistent(first.session)


@pytest.mark.parametrize("cut", range(1, len(TURN) + len(SUB_AGENT)))
def test_a_grown_file_adds_its_tail_and_comes_to_the_same_events(workspace, tmp_path, cut):
    lines = (*TURN, *SUB_AGENT)
    first = import_lines(workspace, tmp_path / "short", *lines[:cut])
    before = wire(first.session)

    second = import_lines(workspace, tmp_path / "long", *lines)

    from agents.models import Workspace

    other = Workspace.objects.create(name="Other", slug="other")
    whole = import_lines(other, tmp_path / "long", *lines)
    assert not second.created
    assert first.new_events + second.new_events == whole.new_events
    assert wire(second.session)[: len(before)] == before
    assert sorted(map(str, wire(second.session))) == sorted(map(str, wire(whole.session)))
    check_consistent(second.session)


def test_a_file_read_in_the_middle_of_an_answer_counts_its_tokens_once_in_the_end(workspace, tmp_path):
    early = (user("u1", "Go."), assistant("a1", text("First."), parent="u1", tokens=(10, 1)))
    late = (*early, assistant("a2", text("Second."), parent="a1", second=3, tokens=(10, 90)))

    import_lines(workspace, tmp_path, *early)
    session = import_lines(workspace, tmp_path, *late).session
    again = import_lines(workspace, tmp_path, *late)

    check_consistent(session)
    assert (session.input_tokens, session.output_tokens) == (10, 90)
    assert again.new_events == 0
    ends = [event.data for event in log_of(session) if event.type == "span.model_request_end"]
    assert [end["model_usage"]["output_tokens"] for end in ends] == [1, 89]
    assert len({end["model_request_start_id"] for end in ends}) == 1


def test_sub_agents_that_turn_up_later_join_the_session(workspace, tmp_path):
    import_lines(workspace, tmp_path, *TURN)
    write(tmp_path / "agent-ab12.jsonl", *SUB_AGENT)

    (result,) = import_path(workspace, tmp_path)

    assert not result.created
    assert [thread.agent_name for thread in result.session.threads.order_by("ordinal")] == [
        "Claude Code",
        "sub-agent ab12",
    ]
    check_consistent(result.session)


def test_labels_become_annotations_once(workspace, tmp_path):
    log = {
        "question": "How many?",
        "history": [{"name": n, "role": "user", "content": w} for n, w in (("Planner", "Plan."), ("Solver", "4"))],
        "mistake_agent": "Solver",
        "mistake_step": "1",
        "mistake_reason": "It miscounted.",
    }
    (tmp_path / "log.json").write_text(json.dumps(log))

    (result,) = import_path(workspace, tmp_path)
    import_path(workspace, tmp_path)

    (annotation,) = result.session.annotations.all()
    assert (annotation.kind, annotation.text) == ("failure", "It miscounted.")
    assert annotation.author_name == "Who&When annotators"
    assert annotation.event.data["content"][0]["text"] == "4"


def test_workspaces_have_their_own_copies(workspace, tmp_path):
    from agents.models import Agent, Environment, Workspace

    other = Workspace.objects.create(name="Other", slug="other")
    ours = import_lines(workspace, tmp_path, *TURN)
    theirs = import_lines(other, tmp_path, *TURN)

    assert theirs.created
    assert ours.session.pk != theirs.session.pk
    assert Agent.objects.filter(imported=True).count() == Environment.objects.count() == 2


def test_several_sessions_share_one_agent_and_one_environment(workspace, tmp_path):
    from agents.models import Agent, Environment

    write(tmp_path / "a.jsonl", user("u1", "one"), user("u2", "two", sessionId="second"))

    assert len(import_path(workspace, tmp_path)) == 2
    assert Agent.objects.count() == Environment.objects.count() == 1


def test_an_archived_session_takes_nothing_more_but_may_be_imported_again(workspace, tmp_path):
    from agents.errors import Invalid
    from agents.services.sessions import archive_session

    result = import_lines(workspace, tmp_path, *TURN[:1])
    archive_session(result.session)

    assert import_lines(workspace, tmp_path, *TURN[:1]).new_events == 0
    with pytest.raises(Invalid, match="was archived and takes no more events"):
        import_lines(workspace, tmp_path, *TURN)


def test_a_session_that_cannot_be_stored_leaves_nothing_behind(workspace, tmp_path):
    from dataclasses import replace

    from agents.errors import Invalid
    from agents.ingestion.model import ImportedThread
    from agents.models import Event, Session
    from agents.services.ingestion import import_session

    imported = read_one(write(tmp_path / "s.jsonl", *TURN))
    orphan = ImportedThread("lost", "lost", parent="nowhere")

    with pytest.raises(Invalid, match="no common origin"):
        import_session(workspace, replace(imported, threads=[*imported.threads, orphan]))

    assert not Session.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.parametrize("part", ["claude-code-log", "whowhen", "tau-bench"])
def test_the_shared_logs_are_stored_whole_and_only_once(workspace, shared_data, part):
    results = import_path(workspace, shared_data / part)
    sessions, _ = read_all(shared_data / part)

    assert len(results) == {"claude-code-log": 37, "whowhen": 128, "tau-bench": 140}[part]
    assert all(result.created for result in results)
    for result, imported in zip(results, sessions, strict=True):
        assert result.new_events == len(imported.events)
        assert result.session.threads.count() == len(imported.threads) == result.session.thread_count
        assert result.session.annotations.count() == len(imported.annotations)
    for result in results[::5]:
        check_consistent(result.session)
    assert sum(result.new_events for result in import_path(workspace, shared_data / part)) == 0
