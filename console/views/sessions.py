"""The sessions list, and starting a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from agents.errors import DaybreakError
from agents.models import Agent, Environment, File, Session, Workspace
from agents.services import blobs, files
from agents.services.sessions import create_session
from console.access import MemberRequest, member_required, role_required
from console.forms import NewSessionForm
from console.pages import page, person_name
from console.paging import keyset_page
from console.rows import SessionRow, session_rows
from console.session_filters import Chip, SessionFilterForm, filtered_sessions

PAGE_SIZE = 50


@dataclass(frozen=True)
class SessionsPage:
    form: SessionFilterForm
    chips: list[Chip]
    filtered: bool
    rows: list[SessionRow]
    newer: str
    older: str
    base_url: str


@dataclass(frozen=True)
class NewSessionPage:
    form: NewSessionForm
    has_agents: bool
    has_environments: bool


@require_safe
@member_required
def sessions(request: MemberRequest) -> HttpResponse:
    form = SessionFilterForm(request.GET, workspace=request.workspace)
    chosen = form.chosen()
    rows = filtered_sessions(Session.objects.in_workspace(request.workspace), chosen)
    found = keyset_page(
        rows.for_list().defer("agent_snapshot", "metadata"), cursor=request.GET.get("page", ""), size=PAGE_SIZE
    )
    shown = SessionsPage(
        form=form,
        chips=list(form.chips()),
        filtered=bool(chosen),
        rows=session_rows(found.rows),
        newer=found.newer,
        older=found.older,
        base_url=request.build_absolute_uri("/").rstrip("/"),
    )
    template = "console/sessions/_list.html" if request.htmx else "console/sessions/list.html"
    return page(request, template, shown)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("operator")
def new_session(request: MemberRequest) -> HttpResponse:
    given = {"data": request.POST, "files": request.FILES} if request.method == "POST" else {}
    initial = {"agent": request.GET.get("agent"), "environment": request.GET.get("environment")}
    form = NewSessionForm(**given, initial=initial, workspace=request.workspace)
    if form.is_bound and form.is_valid():
        try:
            session = start_session(request.workspace, form.cleaned_data, by=request.user)
        except DaybreakError as exc:
            form.add_error(None, exc.message)
        else:
            messages.success(request, "The session was created.")
            return redirect("console:session", session.public_id)
    agents = Agent.objects.in_workspace(request.workspace).unarchived().filter(imported=False)
    environments = Environment.objects.in_workspace(request.workspace).unarchived()
    shown = NewSessionPage(form, agents.exists(), environments.exists())
    return page(request, "console/sessions/new.html", shown, status=422 if form.is_bound else 200)


@transaction.atomic
def start_session(workspace: Workspace, given: dict[str, Any], *, by: Any) -> Session:
    """Uploads and the session come into being together or not at all."""
    values: dict[str, Any] = {
        "agent": given["agent"].public_id,
        "environment_id": given["environment"].public_id,
        "resources": [],
    }
    for mount_path, file in _named_apart(given["uploads"]):
        stored = _store(workspace, file)
        values["resources"].append({"type": "file", "file_id": stored.public_id, "mount_path": mount_path})
    if given["title"]:
        values["title"] = given["title"]
    if given["message"].strip():
        text = given["message"].replace("\r\n", "\n")
        values["initial_events"] = [{"type": "user.message", "content": [{"type": "text", "text": text}]}]
    return create_session(workspace, values=values, by=by, sender=person_name(by))


def _store(workspace: Workspace, file: UploadedFile) -> File:
    sha256, size = blobs.store_stream(cast(BinaryIO, file))
    return files.create_upload(
        workspace, filename=file.name or "", mime_type=file.content_type or "", sha256=sha256, size_bytes=size
    )


def _named_apart(uploads: list[UploadedFile]) -> list[tuple[str, UploadedFile]]:
    """Each upload with the path it is mounted at: its own name, numbered where two are called the same."""
    taken: dict[str, UploadedFile] = {}
    for file in uploads:
        name = (file.name or "file").replace("/", "_").replace("\\", "_").strip() or "file"
        stem, dot, ending = name.rpartition(".")
        path, number = f"/{name}", 1
        while path in taken:
            number += 1
            path = f"/{stem} ({number}).{ending}" if dot and stem else f"/{name} ({number})"
        taken[path] = file
    return list(taken.items())
