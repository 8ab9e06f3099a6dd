from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import F
from django.db.models.fields.json import KeyTransform
from django.utils import timezone

from agents.ids import SESSION, new_id
from agents.models.agents import Agent
from agents.models.base import UsageCounters, WorkspaceQuerySet
from agents.models.environments import Environment
from agents.models.people import Workspace

if TYPE_CHECKING:
    from agents.models.threads import Thread


class SessionQuerySet(WorkspaceQuerySet["Session"]):
    def for_list(self) -> SessionQuerySet:
        return self.select_related("agent", "environment")


class Session(UsageCounters):
    """One run of an agent: an append-only log of events and a cache of what they add up to.

    Everything but the identity and configuration fields can be rebuilt from the log (`manage.py rebuild_state`).
    """

    class Status(models.TextChoices):
        IDLE = "idle"
        RUNNING = "running"
        RESCHEDULING = "rescheduling"
        TERMINATED = "terminated"

    public_id = models.CharField(max_length=64, unique=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="sessions")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="sessions")
    agent_version = models.PositiveIntegerField()
    agent_snapshot = models.JSONField()
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="sessions")
    title = models.TextField(null=True, blank=True)  # noqa: DJ001 (null and "" differ on the wire)
    metadata = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)
    terminated_at = models.DateTimeField(null=True, blank=True)

    status = models.CharField(max_length=16, choices=Status.choices, default=Status.IDLE)
    stop_reason = models.JSONField(null=True, blank=True)
    last_seq = models.BigIntegerField(default=0)
    event_count = models.BigIntegerField(default=0)
    thread_count = models.PositiveIntegerField(default=1)
    tool_call_count = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0)
    web_search_requests = models.PositiveIntegerField(default=0)
    simulated = models.BooleanField(default=False)
    sandbox_host = models.CharField(max_length=200, blank=True)
    budget_cents = models.BigIntegerField(null=True, blank=True)  # most that all threads together may cost

    imported_format = models.CharField(max_length=32, blank=True)
    external_id = models.CharField(max_length=300, blank=True)
    has_times = models.BooleanField(default=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "imported_format", "external_id"],
                condition=~models.Q(imported_format=""),
                name="imported_session_once",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"]),
            models.Index(fields=["workspace", "status", "-created_at"]),
            models.Index(fields=["agent", "-created_at"]),
            models.Index(
                F("workspace"), KeyTransform("type", "stop_reason"), F("created_at").desc(), name="session_stop_reason"
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.public_id

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(SESSION)
        super().save(*args, **kwargs)

    @property
    def is_imported(self) -> bool:
        return bool(self.imported_format)

    @property
    def is_terminated(self) -> bool:
        return self.status == self.Status.TERMINATED

    @property
    def primary_thread(self) -> Thread:
        """The thread that is the session's own stream."""
        return self.threads.get(parent__isnull=True)
