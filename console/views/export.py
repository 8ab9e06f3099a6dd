"""A session's log, to be taken away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse
from django.views.decorators.http import require_safe

from agents.services.export import export_lines, file_name
from console.access import MemberRequest, member_required
from console.views.session import get_session

CHUNK = 128_000  # characters read and sent at once


@require_safe
@member_required
def export(request: MemberRequest, session_id: str) -> StreamingHttpResponse:
    """JSON lines, read as fast as they are taken: a long session is never held in memory."""
    found = get_session(request, session_id)
    answer = StreamingHttpResponse(_chunks(export_lines(found)), content_type="application/jsonl; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{file_name(found)}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


async def _chunks(lines: Iterator[str]) -> AsyncIterator[bytes]:
    """A coroutine, because the server would read a plain iterator to its end before sending anything."""
    while chunk := await sync_to_async(next_chunk, thread_sensitive=False)(lines):
        yield chunk


def next_chunk(lines: Iterator[str]) -> bytes:
    taken, size = [], 0
    try:
        for line in lines:
            taken.append(line)
            size += len(line)
            if size >= CHUNK:
                break
    finally:
        if not connection.in_atomic_block:
            connection.close()  # the next chunk may be read by another thread
    return "".join(taken).encode()
