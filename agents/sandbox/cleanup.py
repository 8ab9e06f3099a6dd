"""`python -m agents.sandbox.cleanup DATA_DIR` ends the executors that a data dir's workers left running."""

from __future__ import annotations

import sys
from pathlib import Path

from agents.sandbox.client import stop_all


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m agents.sandbox.cleanup DATA_DIR\n")
        return 2
    ended = stop_all(Path(arguments[0]))
    sys.stdout.write(f"Ended {ended} sandbox{'' if ended == 1 else 'es'}.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
