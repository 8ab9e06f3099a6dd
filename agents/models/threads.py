from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.ids import THREAD, new_id
from agents.models.base import UsageCounters
from agents.models.sessions import Session


class Thread(UsageCounters):
    """One agent's conversation within a session, and the lease under which a worker drives it.

    `runnable_at` null means there is nothing to do; otherwise a worker may claim the thread from that moment on,
    when nobody holds an unexpired lease. The database clock decides. `lease_epoch` is a fencing token: every commit
    of a worker names the epoch it claimed, and writes nothing when another worker has claimed since.
    """

    class Status(models.TextChoices):
        IDLE = "idle"
        RUNNING = "running"
        RESCHEDULING = "rescheduling"
        TERMINATED = "terminated"

    class Phase(models.TextChoices):
        IDLE = "idle"
        READY = "ready"
        MODEL_REQUEST = "model_request"
        TOOL_BATCH = "tool_batch"
        WAITING_USER = "waiting_user"
        BACKOFF = "backoff"
        COMPACTING = "compacting"
        WAITING_AGENTS = "waiting_agents"  # for agents it has started, in `wait_for_agents`
        PAUSED = "paused"  # the session's budget is used up

    public_id = models.CharField(max_length=64, unique=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="threads")
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, blank=True)
    agent_name = models.CharField(max_length=256)
    agent_snapshot = models.JSONField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.IDLE)
    phase = models.CharField(max_length=16, choices=Phase.choices, default=Phase.IDLE)
    stop_reason = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)
    ordinal = models.PositiveIntegerField(default=0)
    external_id = models.CharField(max_length=300, blank=True)

    runnable_at = models.DateTimeField(null=True, blank=True)
    lease_owner = models.CharField(max_length=100, blank=True)
    lease_epoch = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    takeovers = models.PositiveIntegerField(default=0)
    interrupt_seq = models.BigIntegerField(default=0)
    interrupts_handled_seq = models.BigIntegerField(default=0)

    step_no = models.BigIntegerField(default=0)
    turn_no = models.PositiveIntegerField(default=0)
    tool_rounds = models.PositiveIntegerField(default=0)
    model_attempts = models.PositiveIntegerField(default=0)
    compactions_in_a_row = models.PositiveIntegerField(default=0)
    bad_calls_in_a_row = models.PositiveIntegerField(default=0)
    context_base_seq = models.BigIntegerField(default=0)
    context_tokens = models.BigIntegerField(default=0)
    event_count = models.BigIntegerField(default=0)
    mail_seq = models.BigIntegerField(default=0)  # the last message from another agent that was taken into a turn
    closing = models.BooleanField(default=False)  # ends for good as soon as its interrupt is handled
    reserved_nanousd = models.BigIntegerField(default=0)  # of the session's budget, for the request under way
    wanted_nanousd = models.BigIntegerField(default=0)  # what its next request waits for, when the budget is tight

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session"], condition=Q(parent__isnull=True), name="one_primary_thread"),
        ]
        indexes = [
            models.Index(fields=["runnable_at"], condition=Q(runnable_at__isnull=False), name="thread_runnable"),
            models.Index(fields=["session", "ordinal"]),
        ]

    def __str__(self) -> str:
        return f"{self.agent_name} ({self.public_id})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(THREAD)
        super().save(*args, **kwargs)

    @property
    def is_primary(self) -> bool:
        return self.parent_id is None

    @property
    def interrupt_pending(self) -> bool:
        return self.interrupt_seq > self.interrupts_handled_seq
