from __future__ import annotations

from django.db import models


class ProviderHold(models.Model):
    """Until when no request is made with a provider's key: the vendor said so to one thread, and means all of them."""

    key = models.CharField(max_length=200, unique=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key} until {self.until:%H:%M:%S}"
