"""Killing workers while sessions run: at seeded moments, and at chosen places in the engine's work."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db.models import QuerySet
from django.utils import timezone

from agents.models import Session, Thread
from tests.agents.runtime.processes import Worker
from tests.worker import wait_until

Crew = Callable[..., list[Worker]]

WORKERS = 2

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


@dataclass(frozen=True)
class Member:
    """A worker and the file it makes when it halts at its place."""

    worker: Worker
    halted: Path


def kill_workers(
    sessions: Sequence[Session],
    crew: Crew,
    folder: Path,
    *,
    kills: int,
    seed: int,
    latest_s: float = 0.6,
    places: Sequence[str] = PLACES,
    timeout_s: float = 120.0,
    **environment: str,
) -> int:
    """Kill workers at work until all sessions have stopped, `kills` at most. Returns how many died.

    Every second worker halts at a chosen place, and dies there; the others die at chosen times.
    """
    chance = random.Random(seed)
    members: list[Member] = []
    killed = 0

    def hire() -> None:
        more = dict(environment)
        halted = folder / f"halted-{seed}-{killed}-{len(members)}"
        if places and chance.random() < 0.5:
            more.update(HALT_AT=f"{chance.choice(places)}:{chance.randint(1, 3)}", HALTED=str(halted))
        members.append(Member(crew(1, **more)[0], halted))

    deadline = time.monotonic() + timeout_s
    next_at = time.monotonic()
    while killed < kills and not all_stopped(sessions):
        assert time.monotonic() < deadline, [(s.public_id, s.status) for s in sessions]
        while len(members) < WORKERS:
            hire()
        victim = _halted(members, sessions)
        if victim is None and time.monotonic() >= next_at:
            next_at = time.monotonic() + chance.uniform(0, latest_s)
            victim = _busy(members, sessions, chance)
        if victim is None:
            time.sleep(0.03)
            continue
        victim.worker.kill()
        members.remove(victim)
        killed += 1
    for member in members:
        member.halted.unlink(missing_ok=True)
    crew(1, **environment)
    _wait_until_stopped(sessions, members)
    for member in members:
        member.worker.kill()
    return killed


def _wait_until_stopped(sessions: Sequence[Session], members: list[Member]) -> None:
    def stopped() -> bool:
        for member in members:
            member.halted.unlink(missing_ok=True)  # nobody dies any more
        return all_stopped(sessions)

    wait_until(stopped, timeout_s=60)


def all_stopped(sessions: Sequence[Session]) -> bool:
    found = Session.objects.filter(pk__in=[session.pk for session in sessions])
    return all(status in ("idle", "terminated") for status in found.values_list("status", flat=True))


def holder(session: Session) -> int | None:
    """The process id of the worker that holds a lease on the session's own thread."""
    owner = Thread.objects.get(session=session, parent=None).lease_owner
    return int(owner.split(":")[-2]) if owner else None


def _halted(members: list[Member], sessions: Sequence[Session]) -> Member | None:
    """Who has come to its place and may die there. The others go on: they may hold what a successor waits for."""
    for member in members:
        if member.halted.exists():
            if _may_die(member.worker, sessions):
                return member
            member.halted.unlink()
    return None


def _busy(members: list[Member], sessions: Sequence[Session], chance: random.Random) -> Member | None:
    """Somebody who holds a thread, when that may be lost now."""
    busy = [one for one in members if _threads(sessions, lease_owner__contains=f":{one.worker.pid}:").exists()]
    victim = chance.choice(busy) if busy else None
    return victim if victim is not None and _may_die(victim.worker, sessions) else None


def _may_die(victim: Worker, sessions: Sequence[Session]) -> bool:
    """Whether no step loses its second worker by this: from there on it would be tried alone, and soon stopped."""
    for takeovers, owner, until in _threads(sessions).values_list("takeovers", "lease_owner", "lease_until"):
        held_by_others = until is not None and until > timezone.now() and f":{victim.pid}:" not in owner
        if takeovers and not held_by_others:
            return False
    return True


def _threads(sessions: Sequence[Session], **conditions: str) -> QuerySet[Thread]:
    return Thread.objects.filter(session__in=sessions, runnable_at__isnull=False, **conditions)
