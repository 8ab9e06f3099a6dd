from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone

from agents.ids import AGENT, new_id
from agents.models.base import WorkspaceQuerySet
from agents.models.people import Workspace


class Agent(models.Model):
    """A named, versioned definition. What it says lives in its versions, which never change."""

    public_id = models.CharField(max_length=64, unique=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="agents")
    name = models.CharField(max_length=256)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)
    imported = models.BooleanField(default=False)

    objects = WorkspaceQuerySet["Agent"].as_manager()

    class Meta:
        indexes = [models.Index(fields=["workspace", "-created_at", "-id"])]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(AGENT)
        super().save(*args, **kwargs)


class AgentVersion(models.Model):
    """One immutable snapshot.

    `definition` is the wire form without `id`, `type`, `version` and the times: name, description, model, system,
    tools, mcp_servers, skills, metadata, multiagent, execution_identity, every default written out.
    """

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    definition = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["agent", "version"], name="agent_version_unique"),
            models.CheckConstraint(condition=models.Q(version__gte=1), name="agent_version_starts_at_one"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} v{self.version}"
