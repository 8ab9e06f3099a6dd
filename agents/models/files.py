from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.ids import FILE, SESSION_RESOURCE, new_id
from agents.models.base import WorkspaceQuerySet
from agents.models.people import Workspace
from agents.models.sessions import Session


class FileQuerySet(WorkspaceQuerySet["File"]):
    def unexpired(self) -> FileQuerySet:
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()))


class File(models.Model):
    """An upload, a copy of one mounted into a session, or a deliverable a session wrote.

    The bytes are a blob; `path` is where the sandbox sees a mount or an output.
    """

    class Kind(models.TextChoices):
        UPLOAD = "upload"
        MOUNT = "mount"
        OUTPUT = "output"

    public_id = models.CharField(max_length=64, unique=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="files")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, null=True, blank=True, related_name="files")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.UPLOAD)
    filename = models.CharField(max_length=500)
    mime_type = models.CharField(max_length=200)
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    path = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = FileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "path"], condition=Q(kind="output"), name="output_path_once"),
        ]
        indexes = [models.Index(fields=["workspace", "-created_at", "-id"])]

    def __str__(self) -> str:
        return self.filename

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(FILE)
        super().save(*args, **kwargs)

    @property
    def downloadable(self) -> bool:
        return self.kind == self.Kind.OUTPUT


class SessionResource(models.Model):
    """A file mounted into a session. `file` is the session's own copy of the upload."""

    public_id = models.CharField(max_length=64, unique=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="resources")
    file = models.ForeignKey(File, on_delete=models.CASCADE, related_name="+")
    mount_path = models.CharField(max_length=2000)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "mount_path"], name="mount_path_once"),
        ]

    def __str__(self) -> str:
        return self.mount_path

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(SESSION_RESOURCE)
        super().save(*args, **kwargs)
