"""Celery entry points: load by id, call one thing, return nothing. Every one may run twice."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

_runtime: Any = None


@shared_task(name="agents.advance_thread")
def advance_thread(thread_pk: int) -> None:
    """Look at a thread: drive it when it has work and nobody else does."""
    from agents.runtime import engine

    if engine.advance(thread_pk):
        advance_thread.delay(thread_pk)


@worker_ready.connect
def start_runtime(**kwargs: Any) -> None:
    """The worker is up: start its heartbeat, sweep and interrupt watcher."""
    global _runtime
    from agents.runtime.worker import WorkerRuntime

    _runtime = WorkerRuntime(hint=advance_thread.delay)
    _runtime.start()


@worker_shutting_down.connect
def drain(**kwargs: Any) -> None:
    """Running steps are finished, with their leases renewed to the end; no further ones are begun."""
    from django.conf import settings

    from agents.runtime import leases

    leases.held_runs.drain(settings.DAYBREAK_DRAIN_S)


@worker_shutdown.connect
def stop_runtime(**kwargs: Any) -> None:
    if _runtime is not None:
        _runtime.stop()
