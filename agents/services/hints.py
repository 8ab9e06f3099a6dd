"""Telling workers that a thread has work. A hint may be lost, late or doubled: the database row is what counts."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import transaction

_sender: Callable[[int], None] | None = None


def set_sender(sender: Callable[[int], None] | None) -> None:
    """Deliver hints by `sender(thread_pk)` in this process instead of through Celery; None goes back to Celery."""
    global _sender
    _sender = sender


def wake(thread_pk: int) -> None:
    """After the commit, tell some worker to look at the thread."""
    if not settings.DAYBREAK_HINTS:
        return
    transaction.on_commit(lambda: _send(thread_pk), robust=True)


def _send(thread_pk: int) -> None:
    if _sender is not None:
        _sender(thread_pk)
        return
    from agents.tasks import advance_thread  # the one allowed late import: tasks import what they run

    advance_thread.delay(thread_pk)
