"""`python -m bench [ROW…]`: measure the rows, print the table, write `bench-results.json`."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import engine, search, sessions_list, start, timeline, traces  # noqa: F401 (they register their rows)
from bench.rows import ROWS, Measured

RESULTS = Path("bench-results.json")
LOAD_BEFORE = round(os.getloadavg()[0], 2)
BUSY = 0.5  # above this load the figures say more about the machine's other work


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in ROWS]
    if unknown:
        print(f"There is no row {', '.join(unknown)}. Rows: {', '.join(ROWS)}.", file=sys.stderr)
        return 2
    results: dict[str, Measured] = {}
    for name in wanted or list(ROWS):
        print(f"Measuring {name} …", file=sys.stderr, flush=True)
        results[name] = ROWS[name].measure()
        print(f"  {results[name].text}", file=sys.stderr, flush=True)  # kept when a later row fails
    print_table(results)
    if LOAD_BEFORE > BUSY:
        print(f"The machine was busy (load {LOAD_BEFORE}) before the first row: measure again when it is quiet.")
    write_json(results)
    return 0 if all(measured.holds for measured in results.values()) else 1


def print_table(results: dict[str, Measured]) -> None:
    lines = [("Figure", "Bar", "Measured", "")]
    for name, measured in results.items():
        lines.append((ROWS[name].figure, ROWS[name].bar, measured.text, "✓" if measured.holds else "✗"))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    for line in lines:
        print("  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[3]]).rstrip())


def write_json(results: dict[str, Measured]) -> None:
    """Rows measured earlier stay in the file, so that one row can be measured again."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for name, measured in results.items():
        known[name] = {
            "figure": ROWS[name].figure,
            "bar": ROWS[name].bar,
            "measured": measured.text,
            "holds": measured.holds,
            "numbers": measured.numbers,
            "at": now,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "load_before": LOAD_BEFORE,
        }
    RESULTS.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
