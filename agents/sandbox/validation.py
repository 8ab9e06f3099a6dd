"""Tool input comes from a model and may be anything. Checked here, before it gets near a sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_INPUT_CHARS = 2 * 1024 * 1024
_LONGEST_PATH = 4096
_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")


def _text(value: object) -> str:
    if not isinstance(value, str):
        return "must be a string"
    return "must not contain NUL or half a surrogate pair" if _UNSENDABLE.search(value) else ""


def _filled_text(value: object) -> str:
    return _text(value) or ("" if value else "must not be empty")


def _path(value: object) -> str:
    if problem := _filled_text(value):
        return problem
    return "" if len(str(value)) <= _LONGEST_PATH else f"must not have more than {_LONGEST_PATH} characters"


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _milliseconds(value: object) -> str:
    return "" if _is_whole(value) and value > 0 else "must be a whole number above 0"  # type: ignore[operator]


def _line_range(value: object) -> str:
    if isinstance(value, list) and len(value) == 2 and all(_is_whole(line) for line in value):
        return ""
    return "must be [start_line, end_line]"


_Rules = dict[str, tuple[bool, Callable[[object], str]]]  # field: required, check

# The inputs of agent_toolset_20260401 (contract: tools).
RULES: dict[str, _Rules] = {
    "bash": {"command": (False, _text), "restart": (False, _flag), "timeout_ms": (False, _milliseconds)},
    "read": {"file_path": (True, _path), "view_range": (False, _line_range)},
    "write": {"file_path": (True, _path), "content": (True, _text)},
    "edit": {
        "file_path": (True, _path),
        "old_string": (True, _filled_text),
        "new_string": (True, _text),
        "replace_all": (False, _flag),
    },
    "glob": {"pattern": (True, _filled_text), "path": (False, _path)},
    "grep": {"pattern": (True, _filled_text), "path": (False, _path)},
}


def refusal(tool: str, tool_input: object) -> str:
    """Why this call cannot be carried out, in one line, or ""."""
    rules = RULES.get(tool) if isinstance(tool, str) else None
    if rules is None:
        return f"The tool {str(tool)[:100]!r} is not available in this environment."
    if not isinstance(tool_input, Mapping):
        return f"{tool}: the input must be an object."
    if problem := _size_problem(tool_input):
        return f"{tool}: {problem}"
    if unknown := sorted(str(name) for name in tool_input if name not in rules):
        return f"{tool}: unknown field {unknown[0][:100]!r}. It takes {', '.join(rules)}."
    for name, (required, check) in rules.items():
        value = tool_input.get(name)
        if value is None:
            if required:
                return f"{tool}: the field {name!r} is missing."
        elif problem := check(value):
            return f"{tool}: {name} {problem}."
    if tool == "bash" and not tool_input.get("restart") and not str(tool_input.get("command") or "").strip():
        return "bash: a command is required, unless restart is true."
    return ""


def without_nulls(tool_input: Mapping[str, Any]) -> dict[str, Any]:
    """An optional field that is null is an absent one."""
    return {name: value for name, value in tool_input.items() if value is not None}


def _size_problem(tool_input: Mapping[Any, Any]) -> str:
    try:
        size = len(json.dumps(tool_input, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return "the input is not JSON."
    if size > MAX_INPUT_CHARS:
        return f"the input has {size:,} characters; at most {MAX_INPUT_CHARS:,} are allowed."
    return ""
