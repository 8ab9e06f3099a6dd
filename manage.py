#!/usr/bin/env python
"""Daybreak's command line. `up` runs everything; every other command finds its database by itself."""

from __future__ import annotations

import os
import sys

from console import supervisor
from console.data_dir import DataDirError, default_data_dir
from console.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, attach_or_start
from console.start_checks import CannotStart, check_external

WITHOUT_DATABASE = {
    "check",
    "help",
    "--help",
    "-h",
    "version",
    "--version",
    "collectstatic",
    "findstatic",
    "diffsettings",
}


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command == "up":
        return supervisor.main(sys.argv[2:])
    try:
        if external := os.environ.get("DATABASE_URL"):
            if command not in WITHOUT_DATABASE | {"doctor"}:
                check_external(external)
            run_django()
        elif os.environ.get("DAYBREAK_EMBEDDED_DSN"):
            run_django()
        elif command in WITHOUT_DATABASE:
            os.environ["DAYBREAK_EMBEDDED_DSN"] = EmbeddedPostgres(default_data_dir()).dsn
            run_django()
        else:
            with attach_or_start(default_data_dir()) as server:
                os.environ["DAYBREAK_EMBEDDED_DSN"] = server.dsn
                run_django()
    except (CannotStart, DataDirError, EmbeddedPostgresError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


def run_django() -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
