"""The generated logs and the triage that reads them: what was planted is what is reported, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.simulator.build_logs import CAUSES, LINES, generate
from agents.simulator.conversation import Conversation
from agents.simulator.steps import Call, Step
from agents.simulator.triage import triage
from tests.agents.simulator.driver import FILE_TOOLS, Sandbox, drive

MODEL = "simulated/build-log-triage"
TASK = "Find out why the pipelines failed."
CAUSE = re.compile(r"^- Cause: .*\(`(\w+)`\)$", re.MULTILINE)
EVIDENCE = re.compile(r"^- Evidence: `(.+):(\d+)`\n\n {6}(.*)$", re.MULTILINE)


def upload(sandbox, logs):
    for log in logs:
        (sandbox.root / "uploads" / log.name).write_text(log.text)


def reported(sandbox):
    """Cause, line number and quoted line of each log that the report says has failed."""
    text = (sandbox.root / "outputs" / "report.md").read_text()
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        cause, evidence = CAUSE.search(section), EVIDENCE.search(section)
        if cause:
            quoted = (int(evidence[2]), evidence[3]) if evidence else (0, "")
            found[section.splitlines()[0]] = (cause[1], *quoted)
    return found


def planted(logs):
    return {log.name: (log.cause, log.line, log.evidence) for log in logs if log.cause}


# The generator.


def test_the_same_seed_gives_the_same_logs_and_another_gives_others():
    assert generate(5, 1) == generate(5, 1)
    assert {log.text for log in generate(5, 1)}.isdisjoint(log.text for log in generate(5, 2))


def test_sizes_names_and_evidence_are_as_promised():
    logs = generate(60, 3)
    assert len({log.name for log in logs}) == 60
    for log in logs:
        lines = log.text.splitlines()
        assert LINES[0] <= len(lines) <= LINES[1]
        assert log.service in log.name
        if log.cause:
            assert lines[log.line - 1] == log.evidence
    assert max(len(log.text.splitlines()) for log in logs) > 2_000


def test_every_cause_occurs_and_some_pipelines_pass():
    causes = {log.cause for log in generate(60, 4)}
    assert len(CAUSES) >= 10
    assert causes == {None, *CAUSES}


def test_logs_that_passed_still_look_alarming():
    passed = [log.text for log in generate(60, 5) if log.cause is None]
    assert any("no space left on device" in text for text in passed)
    assert any("ETIMEDOUT" in text for text in passed)


# The triage.


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
@pytest.mark.parametrize("bash", ["on", "refused"])
def test_exactly_the_planted_causes_are_reported(tmp_path, seed, bash):
    logs = generate(24, seed, lines=(200, 1_500))
    sandbox = Sandbox(tmp_path, bash=bash)
    upload(sandbox, logs)
    run = drive(MODEL, TASK, sandbox)
    assert reported(sandbox) == planted(logs)
    assert "/mnt/session/outputs/report.md" in run.text


@pytest.mark.parametrize("tools", [("glob", "grep", "read", "write"), ("bash", "write")])
def test_it_works_with_file_tools_alone_and_with_the_shell_alone(tmp_path, tools):
    logs = generate(10, 21, lines=(200, 800))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    drive(MODEL, TASK, sandbox, tools)
    assert reported(sandbox) == planted(logs)
    assert {name for name, _ in sandbox.calls} <= set(tools)


def test_it_reads_parts_of_the_logs_and_not_the_whole(tmp_path):
    logs = generate(10, 22, lines=(2_000, 5_000))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    run = drive(MODEL, TASK, sandbox)
    ranges = [given["view_range"] for name, given in sandbox.calls if name == "read"]
    assert ranges
    assert all(last - first < 150 for first, last in ranges)
    assert run.answers[-1].usage.context_tokens < sum(len(log.text) for log in logs) / 4 / 5


def test_a_changed_log_changes_the_report(tmp_path):
    logs = [log for log in generate(30, 31, lines=(200, 600)) if log.cause][:4]
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    drive(MODEL, TASK, sandbox)
    before = reported(sandbox)
    changed = logs[0]
    lines = changed.text.splitlines()
    lines[changed.line - 1] = "2026-11-20T10:00:00Z ERROR listen EADDRINUSE: 0.0.0.0:9999"
    other = next(log for log in generate(60, 32, lines=(200, 600)) if log.cause not in (None, "port_in_use"))
    if changed.cause == "port_in_use":
        lines = other.text.splitlines()
    (sandbox.root / "uploads" / changed.name).write_text("\n".join(lines))
    drive(MODEL, TASK, sandbox)
    after = reported(sandbox)
    assert after[changed.name] != before[changed.name]
    assert {name: after[name] for name in before if name != changed.name} == {
        name: before[name] for name in before if name != changed.name
    }


def test_a_log_that_is_made_to_pass_leaves_the_report(tmp_path):
    log = next(log for log in generate(30, 33, lines=(200, 600)) if log.cause == "disk_full")
    sandbox = Sandbox(tmp_path)
    cured = log.text.replace("finished: FAILED", "finished: SUCCESS")
    cured = cured.replace("Job result: failed", "Job result: success").replace("Job failed", "Job succeeded")
    (sandbox.root / "uploads" / log.name).write_text(cured)
    run = drive(MODEL, TASK, sandbox)
    assert reported(sandbox) == {}
    assert "1 passed" in run.text


def test_a_failure_that_no_rule_fits_is_said_to_be_undetermined(tmp_path):
    sandbox = Sandbox(tmp_path)
    text = "=== Step 1/1: compile\nsomething odd happened\n--- Step compile failed with exit code 1\n"
    (sandbox.root / "uploads" / "odd.log").write_text(text)
    run = drive(MODEL, TASK, sandbox)
    assert reported(sandbox) == {"odd.log": ("unknown", 3, "--- Step compile failed with exit code 1")}
    assert "1 undetermined" in run.text


def test_an_error_that_a_retry_cured_is_not_the_cause(tmp_path):
    sandbox = Sandbox(tmp_path)
    lines = [
        "=== Step 1/1: push image",
        "ERROR dial tcp: i/o timeout",
        "attempt 2/3 succeeded",
        "ERROR denied: requested access to the resource is denied",
        "--- Step push image failed with exit code 1",
        "ERROR cleanup: no space left on device",
    ]
    (sandbox.root / "uploads" / "push.log").write_text("\n".join(lines))
    drive(MODEL, TASK, sandbox)
    assert reported(sandbox) == {"push.log": ("access_denied", 4, lines[3])}


@pytest.mark.parametrize(("second", "cause"), [("FAILED", "test_failure"), ("PASSED", "flaky_test")])
def test_a_test_that_also_passed_is_flaky(tmp_path, second, cause):
    sandbox = Sandbox(tmp_path)
    name = "tests/test_cart.py::test_total"
    lines = ["=== Step 1/1: unit tests", f"{second} {name}", *["..."] * 50, f"FAILED {name} - 1 != 2"]
    lines += ["PASSED tests/test_cart.py::test_total_of_many", "--- Step unit tests failed with exit code 1"]
    (sandbox.root / "uploads" / "unit.log").write_text("\n".join(lines))
    drive(MODEL, TASK, sandbox)
    assert reported(sandbox)["unit.log"][0] == cause


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    sandbox = Sandbox(tmp_path)
    run = drive(MODEL, TASK, sandbox)
    assert "0 logs read" in run.text
    assert "No log was found" in (tmp_path / "outputs" / "report.md").read_text()


def test_a_missing_folder_is_named(tmp_path):
    sandbox = Sandbox(tmp_path)
    drive(MODEL, "Triage the logs in /workspace/nothing-here.", sandbox, ("bash", "write"))
    assert "/workspace/nothing-here" in (tmp_path / "outputs" / "report.md").read_text()


def test_logs_elsewhere_are_found_when_the_task_names_the_folder(tmp_path):
    sandbox = Sandbox(tmp_path)
    logs = generate(3, 41, lines=(200, 300))
    folder = tmp_path / "workspace" / "ci"
    folder.mkdir()
    for log in logs:
        (folder / log.name).write_text(log.text)
    drive(MODEL, "Triage /workspace/ci and write a report.", sandbox)
    assert reported(sandbox) == planted(logs)


def test_a_report_that_cannot_be_written_is_given_as_the_answer(tmp_path):
    sandbox = Sandbox(tmp_path)
    upload(sandbox, generate(3, 42, lines=(200, 300)))
    (tmp_path / "outputs" / "report.md").mkdir()
    run = drive(MODEL, TASK, sandbox)
    assert "could not be written" in run.text
    assert "# Build-log triage" in run.text


def test_without_tools_it_says_what_it_needs(tmp_path):
    assert "bash" in drive(MODEL, TASK, Sandbox(tmp_path), ()).text


def test_two_hundred_pipelines_survive_a_compaction_in_the_middle(tmp_path):
    logs = generate(200, 51, lines=(200, 900))
    sandbox = Sandbox(tmp_path)
    upload(sandbox, logs)
    run = drive(MODEL, TASK, sandbox, FILE_TOOLS)
    assert run.compactions >= 1
    assert reported(sandbox) == planted(logs)


# Whatever tools return, the policy answers.

names = st.sampled_from(["bash", "glob", "grep", "read", "write", "edit", "other"])
json_values = st.one_of(st.none(), st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3))
inputs = st.one_of(
    st.dictionaries(st.sampled_from(["command", "path", "pattern", "file_path", "view_range"]), json_values),
    st.builds(lambda p: {"pattern": "x", "path": p}, st.sampled_from(["/mnt/session/uploads/a.log", "/b"])),
    st.just({"command": "find '/mnt/session/uploads' -type f"}),
)
results = st.one_of(
    st.none(),
    st.text(max_size=200),
    st.sampled_from(["no matches", "/mnt/session/uploads/a.log\n/mnt/session/uploads/b`c.log", "[output truncated"]),
    st.lists(st.sampled_from(["1:=== Step 1/2: x", "2:FAILED a::b", "9:ENOSPC", "3:Job result: failed", "7:"])).map(
        "\n".join
    ),
)
calls = st.builds(Call, name=names, input=inputs, result=results, is_error=st.booleans())
steps = st.lists(st.builds(Step, text=st.text(max_size=40), calls=st.lists(calls, max_size=4).map(tuple)), max_size=6)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=50), steps, st.sets(names))
def test_it_never_fails_on_odd_results(request, made, tools):
    conversation = Conversation(request, request, tuple(made), {name: {} for name in tools})
    assert triage(conversation) == triage(conversation)
