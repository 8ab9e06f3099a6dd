"""What a watched session page gets while things happen: rows, the header, and what else they change.

Server-sent events for htmx: `row` holds list items to append, `header` the refreshed facts, `patch` fragments that name
their own place, `picture` the `seq` up to which the picture can fetch what is new. Each frame's `id` is the `seq` up
to which the page is then complete.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_GET

from agents import feed
from agents.models import Event, File, Session, Thread, Workspace
from agents.models.events import PROCESSED_MARK
from console.access import MemberRequest, enter, still_may
from console.story import rows as story
from console.story import told
from console.story.team import team_of
from console.views.session import EVERYTHING, get_session, header_of, pending_of

logger = logging.getLogger(__name__)

STREAMS_PER_PERSON = 6
RECHECK_S = 30.0
GATHER_S = 0.08  # events that come within this time travel together
PICTURE_S = 0.25  # the picture is told of news at most this often
TEAM_S = 0.5  # the team is listed anew at most this often
REDRAW_S = 2.0  # and, while anything at all happens, at least this often
MAX_BATCH = 200
# Events after which the open questions, or the delivered files, may be others.
_CHANGES_PENDING = ("tool_use", "user.tool_confirmation", "user.custom_tool_result", "user.interrupt", "_idle")
# Events after which an agent of the team may stand, or have said, something else.
_CHANGES_TEAM = ("session.thread_", "agent.thread_message_", "user.interrupt", "daybreak.wait_", told.TEAM_RESULT)
_CHANGES_FILES = ("session.status_idle",)

_open_streams: Counter[int] = Counter()
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Watch:
    """One open page: whose it is, what it shows, and how far it has come."""

    user_pk: int
    may_act: bool
    session_key: str | None
    workspace: Workspace
    session: Session
    thread_pk: int | None
    everything: bool
    wants_rows: bool
    after_seq: int
    picture_seq: int = 0  # the last that the picture was told of
    picture_at: float = field(default=-PICTURE_S)
    last_seq: int = 0  # the last that came
    listed_at: float = field(default=-TEAM_S)
    team_changed: bool = False  # since it was listed


@require_GET
async def stream(request: HttpRequest, session_id: str) -> HttpResponseBase:
    opened = await sync_to_async(_open)(request, session_id)
    if isinstance(opened, HttpResponseBase):
        return opened
    response = StreamingHttpResponse(_frames(opened), content_type="text/event-stream")
    response["Cache-Control"] = "private, no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def _open(request: HttpRequest, session_id: str) -> Watch | HttpResponseBase:
    try:
        answer = enter(request)
        if answer is not None:
            return answer
        return _watch(cast(MemberRequest, request), session_id)
    finally:
        _give_back()


def _watch(request: MemberRequest, session_id: str) -> Watch:
    found = get_session(request, session_id)
    thread = found.threads.filter(public_id=request.GET["thread"]).first() if request.GET.get("thread") else None
    return Watch(
        user_pk=request.user.pk,
        may_act=request.membership.may("operator"),
        session_key=request.session.session_key,
        workspace=request.workspace,
        session=found,
        thread_pk=thread.pk if thread else None,
        everything=request.GET.get("events") == EVERYTHING,
        wants_rows=request.GET.get("rows") != "none",
        after_seq=_after(request),
    )


def _after(request: HttpRequest) -> int:
    """Where to go on: a browser that lost the connection says so itself, else the page's address does."""
    for value in (request.headers.get("Last-Event-ID", ""), request.GET.get("after", "")):
        if value.isascii() and value.isdigit() and len(value) <= 18:
            return int(value)
    return 0


async def _frames(watch: Watch) -> AsyncIterator[bytes]:
    if _open_streams[watch.user_pk] >= STREAMS_PER_PERSON:
        yield _frame("patch", _note("Live updates are off: you have too many live pages open. Reload to try again."))
        yield _frame("end", "")
        return
    _open_streams[watch.user_pk] += 1
    try:
        yield b"retry: 2000\n: connected\n\n"
        async for frame in _follow(watch):
            yield frame
    finally:
        _open_streams[watch.user_pk] -= 1
        if _open_streams[watch.user_pk] <= 0:
            del _open_streams[watch.user_pk]


