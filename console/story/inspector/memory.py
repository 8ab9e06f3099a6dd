"""What the session's agents remembered: nothing can be mounted yet, and the tab says what it will hold."""

from __future__ import annotations

from dataclasses import dataclass

from console.story.inspector.asked import Asked


@dataclass(frozen=True)
class MemoryBody:
    is_imported: bool


def read(asked: Asked) -> MemoryBody:
    return MemoryBody(asked.session.is_imported)
