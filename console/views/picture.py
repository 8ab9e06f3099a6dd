"""The numbers from which a session's picture is drawn: no bodies, and never more than a canvas can show."""

from __future__ import annotations

import gzip
import json
import math
import re

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from console.access import MemberRequest, member_required
from console.story.picture import Asked, payload
from console.story.rows import lanes_of
from console.views.story import get_session

GZIP_FROM = 1_000  # bytes; below, packing costs more than it saves
_DAMAGED = "This address is damaged: {} is no number that the picture knows."
_ACCEPTS_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|\s|$))")


@require_safe
@member_required
def picture(request: MemberRequest, session_id: str) -> HttpResponse:
    """`?from=&to=` in the picture's own units, `width` in pixels; `after=<seq>` for what is new since then."""
    found = get_session(request, session_id)
    asked = Asked(
        start=_float(request, "from"),
        end=_float(request, "to"),
        width=min(_int(request, "width") or 1_000, 10_000),
        after=_int(request, "after"),
        by_order=request.GET.get("draw") == "order",
        fold=request.GET.get("fold", ""),
        find=_int(request, "find"),
    )
    body = json.dumps(payload(found, lanes_of(found), asked), ensure_ascii=False, separators=(",", ":"))
    return _answer(request, body.encode("utf-8", "replace"))


def _answer(request: HttpRequest, body: bytes) -> HttpResponse:
    packed = len(body) >= GZIP_FROM and bool(_ACCEPTS_GZIP.search(request.headers.get("Accept-Encoding", "")))
    response = HttpResponse(gzip.compress(body, 5, mtime=0) if packed else body, content_type="application/json")
    if packed:
        response["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ("Accept-Encoding",))
    return response


def _int(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise BadRequest(_DAMAGED.format(name))
    return int(value)


def _float(request: HttpRequest, name: str) -> float | None:
    value = request.GET.get(name)
    if value is None:
        return None
    try:
        number = float(value[:40])
    except ValueError as exc:
        raise BadRequest(_DAMAGED.format(name)) from exc
    if not math.isfinite(number) or abs(number) > 1e15:
        raise BadRequest(_DAMAGED.format(name))
    return number
