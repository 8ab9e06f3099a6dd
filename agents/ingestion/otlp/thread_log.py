"""What has been told on one thread so far, so that a repeated history is told once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agents.ingestion.otlp.messages import Message, Part, result_blocks


@dataclass(slots=True)
class Call:
    """A tool call that has been told: by the answer that made it, by its span, or by both."""

    event: str
    thread: str
    name: str
    id: str
    arguments: Any
    has_span: bool = False
    said: bool = False  # told by an answer, or by a history that quotes one
    answered: bool = False


@dataclass(slots=True)
class ThreadLog:
    """`told` counts each text by who said it: the third time that a request repeats "yes" is the third "yes"."""

    key: str
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: list[Call] = field(default_factory=list)
    by_id: dict[str, Call] = field(default_factory=dict)
    last_in: str | None = None  # the newest event that a next request answers
    last_said: str = ""
    messages_sent: int = 0

    def add(self, call: Call) -> Call:
        self.calls.append(call)
        if call.id:
            self.by_id[call.id] = call
        return call

    def find(self, call_id: str, name: str = "", arguments: Any = None) -> Call | None:
        """The told call that a span or a result is about: by its id; without one, the first open one of its name."""
        if call_id:
            return self.by_id.get(call_id)
        same = [c for c in self.calls if not c.id and not c.answered and (not name or c.name == name)]
        exact = [c for c in same if c.arguments == arguments]
        return next(iter(exact or same), None)

    def find_without_span(self, call_id: str, name: str, arguments: Any) -> Call | None:
        if call_id and (found := self.by_id.get(call_id)):
            return None if found.has_span else found
        open_calls = [c for c in self.calls if c.name == name and not c.has_span and (not c.id or not call_id)]
        exact = [c for c in open_calls if c.arguments == arguments]
        return next(iter(exact or open_calls), None)

    def tell(self, role: str, text: str) -> None:
        self.told[(role, normal(text))] += 1


class History:
    """The messages of one request, walked against what is told: `is_new` says what has to be."""

    def __init__(self, log: ThreadLog) -> None:
        self.log = log
        self.met: Counter[tuple[str, str]] = Counter()

    def is_new(self, role: str, text: str) -> bool:
        key = (role, normal(text))
        self.met[key] += 1
        if self.met[key] <= self.log.told[key]:
            return False
        self.log.told[key] = self.met[key]
        return True


def bounded(identity: str) -> str:
    """An id of another's making, short enough to be part of one of ours."""
    return identity if len(identity) <= 100 else hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()


def normal(text: str) -> str:
    return " ".join(text.split())


def said_by(message: Message) -> str:
    """The part of a message that is content, as one text: what tells it from another."""
    return "\n".join(str(p.value) if p.kind == "text" else _dumped(p.value) for p in content_of(message))


def content_of(message: Message) -> list[Part]:
    return [part for part in message.parts if part.kind in ("text", "block")]


def blocks(parts: list[Part]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": p.value} if p.kind == "text" else p.value for p in parts]


def result_text(value: Any) -> str:
    return "\n".join(b["text"] if b["type"] == "text" else _dumped(b) for b in result_blocks(value))


def results_by_call(messages: list[Message]) -> dict[str, Part]:
    """Results that later requests quote, by the id of their call."""
    found: dict[str, Part] = {}
    for message in messages:
        for part in message.parts:
            if part.kind == "result" and part.id:
                found.setdefault(part.id, part)
    return found


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
