"""What a row of the table is, and the list of all rows.

A row is a function that starts what it needs (`instance.running()`), measures, and returns a `Measured`:

    @row("cold-start", "Cold start to the first page, empty data dir", "≤ 8 s")
    def cold_start() -> Measured:
        ...
        return Measured(f"{seconds:.1f} s", seconds <= 8, {"seconds": seconds})
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What came out: for people, whether the bar holds, and the numbers for the JSON file."""

    text: str
    holds: bool
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    name: str
    figure: str
    bar: str
    measure: Callable[[], Measured]


ROWS: dict[str, Row] = {}


def row(name: str, figure: str, bar: str) -> Callable[[Callable[[], Measured]], Callable[[], Measured]]:
    """Register a function as a row of the table."""

    def register(measure: Callable[[], Measured]) -> Callable[[], Measured]:
        ROWS[name] = Row(name, figure, bar, measure)
        return measure

    return register


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
