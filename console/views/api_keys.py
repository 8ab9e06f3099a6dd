"""API keys of the workspace: made once, shown once, revoked for good."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from agents.errors import DaybreakError
from agents.models import ApiKey
from agents.services.keys import create_api_key, revoke_api_key
from console.access import MemberRequest, role_required
from console.forms import ApiKeyForm
from console.pages import page

SHOWN = 500  # keys listed: usable ones first, newest first


@dataclass(frozen=True)
class ApiKeysPage:
    """`new_text` is there once, in the answer to the form that made the key."""

    form: ApiKeyForm
    usable: list[ApiKey]
    revoked: list[ApiKey]
    new_key: ApiKey | None
    new_text: str
    base_url: str


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("operator")
def api_keys(request: MemberRequest) -> HttpResponse:
    form = ApiKeyForm(request.POST if request.method == "POST" else None)
    made: tuple[ApiKey | None, str] = (None, "")
    status = 200
    if form.is_bound:
        status = 422
        if form.is_valid():
            try:
                made = create_api_key(request.workspace, name=form.cleaned_data["name"], by=request.user)
            except DaybreakError as exc:
                form.add_error("name", exc.message)
            else:
                # Not a redirect: the key's text must never be stored, not even for one more request.
                form, status = ApiKeyForm(), 201
    keys = list(
        ApiKey.objects.filter(workspace=request.workspace)
        .select_related("created_by")
        .order_by("-created_at", "-pk")[:SHOWN]
    )
    shown = ApiKeysPage(
        form=form,
        usable=[key for key in keys if key.revoked_at is None],
        revoked=[key for key in keys if key.revoked_at is not None],
        new_key=made[0],
        new_text=made[1],
        base_url=request.build_absolute_uri("/").rstrip("/"),
    )
    return page(request, "console/api_keys/list.html", shown, status=status)


@require_POST
@role_required("operator")
def revoke(request: MemberRequest, key_id: str) -> HttpResponse:
    key = ApiKey.objects.filter(workspace=request.workspace, public_id=key_id).first()
    if key is None:
        raise Http404("There is no such key in your workspace.")
    revoke_api_key(key)
    messages.success(request, f"The key “{key.name}” is revoked. Whoever used it is refused from now on.")
    return redirect("console:api-keys")
