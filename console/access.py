"""Who may see and do what in the console. Every page starts here, from the workspace of the signed-in member."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from importlib import import_module
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from agents.errors import NotFound
from agents.models import Membership, Workspace
from agents.models.base import WorkspaceQuerySet

IDLE_LIMIT = timedelta(hours=8)
ABSOLUTE_LIMIT = timedelta(days=7)
SEEN_EVERY = timedelta(minutes=5)  # how often the time of the last visit is written down
WORKSPACE_KEY = "workspace"

Row = TypeVar("Row", bound=Model)
P = ParamSpec("P")


class MemberRequest(HttpRequest):
    """What a view behind `member_required` gets."""

    htmx: HtmxDetails
    user: User
    membership: Membership
    workspace: Workspace


class InOtherWorkspace(Http404):
    """The thing exists, in another workspace of the same person: the page offers to go there."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__("This is in another of your workspaces.")
        self.workspace = workspace


MemberView = Callable[Concatenate[MemberRequest, P], HttpResponseBase]
AnyView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def memberships_of(request: HttpRequest) -> list[Membership]:
    """The signed-in person's memberships, by workspace name. One query per request."""
    known = getattr(request, "_memberships", None)
    if known is None:
        rows = Membership.objects.filter(user_id=cast(User, request.user).pk).select_related("workspace")
        known = list(rows.order_by("workspace__name", "workspace_id"))
        request._memberships = known  # type: ignore[attr-defined]
    return known


def current_membership(request: HttpRequest) -> Membership | None:
    """The membership this browser works in: the chosen one, else the person's oldest. None for outsiders."""
    if not request.user.is_authenticated:
        return None
    memberships = memberships_of(request)
    chosen = request.session.get(WORKSPACE_KEY)
    oldest = min(memberships, key=lambda membership: membership.pk, default=None)
    return next((found for found in memberships if found.workspace.public_id == chosen), oldest)


def choose_workspace(request: HttpRequest, public_id: str) -> Membership:
    """Work in another workspace from now on. Raises Http404 when the person is no member of it."""
    for membership in memberships_of(request):
        if membership.workspace.public_id == public_id:
            request.session[WORKSPACE_KEY] = public_id
            return membership
    raise Http404("You are not a member of such a workspace.")


def member_required(view: MemberView[P]) -> AnyView[P]:
    """Only for signed-in members of a workspace; sets `request.membership` and `request.workspace`.

    Others are sent to sign in. The answer is never stored by a browser or proxy: it is private.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return enter(request) or _private(_call(view, cast(MemberRequest, request), *args, **kwargs))

    return guarded


def role_required(*roles: str) -> Callable[[MemberView[P]], AnyView[P]]:
    """Like `member_required`, for members who hold one of `roles`; others get the 403 page."""

    def decorate(view: MemberView[P]) -> AnyView[P]:
        @wraps(view)
        def checked(request: MemberRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            check_may(request, *roles)
            return view(request, *args, **kwargs)

        return member_required(checked)

    return decorate


def enter(request: HttpRequest) -> HttpResponseBase | None:
    """Let a member in, or answer with what stands in the way. Also the first line of views that are coroutines."""
    if request.user.is_authenticated and _sign_in_expired(request):
        logout(request)
    if not request.user.is_authenticated:
        return _to_sign_in(request)
    membership = current_membership(request)
    if membership is None:
        return _private(render(request, "console/errors/no_workspace.html", status=403))
    entered = cast(MemberRequest, request)
    entered.membership, entered.workspace = membership, membership.workspace
    return None


def check_may(request: MemberRequest, *roles: str) -> None:
    """Raises PermissionDenied, naming the role it takes."""
    if not request.membership.may(*roles):
        raise PermissionDenied(f"This needs the role {' or '.join(roles)} in {request.workspace}.")


def find(request: MemberRequest, rows: WorkspaceQuerySet[Row], public_id: str) -> Row:
    """The row of the current workspace with this id.

    Raises Http404; InOtherWorkspace when the same person may see it in another of their workspaces.
    """
    found = rows.in_workspace(request.workspace).filter(public_id=public_id).first()
    if found is not None:
        return found
    for membership in memberships_of(request):
        if membership == request.membership:
            continue
        if rows.in_workspace(membership.workspace).filter(public_id=public_id).exists():
            raise InOtherWorkspace(membership.workspace)
    raise Http404("There is nothing with this id in your workspace.")


def _call(view: Callable[..., HttpResponseBase], request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """The services' way of saying "not there" is the same 404 as ours."""
    try:
        return view(request, *args, **kwargs)
    except NotFound as exc:
        raise Http404(exc.message) from exc


def _private(response: HttpResponseBase) -> HttpResponseBase:
    response["Cache-Control"] = "private, no-store"
    patch_vary_headers(response, ("Cookie", "HX-Request"))
    return response


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    """A whole page, never the sign-in form inside a fragment."""
    htmx: HtmxDetails | None = getattr(request, "htmx", None)
    if htmx:
        back = htmx.current_url_abs_path or ""
        return HttpResponseClientRedirect(sign_in_url(back))
    back = request.get_full_path() if request.method == "GET" else ""
    return redirect(sign_in_url(back))


def sign_in_url(back: str) -> str:
    url = reverse("console:sign-in")
    return f"{url}?{urlencode({'next': back})}" if back not in ("", "/") else url


def _sign_in_expired(request: HttpRequest) -> bool:
    """Whether the sign-in is older than a week or was not used for a working day."""
    now = timezone.now().timestamp()
    session = request.session
    signed_in, seen = session.get("signed_in_at"), session.get("seen_at")
    if signed_in is None or seen is None:
        session["signed_in_at"] = session["seen_at"] = now
        return False
    if now - signed_in > ABSOLUTE_LIMIT.total_seconds() or now - seen > IDLE_LIMIT.total_seconds():
        return True
    if now - seen > SEEN_EVERY.total_seconds():
        session["seen_at"] = now
    return False


def still_may(user_pk: int, session_key: str | None, workspace: Workspace) -> bool:
    """Whether somebody whose page is still open may go on reading: signed in, active, and a member."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    return bool(
        session_key
        and store().exists(session_key)
        and Membership.objects.filter(user_id=user_pk, user__is_active=True, workspace=workspace).exists()
    )
