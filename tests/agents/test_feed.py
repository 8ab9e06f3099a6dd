"""Following a session: nothing is left behind, and a preview has no holes."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import feed


def delta(number: int, event_id: str = "sevt_1") -> dict[str, Any]:
    return {"session": 1, "thread": 1, "frame": {"type": "event_delta", "event_id": event_id, "n": number}}


def test_after_a_lost_piece_no_later_one_of_that_event_is_delivered():
    async def run() -> None:
        watcher = feed.Subscription(1, wants_deltas=True)
        for number in range(feed.MAX_WAITING_DELTAS + 5):
            watcher.offer(delta(number))
        taken = watcher.take_deltas()
        watcher.offer(delta(9999))
        watcher.offer(delta(0, "sevt_2"))
        assert [item["frame"]["n"] for item in taken] == list(range(feed.MAX_WAITING_DELTAS))
        assert [item["frame"]["event_id"] for item in watcher.take_deltas()] == ["sevt_2"]

    asyncio.run(run())


def test_a_response_that_is_never_read_leaves_no_watcher(server):
    async def run() -> None:
        watcher = await feed.subscribe(1)
        hub = watcher.hub
        watcher.close()
        watcher.close()
        assert hub is not None and not hub._watchers

    asyncio.run(run())
