from __future__ import annotations

from django.db import models
from django.utils import timezone

from agents.models.base import WorkspaceQuerySet
from agents.models.people import Workspace
from agents.models.sessions import Session


class TraceQuerySet(WorkspaceQuerySet["Trace"]):
    pass


class Trace(models.Model):
    """A trace that somebody sent spans of, or that a call of the API named in its `traceparent`.

    `key` is the session that its spans name (`key_rank`: how strong a word they have on it, 0 being the strongest);
    traces with one key make one session. `session` is the one on whose timeline it is: a session of ours that a call
    within the trace was about, or the imported one. `version` counts the arrivals of spans, `told_version` how many of
    them are on a timeline.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="traces")
    trace_id = models.CharField(max_length=32)
    key = models.CharField(max_length=250)
    key_rank = models.PositiveSmallIntegerField()
    session = models.ForeignKey(Session, on_delete=models.CASCADE, null=True, blank=True, related_name="traces")
    version = models.BigIntegerField(default=0)
    told_version = models.BigIntegerField(default=0)
    waiting_since = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(default=timezone.now)
    problem = models.TextField(blank=True)  # why it is not on a timeline

    objects = TraceQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "trace_id"], name="trace_once_in_workspace")]
        indexes = [
            models.Index(fields=["workspace", "key"]),
            models.Index(
                fields=["waiting_since"], condition=models.Q(waiting_since__isnull=False), name="trace_waiting"
            ),
        ]

    def __str__(self) -> str:
        return self.trace_id


class TraceSpan(models.Model):
    """One span as it came, whole: `body` is the JSON text of `agents.ingestion.otlp.span.Span.body`."""

    # Indexed by the constraint below; a second index would cost every span.
    trace = models.ForeignKey(Trace, on_delete=models.CASCADE, related_name="spans", db_index=False)
    span_id = models.CharField(max_length=16)
    end_ns = models.BigIntegerField()
    body = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trace", "span_id"], name="span_once_in_trace")]

    def __str__(self) -> str:
        return self.span_id
