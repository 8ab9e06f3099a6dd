"""What of an event can be searched: its text, and what kind of text that is. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.models import SearchText
from agents.services.calls import TEAM_RESULT
from agents.services.log import clean_text
from agents.services.mail import SENT
from agents.services.search_words import MAX_TEXT
from agents.services.turns import RECEIVED

Kind = SearchText.Kind

THINKING = "agent.thinking"
REQUEST_END = "span.model_request_end"
COMPACTED = "agent.thread_context_compacted"
WARNING = "daybreak.warning"
USES = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use")
RESULTS = ("agent.tool_result", "agent.mcp_tool_result", "user.custom_tool_result", "user.tool_result")
REFERENCES = ("tool_use_id", "mcp_tool_use_id", "custom_tool_use_id")
COPIED = (*USES, *RESULTS, "user.tool_confirmation")
# Types without words of their own, by their beginnings: they are not even read.
WORDLESS = ("session.status_", "session.thread_status_", "session.usage", "span.", "daybreak.")
WORDED_ALL_THE_SAME = ("span.outcome_evaluation_end", REQUEST_END, WARNING, TEAM_RESULT)
# What a reader never searches: ids, bytes, and the names by which parts are told apart.
_NOT_WORDS = frozenset({"type", "id", "data", "signature", "media_type", "file_id", "cache_control", *REFERENCES})
_ESCAPE_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and the like of terminals, which would hide the words they touch
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\Z)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
MAX_DEPTH = 40


@dataclass(frozen=True)
class Text:
    """The searchable text of an event. `tool_use_id` is the call that a result answers."""

    kind: Kind
    text: str
    is_cut: bool = False
    is_error: bool = False
    tool: str = ""
    tool_use_id: str = ""


def text_of(type_: str, data: Any, private: Any) -> Text | None:
    """The text of an event; None when it has none, or says again what another event says. Never raises.

    Args:
        data: the wire fields, as `Event.data`.
        private: what is known beside the wire, as `Event.private_data`.
    """
    data = data if isinstance(data, dict) else {}
    private = private if isinstance(private, dict) else {}
    if is_repeated(type_, data) or (type_.startswith(WORDLESS) and type_ not in WORDED_ALL_THE_SAME):
        return None
    kind, is_error, texts = _parts(type_, data, private)
    joined, is_cut = _join(texts)
    if not joined and not is_error:
        return None
    tool = str(data.get("name") or "") if type_ in USES else ""
    use = next((data[key] for key in REFERENCES if isinstance(data.get(key), str)), "") if type_ in RESULTS else ""
    return Text(kind, joined, is_cut, is_error, clean_text(tool)[:200], clean_text(use)[:64])


def is_repeated(type_: str, data: dict[str, Any]) -> bool:
    """Whether the session's stream shows here what a thread's own event says."""
    return type_ in COPIED and "session_thread_id" in data


def _parts(type_: str, data: dict[str, Any], private: dict[str, Any]) -> tuple[Kind, bool, Iterator[str]]:
    failed = bool(data.get("is_error"))
    if type_ in USES:
        return Kind.TOOL_INPUT, False, _of_tool_input(data)
    if type_ in RESULTS:
        return Kind.TOOL_OUTPUT, failed, _strings(data.get("content"))
    if type_ == TEAM_RESULT:  # what delegation brought stands in the messages; only a refusal stands here
        return Kind.DELEGATION, failed, _strings(data.get("content")) if failed else iter(())
    if type_ == THINKING:
        return Kind.THINKING, False, _strings(private.get("thinking"))
    if type_ in (SENT, RECEIVED):
        return Kind.DELEGATION, False, _strings(data.get("content"))
    if type_ == "session.error":
        return Kind.ERROR, True, _strings(data.get("error"), everything=True)
    if type_.endswith(".message"):
        return Kind.MESSAGE, False, _strings(data.get("content"))
    if type_ == REQUEST_END:
        return Kind.NOTE, False, iter(())
    if type_ == COMPACTED:
        return Kind.NOTE, False, _strings(private.get("summary"))
    return Kind.NOTE, failed, _strings(data)


def _of_tool_input(data: dict[str, Any]) -> Iterator[str]:
    """The tool's name and its arguments. The arguments' own names are the tool's, not this call's."""
    yield str(data.get("name") or "")
    given = data.get("input")
    if not isinstance(given, dict):
        yield from _strings(given)
        return
    for name, value in given.items():
        if not _PLAIN_NAME.fullmatch(str(name)):
            yield str(name)
        yield from _strings(value, 1, everything=True)


def _strings(value: Any, depth: int = 0, *, everything: bool = False) -> Iterator[str]:
    """Every text inside a value; in `everything` also under names that elsewhere hold no words, and the names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool) or value is None or depth > MAX_DEPTH:
        return
    elif isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, depth + 1, everything=everything)
    elif isinstance(value, dict):
        yield from _of_dict(value, depth, everything)


def _of_dict(value: dict[str, Any], depth: int, everything: bool) -> Iterator[str]:
    holds_text = value.get("type") == "text"  # then a document's `data` is its words, not its bytes
    for name, item in value.items():
        if everything:
            yield str(name)
        elif name in _NOT_WORDS and not (holds_text and name == "data"):
            continue
        yield from _strings(item, depth + 1, everything=everything)


def _join(texts: Iterator[str]) -> tuple[str, bool]:
    """The texts below each other, up to `MAX_TEXT` characters, and whether there is more."""
    taken: list[str] = []
    length = 0
    for text in texts:
        if text:
            taken.append(text)
            length += len(text) + 1
        if length > MAX_TEXT + 1:
            break
    joined = "\n".join(taken)
    if "\x1b" in joined or "\x9b" in joined:
        joined = _ESCAPE_SEQUENCES.sub("", joined)
    return joined[:MAX_TEXT], len(joined) > MAX_TEXT


def parse(text: str | None) -> Any:
    """A stored JSON text; None for what is none, or is nested too deep to read."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