async def _follow(watch: Watch) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    checked_at = loop.time()
    async with feed.subscription(watch.session.pk) as watcher:
        events = feed.follow_events(watcher, watch.after_seq, heartbeat_s=settings.DAYBREAK_SSE_PING_S)
        async for batch in gathered(events, lambda: _due_in(watch, loop.time())):
            watch.last_seq = batch[-1].seq if batch else watch.last_seq
            if loop.time() - checked_at > RECHECK_S:
                if not await in_database(still_may, watch.user_pk, watch.session_key, watch.workspace):
                    yield _frame("end", "")
                    return
                checked_at = loop.time()
            if _picture_due_in(watch, loop.time()) == 0:
                yield _picture_frame(watch, loop.time())
            if not batch:
                yield b": still here\n\n"
                if _team_due_in(watch, loop.time()) == 0:
                    for frame in await in_database(render_team, watch, loop.time()):
                        yield frame
                continue
            for frame in await in_database(render_batch, watch, batch, loop.time()):
                yield frame
            if any(event.type == "session.status_terminated" for event in batch):
                yield _frame("end", "")
                return
    yield _frame("patch", _note("This session was deleted."))
    yield _frame("end", "")


def _due_in(watch: Watch, now: float) -> float | None:
    """Seconds until there is something to send although nothing new comes; None when there is nothing."""
    waits = (_picture_due_in(watch, now), _team_due_in(watch, now))
    return min((wait for wait in waits if wait is not None), default=None)


def _picture_due_in(watch: Watch, now: float) -> float | None:
    return None if watch.picture_seq >= watch.last_seq else max(0.0, watch.picture_at + PICTURE_S - now)


def _team_due_in(watch: Watch, now: float) -> float | None:
    return max(0.0, watch.listed_at + TEAM_S - now) if watch.team_changed else None


def _picture_frame(watch: Watch, now: float) -> bytes:
    watch.picture_seq, watch.picture_at = watch.last_seq, now
    return _frame("picture", str(watch.last_seq))


