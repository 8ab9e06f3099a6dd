"""Who may do what: workspaces, members with roles, sign-in links and API keys."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from agents.ids import API_KEY, WORKSPACE, new_id


def sha256_hex(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Role(models.TextChoices):
    """A set per membership, not a ladder: each adds its own acts to viewing, which every member may."""

    VIEWER = "viewer"
    AUTHOR = "author"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Workspace(models.Model):
    public_id = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    demo_ran_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(WORKSPACE)
        super().save(*args, **kwargs)


class Membership(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    roles = ArrayField(models.CharField(max_length=16, choices=Role.choices), default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "workspace"], name="one_membership_per_workspace"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace} as {', '.join(self.roles)}"

    def may(self, *roles: str) -> bool:
        """True when the member holds one of `roles`; anyone may view."""
        return Role.VIEWER in roles or bool(set(roles) & set(self.roles))


class SignInLink(models.Model):
    """A link that signs one person in once. Only its hash is stored."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"sign-in link of {self.user}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> ApiKeyQuerySet:
        now = timezone.now()
        return self.filter(revoked_at__isnull=True).filter(
            models.Q(expires_at__isnull=True) | models.Q(expires_at__gt=now)
        )

    def find(self, key: str) -> ApiKey | None:
        """The usable key with this text. Looked up by hash, so the text is never compared or stored."""
        return self.usable().select_related("workspace").filter(sha256=sha256_hex(key)).first()


class ApiKey(models.Model):
    """Acts as an operator of its workspace, without admin pages."""

    public_id = models.CharField(max_length=64, unique=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=16)
    sha256 = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.public_id = self.public_id or new_id(API_KEY)
        super().save(*args, **kwargs)

    @staticmethod
    def new_text() -> str:
        """A fresh key: 256 random bits. Shown once, then only its hash is known."""
        return "dbk_" + secrets.token_urlsafe(32)
