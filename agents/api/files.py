"""`/v1/files`, for `client.files` and `client.beta.files` alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, BinaryIO

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.http import content_disposition_header

from agents.api.betas import MANAGED_AGENTS, require_beta
from agents.api.http import ApiRequest, endpoint
from agents.api.multipart import read_upload
from agents.api.pages import Page, paginate
from agents.api.schemas import parse_query
from agents.errors import Invalid
from agents.models import File
from agents.services import blobs, files

Wire = dict[str, Any]

MAX_IDS = 100
CHUNK_BYTES = 256 * 1024


def upload_file(request: ApiRequest) -> Wire:
    upload = read_upload(request, known_fields={"expires_in_seconds"})
    file = files.create_upload(
        request.workspace,
        filename=upload.filename,
        mime_type=upload.mime_type,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        expires_in_seconds=_seconds(upload.fields.get("expires_in_seconds")),
    )
    return files.file_wire(file)


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid("expires_in_seconds: must be a whole number.")
    return int(text)


def list_files(request: ApiRequest) -> Wire:
    query = parse_query(request, "files.list")
    rows = File.objects.unexpired().in_workspace(request.workspace).select_related("session")
    if "scope_id" in query:
        require_beta(request, MANAGED_AGENTS, why="scope_id")
        rows = rows.filter(session__public_id=query["scope_id"])
    if "ids" not in query:
        return paginate(rows, query, name=f"files {query.get('scope_id', '')}").wire(files.file_wire)
    if "limit" in request.GET or "page" in request.GET:
        raise Invalid("ids: cannot be combined with limit or page.")
    if len(query["ids"]) > MAX_IDS:
        raise Invalid(f"ids: names more than {MAX_IDS} files.")
    found = rows.filter(public_id__in=query["ids"]).order_by("-created_at", "-id")
    return Page(rows=list(found), next_page=None).wire(files.file_wire)


def retrieve_file(request: ApiRequest, file_id: str) -> Wire:
    return files.file_wire(files.get_file(request.workspace, file_id))


def delete_file(request: ApiRequest, file_id: str) -> Wire:
    file = files.get_file(request.workspace, file_id)
    files.delete_file(file)
    return {"id": file.public_id, "type": "file_deleted"}


def download_file(request: ApiRequest, file_id: str) -> HttpResponseBase:
    file = files.get_file(request.workspace, file_id)
    files.check_can_download(file)
    return attachment(file)


def attachment(file: File) -> HttpResponseBase:
    """The bytes, in a way no browser will run: an agent wrote them."""
    handle = blobs.open_blob(file.sha256)
    kind = "text/plain; charset=utf-8" if file.mime_type.startswith("text/") else files.UNKNOWN_TYPE
    response: HttpResponseBase
    if file.size_bytes <= blobs.MAX_ROW_BYTES:
        with handle:
            response = HttpResponse(handle.read(), content_type=kind)
    else:
        response = StreamingHttpResponse(_chunks(handle), content_type=kind)
    response["Content-Length"] = str(file.size_bytes)
    response["Content-Disposition"] = content_disposition_header(True, file.filename) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


async def _chunks(handle: BinaryIO) -> AsyncIterator[bytes]:
    with handle:
        while chunk := await sync_to_async(handle.read, thread_sensitive=False)(CHUNK_BYTES):
            yield chunk


urlpatterns = [
    path("files", endpoint(GET=list_files, POST=upload_file), name="files"),
    path("files/<str:file_id>", endpoint(GET=retrieve_file, DELETE=delete_file), name="file"),
    path("files/<str:file_id>/content", endpoint(GET=download_file), name="file-content"),
]
