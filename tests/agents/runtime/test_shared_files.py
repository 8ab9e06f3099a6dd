"""Threads of one session on one file system: nobody's work is overwritten unseen, and who did what stays known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.errors import RequestCancelled
from agents.models import File, FileVersion, SeenFile, Session, Thread
from agents.runtime import engine, tool_step
from agents.sandbox import client as sandbox
from agents.services import file_history
from agents.services.sandboxes import root_of
from tests.runs import log_of, make_agent, message, send, start_session, wait_idle
from tests.worker import wait_until

PLAN = "/workspace/plan.md"


def start_team(workspace: Any, *lines: str, members: tuple[str, ...] = ("Worker",)) -> Session:
    """A lead that follows these lines, with simulated agents that follow their task."""
    roster = [make_agent(workspace, name=name).public_id for name in members]
    lead = make_agent(workspace, name="Lead", multiagent={"type": "coordinator", "agents": roster})
    return start_session(workspace, "\n".join(lines), agent=lead)


def spawn(*lines: str, agent: str = "Worker") -> str:
    return "custom: spawn_agent " + json.dumps({"agent": agent, "task": "\n".join(lines)})


WAIT = "custom: wait_for_agents {}"


def results_of(session: Session, thread: Thread | None = None) -> list[tuple[bool, str]]:
    """Error flag and text of each result of a thread (the lead's, unless another is named)."""
    pk = thread.pk if thread else session.primary_thread.pk
    rows = [row.data for row in log_of(session) if row.type == "agent.tool_result" and row.thread_id == pk]
    return [(row["is_error"], "".join(block.get("text", "") for block in row["content"])) for row in rows]


def child_of(session: Session, name: str = "Worker") -> Thread:
    return session.threads.get(agent_name=name)


def file_of(session: Session, path: str = "workspace/plan.md") -> str:
    return (root_of(session.public_id) / path).read_text()


def told(session: Session, path: str = PLAN) -> list[tuple[str, str]]:
    """Change and agent of each version of a file."""
    return [(row.change, row.thread.agent_name if row.thread else "") for row in file_history.history(session, path)]


# Two threads


def test_b6_6_an_edit_based_on_an_older_state_fails_with_the_difference(workspace, local_worker):
    session = wait_idle(
        start_team(
            workspace,
            r"write: plan.md | one\ntwo\nthree\n",
            spawn("read: plan.md", r"edit: plan.md | two | 2"),
            WAIT,
            "edit: plan.md | one | 1",
            "edit: plan.md | one | 1",
        )
    )
    child = child_of(session)
    (_, seen), edited = results_of(session, child)
    assert seen == "one\ntwo\nthree\n" and not edited[0], "another thread reads it in its next step"
    written, refused, repeated = results_of(session)
    assert not written[0]
    assert refused == (
        True,
        f'edit: {PLAN} was changed by agent "Worker" ({child.public_id}) since you saw it. '
        "Nothing was changed by this call.\n"
        "What has changed since you saw it:\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
        "Take this into account and call it again.",
    )
    assert not repeated[0], "who was shown the difference has seen the file"
    assert file_of(session) == "1\n2\nthree\n"
    assert told(session) == [("write", "Lead"), ("edit", "Worker"), ("edit", "Lead")]


def test_a_file_of_another_agent_is_not_replaced_unread(workspace, local_worker):
    session = wait_idle(
        start_team(workspace, spawn("write: plan.md | theirs"), WAIT, "write: plan.md | mine", "write: plan.md | both")
    )
    refused, repeated = results_of(session)
    assert refused[0] and 'exists, and was written by agent "Worker"' in refused[1]
    assert "What it holds:\n@@ -0,0 +1 @@\n+theirs" in refused[1]
    assert not repeated[0]
    assert file_of(session) == "both"


def test_a_difference_that_is_too_long_must_be_read(workspace, local_worker):
    lines = r"\n".join(f"line {number}" for number in range(300))
    session = wait_idle(
        start_team(
            workspace,
            "write: plan.md | mine",
            spawn("read: plan.md", f"write: plan.md | {lines}"),
            WAIT,
            "write: plan.md | again",
            "write: plan.md | again",
            "read: plan.md",
            "write: plan.md | now",
        )
    )
    _, first, second, _, last = results_of(session)
    assert first[0] and first[1].endswith("[The rest is left out. Read the file, then call it again.]")
    assert len(first[1].splitlines()) < 210
    assert second[0], "it was not read yet"
    assert not last[0] and file_of(session) == "now"


@pytest.mark.bwrap
def test_what_a_command_made_of_a_file_is_not_overwritten_either(workspace, local_worker):
    session = wait_idle(
        start_team(
            workspace,
            r"write: plan.md | mine\n",
            spawn("bash: echo theirs >> plan.md"),
            WAIT,
            "write: plan.md | lost",
            "bash: rm plan.md",
            spawn("bash: rm -f plan.md; head -c 100 /dev/zero > plan.md", agent="Other"),
            WAIT,
            "write: plan.md | again",
            "write: plan.md | again",
            members=("Worker", "Other"),
        )
    )
    _, first, _, second, third = results_of(session)
    assert first[0] and 'agent "Worker"' in first[1] and "+theirs" in first[1]
    assert second[0] and 'agent "Other"' in second[1] and "It is no text" in second[1]
    assert not third[0]
    assert told(session) == [
        ("write", "Lead"),
        ("command", "Worker"),
        ("command", "Lead"),
        ("command", "Other"),
        ("write", "Lead"),
    ]


@pytest.mark.bwrap
def test_commands_of_two_agents_run_at_once_in_shells_of_their_own(workspace, local_worker):
    def meet(own: str, other: str) -> str:
        return spawn(
            f"bash: mkdir {own}; cd {own}; WHO={own}",
            f"bash: touch ../{own}.here; until [ -e ../{other}.here ]; do sleep 0.02; done; echo $WHO in $PWD",
            agent=own,
        )

    session = wait_idle(
        start_team(workspace, "parallel:", f"  {meet('Ana', 'Ben')}", f"  {meet('Ben', 'Ana')}", members=("Ana", "Ben"))
    )
    for name in ("Ana", "Ben"):
        assert results_of(session, child_of(session, name))[-1] == (False, f"{name} in /workspace/{name}")


# One thread


@pytest.mark.bwrap
def test_a_session_with_one_thread_has_no_conflicts(workspace, local_worker):
    session = wait_idle(
        start_session(
            workspace,
            "write: plan.md | one\nbash: echo two > plan.md\nedit: plan.md | two | 2\nbash: (sleep 0.1; echo three > "
            "plan.md; touch done) & \nbash: until [ -e done ]; do sleep 0.02; done\nwrite: plan.md | four",
        )
    )
    assert [is_error for is_error, _ in results_of(session)] == [False] * 6
    assert file_of(session) == "four"
    changes = [change for change, _ in told(session)]
    assert changes[:3] == ["write", "command", "edit"] and changes[-1] == "write" and len(changes) == 5


@pytest.mark.bwrap
def test_a_thread_may_go_on_from_its_own_commands(workspace, local_worker):
    session = wait_idle(
        start_team(
            workspace,
            spawn("say: hello"),
            WAIT,
            "write: plan.md | one",
            "bash: echo two > plan.md",
            "write: plan.md | three",
            "bash: echo four > other.md",
            "write: other.md | five",
        )
    )
    assert [is_error for is_error, _ in results_of(session)] == [False] * 5


def test_every_version_names_its_thread_and_its_events(workspace, local_worker):
    session = wait_idle(start_session(workspace, "write: plan.md | one\nedit: plan.md | one | two\nread: plan.md"))
    first, second = file_history.history(session, PLAN)
    uses = [row for row in log_of(session) if row.type == "agent.tool_use"]
    assert [first.call.use_event, second.call.use_event] == uses[:2]
    assert second.thread == session.primary_thread
    assert second.base_sha256 == first.sha256 and first.base_sha256 == ""
    assert file_history.difference(second).text.splitlines()[1:] == [
        "-one",
        "\\ No newline at end of file",
        "+two",
        "\\ No newline at end of file",
    ]
    assert SeenFile.objects.get(thread=session.primary_thread).sha256 == second.sha256


def test_nothing_of_a_report_reaches_the_wire(workspace, local_worker):
    session = wait_idle(start_session(workspace, "write: plan.md | one\nread: plan.md"))
    version = FileVersion.objects.get(session=session)
    for row in log_of(session):
        assert version.sha256 not in row.payload and '"files"' not in row.payload


@pytest.mark.bwrap
def test_deliverables_are_looked_for_when_their_folder_has_changed(workspace, local_worker, monkeypatch):
    looked = []
    register = tool_step.workspace.register_outputs
    monkeypatch.setattr(tool_step.workspace, "register_outputs", lambda s: looked.append(register(s)))
    out = "/mnt/session/outputs"
    session = wait_idle(
        start_session(
            workspace,
            f"bash: echo x > a.md\nwrite: b.md | x\nbash: ls\nbash: echo x > {out}/c.md\nwrite: {out}/d.md | x",
        )
    )
    assert len(looked) == 2
    assert set(File.objects.filter(session=session).values_list("filename", flat=True)) == {"c.md", "d.md"}


def test_a_path_too_long_to_be_recorded_is_written_all_the_same(workspace, local_worker):
    path = "/".join(["d" * 100] * 11) + "/f.md"
    session = wait_idle(start_session(workspace, f"write: {path} | x\nread: {path}\nwrite: {'x/' * 2500} | x"))
    assert [is_error for is_error, _ in results_of(session)] == [False, False, True]
    assert not FileVersion.objects.filter(session=session).exists()


@pytest.mark.bwrap
def test_a_deliverable_of_an_interrupted_command_is_listed_with_the_next_call(workspace, local_worker):
    session = start_session(workspace, "bash: echo x > /mnt/session/outputs/r.md; touch begun; sleep 60")
    wait_until((root_of(session.public_id) / "workspace/begun").exists)
    send(session, {"type": "user.interrupt"}, message("read: /mnt/session/outputs/r.md"))
    wait_idle(session)
    assert File.objects.get(session=session).path == "/mnt/session/outputs/r.md"
    (version,) = file_history.history(session, "/mnt/session/outputs/r.md")
    assert (version.change, version.call.name) == ("command", "bash")


# Crashes


@pytest.fixture
def driven(settings, committed_db, tmp_path):
    """The test drives threads itself; nothing is left running after it."""
    settings.DAYBREAK_HINTS = False
    settings.DAYBREAK_RETRY_BASE_S = 0.0
    yield
    sandbox.stop_all(settings.DAYBREAK_DATA_DIR)


def drive(session: Session, times: int = 8) -> None:
    for _ in range(times):
        engine.advance(session.primary_thread.pk)
    session.refresh_from_db()


def with_second_thread(session: Session) -> Thread:
    primary = session.primary_thread
    return Thread.objects.create(
        session=session, parent=primary, agent_name="Second", agent_snapshot=primary.agent_snapshot, ordinal=1
    )


def lose_the_sandbox_after(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Call number `number` is carried out, and then sandbox and worker are gone before anybody hears of it."""
    real, seen = sandbox.execute, []

    def execute(spec: Any, **how: Any) -> Any:
        outcome = real(spec, **how)
        seen.append(how["exec_id"])
        if len(seen) == number:
            sandbox.stop(spec)
            raise RequestCancelled("The worker is gone.")
        return outcome

    monkeypatch.setattr(tool_step.sandbox, "execute", execute)


@pytest.mark.parametrize("line", ["write: plan.md | two", "edit: plan.md | one | two"])
def test_a_change_that_is_found_done_after_a_crash_is_no_conflict_with_itself(driven, workspace, monkeypatch, line):
    lose_the_sandbox_after(monkeypatch, 2)
    session = start_session(workspace, f"write: plan.md | one\n{line}\nedit: plan.md | two | three")
    with_second_thread(session)
    drive(session)
    assert [is_error for is_error, _ in results_of(session)] == [False] * 3
    assert file_of(session) == "three"
    assert told(session) == [("write", "Tester"), (line.partition(":")[0], "Tester"), ("edit", "Tester")]
    versions = file_history.history(session, PLAN)
    assert [(row.number, row.is_kept) for row in versions] == [(1, True), (2, True), (3, True)]
    assert [row.base_sha256 for row in versions] == ["", versions[0].sha256, versions[1].sha256]


def test_a_crash_between_history_and_result_writes_no_version_twice(driven, workspace, monkeypatch):
    real, failures = tool_step._next_call, []

    def next_call(run: Any, step: Any, finished: Any) -> Any:
        if finished is not None and not failures:
            failures.append(finished)
            raise KeyError("nobody foresaw this")
        return real(run, step, finished)

    monkeypatch.setattr(tool_step, "_next_call", next_call)
    session = start_session(workspace, "write: plan.md | one\nedit: plan.md | one | two")
    drive(session)
    assert failures and session.stop_reason == {"type": "end_turn"}
    assert [is_error for is_error, _ in results_of(session)] == [False, False]
    assert told(session) == [("write", "Tester"), ("edit", "Tester")]


def test_a_history_that_cannot_be_stored_costs_no_result(driven, workspace, monkeypatch):
    from django.db import DataError

    def broken(*args: Any, **kwargs: Any) -> None:
        raise DataError("nobody foresaw this")

    monkeypatch.setattr(file_history, "_record_changes", broken)
    session = start_session(workspace, "write: plan.md | one\nread: plan.md")
    drive(session)
    assert [is_error for is_error, _ in results_of(session)] == [False, False]


def test_a_file_changed_outside_of_the_session_is_met_as_found(driven, workspace):
    session = start_session(workspace, "write: plan.md | one")
    second = with_second_thread(session)
    drive(session)
    (root_of(session.public_id) / "workspace/plan.md").write_text("from elsewhere")
    send(session, message("write: plan.md | two\nwrite: plan.md | two"))
    drive(session)
    _, refused, done = results_of(session)
    assert refused[0] and "was changed by a background process, or" in refused[1]
    assert not done[0]
    assert told(session) == [("write", "Tester"), ("found", ""), ("write", "Tester")]
    assert not SeenFile.objects.filter(thread=second).exists()


def test_the_files_of_a_session_are_listed_with_who_changed_them_last(workspace, local_worker):
    session = wait_idle(
        start_team(
            workspace,
            spawn("write: a.md | x"),
            spawn("write: b.md | y", agent="Other"),
            WAIT,
            "write: c.md | z",
            members=("Worker", "Other"),
        )
    )
    assert [(file.path, file.versions, file.last.thread.agent_name) for file in file_history.paths(session)] == [
        ("/workspace/a.md", 1, "Worker"),
        ("/workspace/b.md", 1, "Other"),
        ("/workspace/c.md", 1, "Lead"),
    ]
