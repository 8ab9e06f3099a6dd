"""What is inside content blocks and tool inputs, in a line."""

from __future__ import annotations

import json
from typing import Any

from console import formats
from console.text import one_line, plain

EXCERPT = 400


def blocks_of(data: dict[str, Any], key: str = "content") -> list[dict[str, Any]]:
    """The content blocks of an event, whatever odd shape it came in."""
    content = data.get(key)
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, dict)]


def text_of(blocks: list[dict[str, Any]]) -> str:
    texts = (block.get("text") for block in blocks if block.get("type") == "text")
    return "\n\n".join(text for text in texts if isinstance(text, str))


def excerpt(blocks: list[dict[str, Any]], limit: int = EXCERPT) -> str:
    """The beginning of the text, and what there is beside it."""
    said = one_line(plain(text_of(blocks)), limit)
    beside = attachments(blocks)
    return f"{said} ({beside})" if said and beside else said or beside


def attachments(blocks: list[dict[str, Any]]) -> str:
    """2 images, 1 document; empty when there is only text."""
    kinds = [str(block.get("type")) for block in blocks if block.get("type") != "text"]
    names = {"image": "image", "document": "document", "redacted": "redacted part", "search_result": "search result"}
    found = dict.fromkeys(kinds)
    return ", ".join(formats.plural(kinds.count(kind), names.get(kind, kind or "block")) for kind in found)


def tool_gist(name: str, given: Any) -> str:
    """What a tool was asked to do: the command, the path, the pattern; else its input as JSON."""
    if not isinstance(given, dict):
        return one_line(as_json(given))
    tell = _GISTS.get(name.lower())
    try:
        said = tell(given) if tell else ""
    except (KeyError, TypeError, AttributeError):
        said = ""
    return one_line(said or _any_gist(given))


def as_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _any_gist(given: dict[str, Any]) -> str:
    """A single text argument speaks for itself; more are named."""
    if len(given) == 1:
        return as_json(next(iter(given.values())))
    return as_json(given) if given else ""


def _bash(given: dict[str, Any]) -> str:
    return "restart the shell" if given.get("restart") else "$ " + given["command"]


def _read(given: dict[str, Any]) -> str:
    lines = given.get("view_range")
    return given["file_path"] + (f", lines {lines[0]} to {lines[1]}" if lines else "")


def _write(given: dict[str, Any]) -> str:
    lines = given["content"].count("\n") + 1 if given["content"] else 0
    return f"{given['file_path']}, {formats.plural(lines, 'line')}"


def _search(given: dict[str, Any]) -> str:
    return f"“{given['pattern']}”" + (f" in {given['path']}" if given.get("path") else "")


_GISTS = {
    "bash": _bash,
    "read": _read,
    "write": _write,
    "edit": lambda given: given["file_path"],
    "multiedit": lambda given: given["file_path"],
    "glob": _search,
    "grep": _search,
    "web_fetch": lambda given: given["url"],
    "web_search": lambda given: f"“{given['query']}”",
}
