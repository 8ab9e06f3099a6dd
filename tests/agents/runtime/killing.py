"""Killing workers while sessions run: at seeded moments, and at chosen places in the engine's work."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from django.utils import timezone

from agents.models import Session, Thread
from tests.agents.runtime.processes import Worker
from tests.worker import wait_until

Crew = Callable[..., list[Worker]]

WORKERS = 3
HALT_TIMEOUT_S = 1.5

# Where a kill falls between two things that belong together. See `tests/worker_process.py`.
PLACES = (
    "agents.services.budgets:settle",  # as an answer is written
    "agents.sandbox.client:execute",  # a command is marked as running and not handed over
    "agents.sandbox.client:acknowledge",  # a result is stored and still kept by the sandbox
)
PLACES_OF_TEAMS = (
    *PLACES,
    "agents.services.threads:spawn",  # in the middle of a lead's batch of spawns
    "agents.services.waits:start",  # as it begins to wait
    "agents.services.waits:outcome",
    "agents.services.threads:report",  # as a child's report is delivered
    "agents.services.threads:after_child",
    "agents.services.mail:send",
    "agents.services.mail:take_up",  # as the lead takes reports up
)


def kill_workers(
    sessions: Sequence[Session],
    crew: Crew,
    folder: Path,
    *,
    kills: int,
    seed: int,
    latest_s: float = 0.3,
    places: Sequence[str] = PLACES,
    timeout_s: float = 120.0,
    **environment: str,
) -> int:
    """Kill workers under the sessions until all have stopped, `kills` at most. Returns how many died."""
    chance = random.Random(seed)
    deadline = time.monotonic() + timeout_s
    workers = crew(WORKERS, **environment)
    killed = 0
    while killed < kills and not all_stopped(sessions):
        assert time.monotonic() < deadline, [(s.public_id, s.status) for s in sessions]
        if places and chance.random() < 0.5:
            flag = folder / f"halted-{seed}-{killed}"
            place = f"{chance.choice(places)}:{chance.randint(1, 3)}"
            victim = crew(1, HALT_AT=place, HALTED=str(flag), **environment)[0]
            workers.append(victim)
            died = _kill_at(flag, victim, sessions)
        else:
            time.sleep(chance.uniform(0, latest_s))
            died = _kill_one(workers, sessions, chance)
            if died:
                workers.append(crew(1, **environment)[0])
        killed += died
        workers = [worker for worker in workers if worker.alive]
    wait_until(lambda: all_stopped(sessions), timeout_s=60)
    for worker in workers:
        worker.kill()
    return killed


def all_stopped(sessions: Sequence[Session]) -> bool:
    found = Session.objects.filter(pk__in=[session.pk for session in sessions])
    return all(status in ("idle", "terminated") for status in found.values_list("status", flat=True))


def holder(session: Session) -> int | None:
    """The process id of the worker that holds a lease on the session's own thread."""
    owner = Thread.objects.get(session=session, parent=None).lease_owner
    return int(owner.split(":")[-2]) if owner else None


def _kill_at(flag: Path, victim: Worker, sessions: Sequence[Session]) -> bool:
    """Kill the worker when it has come to its place, or as soon as may be when it does not come there in time."""
    deadline = time.monotonic() + HALT_TIMEOUT_S
    while not all_stopped(sessions):
        came = flag.exists()
        if (came or time.monotonic() > deadline) and _may_die(victim, sessions):
            victim.kill()
            return True
        if came:
            flag.unlink()  # not now: it may hold what a successor of another worker waits for
        time.sleep(0.03)
    flag.unlink(missing_ok=True)
    return False


def _kill_one(workers: list[Worker], sessions: Sequence[Session], chance: random.Random) -> bool:
    """Kill a worker that has work, if that may be done now."""
    busy = [worker for worker in workers if _threads(sessions, lease_owner__contains=f":{worker.pid}:")]
    if not busy:
        return False
    victim = chance.choice(busy)
    if not _may_die(victim, sessions):
        return False
    victim.kill()
    return True


def _may_die(victim: Worker, sessions: Sequence[Session]) -> bool:
    """Whether no step loses its second worker by this: from there on it would be tried alone, and soon stopped."""
    for takeovers, owner, until in _threads(sessions).values_list("takeovers", "lease_owner", "lease_until"):
        held_by_others = until is not None and until > timezone.now() and f":{victim.pid}:" not in owner
        if takeovers and not held_by_others:
            return False
    return True


def _threads(sessions: Sequence[Session], **conditions: str) -> object:
    return Thread.objects.filter(session__in=sessions, runnable_at__isnull=False, **conditions)
