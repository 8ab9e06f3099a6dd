"""An executor outlives its worker, is never there twice, and ends when it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from agents.errors import RequestCancelled
from agents.providers.base import Cancellation
from agents.sandbox import client, processes
from tests.agents.sandbox.boxes import (
    ROOT,
    Box,
    close,
    go,
    host_processes,
    in_background,
    other_worker,
    text,
    wait_until,
)

MODES = [pytest.param(client.BUBBLEWRAP, marks=pytest.mark.bwrap), client.FILES_ONLY]


def running(box: Box) -> processes.Running | None:
    return processes.find(box.spec.data_dir, box.spec.session_id)


@pytest.mark.parametrize("mode", MODES)
def test_start_returns_before_the_sandbox_is_there_and_can_be_repeated(make_box: Callable[..., Box], mode: str) -> None:
    box = make_box(mode)
    for _ in range(3):
        client.start(box.spec)

    first = wait_until(lambda: running(box))
    client.start(box.spec)
    assert not box.run("glob", pattern="*").is_error
    assert running(box) == first


@pytest.mark.bwrap
def test_a_call_survives_its_worker_and_runs_once(make_box: Callable[..., Box]) -> None:
    box = make_box()
    command = "echo once >>counter; until [ -e go-on ]; do sleep 0.02; done; echo finished"
    worker = other_worker(box, exec_id="exec_1", tool="bash", command=command)
    go(worker)
    counter = box.spec.root / "workspace" / "counter"
    wait_until(counter.exists)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()

    assert client.lookup(box.spec, "exec_1") == "running"
    attached = in_background(lambda: client.reattach(box.spec, exec_id="exec_1", cancellation=Cancellation()))
    (box.spec.root / "workspace" / "go-on").touch()
    assert text(attached()) == "finished"
    again = box.run("bash", exec_id="exec_1", command=command)
    assert text(again) == "finished"
    assert counter.read_text() == "once\n"


@pytest.mark.bwrap
def test_a_result_nobody_waited_for_can_be_fetched(make_box: Callable[..., Box]) -> None:
    box = make_box()
    worker = other_worker(box, exec_id="exec_1", tool="bash", command="touch begun; sleep 0.3; echo kept")
    go(worker)
    wait_until((box.spec.root / "workspace" / "begun").exists)
    close(worker)

    outcome = wait_until(lambda: (found := client.lookup(box.spec, "exec_1")) != "running" and found)
    assert text(outcome) == "kept"
    assert text(client.reattach(box.spec, exec_id="exec_1", cancellation=Cancellation())) == "kept"


@pytest.mark.parametrize("mode", MODES)
def test_acknowledge_forgets(make_box: Callable[..., Box], mode: str) -> None:
    box = make_box(mode)
    box.run("write", exec_id="exec_1", file_path="a.txt", content="x")

    assert isinstance(client.lookup(box.spec, "exec_1"), client.ToolOutcome)
    client.acknowledge(box.spec, "exec_1")
    assert client.lookup(box.spec, "exec_1") is None
    with pytest.raises(client.SandboxGone):
        client.reattach(box.spec, exec_id="exec_1", cancellation=Cancellation())
    client.acknowledge(box.spec, "exec_1")


def test_without_an_executor_nothing_is_known_and_nothing_is_started(make_box: Callable[..., Box]) -> None:
    box = make_box(client.FILES_ONLY)

    assert client.lookup(box.spec, "exec_1") is None
    client.acknowledge(box.spec, "exec_1")
    with pytest.raises(client.SandboxGone):
        client.reattach(box.spec, exec_id="exec_1", cancellation=Cancellation())
    client.stop(box.spec)
    assert running(box) is None


@pytest.mark.bwrap
def test_when_the_executor_is_killed_the_outcome_is_unknown(make_box: Callable[..., Box]) -> None:
    box = make_box()
    lost = in_background(lambda: box.run("bash", exec_id="exec_1", command="touch begun; sleep 98237"))
    wait_until(lambda: host_processes("98237"))
    found = running(box)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)

    with pytest.raises(client.SandboxGone):
        lost()
    assert client.lookup(box.spec, "exec_1") is None
    assert wait_until(lambda: not host_processes("98237"))
    assert box.bash("ls") == "begun"


@pytest.mark.bwrap
def test_an_executor_that_hangs_is_ended_when_its_call_is_interrupted(make_box: Callable[..., Box]) -> None:
    box = make_box()
    cancellation = Cancellation()
    stuck = in_background(lambda: box.run("bash", exec_id="exec_1", command="sleep 98238", cancellation=cancellation))
    wait_until(lambda: host_processes("98238"))
    found = running(box)
    assert found is not None
    os.kill(found.pid, signal.SIGSTOP)
    cancellation.cancel()

    with pytest.raises(RequestCancelled):
        stuck()
    assert host_processes("98238") == []
    assert running(box) is None


def test_a_call_cancelled_beforehand_does_not_run(make_box: Callable[..., Box]) -> None:
    box = make_box(client.FILES_ONLY)
    cancellation = Cancellation()
    cancellation.cancel()

    with pytest.raises(RequestCancelled):
        box.run("write", file_path="a.txt", content="x", cancellation=cancellation)
    assert not (box.spec.root / "workspace" / "a.txt").exists()


@pytest.mark.parametrize("mode", MODES)
def test_workers_that_race_meet_one_executor(make_box: Callable[..., Box], mode: str) -> None:
    box = make_box(mode)
    workers = [
        other_worker(box, exec_id=f"exec_{n}", tool="write", file_path=f"{n}.txt", content="x") for n in range(3)
    ]
    for worker in workers:
        go(worker)
    said = [worker.communicate()[0] for worker in workers]

    assert said == [f"wrote 1 bytes to {n}.txt\n" for n in range(3)]
    for n in range(3):
        assert isinstance(client.lookup(box.spec, f"exec_{n}"), client.ToolOutcome)
    assert len(executors_of(box)) == 1


def executors_of(box: Box) -> list[int]:
    """In bubblewrap the executor has the session's folder mounted, else the folder is on its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_text()
            mounts = (entry / "mountinfo").read_text() if box.spec.mode == client.BUBBLEWRAP else command
        except (OSError, UnicodeDecodeError):
            continue
        is_python = os.path.basename(command.split("\0")[0]).startswith("python")
        if is_python and "from agents.sandbox.executor import" in command and box.spec.session_id in mounts:
            found.append(int(entry.name))
    return found


