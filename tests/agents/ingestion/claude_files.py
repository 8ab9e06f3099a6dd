"""Small Claude Code sessions, written as that tool writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.ingestion import detect
from agents.ingestion.model import ImportedEvent, ImportedSession, ImportReport

SESSION = "5e55-0001"


def user(uuid: str, content: Any, *, parent: str | None = None, second: int = 0, **extra: Any) -> dict[str, Any]:
    return {
        "type": "user",
        "uuid": uuid,
        "parentUuid": parent,
        "sessionId": SESSION,
        "isSidechain": "agentId" in extra,
        "timestamp": f"2026-03-01T10:{second // 60:02}:{second % 60:02}.000Z",
        "message": {"role": "user", "content": content},
        **extra,
    }


def assistant(
    uuid: str,
    block: Any,
    *,
    parent: str | None = None,
    second: int = 0,
    message_id: str = "msg_1",
    tokens: tuple[int, int] = (10, 5),
    model: str = "claude-opus-4-7",
    **extra: Any,
) -> dict[str, Any]:
    return {
        **user(uuid, [block], parent=parent, second=second, **extra),
        "type": "assistant",
        "requestId": f"req_{message_id}",
        "message": {
            "id": message_id,
            "role": "assistant",
            "model": model,
            "content": [block],
            "usage": {
                "input_tokens": tokens[0],
                "output_tokens": tokens[1],
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 7,
            },
        },
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_use(tool_id: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_id, "name": tool, "input": arguments}


def tool_result(tool_id: str, content: Any, **extra: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": tool_id, "content": content, **extra}


def write(path: Path, *lines: Any) -> Path:
    """One line per item: text as it is, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def read_all(path: Path, format_name: str | None = None) -> tuple[list[ImportedSession], ImportReport]:
    report = ImportReport()
    return list(detect.read(path, format_name, report)), report


def read_one(path: Path) -> ImportedSession:
    sessions, report = read_all(path)
    assert report.problems == []
    (session,) = sessions
    return session


def types(session: ImportedSession, thread: str | None = None) -> list[str]:
    return [event.type for event in session.events if thread in (None, event.thread)]


def only(session: ImportedSession, kind: str) -> ImportedEvent:
    (event,) = [event for event in session.events if event.type == kind]
    return event
