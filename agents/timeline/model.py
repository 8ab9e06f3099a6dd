"""What goes into a timeline and what comes out: plain data."""

from __future__ import annotations

from typing import NamedTuple


class LightEvent(NamedTuple):
    """An event without its body. Times are microseconds since the epoch, None where nothing is known.

    `ref` is the `seq` of the tool use that a result answers, `message` the id that joins a message to its receipt,
    `ran_at` (on a result) when the call was begun, `waits` whether a thread stops for a person or a client.
    """

    seq: int
    thread: int
    type: str
    at: int | None = None
    cause: int | None = None
    ref: int | None = None
    message: str = ""
    failed: bool = False
    waits: bool = False
    ran_at: int | None = None


class LightThread(NamedTuple):
    """A thread as far as lanes need it.

    `ended`: no event of it can come any more. `archived`: it has ended while its session goes on, and may be folded.
    """

    key: int
    parent: int | None
    name: str
    ordinal: int = 0
    ended: bool = False
    archived: bool = False


class Item(NamedTuple):
    """A span or a moment. `carries` are the events it stands for; `seq` the one it leads to. `end` None: still open."""

    kind: int
    thread: int
    start: float
    end: float | None
    seq: int
    carries: tuple[int, ...]
    failed: bool


class Arrow(NamedTuple):
    """A message from its sending to its receipt; `taken` is when the receiver took it up, None while it has not."""

    sent_seq: int
    sent_thread: int
    sent: float
    received_seq: int
    received_thread: int
    received: float
    taken_seq: int
    taken: float | None
