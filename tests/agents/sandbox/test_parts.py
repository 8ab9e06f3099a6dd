"""The parts that need no running sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.sandbox import watchdog
from agents.sandbox.hosted_paths import HostedPaths
from agents.sandbox.stored_files import list_files, open_file
from agents.sandbox.text import PREVIEW_CHARS, Output, clean
from tests.agents.sandbox.boxes import ROOT

PATHS = HostedPaths(
    [("/workspace", "/data/s/workspace"), ("/tmp", "/data/s/tmp"), ("/mnt/session/outputs", "/data/s/outputs")]
)


@pytest.mark.parametrize(
    ("hosted", "real"),
    [
        ("/workspace", "/data/s/workspace"),
        ("/workspace/a/../b", "/data/s/workspace/b"),
        ("a/b", "/data/s/workspace/a/b"),
        ("./", "/data/s/workspace"),
        ("//tmp/x", "/data/s/tmp/x"),
        ("/mnt/session/outputs/r", "/data/s/outputs/r"),
        ("/workspace/../tmp/x", "/data/s/tmp/x"),
        ("../tmp/x", "/data/s/tmp/x"),
        ("/workspaces", "/workspaces"),
        ("../../etc/passwd", "/etc/passwd"),
        ("/etc/passwd", "/etc/passwd"),
    ],
)
def test_hosted_paths_are_found(hosted: str, real: str) -> None:
    assert PATHS.real(hosted) == real


def test_real_paths_are_hidden_again() -> None:
    assert PATHS.hosted_text("in /data/s/tmp/x and /data/s/workspace") == "in /tmp/x and /workspace"
    assert PATHS.hosted_text("/data/s/tmpfile stays") == "/data/s/tmpfile stays"
    lines = "/data/s/workspace/a:1:say /data/s/tmp\n/data/s/tmp/b:2:x"
    assert PATHS.hosted_text(lines, line_starts_only=True) == "/workspace/a:1:say /data/s/tmp\n/tmp/b:2:x"


def make_output(folder: Path, limit_bytes: int = 10_000_000) -> Output:
    return Output(str(folder / "out"), shown_folder="/shown", name="exec_1", limit_bytes=limit_bytes)


@pytest.mark.parametrize("size", [0, 1, PREVIEW_CHARS])
def test_output_that_fits_leaves_no_file(tmp_path: Path, size: int) -> None:
    output = make_output(tmp_path)
    output.append(b"x" * size)

    assert output.shown() == "x" * size
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pieces", [[PREVIEW_CHARS + 1], [300_000, 300_000, 5], [1] * 10 + [2_000_000]])
def test_output_that_does_not_fit_is_complete_in_its_file(tmp_path: Path, pieces: list[int]) -> None:
    output = make_output(tmp_path)
    data = bytearray()
    for number, size in enumerate(pieces):
        piece = bytes([97 + number % 26]) * size
        data += piece
        output.append(piece)

    shown = output.shown()
    output.close()
    assert (tmp_path / "out" / "exec_1.txt").read_bytes() == data
    assert shown.startswith(data[:1000].decode())
    assert shown.endswith(data[-1000:].decode())
    assert "/shown/exec_1.txt" in shown
    assert len(shown) < 41_000


def test_a_taken_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "exec_1.txt").write_text("older")
    output = make_output(tmp_path)
    output.append(b"x" * 200_000)
    shown = output.shown()
    output.close()

    assert (tmp_path / "out" / "exec_1.txt").read_text() == "older"
    assert "/shown/exec_1-" in shown


def test_output_is_shown_even_when_its_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    output = make_output(tmp_path)
    output.append(b"x" * 500_000)
    output.append(b"the end")

    assert output.shown().endswith("the end")
    assert "could not be stored" in output.shown()


def test_unstorable_characters_become_replacement_characters() -> None:
    assert clean("a\0b\ud800c\udfffd\U0001f600") == "a\ufffdb\ufffdc\ufffdd\U0001f600"


def test_stored_files_are_listed_and_opened_without_following_links(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    (outputs / "deep" / "er").mkdir(parents=True)
    (outputs / "report.md").write_text("report")
    (outputs / "deep" / "er" / "data.csv").write_text("1,2")
    (tmp_path / "secret").write_text("secret")
    (outputs / "link.md").symlink_to(tmp_path / "secret")
    (outputs / "up").symlink_to(tmp_path)
    os.mkfifo(outputs / "pipe")

    assert [(file.path, file.size_bytes) for file in list_files(tmp_path)] == [
        ("deep/er/data.csv", 3),
        ("report.md", 6),
    ]
    assert len(list_files(tmp_path, most=1)) == 1
    with open_file(tmp_path, "deep/er/data.csv") as opened:
        assert opened.read() == b"1,2"
    for path in ("link.md", "up/secret", "pipe", "deep", "../secret", "/etc/passwd", "", ".", "missing", "a\0b"):
        with pytest.raises(FileNotFoundError):
            open_file(tmp_path, path)
    assert list_files(tmp_path / "never-started") == []


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_toolset_is_loaded_without_the_rest_of_the_sdk() -> None:
    code = (
        "import sys; from agents.sandbox.sdk_tools import load_toolset\n"
        "toolset = load_toolset(); print(toolset.__name__, 'anthropic._client' in sys.modules)"
    )

    assert run_python(code) == "anthropic.lib.tools.agent_toolset False"


def test_an_sdk_that_cannot_be_loaded_in_part_is_loaded_whole() -> None:
    code = (
        "import sys; from agents.sandbox import sdk_tools\n"
        "sdk_tools._PACKAGES = ('anthropic', 'anthropic.types.beta')\n"
        "toolset = sdk_tools.load_toolset()\n"
        "print(len(toolset.beta_agent_toolset_20260401(toolset.AgentToolContext())))"
    )

    assert run_python(code) == "6"


def test_the_worker_side_imports_neither_django_nor_the_sdk() -> None:
    code = (
        "import sys; import agents.sandbox.client, agents.sandbox.cleanup\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'django', 'celery', 'anthropic', 'psycopg'}))"
    )

    assert run_python(code) == "[]"


def test_python_below_a_sessions_folder_is_not_counted_as_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout" / ".venv").mkdir(parents=True)
    (tmp_path / "checkout" / ".venv" / "large").write_bytes(b"x" * 1_000_000)
    (tmp_path / "small").write_bytes(b"x")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "checkout" / ".venv"))

    assert watchdog.disk_use([str(tmp_path)], most_entries=100).bytes < 500_000