async def gathered(
    source: AsyncIterator[Any], due: Callable[[], float | None] = lambda: None
) -> AsyncIterator[list[Event]]:
    """Events that come close together as one list; an empty list when the source only shows a sign of life.

    Args:
        due: after how many seconds, if at all, the caller wants an empty list although nothing came.
    """
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=MAX_BATCH)
    ended = object()

    async def pump() -> None:
        try:
            async for item in source:
                await queue.put(item)
        finally:
            await queue.put(ended)

    task = asyncio.create_task(pump())
    try:
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), due())
            except TimeoutError:
                yield []
                continue
            if item is ended:
                break
            batch = [item]
            if item is not None:
                await asyncio.sleep(GATHER_S)
            while not queue.empty() and len(batch) < MAX_BATCH and batch[-1] is not ended:
                batch.append(queue.get_nowait())
            yield [event for event in batch if isinstance(event, Event)]
            if batch[-1] is ended:
                break
        await task
    finally:
        task.cancel()


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread and give its connection back: an open page must not keep one."""

    def run() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            _give_back()

    return await sync_to_async(run, thread_sensitive=False)()


def _give_back() -> None:
    if not connection.in_atomic_block:
        connection.close()


# What to send


def render_batch(watch: Watch, batch: list[Event], now: float) -> list[bytes]:
    """The frames for some events of the session, in the order of the log."""
    session = Session.objects.select_related("agent", "environment", "created_by").filter(pk=watch.session.pk).first()
    if session is None:
        return []
    lanes = story.lanes_of(session)
    maker = story.RowMaker(session, lanes)
    last = batch[-1].seq
    frames = []
    shown = _shown(watch, batch)
    if watch.wants_rows and shown:
        html = "".join(_row(session, row) for row in maker.rows(shown))
        frames.append(_frame("row", html, last))
    patches = [*_changed_rows(watch, session, maker, batch), *_patches(watch, session, lanes, batch, now)]
    frames += [_frame("patch", patch) for patch in patches]  # each alone: a page drops those it has no place for
    header = render_to_string("console/sessions/_header.html", {"header": header_of(session)})
    frames.append(_frame("header", header, last))
    return frames


def _shown(watch: Watch, events: list[Event]) -> list[Event]:
    """Those of some events that the page shows, by the rule by which it lists them."""
    thread = Thread(pk=watch.thread_pk) if watch.thread_pk else None
    wanted = told.shown_events(watch.session, thread=thread, everything=watch.everything)
    pks = set(wanted.filter(pk__in=[event.pk for event in events]).values_list("pk", flat=True))
    return [event for event in events if event.pk in pks]


def _row(session: Session, row: story.EventRow, *, swap: bool = False) -> str:
    return render_to_string("console/sessions/_event.html", {"row": row, "session": session, "swap": swap})


def _changed_rows(watch: Watch, session: Session, maker: story.RowMaker, batch: list[Event]) -> Iterable[str]:
    """Rows that now read otherwise: queued messages that an agent has taken up, and waits that are over."""
    seqs = [event.cause_seq for event in batch if event.type == PROCESSED_MARK and event.cause_seq]
    ended = [event.data.get("tool_use_id") for event in batch if event.type == told.TEAM_RESULT]
    if not watch.wants_rows or not (seqs or ended):
        return []
    changed = Q(seq__in=seqs)
    if ended:
        changed |= Q(type=told.WAIT_STARTED, cause_seq__in=_seqs_of(session, ended))
    events = list(Event.objects.filter(changed, session=session).order_by("seq"))
    return [_row(session, row, swap=True) for row in maker.rows(_shown(watch, events))]


def _seqs_of(session: Session, public_ids: list[Any]) -> list[int]:
    return list(Event.objects.filter(session=session, public_id__in=public_ids).values_list("seq", flat=True))


def _patches(
    watch: Watch, session: Session, lanes: dict[int, story.Lane], batch: list[Event], now: float
) -> Iterable[str]:
    types = {event.type for event in batch}
    watch.team_changed = watch.team_changed or any(type_.startswith(_CHANGES_TEAM) for type_ in types)
    if any(type_.endswith(_CHANGES_PENDING) for type_ in types):
        yield _fragment("_pending", session=session, pending=pending_of(session, lanes), may_act=watch.may_act)
    if any(type_ in _CHANGES_FILES for type_ in types):
        outputs = session.files.filter(kind=File.Kind.OUTPUT).order_by("path", "pk")
        yield _fragment("_outputs", session=session, outputs=list(outputs))
    if now - watch.listed_at >= (TEAM_S if watch.team_changed else REDRAW_S):
        watch.listed_at, watch.team_changed = now, False
        team = team_of(session, lanes, timezone.now())
        yield _fragment("_team", session=session, team=team, may_act=watch.may_act)


def render_team(watch: Watch, now: float) -> list[bytes]:
    """The team as it stands, when its last change was too soon after the one before."""
    session = Session.objects.filter(pk=watch.session.pk).first()
    if session is None:
        return []
    watch.listed_at, watch.team_changed = now, False
    team = team_of(session, story.lanes_of(session), timezone.now())
    return [_frame("patch", _fragment("_team", session=session, team=team, may_act=watch.may_act))]


def _fragment(name: str, **context: Any) -> str:
    return render_to_string(f"console/sessions/{name}.html", {**context, "swap": True})


def _note(text: str) -> str:
    return f'<p id="live-note" class="live-note" hx-swap-oob="true">{text}</p>'


def _frame(event: str, html: str, seq: int | None = None) -> bytes:
    """One server-sent event. Line ends inside become data lines of their own, as the format wants."""
    lines = [f"event: {event}"]
    if seq is not None:
        lines.append(f"id: {seq}")
    lines += [f"data: {line}" for line in html.splitlines()] or ["data:"]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")
