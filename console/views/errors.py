"""The pages for when something is wrong. Django calls them for every URL outside the API."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.template.loader import get_template

from agents.models import Workspace
from console.access import InOtherWorkspace
from console.pages import page


@dataclass(frozen=True)
class ErrorPage:
    title: str
    what: str
    other_workspace: Workspace | None = None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    what = str(exception) if type(exception).__name__ == "BadRequest" else ""
    said = ErrorPage("This address or form is damaged", what or "Go back and try again.")
    return page(request, "console/errors/error.html", said, status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    what = str(exception) or "Your roles in this workspace do not allow this."
    return page(request, "console/errors/forbidden.html", ErrorPage("You may not do this", what), status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    other = exception.workspace if isinstance(exception, InOtherWorkspace) else None
    said = ErrorPage("There is nothing here", "It may have been deleted, or the address is incomplete.", other)
    return page(request, "console/errors/not_found.html", said, status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Without the request's context: whatever broke may break that too."""
    return HttpResponse(get_template("console/errors/broken.html").render(), status=500)
