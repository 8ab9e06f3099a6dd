from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone

from agents.ids import ENVIRONMENT, new_id
from agents.models.base import WorkspaceQuerySet
from agents.models.people import Workspace


class Environment(models.Model):
    """Where sessions run. `config` is the wire form with every default written out."""

    public_id = models.CharField(max_length=64, unique=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="environments")
    name = models.CharField(max_length=256)
    description = models.TextField(null=True, blank=True)  # noqa: DJ001 (null and "" differ on the wire)
    config = models.JSONField()
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = WorkspaceQuerySet["Environment"].as_manager()

    class Meta:
        indexes = [models.Index(fields=["workspace", "-created_at", "-id"])]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(ENVIRONMENT)
        super().save(*args, **kwargs)
