"""Input from a model may be anything; what is wrong with it is the call's outcome, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from agents.providers.base import Cancellation
from agents.sandbox import client, processes
from agents.sandbox.validation import RULES, refusal
from tests.agents.sandbox.boxes import Box, text

WRONG = [
    ("bash", {}, "bash: a command is required, unless restart is true."),
    ("bash", {"command": "  "}, "bash: a command is required, unless restart is true."),
    ("bash", {"command": 5}, "bash: command must be a string."),
    ("bash", {"command": "a\0b"}, "bash: command must not contain NUL or half a surrogate pair."),
    ("bash", {"command": "x", "timeout_ms": "5"}, "bash: timeout_ms must be a whole number above 0."),
    ("bash", {"command": "x", "timeout_ms": True}, "bash: timeout_ms must be a whole number above 0."),
    ("bash", {"command": "x", "timeout_ms": 0}, "bash: timeout_ms must be a whole number above 0."),
    ("bash", {"restart": "yes"}, "bash: restart must be true or false."),
    ("bash", {"command": "x", "cwd": "/"}, "bash: unknown field 'cwd'. It takes command, restart, timeout_ms."),
    ("read", {}, "read: the field 'file_path' is missing."),
    ("read", {"file_path": None}, "read: the field 'file_path' is missing."),
    ("read", {"file_path": ""}, "read: file_path must not be empty."),
    ("read", {"file_path": "a" * 5000}, "read: file_path must not have more than 4096 characters."),
    ("read", {"file_path": "a", "view_range": [1]}, "read: view_range must be [start_line, end_line]."),
    ("read", {"file_path": "a", "view_range": [1, "2"]}, "read: view_range must be [start_line, end_line]."),
    ("write", {"file_path": "a"}, "write: the field 'content' is missing."),
    ("write", {"file_path": "a", "content": ["x"]}, "write: content must be a string."),
    ("write", {"file_path": "a", "content": "\ud800"}, "write: content must not contain NUL or half a surrogate pair."),
    ("write", {"file_path": "a", "content": "x" * 10_000_000}, "write: the input has 10,000,033 characters; at most"),
    ("edit", {"file_path": "a", "old_string": "", "new_string": "b"}, "edit: old_string must not be empty."),
    ("edit", {"file_path": "a", "old_string": "x", "new_string": "b", "replace_all": 1}, "edit: replace_all must be"),
    ("glob", {"pattern": {}}, "glob: pattern must be a string."),
    ("grep", {"pattern": "x", "path": 3}, "grep: path must be a string."),
    ("grep", [], "grep: the input must be an object."),
    ("grep", None, "grep: the input must be an object."),
    ("grep", "pattern", "grep: the input must be an object."),
    ("web_search", {"query": "x"}, "The tool 'web_search' is not available in this environment."),
    ("web_fetch", {"url": "x"}, "The tool 'web_fetch' is not available in this environment."),
    ("no_such_tool", {}, "The tool 'no_such_tool' is not available in this environment."),
]


@pytest.mark.parametrize(("tool", "tool_input", "reason"), WRONG)
def test_wrong_input_is_an_error_outcome_of_one_line(
    make_box: Callable[..., Box], tool: str, tool_input: Any, reason: str
) -> None:
    spec = make_box().spec
    outcome = client.execute(
        spec, exec_id="exec_1", thread="sthr_1", tool=tool, input=tool_input, cancellation=Cancellation()
    )

    assert outcome.is_error
    assert text(outcome).startswith(reason)
    assert "\n" not in text(outcome)
    assert processes.find(spec.data_dir, spec.session_id) is None  # nothing was started for it


def test_input_that_is_no_json_is_refused() -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(5000):
        inner["x"] = inner = {}

    assert refusal("write", {"file_path": "a", "content": b"bytes"}) == "write: the input is not JSON."
    assert refusal("write", deep) == "write: the input is not JSON."


def test_optional_fields_may_be_null() -> None:
    assert refusal("bash", {"command": "x", "restart": None, "timeout_ms": None}) == ""
    assert refusal("grep", {"pattern": "x", "path": None}) == ""


def test_a_null_field_is_an_absent_one(files_box: Box) -> None:
    files_box.run("write", file_path="a.txt", content="one")

    assert text(files_box.run("read", file_path="a.txt", view_range=None)) == "one"
    assert text(files_box.run("glob", pattern="a.txt", path=None)) == "/workspace/a.txt"


def test_the_rules_are_those_of_the_sdks_input_types() -> None:
    from anthropic.types import beta

    for tool, rules in RULES.items():
        model = getattr(beta, f"BetaManagedAgentsAgentToolset20260401{tool.capitalize()}Input")
        assert set(rules) == set(model.model_fields)
        required = {name for name, field in model.model_fields.items() if field.is_required()}
        assert {name for name, (needed, _) in rules.items() if needed} == required


def test_bash_is_refused_without_a_sandbox_and_never_run(make_box: Callable[..., Box]) -> None:
    box = make_box(client.FILES_ONLY)
    outcome = box.run("bash", command="touch /workspace/ran")

    assert outcome.is_error
    assert text(outcome).startswith("bash is not available: this server cannot isolate commands, so it runs none.")
    assert not box.spec.root.exists()


def test_the_executor_itself_refuses_bash_without_a_sandbox(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_refusal", lambda *_: "")
    box = make_box(client.FILES_ONLY)
    outcome = box.run("bash", command=f"touch {box.folder('workspace')}/ran")

    assert outcome.is_error
    assert list(box.folder("workspace").iterdir()) == []


def test_an_outcome_is_json(files_box: Box) -> None:
    outcome = files_box.run("write", file_path="a.txt", content="x")

    assert json.loads(json.dumps(asdict(outcome)))["is_error"] is False
