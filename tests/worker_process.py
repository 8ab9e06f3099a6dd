"""Workers as processes of their own, for tests that kill them: `python -m tests.worker_process`.

Loading Django takes seconds, so this process loads it once and forks: each line of standard input is a JSON object of
environment variables for one more worker, and is answered with its process id once it is up. All of them end with
this process, and it ends with its standard input.

A worker with `HALT_AT=module:function:number` halts before the `number`th call of that function (which callers must
reach through its module): it makes the file that `HALTED` names and waits, whatever it holds, until that file is gone
or it is killed. One with `POISON=word` dies of requests to agents whose system prompt has the word; the clock of one
with `CLOCK_SHIFT_S` is wrong. SIGTERM drains a worker and ends it, as Celery's does.
"""

from __future__ import annotations

import ctypes
import importlib
import itertools
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
    _take_settings(environment)
    if place := environment.get("HALT_AT"):
        halt_at(place, Path(environment["HALTED"]))
    if word := environment.get("POISON"):
        die_of(word)
    if seconds := environment.get("CLOCK_SHIFT_S"):
        import time_machine

        time_machine.travel(datetime.now(tz=UTC) + timedelta(seconds=float(seconds)), tick=True).start()
    from tests.worker import LocalWorker

    worker = LocalWorker(hints=False)
    worker.expects_errors = True
    signal.signal(signal.SIGTERM, lambda number, frame: _drain())
    worker.start()
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    while not _draining():
        time.sleep(0.05)
    worker.finish()
    os._exit(0)


def _take_settings(environment: dict[str, str]) -> None:
    """Settings were read before the fork: what this worker is given instead."""
    from django.conf import settings

    for name, value in environment.items():
        if name.startswith("DAYBREAK_") and isinstance(getattr(settings, name, None), float):
            setattr(settings, name, float(value))


def _drain() -> None:
    from django.conf import settings

    from agents.runtime import leases

    leases.held_runs.drain(settings.DAYBREAK_DRAIN_S)


def _draining() -> bool:
    from agents.runtime import leases

    return leases.held_runs.draining


def halt_at(place: str, flag: Path) -> None:
    module_name, name, number = place.split(":")
    module = importlib.import_module(module_name)
    real, calls = getattr(module, name), itertools.count(1)

    def halting(*args: object, **kwargs: object) -> object:
        if next(calls) == int(number):
            flag.touch()
            while flag.exists():
                time.sleep(0.01)
        return real(*args, **kwargs)

    setattr(module, name, halting)


def die_of(word: str) -> None:
    """Die, a moment after it began, of a model request whose system prompt has the word."""
    from agents.providers.simulated import SimulatedProvider

    real = SimulatedProvider.request

    def deadly(provider: object, request: object, *args: object) -> object:
        if word in request.system:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(provider, request, *args)

    SimulatedProvider.request = deadly


if __name__ == "__main__":
    main()
