"""What workers did: steps, model attempts and tool calls. Records of the engine, beside the wire events."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from agents.models.base import TokenCounters
from agents.models.events import Event
from agents.models.sessions import Session
from agents.models.threads import Thread


class Step(models.Model):
    """One advance of a thread: a model request, a tool batch, a compaction or an interrupt."""

    class Kind(models.TextChoices):
        MODEL_REQUEST = "model_request"
        TOOL_BATCH = "tool_batch"
        COMPACTION = "compaction"
        INTERRUPT = "interrupt"

    class State(models.TextChoices):
        STARTED = "started"
        COMMITTED = "committed"
        FAILED = "failed"
        LOST = "lost"

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="steps")
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="steps")
    no = models.BigIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    state = models.CharField(max_length=16, choices=State.choices, default=State.STARTED)
    epoch = models.BigIntegerField()
    worker = models.CharField(max_length=100)
    cause_seq = models.BigIntegerField(null=True, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["thread", "no"], name="step_number_unique_in_thread"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.no} of {self.thread_id}"


class ModelAttempt(TokenCounters):
    """One try at a model request: what was asked, what came back, when and at what cost."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="attempts")
    attempt = models.PositiveIntegerField()
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=50, blank=True)
    simulated = models.BooleanField(default=False)
    start_event = models.ForeignKey(Event, on_delete=models.CASCADE, null=True, related_name="+", db_index=True)
    request_sha256 = models.CharField(max_length=64, blank=True)
    response_sha256 = models.CharField(max_length=64, blank=True)
    response_id = models.CharField(max_length=200, blank=True)
    stop_reason = models.CharField(max_length=64, blank=True)
    time_to_first_chunk_ms = models.FloatField(null=True, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    error_type = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.model} attempt {self.attempt}"


class ToolCall(models.Model):
    """One use of a tool, from the model's request to its single result."""

    class Kind(models.TextChoices):
        AGENT = "agent"
        MCP = "mcp"
        CUSTOM = "custom"
        TEAM = "team"  # delegation: carried out by the engine itself, never shown as a tool on the wire

    class State(models.TextChoices):
        WAITING = "waiting"  # for a person or a client
        READY = "ready"
        RUNNING = "running"
        DONE = "done"

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="tool_calls")
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="tool_calls")
    use_event = models.OneToOneField(Event, on_delete=models.CASCADE, related_name="tool_call")
    result_event = models.ForeignKey(
        Event, on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=True
    )
    crosspost_event = models.ForeignKey(
        Event, on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=True
    )  # on the session's stream, of a child's call that needs the client
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.AGENT)
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=8, choices=State.choices)
    permission = models.CharField(max_length=8, default="allow")
    decision = models.CharField(max_length=8, blank=True)
    deny_message = models.TextField(blank=True)
    decided_by = models.CharField(max_length=200, blank=True)
    exec_id = models.CharField(max_length=64)
    attempt = models.PositiveIntegerField(default=0)
    turn_no = models.PositiveIntegerField(default=0)
    input_sha256 = models.CharField(max_length=64)
    result_sha256 = models.CharField(max_length=64, blank=True)
    is_error = models.BooleanField(default=False)
    malformed = models.BooleanField(default=False)  # the model named no tool it has, or gave no usable input
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["thread", "state"]),
            models.Index(fields=["thread", "input_sha256"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.exec_id}"
