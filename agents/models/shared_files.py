"""Who wrote which file of a session's shared file system, and what each thread has seen of it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from agents.models.sessions import Session
from agents.models.steps import ToolCall
from agents.models.threads import Thread


class FileVersion(models.Model):
    """One state of a file: who made it, from which state, and with which call.

    `sha256` is empty when the change removed the file. The bytes are in the blob of that hash when `is_kept`.
    """

    class Change(models.TextChoices):
        WRITE = "write"
        EDIT = "edit"
        COMMAND = "command"
        FOUND = "found"  # it was there; nobody saw who made it

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="file_versions")
    path = models.CharField(max_length=1000)
    number = models.PositiveIntegerField()
    change = models.CharField(max_length=8, choices=Change.choices)
    sha256 = models.CharField(max_length=64, blank=True)
    base_sha256 = models.CharField(max_length=64, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    is_kept = models.BooleanField(default=False)
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, null=True, blank=True, related_name="file_versions")
    call = models.ForeignKey(ToolCall, on_delete=models.CASCADE, null=True, blank=True, related_name="file_versions")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "path", "number"], name="file_version_number_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.path} version {self.number}"


class SeenFile(models.Model):
    """The state of a file that a thread read or wrote last."""

    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="seen_files")
    path = models.CharField(max_length=1000)
    sha256 = models.CharField(max_length=64, blank=True)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["thread", "path"], name="seen_file_once_per_thread")]

    def __str__(self) -> str:
        return f"{self.path} as thread {self.thread_id} saw it"
