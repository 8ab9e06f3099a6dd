"""The lines of one Claude Code session, each with an id that stays the same when the files grow."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from agents.ingestion.model import PRIMARY, ImportReport

MAX_ID_LENGTH = 200
_DELIVERED = ("user", "assistant")


@dataclass(frozen=True)
class Line:
    """One JSON object of a session's files. `uuid` is Claude Code's own id, null where it gave none."""

    data: dict[str, Any]
    external_id: str
    uuid: str | None
    parent: str | None
    thread: str
    at: datetime | None
    sanitised: bool

    @property
    def type(self) -> str:
        kind = self.data.get("type")
        return kind if isinstance(kind, str) else "no type"

    @property
    def message(self) -> dict[str, Any]:
        message = self.data.get("message")
        return message if isinstance(message, dict) else {}

    @property
    def blocks(self) -> list[Any]:
        """The message's content as a list; a plain string is its only item."""
        content = self.message.get("content")
        if content is None:
            return []
        return content if isinstance(content, list) else [content]

    @property
    def request_id(self) -> str | None:
        """Which model answer an assistant line is a piece of: several lines share one."""
        if self.type != "assistant":
            return None
        own = text_of(self.message, "id") or text_of(self.data, "requestId")
        return short_id(own) if own else self.external_id

    def block_id(self, index: int) -> str:
        """The external id of the event made of the block at `index`."""
        return self.external_id if index == 0 else f"{self.external_id}#{index}"


def text_of(data: Any, key: str) -> str | None:
    """The string under `key`, or null when there is none or it is empty."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, str) and value else None


def short_id(text: str) -> str:
    """An id as it is, or, when it is too long to store, its beginning and a digest of the whole."""
    if len(text) <= MAX_ID_LENGTH:
        return text
    return f"{text[: MAX_ID_LENGTH - 65]}~{hashlib.sha256(text.encode()).hexdigest()}"


def parse_time(value: Any) -> datetime | None:
    """An RFC 3339 time in UTC, or null. A time without an offset is read as UTC."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def identify(parsed: Iterable[tuple[dict[str, Any], bool]], report: ImportReport) -> list[Line]:
    """Give each line its external id and thread. A line that was there before, word for word, is passed over."""
    first: dict[str, str] = {}
    without_uuid: Counter[str] = Counter()
    lines: dict[str, Line] = {}
    for data, sanitised in parsed:
        digest = _digest(data)
        uuid = text_of(data, "uuid")
        if uuid is None:
            without_uuid[digest] += 1
            external_id = f"line:{digest[:32]}:{without_uuid[digest]}"
        elif first.setdefault(uuid, digest) == digest:
            external_id = short_id(uuid)
        else:
            external_id = f"{short_id(uuid)}~{digest[:32]}"
        if external_id in lines:
            report.skipped_line("repeated line")
            continue
        lines[external_id] = Line(
            data=data,
            external_id=external_id,
            uuid=uuid,
            parent=text_of(data, "parentUuid"),
            thread=_thread_of(data),
            at=parse_time(data.get("timestamp")),
            sanitised=sanitised,
        )
    return _with_old_sidechains(list(lines.values()))


def _digest(data: dict[str, Any]) -> str:
    """What a line says, whichever file says it and however its keys are ordered."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _thread_of(data: dict[str, Any]) -> str:
    agent_id = text_of(data, "agentId")
    return short_id(agent_id) if agent_id and agent_id != PRIMARY else PRIMARY


def _with_old_sidechains(lines: list[Line]) -> list[Line]:
    """Early versions wrote sub-agents into the session's file, without an agent id: each root is a thread."""
    chain: dict[str | None, Line] = {
        line.uuid: line
        for line in lines
        if line.uuid and line.thread == PRIMARY and line.data.get("isSidechain") is True
    }
    if not chain:
        return lines
    roots: dict[str | None, str] = {}
    moved = []
    for line in lines:
        if chain.get(line.uuid) is line:
            root = _root_of(line, chain, roots)
            line = replace(line, thread=short_id(f"sidechain-{root}"))
        moved.append(line)
    return moved


def _root_of(line: Line, chain: dict[str | None, Line], roots: dict[str | None, str]) -> str:
    path = []
    at = line
    while at.uuid not in roots and at.uuid not in path:
        path.append(at.uuid)
        if at.parent not in chain:
            break
        at = chain[at.parent]
    root = roots.get(at.uuid) or at.uuid or line.external_id
    for uuid in path:
        roots[uuid] = root
    return root


def is_message(line: Line) -> bool:
    """Whether the line is a turn of the conversation that can be read."""
    return line.type in _DELIVERED and line.message.get("content") is not None
