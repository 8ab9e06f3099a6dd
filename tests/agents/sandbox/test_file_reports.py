"""What the executor tells about files: who changed which, from what, and that nobody overwrites what they never saw."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.errors import RequestCancelled
from agents.providers.base import Cancellation
from agents.sandbox import client
from agents.sandbox.client import FileBase, FileChange, FileReport
from agents.sandbox.file_states import MOST_HASHED, MOST_KEPT, look_at
from agents.sandbox.stored_files import look_in, resolve
from tests.agents.sandbox.boxes import Box, in_background, text, wait_until

ANA, BEN = "sthr_ana", "sthr_ben"
STAMP_GRAIN_S = 0.01  # files are stamped by a clock that ticks this slowly at worst
MODES = [pytest.param(client.BUBBLEWRAP, marks=pytest.mark.bwrap), client.FILES_ONLY]


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def report(outcome: client.ToolOutcome) -> FileReport:
    assert outcome.files is not None, outcome
    return outcome.files


def only_change(outcome: client.ToolOutcome) -> FileChange:
    (change,) = report(outcome).changes
    return change


def summary(outcome: client.ToolOutcome) -> list[tuple[str, str, str]]:
    """Path, change and thread of each change that an outcome tells."""
    return [(change.path, change.change, change.thread) for change in report(outcome).changes]


def done(box: Box, outcome: client.ToolOutcome) -> client.ToolOutcome:
    """As the worker does when it has stored the outcome."""
    client.acknowledge(box.spec, box.last)
    return outcome


# Reading, writing and editing


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("plan.md", "/workspace/plan.md"),
        ("/workspace/./a/../plan2.md", "/workspace/plan2.md"),
        ("/mnt/session/outputs/r.md", "/mnt/session/outputs/r.md"),
        ("/tmp/n.md", "/tmp/n.md"),
        ("new\nline.md", "/workspace/new\nline.md"),
    ],
)
def test_a_write_tells_who_wrote_what_from_which_state(files_box: Box, asked: str, path: str) -> None:
    outcome = done(files_box, files_box.run("write", file_path=asked, content="one", thread=ANA))

    change = only_change(outcome)
    assert (change.path, change.change, change.thread, change.exec_id) == (path, "write", ANA, files_box.last)
    assert (change.base, change.state, change.size, change.content) == ("", sha("one"), 3, b"one")
    assert (report(outcome).path, report(outcome).seen) == (path, sha("one"))
    assert "sha256" not in str(outcome.content) and sha("one") not in str(outcome.content)


def test_an_edit_tells_the_state_it_started_from(files_box: Box) -> None:
    done(files_box, files_box.run("write", file_path="edited.md", content="old text"))
    outcome = done(files_box, files_box.run("edit", file_path="edited.md", old_string="old", new_string="new"))

    change = only_change(outcome)
    assert (change.change, change.base, change.state) == ("edit", sha("old text"), sha("new text"))
    assert change.content == b"new text"


def test_a_read_tells_what_was_seen_and_changes_nothing(files_box: Box) -> None:
    done(files_box, files_box.run("write", file_path="seen.md", content="one\ntwo"))
    whole = done(files_box, files_box.run("read", file_path="seen.md"))
    part = done(files_box, files_box.run("read", file_path="seen.md", view_range=[2, 2]))
    missing = done(files_box, files_box.run("read", file_path="missing.md"))

    assert (report(whole).seen, report(whole).changes) == (sha("one\ntwo"), ())
    assert report(part).seen == sha("one\ntwo")
    assert (report(missing).path, report(missing).seen) == ("/workspace/missing.md", "")


def test_a_tool_that_fails_tells_no_change(files_box: Box) -> None:
    done(files_box, files_box.run("write", file_path="kept.md", content="text"))
    outcome = done(files_box, files_box.run("edit", file_path="kept.md", old_string="missing", new_string="x"))

    assert outcome.is_error
    assert (report(outcome).seen, report(outcome).changes) == (None, ())


def test_uploads_and_searches_are_not_recorded(files_box: Box) -> None:
    (files_box.folder("uploads") / "log.txt").write_text("uploaded")

    for outcome in (
        files_box.run("read", file_path="/mnt/session/uploads/log.txt"),
        files_box.run("read", file_path="/etc/passwd"),
    ):
        assert report(outcome) == FileReport(path="")
    for outcome in (files_box.run("glob", pattern="*"), files_box.run("grep", pattern="x")):
        assert outcome.files is None


def test_a_link_stands_for_the_file_it_leads_to(files_box: Box) -> None:
    done(files_box, files_box.run("write", file_path="real.md", content="one"))
    (files_box.folder("workspace") / "alias.md").symlink_to("real.md")
    outcome = done(files_box, files_box.run("edit", file_path="alias.md", old_string="one", new_string="two"))

    assert only_change(outcome).path == "/workspace/real.md"
    assert only_change(outcome).base == sha("one")


def test_a_pipe_or_socket_in_the_way_keeps_nobody_waiting(files_box: Box) -> None:
    folder = files_box.folder("workspace")
    os.mkfifo(folder / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket must be short
    listener.bind("socket")
    os.chdir(here)

    for name in ("pipe", "socket"):
        for tool, rest in (("write", {"content": "x"}), ("edit", {"old_string": "a", "new_string": "b"}), ("read", {})):
            outcome = files_box.run(tool, file_path=name, **rest)
            assert outcome.is_error, (tool, name)
            assert report(outcome).changes == ()
    listener.close()


def test_large_files_have_a_state_without_being_kept(files_box: Box) -> None:
    large = done(files_box, files_box.run("write", file_path="large.txt", content="x" * (MOST_KEPT + 1)))
    huge = done(files_box, files_box.run("write", file_path="huge.txt", content="x" * (MOST_HASHED + 1)))

    assert only_change(large).state == sha("x" * (MOST_KEPT + 1)) and only_change(large).content is None
    assert only_change(huge).state.startswith(f"{MOST_HASHED + 1}:") and only_change(huge).content is None


# Conflicts


def write_as(box: Box, thread: str, path: str, content: str) -> client.ToolOutcome:
    return done(box, box.run("write", file_path=path, content=content, thread=thread))


def base(path: str, seen: str | None, *, state: str | None = None, writer: str = "") -> FileBase:
    return FileBase(f"/workspace/{path}", seen, state, writer)


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("write", {"content": "mine"}),
    ("edit", {"old_string": "theirs", "new_string": "mine"}),
]


@pytest.mark.parametrize(("tool", "rest"), CHANGES)
def test_what_another_thread_made_of_a_file_is_not_overwritten(files_box: Box, tool: str, rest: dict[str, Any]) -> None:
    path = f"shared-{tool}.md"
    write_as(files_box, ANA, path, "first")
    write_as(files_box, BEN, path, "theirs")
    outcome = done(files_box, files_box.run(tool, file_path=path, thread=ANA, base=base(path, sha("first")), **rest))

    assert outcome.is_error
    conflict = report(outcome).conflict
    assert conflict is not None
    assert (conflict.seen, conflict.state, conflict.writer) == (sha("first"), sha("theirs"), BEN)
    assert conflict.content == b"theirs"
    assert report(outcome).changes == ()
    assert (files_box.spec.root / "workspace" / path).read_text() == "theirs"


def test_nobody_conflicts_with_what_they_saw_or_made_themselves(files_box: Box) -> None:
    write_as(files_box, ANA, "own.md", "first")
    write_as(files_box, ANA, "own.md", "second")

    for seen in (sha("second"), sha("first")):  # also when what was seen is older than what was made
        outcome = files_box.run("write", file_path="own.md", content="third", thread=ANA, base=base("own.md", seen))
        assert not outcome.is_error, text(outcome)
        write_as(files_box, ANA, "own.md", "second")


def test_writing_what_is_there_already_is_no_conflict(files_box: Box) -> None:
    write_as(files_box, BEN, "same.md", "the same")
    outcome = files_box.run(
        "write", file_path="same.md", content="the same", thread=ANA, base=base("same.md", sha("x"))
    )

    assert not outcome.is_error


def test_a_file_that_another_thread_wrote_is_not_replaced_unread(files_box: Box) -> None:
    write_as(files_box, BEN, "unread.md", "theirs")
    on_record = base("unread.md", None)
    outcome = files_box.run("write", file_path="unread.md", content="mine", thread=ANA, base=on_record)
    edit = files_box.run(
        "edit", file_path="unread.md", old_string="theirs", new_string="ours", thread=ANA, base=on_record
    )

    assert report(outcome).conflict is not None
    assert not edit.is_error, "an edit names the text it replaces"


def test_a_file_whose_writer_nobody_knows_may_be_replaced_unread(files_box: Box) -> None:
    found_file = files_box.folder("workspace") / "found.md"
    found_file.write_text("from before")
    found_file.chmod(0o666)
    outcome = files_box.run("write", file_path="found.md", content="mine", thread=ANA, base=base("found.md", None))

    assert not outcome.is_error
    found, written = report(outcome).changes
    assert (found.change, found.thread, found.content) == ("found", "", b"from before")
    assert (written.change, written.base) == ("write", sha("from before"))


def test_a_file_that_was_removed_is_a_changed_file(files_box: Box) -> None:
    write_as(files_box, ANA, "gone.md", "first")
    (files_box.folder("workspace") / "gone.md").unlink()
    outcome = files_box.run("write", file_path="gone.md", content="x", thread=BEN, base=base("gone.md", sha("first")))

    conflict = report(outcome).conflict
    assert conflict is not None and conflict.state == ""
    assert not (files_box.spec.root / "workspace/gone.md").exists()


def test_without_anything_on_record_nothing_is_checked(files_box: Box) -> None:
    write_as(files_box, BEN, "unchecked.md", "theirs")

    assert not files_box.run("write", file_path="unchecked.md", content="mine", thread=ANA).is_error


def test_a_conflict_is_found_through_a_link(files_box: Box) -> None:
    write_as(files_box, BEN, "target.md", "theirs")
    (files_box.folder("workspace") / "pointer.md").symlink_to("target.md")
    outcome = files_box.run(
        "write", file_path="pointer.md", content="mine", thread=ANA, base=base("target.md", sha("first"))
    )

    assert report(outcome).conflict is not None


@pytest.mark.parametrize("mode", MODES)
def test_an_executor_that_is_new_goes_by_what_is_on_record(make_box: Callable[..., Box], mode: str) -> None:
    box = make_box(mode)
    write_as(box, BEN, "a.md", "theirs")
    client.stop(box.spec)

    unread = base("a.md", None, state=sha("theirs"), writer=BEN)
    own = base("a.md", sha("older"), state=sha("theirs"), writer=ANA)
    refused = box.run("write", file_path="a.md", content="mine", thread=ANA, base=unread)
    assert report(refused).conflict is not None and report(refused).conflict.writer == BEN
    assert not box.run("write", file_path="a.md", content="mine", thread=ANA, base=own).is_error


def test_of_many_edits_from_one_state_only_one_is_carried_out(files_box: Box) -> None:
    write_as(files_box, ANA, "contended.md", "start")
    threads = [f"sthr_{number}" for number in range(6)]

    def edit(thread: str) -> client.ToolOutcome:
        return client.execute(
            files_box.spec,
            exec_id=f"contended_{thread}",
            thread=thread,
            tool="edit",
            input={"file_path": "contended.md", "old_string": "start", "new_string": f"start {thread}"},
            cancellation=Cancellation(),
            base=base("contended.md", sha("start")),
        )

    outcomes = [finish() for finish in [in_background(lambda thread=thread: edit(thread)) for thread in threads]]
    conflicts = [report(outcome).conflict for outcome in outcomes if outcome.is_error]
    (winner,) = [thread for thread, outcome in zip(threads, outcomes, strict=True) if not outcome.is_error]
    assert (files_box.spec.root / "workspace/contended.md").read_text() == f"start {winner}"
    assert {conflict.writer for conflict in conflicts if conflict} == {winner}
    assert len(conflicts) == 5


# Commands


@pytest.mark.bwrap
def test_what_a_command_changed_is_told_with_its_outcome(box: Box) -> None:
    done(box, box.run("write", file_path="by-tool.md", content="one", thread=ANA))
    done(box, box.run("write", file_path="doomed.md", content="two", thread=ANA))
    outcome = done(
        box,
        box.run(
            "bash",
            command="echo more >> by-tool.md; rm doomed.md; mkdir -p d; echo x > d/new.md; "
            "echo out > /mnt/session/outputs/o.md; echo tmp > /tmp/unseen; ln -s /etc link; mkfifo pipe",
            thread=BEN,
        ),
    )

    changes = {change.path: change for change in report(outcome).changes}
    assert set(changes) == {
        "/mnt/session/outputs/o.md",
        "/workspace/by-tool.md",
        "/workspace/d/new.md",
        "/workspace/doomed.md",
    }
    assert {(c.change, c.thread, c.exec_id) for c in changes.values()} == {("command", BEN, box.last)}
    assert changes["/workspace/by-tool.md"].base == sha("one")
    assert changes["/workspace/by-tool.md"].content == b"onemore\n"
    assert changes["/workspace/doomed.md"].state == ""
    assert report(outcome).complete
    box.bash("rm -rf link pipe d")


@pytest.mark.bwrap
def test_a_command_that_changes_nothing_tells_nothing(box: Box) -> None:
    box.bash("echo x > quiet.md")
    client.acknowledge(box.spec, box.last)
    outcome = done(box, box.run("bash", command="cat quiet.md; touch quiet.md; chmod 600 quiet.md"))

    assert report(outcome).changes == ()


@pytest.mark.bwrap
def test_folders_that_are_made_from_something_else_are_left_out(box: Box) -> None:
    outcome = done(
        box,
        box.run("bash", command="mkdir -p node_modules/a .git; echo x > node_modules/a/i.js; echo x > .git/HEAD; cd /"),
    )
    assert report(outcome).changes == ()
    written = done(box, box.run("write", file_path="node_modules/a/i.js", content="y"))
    assert summary(written)[-1] == ("/workspace/node_modules/a/i.js", "write", "sthr_1")
    again = done(box, box.run("bash", command="cd /workspace; true"))
    assert report(again).changes == ()


@pytest.mark.bwrap
def test_a_file_that_was_moved_in_with_its_old_time_is_new(box: Box) -> None:
    box.bash("mkdir -p /tmp/made; echo x > /tmp/made/old.md")
    client.acknowledge(box.spec, box.last)
    outcome = done(box, box.run("bash", command="mv /tmp/made moved", thread=BEN))

    assert ("/workspace/moved/old.md", "command", BEN) in summary(outcome)


@pytest.mark.bwrap
def test_a_change_belongs_to_the_command_that_ran_when_it_was_made(make_box: Callable[..., Box]) -> None:
    box = make_box()
    long = in_background(
        lambda: box.run(
            "bash",
            exec_id="long",
            thread=ANA,
            command="until [ -e go-1 ]; do sleep 0.02; done; echo a > by-ana.md; sleep 0.1; touch told; "
            "until [ -e go-2 ]; do sleep 0.02; done",
        )
    )
    wait_until(lambda: client.lookup(box.spec, "long") == "running")
    workspace = box.folder("workspace")
    (workspace / "go-1").touch()
    wait_until((workspace / "told").exists)
    short = box.run("bash", exec_id="short", thread=BEN, command="echo b > by-one-of-them.md")
    (workspace / "go-2").touch()
    last = long()

    told = {change.path: (change.change, change.thread, change.exec_id) for change in report(short).changes}
    assert told["/workspace/by-ana.md"] == ("command", ANA, "long"), "it was made before the other command began"
    assert told["/workspace/by-one-of-them.md"] == ("command", "", ""), "both were running"
    assert "/workspace/by-ana.md" not in [change.path for change in report(last).changes], "nothing is told twice"


@pytest.mark.bwrap
def test_a_file_outside_the_walked_folders_belongs_to_its_command_too(make_box: Callable[..., Box]) -> None:
    box = make_box()
    paths = ["/tmp/script.py", "/workspace/node_modules/i.js"]
    for path in paths:
        write_as(box, ANA, path, "first")
    command = done(box, box.run("bash", command="echo second | tee /tmp/script.py > node_modules/i.js", thread=ANA))
    assert summary(command) == [("/workspace/node_modules/i.js", "command", ANA)], "it is known, so it is looked at"
    time.sleep(2 * STAMP_GRAIN_S)  # else the next command may begin in the tick in which the files were stamped
    done(box, box.run("bash", command="true", thread=BEN))
    for path in paths:
        outcome = done(
            box,
            box.run(
                "edit",
                file_path=path,
                old_string="second",
                new_string="third",
                thread=ANA,
                base=FileBase(path, sha("first")),
            ),
        )
        assert not outcome.is_error
        made_in_tmp = [(path, "command", ANA)] if path.startswith("/tmp") else []
        assert summary(outcome) == [*made_in_tmp, (path, "edit", ANA)]


@pytest.mark.bwrap
def test_what_a_background_process_does_after_its_command_belongs_to_nobody(make_box: Callable[..., Box]) -> None:
    box = make_box()
    box.bash("(until [ -e go ]; do sleep 0.02; done; echo late > late.md; echo done > done.md) &")
    client.acknowledge(box.spec, box.last)
    (box.folder("workspace") / "go").touch()
    wait_until((box.folder("workspace") / "done.md").exists)
    outcome = box.run("read", file_path="late.md")
    after = box.run("bash", command="true")

    assert summary(outcome) == [("/workspace/late.md", "found", "")]
    assert ("/workspace/done.md", "found", "") in summary(after)


@pytest.mark.bwrap
def test_a_command_still_running_is_named_when_its_change_is_met(make_box: Callable[..., Box]) -> None:
    box = make_box()
    write_as(box, BEN, "met.md", "first")
    running = in_background(
        lambda: box.run(
            "bash",
            exec_id="running",
            thread=ANA,
            command="echo second > met.md; touch ready; until [ -e go ]; do sleep 0.02; done",
        )
    )
    wait_until((box.folder("workspace") / "ready").exists)
    outcome = box.run(
        "edit", file_path="met.md", old_string="first", new_string="x", thread=BEN, base=base("met.md", sha("first"))
    )
    (box.folder("workspace") / "go").touch()
    running()

    conflict = report(outcome).conflict
    assert conflict is not None and conflict.writer == ANA
    assert summary(outcome) == [("/workspace/met.md", "command", ANA)]


@pytest.mark.bwrap
def test_changes_of_an_interrupted_command_are_told_by_the_next_call(make_box: Callable[..., Box]) -> None:
    box = make_box()
    cancellation = Cancellation()
    stopped = in_background(
        lambda: box.run(
            "bash", exec_id="stopped", thread=ANA, command="echo x > half.md; sleep 60", cancellation=cancellation
        )
    )
    wait_until((box.folder("workspace") / "half.md").exists)
    cancellation.cancel()
    with pytest.raises(RequestCancelled):
        stopped()
    client.acknowledge(box.spec, "stopped")
    outcome = box.run("read", file_path="half.md", exec_id="next", thread=BEN)

    (change,) = report(outcome).changes
    assert (change.path, change.thread, change.exec_id) == ("/workspace/half.md", ANA, "stopped")


@pytest.mark.bwrap
def test_an_outcome_tells_the_same_until_it_is_acknowledged(make_box: Callable[..., Box]) -> None:
    box = make_box()
    first = box.run("write", exec_id="first", file_path="a.md", content="one", thread=ANA)
    second = box.run("write", exec_id="second", file_path="a.md", content="two", thread=BEN)

    assert client.lookup(box.spec, "first") == first
    assert report(second).changes == (only_change(first), report(second).changes[1]), "the earlier one comes first"
    client.acknowledge(box.spec, "first")
    client.acknowledge(box.spec, "second")
    third = box.run("write", exec_id="third", file_path="a.md", content="three", thread=ANA)
    assert [change.state for change in report(third).changes] == [sha("three")]


@pytest.mark.bwrap
def test_names_and_files_that_are_hostile_are_left_out_or_bounded(make_box: Callable[..., Box]) -> None:
    box = make_box()
    command = (
        "printf x > $'not\\xfftext'; printf x > $'two\\nlines.md'; truncate -s 900M sparse.bin; ln sparse.bin hard; "
        "ln -s /proc/self/environ link; mkdir -m 000 closed; printf x > secret; chmod 000 secret; "
        "d=deep; for i in $(seq 80); do d=$d/d; done; mkdir -p $d; touch $d/f; ln -s . loop"
    )
    outcome = box.run("bash", command=command)

    changes = {change.path: change for change in report(outcome).changes}
    assert set(changes) == {"/workspace/two\nlines.md", "/workspace/sparse.bin", "/workspace/hard"}
    assert changes["/workspace/sparse.bin"].state.startswith(f"{900 * 1024**2}:")
    box.bash("chmod 700 closed; rm -rf deep closed sparse.bin hard")


@pytest.mark.bwrap
def test_too_many_changes_are_cut_and_said_to_be(make_box: Callable[..., Box]) -> None:
    box = make_box()
    outcome = box.run("bash", command="for i in $(seq 1200); do echo $i > f$i.md; done")

    assert len(report(outcome).changes) == 1_000
    assert not report(outcome).complete
    again = box.run("bash", command="echo changed > f1.md")
    assert report(again).complete
    assert "/workspace/f1.md" in [change.path for change in report(again).changes]


# Threads of a session


@pytest.mark.bwrap
def test_commands_of_two_threads_run_at_once_in_shells_of_their_own(make_box: Callable[..., Box]) -> None:
    box = make_box()

    def meet(thread: str, own: str, other: str) -> str:
        box.bash(f"mkdir -p /workspace/{own}; cd /workspace/{own}; export WHO={own}", thread=thread, exec_id=f"{own}-1")
        return box.bash(
            f"touch ../{own}.here; until [ -e ../{other}.here ]; do sleep 0.02; done; echo $WHO $PWD",
            thread=thread,
            exec_id=f"{own}-2",
        )

    first = in_background(lambda: meet(ANA, "ana", "ben"))
    second = in_background(lambda: meet(BEN, "ben", "ana"))
    assert (first(), second()) == ("ana /workspace/ana", "ben /workspace/ben")


def test_a_slow_reader_of_one_file_keeps_nobody_from_another(files_box: Box) -> None:
    files_box.run("write", file_path="one.md", content="x")
    outcomes = [
        in_background(lambda n=n: files_box.run("read", file_path="one.md", exec_id=f"r{n}", thread=f"sthr_r{n}"))
        for n in range(8)
    ]
    assert not files_box.run("write", file_path="two.md", content="y", exec_id="w", thread="sthr_w").is_error
    assert [text(finish()) for finish in outcomes] == ["x"] * 8


# From outside


def test_links_are_resolved_by_name_only(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "d").mkdir(parents=True)
    (tmp_path / "outputs").mkdir()
    (workspace / "alias").symlink_to("d/real.md")
    (workspace / "up").symlink_to("../mnt/session/outputs")
    (workspace / "absolute").symlink_to("/workspace/d")
    (workspace / "round").symlink_to("round")
    (workspace / "host").symlink_to(tmp_path / "outputs")
    (tmp_path / "outputs" / "o").symlink_to("/workspace/d")

    for path, wanted in (
        ("/workspace/d/real.md", "/workspace/d/real.md"),
        ("/workspace/alias", "/workspace/d/real.md"),
        ("/workspace/up/o/x", "/workspace/d/x"),
        ("/workspace/absolute/x/y", "/workspace/d/x/y"),
        ("/workspace/round/x", "/workspace/round/x"),
        ("/workspace/host/x", f"{tmp_path}/outputs/x"),
        ("/workspace/missing/" + "x/" * 300, "/workspace/missing/" + "x/" * 299 + "x"),
        ("/etc/passwd", "/etc/passwd"),
        ("/", "/"),
    ):
        assert resolve(tmp_path, path) == wanted


def test_a_look_follows_no_link_and_opens_no_pipe(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "a.md").write_text("text")
    (workspace / "link.md").symlink_to("a.md")
    (workspace / "folder").symlink_to("/etc")
    os.mkfifo(workspace / "pipe")

    assert look_in(tmp_path, "/workspace/a.md").state == sha("text")
    assert look_in(tmp_path, "/workspace/missing.md").state == ""
    for path in ("/workspace/link.md", "/workspace/folder/passwd", "/workspace/pipe", "/etc/passwd", "/workspace/a\0b"):
        assert look_in(tmp_path, path).state is None
    assert look_at(str(workspace / "pipe")).blocks


@pytest.mark.parametrize(
    "raw",
    [
        None,
        5,
        {},
        {"path": "x", "seen": None, "changes": [{}], "complete": True, "conflict": None},
        {"path": "x", "seen": None, "changes": 5, "complete": True, "conflict": None},
        {
            "path": "x",
            "seen": None,
            "complete": True,
            "conflict": None,
            "changes": [
                {
                    "path": "x",
                    "change": "eaten",
                    "base": None,
                    "state": "",
                    "size": 0,
                    "thread": "",
                    "exec_id": "",
                    "at_us": 1,
                }
            ],
        },
    ],
)
def test_a_report_that_makes_no_sense_is_none(raw: Any) -> None:
    assert FileReport.parse(raw) is None
