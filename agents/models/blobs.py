from __future__ import annotations

from django.db import models
from django.utils import timezone


class Blob(models.Model):
    """Bytes by their SHA-256, stored once. Up to 1 MiB in the row; larger ones in the data dir (`data` is null)."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.BigIntegerField()
    data = models.BinaryField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.sha256
