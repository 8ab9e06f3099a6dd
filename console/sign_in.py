"""Ways into the console: a password with a brake on guessing, and one-time links."""

from __future__ import annotations

import hashlib

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone

from agents.models import SignInLink
from agents.models.people import sha256_hex

WINDOW_S = 15 * 60
PER_ACCOUNT_AND_ADDRESS = 8  # failures in the window before a pause
PER_ADDRESS = 40
PER_ACCOUNT = 200  # from anywhere: high, so that a stranger cannot lock somebody out
_BACKEND = "django.contrib.auth.backends.ModelBackend"


def _counters(request: HttpRequest, username: str) -> dict[str, int]:
    """Cache keys of what a failure counts against, with their limits."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    account = username.strip().casefold()

    def key(*parts: str) -> str:
        return "sign-in:" + hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()

    return {
        key("both", address, account): PER_ACCOUNT_AND_ADDRESS,
        key("address", address): PER_ADDRESS,
        key("account", account): PER_ACCOUNT,
    }


def is_throttled(request: HttpRequest, username: str) -> bool:
    """Whether to refuse even to look at a password. The same for known and unknown accounts."""
    limits = _counters(request, username)
    counts = cache.get_many(limits)
    return any(counts.get(key, 0) >= limit for key, limit in limits.items())


def count_failure(request: HttpRequest, username: str) -> None:
    for key in _counters(request, username):
        cache.add(key, 0, WINDOW_S)
        try:
            cache.incr(key)
        except ValueError:  # it ran out between the two calls
            cache.set(key, 1, WINDOW_S)


def forget_failures(request: HttpRequest, username: str) -> None:
    """After a success: this account from this address starts anew; the address as a whole does not."""
    cache.delete(next(iter(_counters(request, username))))


def sign_in(request: HttpRequest, user: User) -> None:
    """Start a fresh browser session for `user`; whatever the old one held is gone, its key too."""
    request.session.flush()
    login(request, user, backend=_BACKEND)
    now = timezone.now().timestamp()
    request.session["signed_in_at"] = request.session["seen_at"] = now


def find_link(token: str) -> SignInLink | None:
    """The link with this token that can still be used."""
    return (
        SignInLink.objects.select_related("user")
        .filter(token_sha256=sha256_hex(token), used_at__isnull=True, expires_at__gt=timezone.now())
        .filter(user__is_active=True)
        .first()
    )


def use_link(token: str) -> User | None:
    """Consume a link. Of two who try at the same time one gets the user, the other None."""
    link = find_link(token)
    if link is None:
        return None
    now = timezone.now()
    unused = SignInLink.objects.filter(pk=link.pk, used_at__isnull=True, expires_at__gt=now)
    return link.user if unused.update(used_at=now) else None
