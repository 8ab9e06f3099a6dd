"""Live streams: `/v1/sessions/{id}/events/stream` and `/v1/sessions/{id}/threads/{id}/stream`.

The subscription is live before the answer's headers leave, so that a client that opens the stream and then reads the
history sees every event: never a gap, maybe one event twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import StreamingHttpResponse
from django.urls import path
from django.utils import timezone

from agents import feed
from agents.api import schemas
from agents.api.events import get_thread
from agents.api.http import ApiRequest, endpoint
from agents.api.wire import event_text, moment, queued_copy
from agents.errors import Invalid
from agents.ids import EVENT, new_id
from agents.models import Event, Thread
from agents.models.events import PROCESSED_MARK
from agents.services import sessions

MAX_DELTA_FILTERS = 100
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


async def stream_session(request: ApiRequest, session_id: str) -> StreamingHttpResponse:
    return await _open(request, session_id, None)


async def stream_thread(request: ApiRequest, session_id: str, thread_id: str) -> StreamingHttpResponse:
    return await _open(request, session_id, thread_id)


async def _open(request: ApiRequest, session_id: str, thread_id: str | None) -> StreamingHttpResponse:
    name = "events.stream" if thread_id is None else "threads.events.stream"
    if len(request.GET.getlist("event_deltas[]")) > MAX_DELTA_FILTERS:
        raise Invalid(f"event_deltas: at most {MAX_DELTA_FILTERS} values.")
    query = await sync_to_async(schemas.parse_query)(request, name)
    thread = await sync_to_async(_find_thread)(request, session_id, thread_id)
    wanted = set(query.get("event_deltas") or [])
    watcher = await feed.subscribe(thread.session_id, deltas=bool(wanted))
    try:
        after_seq = await sync_to_async(_last_seq)(thread)
        response = StreamingHttpResponse(_frames(watcher, thread, after_seq, wanted), content_type="text/event-stream")
    except BaseException:
        watcher.close()
        raise
    # Closed by Django with the response, also when the client left before the first byte.
    response._resource_closers.append(watcher.close)  # type: ignore[attr-defined]
    response["Cache-Control"] = "no-cache, no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def _find_thread(request: ApiRequest, session_id: str, thread_id: str | None) -> Thread:
    session = sessions.get_session(request.workspace, session_id)
    return session.primary_thread if thread_id is None else get_thread(session, thread_id)


def _last_seq(thread: Thread) -> int:
    """Where the stream begins: after everything committed when the subscription was live."""
    try:
        newest = Event.objects.filter(session_id=thread.session_id).order_by("-seq").values_list("seq", flat=True)
        return newest.first() or 0
    finally:
        if not connection.in_atomic_block:
            connection.close()


async def _frames(watcher: feed.Subscription, thread: Thread, after_seq: int, wanted: set[str]) -> AsyncIterator[bytes]:
    previews = Previews(thread.pk, wanted)
    try:
        yield PING
        if thread.status == Thread.Status.TERMINATED:
            return  # nothing will ever happen here
        async for item in feed.follow_events(watcher, after_seq, heartbeat_s=settings.DAYBREAK_SSE_PING_S):
            frame = PING if item is None else await _frame_of(item, thread, previews)
            if frame is not None:
                yield frame
            if isinstance(item, Event) and item.type == "session.status_terminated":
                return
        yield _frame("session.deleted", _deleted())
    finally:
        watcher.close()


async def _frame_of(item: Event | dict[str, Any], thread: Thread, previews: Previews) -> bytes | None:
    if isinstance(item, dict):
        if not previews.passes(item):
            return None
        return _frame(item["frame"]["type"], orjson.dumps(item["frame"]).decode())
    if item.thread_id != thread.pk:
        return None
    previews.finish(item.public_id)
    return await _text_of(item)


async def _text_of(row: Event) -> bytes | None:
    """The frame of a log row: an event, or for a mark the event whose processing it records."""
    if row.type == PROCESSED_MARK:
        marked = await sync_to_async(_marked)(row)
        return None if marked is None else _frame(marked.type, event_text(marked))
    if not row.visible:
        return None
    # A queued event is shown as it was when it was queued; its mark brings the processed copy.
    shown = queued_copy(row) if await sync_to_async(_has_mark)(row) else row
    return _frame(shown.type, event_text(shown))


def _marked(mark: Event) -> Event | None:
    try:
        return Event.objects.filter(session_id=mark.session_id, seq=mark.cause_seq or 0).first()
    finally:
        if not connection.in_atomic_block:
            connection.close()


QUEUEABLE = ("user.message", "system.message", "user.interrupt")


def _has_mark(row: Event) -> bool:
    """Whether the event's processing is, or will be, recorded by a later mark."""
    if row.type not in QUEUEABLE:
        return False
    try:
        return (
            row.processed_at is None
            or Event.objects.filter(session_id=row.session_id, type=PROCESSED_MARK, cause_seq=row.seq).exists()
        )
    finally:
        if not connection.in_atomic_block:
            connection.close()


class Previews:
    """Which delta frames may pass: only of events whose start this connection has seen and whose end it has not."""

    def __init__(self, thread_pk: int, wanted: set[str]) -> None:
        self._thread_pk = thread_pk
        self._wanted = wanted
        self._open: set[str] = set()
        self._done: set[str] = set()

    def passes(self, delta: dict[str, Any]) -> bool:
        frame = delta["frame"]
        if delta["thread"] != self._thread_pk:
            return False
        if frame["type"] == "event_start":
            public_id = frame["event"]["id"]
            if frame["event"]["type"] not in self._wanted or public_id in self._done:
                return False
            self._open.add(public_id)
            return True
        return frame["event_id"] in self._open

    def finish(self, public_id: str) -> None:
        self._open.discard(public_id)
        if self._wanted:
            self._done.add(public_id)


# Legal inside JSON text, but many clients split lines at them.
LINE_BREAKS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def _frame(name: str, text: str) -> bytes:
    for character, escape in LINE_BREAKS.items():
        text = text.replace(character, escape)
    return f"event: {name}\ndata: {text}\n\n".encode()


def _deleted() -> str:
    """The session's rows are gone, so this last event is made here."""
    at = moment(timezone.now())
    return f'{{"id":"{new_id(EVENT)}","type":"session.deleted","processed_at":"{at}"}}'


urlpatterns = [
    path("sessions/<str:session_id>/events/stream", endpoint(GET=stream_session), name="session-stream"),
    path(
        "sessions/<str:session_id>/threads/<str:thread_id>/stream",
        endpoint(GET=stream_thread),
        name="session-thread-stream",
    ),
]
