"""Following a session as it happens: one listener per process wakes every watcher; the rows are the truth."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from asgiref.sync import sync_to_async
from django.db import connection

from agents.models import Event, Session
from agents.services.log import EVENT_CHANNEL

logger = logging.getLogger(__name__)

DELTA_CHANNEL = "daybreak_delta"
POLL_S = 5.0  # a lost wake-up delays a watcher by this much, no more
BATCH = 200
MAX_WAITING_DELTAS = 500


@dataclass(eq=False)
class Subscription:
    """One watcher of one session. `wake` is set when there may be something new."""

    session_pk: int
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    deltas: list[dict[str, Any]] = field(default_factory=list)
    wants_deltas: bool = False
    hub: Hub | None = None
    skipped: set[str] = field(default_factory=set)  # events of whose previews a piece did not fit

    def offer(self, delta: dict[str, Any]) -> None:
        """Take a delta, unless too many wait; then none of that event's later ones either, so that no hole shows."""
        frame = delta["frame"]
        event_id = frame["event_id"] if "event_id" in frame else frame["event"]["id"]
        if len(self.deltas) >= MAX_WAITING_DELTAS:
            self.skipped.add(event_id)
        if event_id not in self.skipped:
            self.deltas.append(delta)
            self.wake.set()

    def close(self) -> None:
        """Stop watching. Safe to call twice, and from a response that was never read."""
        if self.hub is not None:
            self.hub.unsubscribe(self)

    def take_deltas(self) -> list[dict[str, Any]]:
        taken, self.deltas = self.deltas, []
        return taken


class Hub:
    """Fans one LISTEN connection out to the watchers of one event loop."""

    def __init__(self) -> None:
        self._watchers: dict[int, set[Subscription]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    async def subscribe(self, subscription: Subscription) -> None:
        """Add a watcher. When this returns, what happens from now on will wake it."""
        self._watchers[subscription.session_pk].add(subscription)
        if self._task is None or self._task.done():
            self._listening.clear()
            self._task = asyncio.create_task(self._listen())
        try:
            await asyncio.wait_for(self._listening.wait(), timeout=POLL_S)
        except TimeoutError:
            logger.warning("listening for events has not started; watchers poll instead")

    def unsubscribe(self, subscription: Subscription) -> None:
        watchers = self._watchers.get(subscription.session_pk)
        if watchers is not None:
            watchers.discard(subscription)
            if not watchers:
                del self._watchers[subscription.session_pk]

    async def _listen(self) -> None:
        while self._watchers:
            try:
                await self._listen_once()
            except psycopg.Error as exc:
                logger.warning("listening for events was cut off: %s", exc)
                self._listening.clear()
                await asyncio.sleep(0.5)

    async def _listen_once(self) -> None:
        conninfo = await sync_to_async(_conninfo, thread_sensitive=False)()
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as listener:
            await listener.execute(f"LISTEN {EVENT_CHANNEL}")
            await listener.execute(f"LISTEN {DELTA_CHANNEL}")
            self._listening.set()
            self._wake_all()  # something may have happened while nobody listened
            while self._watchers:
                async for notice in listener.notifies(timeout=POLL_S):
                    self._dispatch(notice.channel, notice.payload)
                    if not self._watchers:
                        break

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.wake.set()

    def _dispatch(self, channel: str, payload: str) -> None:
        if channel == EVENT_CHANNEL:
            session_pk = int(payload.partition(":")[0])
            for watcher in self._watchers.get(session_pk, ()):
                watcher.wake.set()
            return
        told = json.loads(payload)
        for watcher in self._watchers.get(told["session"], ()):
            if watcher.wants_deltas:
                for frame in told["frames"]:
                    watcher.offer({"session": told["session"], "thread": told["thread"], "frame": frame})


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def _hub() -> Hub:
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


def _conninfo() -> str:
    from agents.runtime.worker import listen_conninfo

    return listen_conninfo()


async def subscribe(session_pk: int, *, deltas: bool = False) -> Subscription:
    """Watch a session until the subscription is closed. Events appended from now on are never missed."""
    watcher = Subscription(session_pk, wants_deltas=deltas, hub=_hub())
    try:
        await _hub().subscribe(watcher)
    except BaseException:
        watcher.close()
        raise
    return watcher


@asynccontextmanager
async def subscription(session_pk: int, *, deltas: bool = False) -> AsyncIterator[Subscription]:
    """`subscribe` for the length of the block."""
    watcher = await subscribe(session_pk, deltas=deltas)
    try:
        yield watcher
    finally:
        watcher.close()


def _read(session_pk: int, after_seq: int) -> tuple[list[Event], bool]:
    """The next events by `seq`, marks included, and whether the session still exists."""
    try:
        rows = list(
            Event.objects.filter(session_id=session_pk, seq__gt=after_seq)
            .select_related("thread")
            .order_by("seq")[:BATCH]
        )
        return rows, bool(rows) or Session.objects.filter(pk=session_pk).exists()
    finally:
        if not connection.in_atomic_block:
            connection.close()


read_events = sync_to_async(_read, thread_sensitive=False)


async def follow_events(
    watcher: Subscription, after_seq: int, *, heartbeat_s: float
) -> AsyncIterator[Event | dict[str, Any] | None]:
    """Everything that is appended to the session after `after_seq`, in order.

    Yields:
        Events by `seq`, internal marks (`visible` False) included; delta frames as dicts when the watcher asked for
        them; None when nothing was yielded for `heartbeat_s`, so that the caller can keep its connection alive.

    Ends when the session has been deleted.
    """
    loop = asyncio.get_running_loop()
    last_sign = loop.time()
    while True:
        watcher.wake.clear()
        deltas = watcher.take_deltas()  # before the rows are read, so that a request's start is told first
        rows, exists = await read_events(watcher.session_pk, after_seq)
        news: list[Event | dict[str, Any]] = [*rows, *deltas]
        for item in news:
            if isinstance(item, Event):
                after_seq = item.seq
            yield item
            last_sign = loop.time()
        if not exists:
            return
        if len(rows) == BATCH:
            continue
        quiet = heartbeat_s - (loop.time() - last_sign)
        if quiet <= 0:
            yield None
            last_sign = loop.time()
            continue
        try:
            await asyncio.wait_for(watcher.wake.wait(), timeout=min(quiet, POLL_S))
        except TimeoutError:
            pass
