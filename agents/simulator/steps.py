"""What a model did so far in a turn: answers, their tool calls, and what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """One tool call of the model. `result` is None as long as nothing came back."""

    name: str
    input: dict[str, Any]
    result: str | None = None
    is_error: bool = False


@dataclass(frozen=True)
class Step:
    """One answer of the model."""

    text: str = ""
    calls: tuple[Call, ...] = ()
