"""Live previews of an answer being written. Best effort: never stored, dropped when nobody can be told."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from django.db import DatabaseError, connection

from agents.models import Thread
from agents.services import log_sql
from agents.services.log import clean_text

logger = logging.getLogger(__name__)

DELTA_CHANNEL = "daybreak_delta"
FLUSH_INTERVAL_S = 0.05
MAX_PAYLOAD_BYTES = 7_900  # NOTIFY carries less than 8,000 bytes
MAX_TEXT_BYTES = 5_000  # so that one piece always fits


class DeltaPublisher:
    """Sends the pieces of one answer, a few at a time, to whoever watches the thread's stream."""

    def __init__(self, thread: Thread, *, message_id: str, thinking_id: str) -> None:
        self._base = {"session": thread.session_id, "thread": thread.pk}
        self._message_id = message_id
        self._pending: list[tuple[int, str]] = []
        self._last_flush = time.monotonic()
        self._started = False
        self._thinking_id = thinking_id
        self._broken = False  # a piece was lost: what came after it would not be a prefix any more

    def thinking_started(self) -> None:
        self._send([{"type": "event_start", "event": {"type": "agent.thinking", "id": self._thinking_id}}])

    def text(self, index: int, text: str) -> None:
        if self._pending and self._pending[-1][0] == index:
            self._pending[-1] = (index, self._pending[-1][1] + text)
        else:
            self._pending.append((index, text))
        if time.monotonic() - self._last_flush >= FLUSH_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        self._last_flush = time.monotonic()
        if not pending or self._broken:
            return
        frames: list[dict[str, Any]] = []
        if not self._started:
            self._started = True
            frames.append({"type": "event_start", "event": {"type": "agent.message", "id": self._message_id}})
        for index, text in pending:
            frames += [self._delta(index, piece) for piece in _pieces(clean_text(text))]
        self._send(frames)

    def _delta(self, index: int, text: str) -> dict[str, Any]:
        return {
            "type": "event_delta",
            "event_id": self._message_id,
            "delta": {"type": "content_delta", "index": index, "content": {"type": "text", "text": text}},
        }

    def _send(self, frames: list[dict[str, Any]]) -> None:
        try:
            together = self._payload(frames)
            fits = len(together.encode()) <= MAX_PAYLOAD_BYTES
            for payload in [together] if fits else [self._payload([frame]) for frame in frames]:
                log_sql.execute("SELECT pg_notify($1, $2)", [DELTA_CHANNEL, payload])
        except DatabaseError:
            self._broken = True
            logger.info("deltas dropped thread=%s", self._base["thread"])
        finally:
            if not connection.in_atomic_block:
                connection.close()

    def _payload(self, frames: list[dict[str, Any]]) -> str:
        return json.dumps({**self._base, "frames": frames}, ensure_ascii=False)


def _pieces(text: str) -> list[str]:
    """Cut a long text so that each piece, escaped as JSON, fits into one notification."""
    size = MAX_TEXT_BYTES // 6  # worst case: every character escaped as \\uXXXX or 4 bytes long
    if len(text.encode()) <= size:
        return [text]
    return [text[start : start + size] for start in range(0, len(text), size)]
