"""What the converters of chat logs share: a log that grows event by event, without times."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from agents.ingestion.blocks import as_text
from agents.ingestion.model import CHAT, ImportedAnnotation, ImportedEvent, ImportedSession, ImportedThread
from agents.ingestion.source import clean_text

MAX_TITLE = 120
MAX_METADATA = 512
MAX_NAME = 200


class ChatLog:
    """Events in the order in which they are added, and one thread per speaker, the first of them primary."""

    def __init__(self, *, sanitised: bool) -> None:
        self.sanitised = sanitised
        self.events: list[ImportedEvent] = []
        self.annotations: list[ImportedAnnotation] = []
        self.threads: dict[str, ImportedThread] = {}
        self.notes: list[str] = []

    def thread(self, name: str, event_id: str) -> str:
        """The key of a speaker's thread. `event_id` is the event that makes a new one known."""
        key = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 33]}~{digest(name)[:32]}"
        if key not in self.threads:
            primary = next(iter(self.threads), None)
            self.threads[key] = ImportedThread(key, key or "unnamed", primary)
            if primary is not None:
                payload = {"agent_name": key or "unnamed", "session_thread_id": key}
                created = f"{event_id}:thread-{len(self.threads)}"
                self.add(primary, created, "session.thread_created", payload)
        return key

    def add(
        self,
        thread: str,
        event_id: str,
        kind: str,
        payload: dict[str, Any],
        private: dict[str, Any] | None = None,
        cause: str | None = None,
    ) -> ImportedEvent:
        known = {**(private or {}), **({"sanitised": True} if self.sanitised else {})}
        event = ImportedEvent(event_id, thread, kind, payload, known or None, None, cause)
        self.events.append(event)
        return event

    def session(self, external_id: str, source_name: str, title: str, metadata: dict[str, str]) -> ImportedSession:
        return ImportedSession(
            external_id=external_id,
            format=CHAT,
            source_name=source_name,
            title=first_line(title),
            threads=list(self.threads.values()),
            events=self.events,
            annotations=self.annotations,
            has_times=False,
            metadata=metadata,
            notes=self.notes,
        )


def first_line(text: str) -> str:
    stripped = text.strip()
    return stripped.splitlines()[0][:MAX_TITLE] if stripped else ""


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value, however its text was laid out and its keys were ordered."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def as_metadata(source: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    """Some of the source's fields as session metadata: short strings, at most as long as the wire allows."""
    return {name: as_text(source[key])[:MAX_METADATA] for key, name in names.items() if source.get(key) is not None}


def source_file(path: Path) -> str:
    return clean_text(f"{path.parent.name}/{path.name}")[:MAX_METADATA]
