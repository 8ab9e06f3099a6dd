"""First start: a workspace, an administrator with a way in, and an API key."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from agents.models import ApiKey, Membership, SignInLink, Workspace
from agents.models.people import Role, sha256_hex

SIGN_IN_LINK_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class FirstStart:
    """What to tell the person who started Daybreak. `None` where there is nothing new to tell."""

    sign_in_path: str | None
    api_key: str | None


def new_sign_in_link(user: User) -> str:
    """A path that signs `user` in once, within a day. Only its hash is stored."""
    token = secrets.token_urlsafe(32)
    SignInLink.objects.create(
        user=user, token_sha256=sha256_hex(token), expires_at=timezone.now() + SIGN_IN_LINK_LIFETIME
    )
    return f"/sign-in/link/{token}"


@transaction.atomic
def set_up(*, api_key: str = "", admin_password: str = "") -> FirstStart:
    """Make sure the first workspace, its administrator and the given key exist. Safe to run at every start."""
    workspace = Workspace.objects.select_for_update().order_by("pk").first()
    fresh = workspace is None
    if workspace is None:
        workspace = Workspace.objects.create(name="Default", slug="default")
    admin, _ = User.objects.get_or_create(username="admin", defaults={"is_staff": True, "is_superuser": True})
    Membership.objects.get_or_create(user=admin, workspace=workspace, defaults={"roles": [role.value for role in Role]})
    if admin_password and not admin.check_password(admin_password):
        admin.set_password(admin_password)
        admin.save(update_fields=["password"])
    path = None
    if not admin_password and admin.last_login is None:
        SignInLink.objects.filter(user=admin, used_at__isnull=True).delete()
        path = new_sign_in_link(admin)
    return FirstStart(sign_in_path=path, api_key=_first_key(workspace, api_key, fresh))


def _first_key(workspace: Workspace, given: str, fresh: bool) -> str | None:
    if given:
        if not ApiKey.objects.filter(sha256=sha256_hex(given)).exists():
            _store_key(workspace, "From DAYBREAK_API_KEY", given)
        return None
    if not fresh:
        return None
    text = ApiKey.new_text()
    _store_key(workspace, "First start", text)
    return text


def _store_key(workspace: Workspace, name: str, text: str) -> None:
    ApiKey.objects.create(workspace=workspace, name=name, prefix=text[:8], sha256=sha256_hex(text))
