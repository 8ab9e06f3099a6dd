"""read, write, edit, glob and grep: the SDK's, with the hosted paths, in a sandbox and without one."""

from __future__ import annotations

import base64
import shutil

import pytest

from agents.errors import RequestCancelled
from agents.providers.base import Cancellation
from agents.sandbox import client
from tests.agents.sandbox.boxes import Box, in_background, text, wait_until


def test_a_written_file_can_be_read_by_relative_and_by_hosted_path(files_box: Box) -> None:
    written = files_box.run("write", file_path="notes/a.txt", content="one\ntwo\nthree")

    assert text(written) == "wrote 13 bytes to notes/a.txt"
    assert text(files_box.run("read", file_path="notes/a.txt")) == "one\ntwo\nthree"
    assert text(files_box.run("read", file_path="/workspace/notes/a.txt")) == "one\ntwo\nthree"
    assert (files_box.spec.root / "workspace/notes/a.txt").read_text() == "one\ntwo\nthree"


@pytest.mark.parametrize(
    ("hosted", "stored"), [("/mnt/session/outputs/r.md", "outputs/r.md"), ("/tmp/x/t.txt", "tmp/x/t.txt")]
)
def test_the_hosted_folders_are_the_sessions_folders(files_box: Box, hosted: str, stored: str) -> None:
    written = files_box.run("write", file_path=hosted, content="here")

    assert text(written) == f"wrote 4 bytes to {hosted}"
    assert (files_box.spec.root / stored).read_text() == "here"
    assert text(files_box.run("read", file_path=hosted)) == "here"


def test_a_range_of_lines_can_be_read(files_box: Box) -> None:
    files_box.run("write", file_path="lines.txt", content="1\n2\n3\n4\n5")

    assert text(files_box.run("read", file_path="lines.txt", view_range=[2, 3])) == "2\n3"
    assert text(files_box.run("read", file_path="lines.txt", view_range=[4, -1])) == "4\n5"


def test_edit_replaces_text_that_occurs_once(files_box: Box) -> None:
    files_box.run("write", file_path="e.txt", content="red green red")

    outcome = files_box.run("edit", file_path="/workspace/e.txt", old_string="green", new_string="blue")
    assert text(outcome) == "edited /workspace/e.txt (1 replacement(s))"
    twice = files_box.run("edit", file_path="e.txt", old_string="red", new_string="x")
    assert twice.is_error
    assert "appears 2 times" in text(twice)
    files_box.run("edit", file_path="e.txt", old_string="red", new_string="x", replace_all=True)
    assert text(files_box.run("read", file_path="e.txt")) == "x blue x"


def test_glob_and_grep_answer_with_hosted_paths(files_box: Box) -> None:
    files_box.run("write", file_path="src/one.py", content="import os\nneedle = 1\n")
    files_box.run("write", file_path="/mnt/session/outputs/two.py", content="needle = 2\n")

    assert text(files_box.run("glob", pattern="src/**/*.py")) == "/workspace/src/one.py"
    assert text(files_box.run("glob", pattern="*.py", path="/mnt/session/outputs")) == "/mnt/session/outputs/two.py"
    assert text(files_box.run("grep", pattern="needle", path="/workspace/src")) == "/workspace/src/one.py:2:needle = 1"
    assert text(files_box.run("grep", pattern="nothing like it")) == "no matches"


def test_uploads_can_be_read_and_not_written(files_box: Box) -> None:
    (files_box.folder("uploads") / "log.txt").write_text("uploaded")

    assert text(files_box.run("read", file_path="/mnt/session/uploads/log.txt")) == "uploaded"
    for tool, rest in (("write", {"content": "x"}), ("edit", {"old_string": "up", "new_string": "x"})):
        outcome = files_box.run(tool, file_path="/mnt/session/uploads/log.txt", **rest)
        assert outcome.is_error
        assert "read-only" in text(outcome)
    assert (files_box.spec.root / "uploads/log.txt").read_text() == "uploaded"


