"""The part of `make check` that needs the project's settings: types, migrations, deployment checks.

They run on a throw-away data dir, so that a check neither needs nor touches anybody's database.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, "manage.py"]
CHECKS = {
    "types": [sys.executable, "-m", "mypy", "agents", "console", "reviews", "manage.py", "tools"],
    "migrations": [*MANAGE, "makemigrations", "--check", "--dry-run"],
    "deployment": [*MANAGE, "check", "--deploy", "--fail-level", "WARNING"],
}


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory(prefix="daybreak-check-") as folder:
        environment = {**os.environ, "DAYBREAK_DATA_DIR": folder, "DAYBREAK_HTTPS": "1", "DEBUG": "0"}
        environment.pop("DATABASE_URL", None)
        Path(folder, "static").mkdir()
        for name, command in CHECKS.items():
            changes = {"DAYBREAK_EMBEDDED_DSN": "dbname=unused"} if name == "types" else {}
            done = subprocess.run(command, cwd=ROOT, env={**environment, **changes}, check=False)
            if done.returncode != 0:
                failed.append(name)
    if failed:
        sys.stderr.write(f"Failed: {', '.join(failed)}.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
