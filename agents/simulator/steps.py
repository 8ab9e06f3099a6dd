"""What a model did so far in a turn: answers, their tool calls, and what came back, from tools and from agents."""

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


@dataclass(frozen=True)
class Mail:
    """A message that another agent sent to this one. `after` is how many answers of the turn were given before."""

    sender: str
    thread_id: str
    text: str
    after: int = 0