def test_an_image_is_returned_as_an_image(files_box: Box) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    (files_box.folder("uploads") / "dot.png").write_bytes(data)

    outcome = files_box.run("read", file_path="/mnt/session/uploads/dot.png")
    assert [block["type"] for block in outcome.content] == ["image"]
    assert base64.b64decode(outcome.content[0]["source"]["data"]) == data


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "/workspace/../etc/passwd",
        "/mnt/session/outputs/../../../etc/passwd",
        "//etc/passwd",
        "/proc/self/environ",
        "../uploads/log.txt",
    ],
)
def test_paths_outside_the_session_are_refused(files_box: Box, path: str) -> None:
    for tool, rest in (("read", {}), ("write", {"content": "x"}), ("edit", {"old_string": "a", "new_string": "b"})):
        outcome = files_box.run(tool, file_path=path, **rest)
        assert outcome.is_error
        assert "outside the session" in text(outcome)
    assert files_box.run("grep", pattern="root", path=path).is_error
    assert files_box.run("glob", pattern="*", path=path).is_error


def test_a_link_out_of_the_session_is_not_followed(files_box: Box) -> None:
    link = files_box.folder("workspace") / "link"
    link.symlink_to("/etc")

    assert files_box.run("read", file_path="link/passwd").is_error
    assert files_box.run("write", file_path="link/new", content="x").is_error
    assert "passwd" not in text(files_box.run("glob", pattern="link/*"))
    assert "root:" not in text(files_box.run("grep", pattern="root:"))
    link.unlink()


def test_no_path_of_the_host_is_told(files_box: Box) -> None:
    shown = [
        text(files_box.run("read", file_path="/workspace/missing")),
        text(files_box.run("edit", file_path="/tmp/missing", old_string="a", new_string="b")),
        text(files_box.run("glob", pattern="**/*", path="/workspace")),
        text(files_box.run("grep", pattern="[", path="/workspace")),
        text(files_box.run("write", file_path="/workspace", content="x")),
    ]

    assert str(files_box.spec.data_dir) not in "".join(shown)


def test_long_text_of_any_tool_goes_to_a_file(files_box: Box) -> None:
    files_box.run("write", file_path="long.txt", content="line of text\n" * 12_000)

    outcome = files_box.run("read", file_path="long.txt", exec_id="exec_read")
    assert len(text(outcome)) < 50_000
    assert "/tmp/tool-outputs/exec_read.txt" in text(outcome)
    stored = files_box.spec.root / "tmp/tool-outputs/exec_read.txt"
    assert stored.read_text() == "line of text\n" * 12_000
    part = files_box.run("read", file_path="/tmp/tool-outputs/exec_read.txt", view_range=[11_999, 12_000])
    assert text(part) == "line of text\nline of text"


def test_names_that_are_no_text_do_not_break_the_answer(files_box: Box) -> None:
    folder = files_box.folder("workspace")
    (folder / "odd").mkdir(exist_ok=True)
    (folder / "odd" / "caf\udce9.txt").write_text("x")

    assert text(files_box.run("glob", pattern="odd/*")) == "/workspace/odd/caf\ufffd.txt"


def test_a_hostile_expression_blocks_nobody_else_and_can_be_interrupted(files_box: Box) -> None:
    if shutil.which("rg"):
        pytest.skip("ripgrep is installed, and no expression makes it slow.")
    files_box.run("write", file_path="a.txt", content="a" * 60 + "!\n")
    cancellation = Cancellation()
    stuck = in_background(
        lambda: files_box.run(
            "grep", exec_id="stuck", pattern="^(a+)+$", path="a.txt", cancellation=cancellation, thread="sthr_stuck"
        )
    )
    wait_until(lambda: client.lookup(files_box.spec, "stuck") == "running")

    assert text(files_box.run("read", file_path="a.txt")).startswith("aaa")
    cancellation.cancel()
    with pytest.raises(RequestCancelled):
        stuck()
    assert text(files_box.run("read", file_path="a.txt", thread="sthr_stuck")).startswith("aaa")
