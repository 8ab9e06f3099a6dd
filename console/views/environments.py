"""Environments: where sessions run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents.api.schemas import parse
from agents.errors import DaybreakError
from agents.models import Environment, Session
from agents.services import environments as services
from console.access import MemberRequest, find, member_required, role_required
from console.definition_text import as_yaml, sdk_call
from console.forms import EnvironmentForm
from console.pages import page
from console.paging import keyset_page
from console.rows import SessionRow, session_rows

PAGE_SIZE = 50
SESSIONS_SHOWN = 5


@dataclass(frozen=True)
class EnvironmentRow:
    environment: Environment
    network: str


@dataclass(frozen=True)
class EnvironmentsPage:
    rows: list[EnvironmentRow]
    newer: str
    older: str
    archived: bool
    network_is_off: bool
    base_url: str


@dataclass(frozen=True)
class EnvironmentPage:
    environment: Environment
    network: str
    network_is_off: bool
    definition: str
    code: str
    sessions: list[SessionRow]
    may_change: bool


@dataclass(frozen=True)
class NewEnvironmentPage:
    form: EnvironmentForm
    network_is_off: bool


def get_environment(request: MemberRequest, environment_id: str) -> Environment:
    """The environment of the member's workspace. Raises Http404 for any other."""
    return find(request, Environment.objects.all(), environment_id)


def network_is_off() -> bool:
    """Whether this server gives no sandbox a network, whatever an environment says."""
    return settings.DAYBREAK_SANDBOX_NETWORK == "off"


def network_words(config: dict[str, Any]) -> str:
    """What an environment's configuration says of the network, in a few words."""
    if config.get("type") != "cloud":
        return "up to its own workers"
    networking = config.get("networking") or {}
    if networking.get("type") == "limited":
        return "limited: no hosts"
    return "unrestricted"


@require_safe
@member_required
def environments(request: MemberRequest) -> HttpResponse:
    archived = request.GET.get("archived") == "1"
    rows = Environment.objects.in_workspace(request.workspace).filter(archived_at__isnull=not archived)
    found = keyset_page(rows, cursor=request.GET.get("page", ""), size=PAGE_SIZE)
    shown = EnvironmentsPage(
        rows=[EnvironmentRow(row, network_words(row.config)) for row in found.rows],
        newer=found.newer,
        older=found.older,
        archived=archived,
        network_is_off=network_is_off(),
        base_url=_base_url(request),
    )
    return page(request, "console/environments/list.html", shown)


@require_safe
@member_required
def environment(request: MemberRequest, environment_id: str) -> HttpResponse:
    found = get_environment(request, environment_id)
    recent = Session.objects.in_workspace(request.workspace).for_list().filter(environment=found)
    arguments = {"name": found.name, "config": found.config}
    shown = EnvironmentPage(
        environment=found,
        network=network_words(found.config),
        network_is_off=network_is_off(),
        definition=as_yaml({"config": found.config, "metadata": found.metadata}),
        code=sdk_call("environments.create", arguments, _base_url(request), result="environment"),
        sessions=session_rows(recent.order_by("-created_at", "-pk")[:SESSIONS_SHOWN]),
        may_change=request.membership.may("operator"),
    )
    return page(request, "console/environments/environment.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("operator")
def new_environment(request: MemberRequest) -> HttpResponse:
    form = EnvironmentForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            body = parse("environments.create", form.values())
            made = services.create_environment(request.workspace, definition=body)
        except DaybreakError as exc:
            form.add_error("name" if exc.status == 409 else None, exc.message)
        else:
            messages.success(request, f"The environment {made.name} was created.")
            return redirect("console:environment", made.public_id)
    shown = NewEnvironmentPage(form, network_is_off())
    return page(request, "console/environments/new.html", shown, status=422 if form.is_bound else 200)


@require_POST
@role_required("operator")
def archive_environment(request: MemberRequest, environment_id: str) -> HttpResponse:
    found = get_environment(request, environment_id)
    try:
        services.archive_environment(found)
    except DaybreakError as exc:
        messages.error(request, exc.message)
    else:
        messages.success(request, f"{found.name} is archived. Sessions that use it go on.")
    return redirect("console:environment", found.public_id)


@require_POST
@role_required("operator")
def delete_environment(request: MemberRequest, environment_id: str) -> HttpResponse:
    found = get_environment(request, environment_id)
    try:
        services.delete_environment(found)
    except DaybreakError as exc:
        messages.error(request, exc.message)
        return redirect("console:environment", found.public_id)
    messages.success(request, f"{found.name} was deleted.")
    return redirect("console:environments")


def _base_url(request: HttpRequest) -> str:
    return request.build_absolute_uri("/").rstrip("/")
