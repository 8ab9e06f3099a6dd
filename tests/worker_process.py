"""Workers as processes of their own, for tests that kill them: `python -m tests.worker_process`.

Loading Django takes seconds, so this process loads it once and forks: each line of standard input is a JSON object of
environment variables for one more worker, and is answered with its process id once it is up. All of them end with
this process, and it ends with its standard input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    import django

    django.setup()
    from agents.simulator.scenarios import all_scenarios
    from tests import worker  # noqa: F401 (loaded before the fork)

    all_scenarios()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            work(json.loads(line))


def work(environment: dict[str, str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # subprocess needs it back
    os.environ.update(environment)
    from tests.worker import LocalWorker

    LocalWorker(hints=False).start()
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
