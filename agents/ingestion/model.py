"""What every converter gives: a session of another tool, told in our events. Plain data, no database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

CLAUDE_CODE = "claude-code"
CHAT = "chat"
INSPECT = "inspect"
OTLP = "otlp"
FORMATS = (OTLP, CLAUDE_CODE, INSPECT, CHAT)

PRIMARY = "main"
NAMED_PROBLEMS = 1_000
REASON_LENGTH = 120


@dataclass(frozen=True)
class ImportedEvent:
    """One event of the log.

    `payload` holds the wire fields of `type` without `id`, `type` and `processed_at`. Where the wire refers to an
    event (`tool_use_id`, `mcp_tool_use_id`, `model_request_start_id`) it holds that event's `external_id`; where
    the wire refers to a thread (`session_thread_id`, `to_session_thread_id`, `from_session_thread_id`) the thread's
    key. `at` is null when the source does not say when. `cause` is an `external_id`. An event that is not `visible`
    is ours alone: pages show it, the wire does not have it.
    """

    external_id: str
    thread: str
    type: str
    payload: dict[str, Any]
    private: dict[str, Any] | None = None
    at: datetime | None = None
    cause: str | None = None
    visible: bool = True


@dataclass(frozen=True)
class ImportedThread:
    key: str
    agent_name: str
    parent: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class ImportedAnnotation:
    """What a person said of one event, found in the source."""

    event: str
    kind: Literal["failure", "good", "note"]
    category: str | None
    text: str
    author: str


@dataclass(frozen=True)
class ImportedSession:
    """`threads[0]` is the primary thread; `events` are in the order of the log, causes before their effects.

    `spans` are what a traced session was read from. Later ones may tell of earlier moments: such a session's rows are
    put in their places again when more of them come.
    """

    external_id: str
    format: str
    source_name: str
    title: str
    threads: list[ImportedThread]
    events: list[ImportedEvent]
    annotations: list[ImportedAnnotation]
    has_times: bool
    metadata: dict[str, str]
    notes: list[str]
    spans: Sequence[Any] = ()


@dataclass(frozen=True)
class Problem:
    """Something that could not be imported, and why. `line` counts from 1; null means the whole file."""

    path: Path
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{where}: {self.reason}".encode(errors="replace").decode()


@dataclass
class ImportReport:
    """What a reader met on its way. Every line of a JSONL file ends up in exactly one of the three counts
    `imported_lines`, `broken_lines` and `skipped_lines`."""

    files: int = 0
    lines: int = 0
    imported_lines: int = 0
    broken_lines: int = 0
    skipped_lines: Counter[str] = field(default_factory=Counter)
    skipped_files: int = 0
    skipped_spans: int = 0  # without a usable trace or span id
    problems: list[Problem] = field(default_factory=list)
    expected: int = 0

    def broken_line(self, path: Path, line: int, reason: str) -> None:
        self.broken_lines += 1
        self._name(Problem(path, line, reason))

    def skipped_file(self, path: Path, reason: str) -> None:
        self.skipped_files += 1
        self._name(Problem(path, None, reason))

    def skipped_line(self, reason: str) -> None:
        reason = reason[:REASON_LENGTH]
        known = reason in self.skipped_lines or len(self.skipped_lines) < NAMED_PROBLEMS
        self.skipped_lines[reason if known else "other"] += 1

    @property
    def skipped(self) -> int:
        return self.skipped_files + self.broken_lines + self.skipped_lines.total() + self.skipped_spans

    @property
    def unnamed_problems(self) -> int:
        """How many broken lines and skipped files are counted but no longer listed in `problems`."""
        return self.skipped_files + self.broken_lines - len(self.problems)

    def _name(self, problem: Problem) -> None:
        if len(self.problems) < NAMED_PROBLEMS:
            self.problems.append(problem)
