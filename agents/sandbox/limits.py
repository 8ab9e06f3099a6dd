"""How much one session may use. Read on both sides of the wall."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

MIB = 1024 * 1024
GIB = 1024 * MIB

PREFIX = "DAYBREAK_SANDBOX_"


@dataclass(frozen=True)
class Limits:
    """Every field can be set by an environment variable: `DAYBREAK_SANDBOX_` and the name in capitals.

    `address_space_bytes`, `cpu_s`, `file_size_bytes` and `open_files` bind each process. `processes`, `memory_bytes`,
    `disk_bytes` and `disk_entries` bind the session as a whole and are watched by the executor.
    """

    idle_s: float = 120.0  # an executor without work ends after this
    alive: int = 8  # executors per data dir
    address_space_bytes: int = 2 * GIB
    cpu_s: int = 1200  # two cores for the longest bash call
    file_size_bytes: int = 1 * GIB
    open_files: int = 1024
    processes: int = 256
    memory_bytes: int = 4 * GIB
    disk_bytes: int = 2 * GIB
    disk_entries: int = 200_000
    bash_s: float = 120.0
    bash_longest_s: float = 600.0
    file_tool_s: float = 120.0
    spill_bytes: int = 256 * MIB  # of one call's output; the rest is counted and dropped

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Limits:
        """Raises ValueError naming the variable that is not a number above zero."""
        environment = os.environ if environment is None else environment
        changed: dict[str, float | int] = {}
        for field in fields(cls):
            name = PREFIX + field.name.upper()
            raw = environment.get(name, "").strip()
            if not raw:
                continue
            kind = float if isinstance(field.default, float) else int
            try:
                value: float | int = kind(raw)
            except ValueError:
                value = 0
            if value <= 0:
                raise ValueError(f"{name} must be a number above zero, not {raw!r}.")
            changed[field.name] = value
        return cls(**changed)  # type: ignore[arg-type]
