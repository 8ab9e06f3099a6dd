from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.models.sessions import Session
from agents.models.threads import Thread

# Ours, never on the wire: the moment a queued event was taken into a turn.
PROCESSED_MARK = "daybreak.event_processed"
QUEUED_POSITION = 2**53


class Event(models.Model):
    """One line of a session's log. Appended, never changed, but for the two fields a queued event gains later.

    `seq` is dense within a session (1, 2, 3, ...) whatever thread wrote it. `thread` decides on which stream the
    event appears: the primary thread's stream is the session's. `position` orders a stream: it is `seq`, except for
    an event that was queued while its thread was busy, which takes the `seq` of the mark that records when it was
    processed (until then a place after everything else).

    `payload` is the JSON text of the type's own wire fields, without `id`, `type` and `processed_at`. Text, because
    `jsonb` refuses NUL and lone surrogates and reorders keys. `private` is JSON text of what we know beside the
    wire: the text of a thought, the `message_id` that joins a message to its receipt, and the like. `cause_seq` is
    the `seq` of the event of the same session that made this one happen.
    """

    public_id = models.CharField(max_length=64, unique=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="events")
    type = models.CharField(max_length=64)
    payload = models.TextField()
    private = models.TextField(null=True, blank=True)  # noqa: DJ001 (null means nothing is known)
    cause_seq = models.BigIntegerField(null=True, blank=True)
    # No constraint in the database: steps live and go with their session, and an unindexed reference would make
    # deleting a long session scan the whole log once per row.
    step = models.ForeignKey(
        "agents.Step",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        blank=True,
        db_index=False,
        related_name="events",
    )
    ordinal = models.PositiveIntegerField(null=True, blank=True)
    position = models.BigIntegerField()
    visible = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    processed_at = models.DateTimeField(null=True, blank=True)
    external_id = models.CharField(max_length=300, null=True, blank=True)  # noqa: DJ001 (unique when set)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "seq"], name="event_seq_unique_in_session"),
            models.UniqueConstraint(fields=["step", "ordinal"], name="event_once_per_step"),
            models.UniqueConstraint(
                fields=["session", "external_id"],
                condition=Q(external_id__isnull=False),
                name="imported_event_once",
            ),
            models.CheckConstraint(condition=Q(seq__gte=1), name="event_seq_starts_at_one"),
        ]
        indexes = [
            models.Index(fields=["thread", "position"]),
            models.Index(fields=["session", "type", "seq"]),
            models.Index(fields=["thread"], condition=Q(processed_at__isnull=True, visible=True), name="event_queued"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.public_id}"

    @property
    def data(self) -> dict[str, Any]:
        """The wire fields of the type, parsed."""
        return json.loads(self.payload)

    @property
    def private_data(self) -> dict[str, Any]:
        return json.loads(self.private) if self.private else {}
