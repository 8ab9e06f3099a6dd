"""API keys: made once, shown once, revoked for good."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.utils import timezone

from agents.errors import Invalid
from agents.models import ApiKey, Workspace
from agents.models.people import sha256_hex

MAX_NAME_CHARS = 200
MIN_TEXT_CHARS = 16
SHOWN_CHARS = 8  # enough to recognise a key in a list, too few to guess it


def create_api_key(
    workspace: Workspace, *, name: str, by: User | None = None, text: str | None = None
) -> tuple[ApiKey, str]:
    """A key of `workspace` and its text, which is known only now: the row keeps a hash.

    `text` sets the key to something given from outside instead of fresh random bits.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise Invalid(f"Give the key a name of 1 to {MAX_NAME_CHARS} characters.")
    if text is not None and len(text) < MIN_TEXT_CHARS:
        raise Invalid(f"A key needs at least {MIN_TEXT_CHARS} characters.")
    text = text or ApiKey.new_text()
    if ApiKey.objects.filter(sha256=sha256_hex(text)).exists():
        raise Invalid("This key is already in use.")
    key = ApiKey.objects.create(
        workspace=workspace, name=name, created_by=by, prefix=text[:SHOWN_CHARS], sha256=sha256_hex(text)
    )
    return key, text


def revoke_api_key(key: ApiKey) -> ApiKey:
    """From now on the key opens nothing. Revoking again changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
    key.refresh_from_db(fields=["revoked_at"])
    return key
