"""What a person chooses for this browser: the theme, and the workspace to work in."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from console.access import MemberRequest, choose_workspace, member_required
from console.context import THEMES

YEAR_S = 365 * 24 * 3600


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or empty for what the system prefers. For visitors too: the sign-in page has the switch."""
    chosen = request.POST.get("theme", "")
    if chosen not in ("", *THEMES):
        return HttpResponseBadRequest("The theme is light, dark or empty.\n", content_type="text/plain")
    response = HttpResponse(status=204) if getattr(request, "htmx", False) else redirect(_back(request))
    secure = settings.SESSION_COOKIE_SECURE
    response.set_cookie("theme", chosen, max_age=YEAR_S, samesite="Lax", secure=secure, httponly=False)
    return response


@require_POST
@member_required
def workspace(request: MemberRequest) -> HttpResponse:
    """Go on in another workspace: at its home, or where the form says (the 404 page sends one there)."""
    chosen = choose_workspace(request, request.POST.get("workspace", ""))
    messages.success(request, f"You are now in {chosen.workspace}.")
    wanted = request.POST.get("next", "")
    return redirect(wanted if _is_ours(wanted) else "console:home")


def _back(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    return wanted if _is_ours(wanted) else "/"


def _is_ours(path: str) -> bool:
    return path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)