def test_the_same_call_sent_twice_at_once_runs_once(make_box: Callable[..., Box]) -> None:
    box = make_box(client.FILES_ONLY)
    box.run("write", file_path="a.txt", content="x")
    edit = {"file_path": "a.txt", "old_string": "x", "new_string": "xx"}
    calls = [in_background(lambda: box.run("edit", exec_id="exec_same", **edit)) for _ in range(4)]

    assert {text(call()) for call in calls} == {"edited a.txt (1 replacement(s))"}
    assert (box.spec.root / "workspace" / "a.txt").read_text() == "xx"


@pytest.mark.parametrize("mode", MODES)
def test_an_idle_executor_ends_by_itself_and_the_next_call_starts_another(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("DAYBREAK_SANDBOX_IDLE_S", "0.6")
    box = make_box(mode)
    box.run("write", file_path="a.txt", content="kept")
    first = running(box)

    wait_until(lambda: running(box) is None)
    assert text(box.run("read", file_path="a.txt")) == "kept"
    assert running(box) != first


@pytest.mark.bwrap
def test_an_executor_at_work_is_not_idle(make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBREAK_SANDBOX_IDLE_S", "0.3")

    assert make_box().bash("sleep 1; echo worked") == "worked"


def test_the_longest_idle_executor_ends_for_a_new_one(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYBREAK_SANDBOX_ALIVE", "2")
    oldest, newer, newest = (make_box(client.FILES_ONLY) for _ in range(3))
    for box in (oldest, newer):
        box.run("glob", pattern="*")
        client.acknowledge(box.spec, box.last)
    newest.run("glob", pattern="*")

    assert running(oldest) is None
    assert running(newer) is not None
    assert running(newest) is not None


@pytest.mark.bwrap
def test_busy_executors_are_not_ended_and_waiting_for_a_place_can_be_cancelled(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYBREAK_SANDBOX_ALIVE", "1")
    busy, waiting = make_box(), make_box()
    work = in_background(lambda: busy.run("bash", command="touch begun; until [ -e go-on ]; do sleep 0.02; done"))
    wait_until((busy.spec.root / "workspace" / "begun").exists)
    cancellation = Cancellation()
    blocked = in_background(lambda: waiting.run("bash", command="true", cancellation=cancellation))
    with pytest.raises(AssertionError):
        wait_until(lambda: running(waiting), at_most_s=0.5)
    cancellation.cancel()
    with pytest.raises(RequestCancelled):
        blocked()

    (busy.spec.root / "workspace" / "go-on").touch()
    assert not work().is_error
    client.acknowledge(busy.spec, busy.last)
    assert waiting.bash("echo my turn") == "my turn"


def test_a_result_that_is_still_waited_for_is_not_lost_to_a_new_executor(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYBREAK_SANDBOX_ALIVE", "1")
    first, second = make_box(client.FILES_ONLY), make_box(client.FILES_ONLY)
    first.run("glob", pattern="*", exec_id="exec_1")
    later = in_background(lambda: second.run("glob", pattern="*"))
    with pytest.raises(AssertionError):
        wait_until(lambda: running(second), at_most_s=0.5)

    assert isinstance(client.lookup(first.spec, "exec_1"), client.ToolOutcome)
    client.acknowledge(first.spec, "exec_1")
    assert not later().is_error


@pytest.mark.parametrize("mode", MODES)
def test_stop_keeps_the_files_and_destroy_removes_them(make_box: Callable[..., Box], mode: str) -> None:
    box = make_box(mode)
    box.run("write", file_path="a.txt", content="x")
    client.stop(box.spec)

    assert running(box) is None
    assert (box.spec.root / "workspace" / "a.txt").read_text() == "x"
    box.run("read", file_path="a.txt")
    client.destroy(box.spec)
    assert running(box) is None
    assert not box.spec.root.exists()
    client.destroy(box.spec)


@pytest.mark.bwrap
def test_destroy_copes_with_what_commands_leave_behind(make_box: Callable[..., Box], tmp_path: Path) -> None:
    box = make_box()
    kept = tmp_path / "kept"
    kept.write_text("x")
    deep = "import os\nfor _ in range(1200): os.mkdir('d'); os.chdir('d')"
    box.bash(
        f'mkdir locked && touch locked/a && chmod 000 locked; ln -s {tmp_path} link; mkfifo pipe; python3 -c "{deep}"'
    )
    client.destroy(box.spec)

    assert not box.spec.root.exists()
    assert kept.read_text() == "x"


def test_the_cleanup_command_ends_exactly_the_executors_of_its_data_dir(
    make_box: Callable[..., Box], tmp_path: Path
) -> None:
    box = make_box(client.FILES_ONLY)
    other = Box(tmp_path, "sesn_other", client.FILES_ONLY)
    for each in (box, other):
        each.run("glob", pattern="*")
    # A stale pid file that names a process which is not ours: this one.
    stale = processes.Running("sesn_stale", os.getpid(), "1", 0.0)
    processes.pid_file(box.spec.data_dir, "sesn_stale").write_text(json.dumps(asdict(stale)))
    processes.pid_file(box.spec.data_dir, "sesn_broken").write_text("{")
    command = [sys.executable, "-m", "agents.sandbox.cleanup", str(box.spec.data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "Ended 1 sandbox.\n"
    assert running(box) is None
    assert running(other) is not None
    assert client.stop_all(other.spec.data_dir) == 1
    assert client.stop_all(tmp_path / "missing") == 0


@pytest.mark.bwrap
def test_a_sandbox_that_cannot_be_built_is_an_error_with_the_reason(make_box: Callable[..., Box]) -> None:
    box = make_box()
    box.spec = client.SandboxSpec(
        box.spec.session_id,
        box.spec.root,
        client.BUBBLEWRAP,
        memory_mounts=(client.MemoryMount(Path("/no/such/folder"), "/mnt/memory/notes"),),
    )

    with pytest.raises(client.SandboxError, match="no/such/folder"):
        box.run("bash", command="true")


@pytest.mark.parametrize("mode", MODES)
def test_memory_is_mounted_as_the_session_may_use_it(make_box: Callable[..., Box], tmp_path: Path, mode: str) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir(mode=0o777)
        (tmp_path / name).chmod(0o777)
        (tmp_path / name / "note.md").write_text("remembered")
    box = make_box(mode)
    mounts = (
        client.MemoryMount(tmp_path / "open", "/mnt/memory/open"),
        client.MemoryMount(tmp_path / "closed", "/mnt/memory/closed", read_only=True),
    )
    box.spec = client.SandboxSpec(box.spec.session_id, box.spec.root, mode, memory_mounts=mounts)

    assert text(box.run("read", file_path="/mnt/memory/closed/note.md")) == "remembered"
    assert not box.run("write", file_path="/mnt/memory/open/new.md", content="new").is_error
    assert (tmp_path / "open" / "new.md").read_text() == "new"
    assert box.run("write", file_path="/mnt/memory/closed/new.md", content="new").is_error


def test_a_spec_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bubblewrap or files_only"):
        client.SandboxSpec("sesn_1", tmp_path / "sandboxes" / "sesn_1", "none")
    with pytest.raises(ValueError, match="<data dir>/sandboxes/sesn_1"):
        client.SandboxSpec("sesn_1", tmp_path / "sesn_1", client.FILES_ONLY)


def test_the_shell_of_a_thread_that_has_ended_leaves_nothing_behind(make_box: Callable[..., Box]) -> None:
    box = make_box()
    box.bash("sleep 98239 & echo started", thread="ends")
    box.bash("sleep 98240 & cd /tmp; echo started", thread="stays")
    assert host_processes("98239") and host_processes("98240")

    client.close_thread(box.spec, "ends")
    client.close_thread(box.spec, "was never there")

    wait_until(lambda: not host_processes("98239"))
    assert host_processes("98240")
    assert box.bash("pwd", thread="stays") == "/tmp"
    assert box.bash("pwd", thread="ends") == "/workspace"
