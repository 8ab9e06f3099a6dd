from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from agents.models.events import Event
from agents.models.sessions import Session


class Annotation(models.Model):
    """What a person says of one event: written here, or imported with the log that carried it."""

    class Kind(models.TextChoices):
        FAILURE = "failure"
        GOOD = "good"
        NOTE = "note"

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="annotations")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="annotations")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    category = models.CharField(max_length=100, blank=True)
    text = models.TextField(blank=True)
    author_name = models.CharField(max_length=200)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(null=True, blank=True)
    # Said on purpose, so that a label that came with a log is never taken for one of a person who has left.
    written_here = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.kind} on {self.event_id} by {self.author_name}"
