"""`simulated/default`: honest in a chat, and work that really reads the files."""

from __future__ import annotations

import pytest

from tests.agents.simulator.driver import FILE_TOOLS, Sandbox, drive

MODEL = "simulated/default"
TASK = "Summarise the uploaded files. Then write a report."


def test_a_greeting_gets_an_honest_short_answer(tmp_path):
    run = drive(MODEL, "Hello, who are you?", Sandbox(tmp_path))
    assert len(run.answers) == 1
    assert "simulated model" in run.text
    assert "Hello, who are you?" in run.text
    assert "Claude" not in run.text


@pytest.mark.parametrize(
    "tools", [("bash", *FILE_TOOLS), FILE_TOOLS, ("bash", "write")], ids=["all", "files only", "shell only"]
)
def test_work_leaves_a_plan_and_a_report_of_what_was_read(tmp_path, tools):
    sandbox = Sandbox(tmp_path)
    (tmp_path / "uploads" / "notes").mkdir()
    (tmp_path / "uploads" / "notes" / "a.txt").write_text("Milk and bread\nand tea\n")
    (tmp_path / "uploads" / "b.csv").write_text("id,total\n1,20\n")
    run = drive(MODEL, TASK, sandbox, tools)
    assert "1. Summarise the uploaded files." in (tmp_path / "workspace" / "plan.md").read_text()
    report = (tmp_path / "outputs" / "report.md").read_text()
    assert "`/mnt/session/uploads/notes/a.txt`: 2 lines, 5 words" in report
    assert 'begins with "id,total"' in report
    assert "I read 2 of 2 uploaded files" in run.text


def test_other_files_give_another_report(tmp_path):
    reports = []
    for words in ("one two", "three"):
        sandbox = Sandbox(tmp_path)
        (tmp_path / "uploads" / "a.txt").write_text(words)
        drive(MODEL, TASK, sandbox)
        reports.append((tmp_path / "outputs" / "report.md").read_text())
    assert '2 words, begins with "one two"' in reports[0]
    assert '1 words, begins with "three"' in reports[1]


def test_no_files_and_unreadable_files_are_said(tmp_path):
    drive(MODEL, TASK, Sandbox(tmp_path))
    assert "No files were uploaded." in (tmp_path / "outputs" / "report.md").read_text()
    (tmp_path / "uploads" / "a.bin").write_bytes(b"\xff\xfe\x00")
    drive(MODEL, TASK, Sandbox(tmp_path))
    assert "could not be read" in (tmp_path / "outputs" / "report.md").read_text()


def test_a_report_that_cannot_be_written_is_said(tmp_path):
    sandbox = Sandbox(tmp_path)
    (tmp_path / "outputs" / "report.md").mkdir()
    assert "report.md could not be written: write:" in drive(MODEL, TASK, sandbox).text
