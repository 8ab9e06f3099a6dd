"""What every workspace-owned row has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db import models

if TYPE_CHECKING:
    from agents.models.people import Workspace

Row = TypeVar("Row", bound=models.Model)


class WorkspaceQuerySet(models.QuerySet[Row]):
    """Every query that leaves the process starts with `in_workspace`."""

    def in_workspace(self, workspace: Workspace) -> Self:
        return self.filter(workspace=workspace)

    def unarchived(self) -> Self:
        return self.filter(archived_at__isnull=True)


class TokenCounters(models.Model):
    """Token counts of model answers, and what they cost at list price, in 1e-9 USD."""

    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_input_tokens = models.BigIntegerField(default=0)
    cache_creation_5m_input_tokens = models.BigIntegerField(default=0)
    cache_creation_1h_input_tokens = models.BigIntegerField(default=0)
    list_cost_nanousd = models.BigIntegerField(default=0)

    class Meta:
        abstract = True

    TOKEN_FIELDS = (
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_5m_input_tokens",
        "cache_creation_1h_input_tokens",
    )

    @property
    def total_tokens(self) -> int:
        return sum(getattr(self, name) for name in self.TOKEN_FIELDS)


class UsageCounters(TokenCounters):
    """Tokens, cost and running time, added up over a session or a thread."""

    active_ms = models.BigIntegerField(default=0)
    active_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    def active_seconds_at(self, now: Any) -> float:
        """Seconds of running time up to `now`, the current stretch included."""
        running = (now - self.active_since).total_seconds() if self.active_since else 0.0
        return max(0.0, self.active_ms / 1000 + running)
