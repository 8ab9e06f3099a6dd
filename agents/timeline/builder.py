"""Events in, spans, moments and arrows out. Pure: no database, and no log can make it fail.

Complexity is O(n). What was built can be extended when events come, which is how a live session is followed.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from agents.timeline import kinds
from agents.timeline.model import Arrow, Item, LightEvent

SHORTEST_WAIT = 5.0  # milliseconds in the queue that are worth drawing
_NEVER = math.inf  # the end of what is still going on


class Builder:
    """One session's timeline, grown event by event.

    Every event is carried by exactly one item: as what begins it, ends it, or is it. Times are milliseconds since the
    first event; by order, they are places in the order of the log.

    Args:
        by_order: places mean order only. Also for logs without times.
        pairs_in_turn: answer the oldest open call of a thread with a result that names none (imported logs).
        queues: waits in the engine's queue follow from the times (not in logs of other tools).
    """

    def __init__(self, *, by_order: bool = False, pairs_in_turn: bool = False, queues: bool = True) -> None:
        self.by_order, self.pairs_in_turn, self.queues = by_order, pairs_in_turn, queues and not by_order
        self.origin: int | None = None
        self.first, self.last = 0.0, 0.0  # the extent
        self.last_seq = 0
        # One place per item.
        self.kind, self.flags = bytearray(), bytearray()
        self.thread, self.seq, self.end_seq, self.changed = array("q"), array("q"), array("q"), array("q")
        self.start, self.end = array("d"), array("d")
        self.arrows: list[Arrow] = []
        self.arrow_changed = array("q")
        # One place per event.
        self.event_seq, self.event_thread, self.event_at = array("q"), array("q"), array("d")
        self.counts: dict[int, Counter[str]] = defaultdict(Counter)  # types by thread
        self.alive: dict[int, tuple[int, int]] = {}  # first and last `seq` by thread
        # What is open, by thread or by the event that began it.
        self._open: dict[int, dict[int, int]] = {kind: {} for kind in range(kinds.LAST_SPAN + 1)}
        self._calls: dict[int, int] = {}
        self._calls_of: dict[int, dict[int, None]] = defaultdict(dict)
        self._decided: dict[int, float] = {}
        self._rested: dict[int, float] = {}
        self._sent_by_seq: dict[int, LightEvent] = {}
        self._sent_by_message: dict[str, int] = {}
        self._unsent: dict[str, LightEvent] = {}
        self._received: dict[int, int] = {}  # arrows not taken up, by the receipt

    def add(self, events: Iterable[LightEvent]) -> None:
        """Append events, ascending by `seq`. What is already there is passed over."""
        for event in events:
            if event.seq <= self.last_seq:
                continue
            at = self._place(event.at)
            self.event_seq.append(event.seq)
            self.event_thread.append(event.thread)
            self.event_at.append(at)
            self.last_seq = event.seq
            self.counts[event.thread][event.type] += 1
            known = self.alive.get(event.thread)
            self.alive[event.thread] = (known[0] if known else event.seq, event.seq)
            handle = _HANDLERS.get(event.type)
            if handle is not None:
                handle(self, event, at)
            else:
                self._moment(kinds.MOMENTS.get(event.type, kinds.STATUS), event, at)

    def items(self) -> Iterator[Item]:
        for n, kind in enumerate(self.kind):
            carried: tuple[int, ...] = (self.seq[n], self.end_seq[n]) if self.end_seq[n] else (self.seq[n],)
            if self.flags[n] & kinds.DERIVED:
                carried = ()
            end = None if self.end[n] == _NEVER else self.end[n]
            failed = bool(self.flags[n] & kinds.FAILED)
            yield Item(kind, self.thread[n], self.start[n], end, self.seq[n], carried, failed)

    def find(self, seq: int) -> tuple[float, int] | None:
        """Time and thread of an event."""
        n = bisect_left(self.event_seq, seq)
        if n < len(self.event_seq) and self.event_seq[n] == seq:
            return self.event_at[n], self.event_thread[n]
        return None

    @property
    def size_bytes(self) -> int:
        """About how much memory this takes."""
        waiting = len(self._calls) + len(self._sent_by_seq) + len(self._received)
        return 42 * len(self.kind) + 24 * len(self.event_seq) + 220 * len(self.arrows) + 300 * waiting + 10_000

    # Places

    def _place(self, at: int | None) -> float:
        if self.by_order:
            place = float(len(self.event_seq))
        elif at is None:
            place = self.event_at[-1] if self.event_at else 0.0
        else:
            if self.origin is None:
                self.origin = at
            place = (at - self.origin) / 1000
        if not self.event_seq:
            self.first = self.last = place
        elif place > self.last:
            self.last = place
        elif place < self.first:
            self.first = place
        return place

    def _time_of(self, seq: int | None) -> float | None:
        found = self.find(seq) if seq is not None else None
        return found[0] if found else None

    # Items

    def _append(self, kind: int, thread: int, start: float, end: float, seq: int, changed: int, flags: int = 0) -> int:
        self.kind.append(kind)
        self.flags.append(flags)
        self.thread.append(thread)
        self.start.append(start)
        self.end.append(end)
        self.seq.append(seq)
        self.end_seq.append(0)
        self.changed.append(changed)
        return len(self.kind) - 1

    def _moment(self, kind: int, event: LightEvent, at: float) -> int:
        return self._append(kind, event.thread, at, at, event.seq, event.seq)

    def _begin(self, kind: int, event: LightEvent, at: float) -> int:
        return self._append(kind, event.thread, at, _NEVER, event.seq, event.seq, kinds.OPEN)

    def _finish(self, n: int, event: LightEvent, at: float, *, carried: bool) -> None:
        """End a span with an event, which it then carries, or because of it."""
        self.end[n] = max(at, self.start[n])
        self.flags[n] &= ~kinds.OPEN
        self.changed[n] = event.seq
        if carried:
            self.end_seq[n] = event.seq
            if event.failed:
                self.flags[n] |= kinds.FAILED
        if self.kind[n] <= kinds.LAST_SPAN and self.kind[n] != kinds.WAIT_QUEUE:
            self._rested[event.thread] = at

    def _finish_open(self, kind: int, event: LightEvent, at: float, *, carried: bool) -> bool:
        """End what of this kind is open on the event's thread, if anything is."""
        n = self._open[kind].pop(event.thread, None)
        if n is None:
            return False
        self._finish(n, event, at, carried=carried)
        return True

    def _begin_only(self, kind: int, event: LightEvent, at: float) -> None:
        """Begin a span of a kind of which a thread has one at a time."""
        if event.thread in self._open[kind]:
            self._moment(kinds.STATUS, event, at)
        else:
            self._open[kind][event.thread] = self._begin(kind, event, at)

    def _waited(self, thread: int, start: float, end: float, seq: int, changed: int) -> None:
        if self.queues and end - start >= SHORTEST_WAIT:
            self._append(kinds.WAIT_QUEUE, thread, start, end, seq, changed, kinds.DERIVED)

    # Model requests

    def _request_start(self, event: LightEvent, at: float) -> None:
        self._finish_open(kinds.MODEL, event, at, carried=False)  # a request whose end nobody wrote
        if not self._finish_open(kinds.WAIT_RETRY, event, at, carried=False):
            ready = self._time_of(event.cause)
            if ready is not None:
                ready = max(ready, self._rested.get(event.thread, ready))
                self._waited(event.thread, ready, at, event.seq, event.seq)
        self._open[kinds.MODEL][event.thread] = self._begin(kinds.MODEL, event, at)

    def _request_end(self, event: LightEvent, at: float) -> None:
        if not self._finish_open(kinds.MODEL, event, at, carried=True):
            self._moment(kinds.ERROR if event.failed else kinds.STATUS, event, at)

    def _compacted(self, event: LightEvent, at: float) -> None:
        n = self._open[kinds.MODEL].get(event.thread)
        if n is not None and self.seq[n] == event.cause:
            self.kind[n], self.changed[n] = kinds.COMPACTION, event.seq
        self._moment(kinds.COMPACTED, event, at)

    # Tools

    def _tool_use(self, event: LightEvent, at: float) -> None:
        kind = kinds.WAIT_TOOL if event.type == "agent.custom_tool_use" else kinds.TOOL
        self._calls[event.seq] = self._begin(kind, event, at)
        self._calls_of[event.thread][event.seq] = None

    def _tool_result(self, event: LightEvent, at: float) -> None:
        if event.type.startswith("user."):
            self._finish_open(kinds.WAIT_PERSON, event, at, carried=False)
        use = self._call_answered_by(event)
        if use is None:
            self._moment(kinds.FAILED_RESULT if event.failed else kinds.STATUS, event, at)
            return
        n = self._calls.pop(use)
        del self._calls_of[event.thread][use]
        self._finish(n, event, at, carried=True)
        ready = max(self.start[n], self._decided.pop(use, self.start[n]))
        if event.ran_at is not None and self.origin is not None and self.kind[n] == kinds.TOOL:
            self._waited(event.thread, ready, min((event.ran_at - self.origin) / 1000, at), use, event.seq)

    def _call_answered_by(self, event: LightEvent) -> int | None:
        own = self._calls_of.get(event.thread, {})
        for use in (event.ref, event.cause):
            if use is not None and use in own:
                return use
        if self.pairs_in_turn and own and event.ref is None:
            return next(iter(own))
        return None

    def _wait_started(self, event: LightEvent, at: float) -> None:
        n = self._calls.get(event.cause) if event.cause is not None else None
        if n is not None:
            self.kind[n], self.changed[n] = kinds.WAIT_AGENTS, event.seq
        self._moment(kinds.STATUS, event, at)

    def _confirmation(self, event: LightEvent, at: float) -> None:
        if event.cause in self._calls:
            self._decided[event.cause] = at
        if not self._finish_open(kinds.WAIT_PERSON, event, at, carried=True):
            self._moment(kinds.USER, event, at)

    # Threads

    def _idle(self, event: LightEvent, at: float) -> None:
        if event.waits:
            own = [self.kind[self._calls[use]] for use in self._calls_of.get(event.thread, ())]
            if not own or any(kind != kinds.WAIT_TOOL for kind in own):
                self._begin_only(kinds.WAIT_PERSON, event, at)
                return
        else:
            self._let_go(event, at)
        self._moment(kinds.STATUS, event, at)

    def _running(self, event: LightEvent, at: float) -> None:
        for kind in (kinds.WAIT_PERSON, kinds.WAIT_RETRY):
            if self._finish_open(kind, event, at, carried=True):
                return
        self._moment(kinds.STATUS, event, at)

    def _rescheduled(self, event: LightEvent, at: float) -> None:
        self._begin_only(kinds.WAIT_RETRY, event, at)

    def _interrupt(self, event: LightEvent, at: float) -> None:
        self._finish_open(kinds.WAIT_PERSON, event, at, carried=False)
        self._moment(kinds.INTERRUPT, event, at)

    def _terminated(self, event: LightEvent, at: float) -> None:
        self._let_go(event, at)
        for use in self._calls_of.pop(event.thread, {}):
            self._finish(self._calls.pop(use), event, at, carried=False)
        self._moment(kinds.STATUS, event, at)

    def _let_go(self, event: LightEvent, at: float) -> None:
        """The thread does nothing from here on."""
        for kind in (kinds.MODEL, kinds.WAIT_PERSON, kinds.WAIT_RETRY):
            self._finish_open(kind, event, at, carried=False)

    # Grading

    def _grading_start(self, event: LightEvent, at: float) -> None:
        self._begin_only(kinds.GRADING, event, at)

    def _grading_end(self, event: LightEvent, at: float) -> None:
        if not self._finish_open(kinds.GRADING, event, at, carried=True):
            self._moment(kinds.OUTCOME, event, at)

    # Messages

    def _message_sent(self, event: LightEvent, at: float) -> None:
        self._moment(kinds.SENT, event, at)
        early = self._unsent.pop(event.message, None) if event.message else None
        if early is not None:
            self._join(event, early)
            return
        self._sent_by_seq[event.seq] = event
        if event.message:
            self._sent_by_message[event.message] = event.seq

    def _message_received(self, event: LightEvent, at: float) -> None:
        self._moment(kinds.RECEIVED, event, at)
        seq = self._sent_by_message.get(event.message) if event.message else None
        if seq is None and event.cause in self._sent_by_seq:
            seq = event.cause
        sent = self._sent_by_seq.pop(seq, None) if seq is not None else None
        if sent is None:
            if event.message:
                self._unsent[event.message] = event
            return
        self._sent_by_message.pop(sent.message, None)
        self._join(sent, event)

    def _join(self, sent: LightEvent, received: LightEvent) -> None:
        at, came = self._time_of(sent.seq) or 0.0, self._time_of(received.seq) or 0.0
        arrow = Arrow(sent.seq, sent.thread, at, received.seq, received.thread, came, 0, None)
        self._received[received.seq] = len(self.arrows)
        self.arrows.append(arrow)
        self.arrow_changed.append(max(sent.seq, received.seq))

    def _message_taken(self, event: LightEvent, at: float) -> None:
        n = self._received.pop(event.cause, None) if event.cause is not None else None
        if n is not None:
            self.arrows[n] = self.arrows[n]._replace(taken_seq=event.seq, taken=at)
            self.arrow_changed[n] = event.seq
        self._moment(kinds.STATUS, event, at)


Handler = Callable[[Builder, LightEvent, float], None]
_HANDLERS: dict[str, Handler] = {
    "span.model_request_start": Builder._request_start,
    "span.model_request_end": Builder._request_end,
    "agent.thread_context_compacted": Builder._compacted,
    **dict.fromkeys(kinds.TOOL_USES, Builder._tool_use),
    **dict.fromkeys(kinds.TOOL_RESULTS, Builder._tool_result),
    "daybreak.wait_started": Builder._wait_started,
    "user.tool_confirmation": Builder._confirmation,
    "user.interrupt": Builder._interrupt,
    "session.thread_status_idle": Builder._idle,
    "session.thread_status_running": Builder._running,
    "session.thread_status_rescheduled": Builder._rescheduled,
    "session.thread_status_terminated": Builder._terminated,
    "span.outcome_evaluation_start": Builder._grading_start,
    "span.outcome_evaluation_end": Builder._grading_end,
    kinds.MESSAGE_SENT: Builder._message_sent,
    kinds.MESSAGE_RECEIVED: Builder._message_received,
    "daybreak.thread_message_taken": Builder._message_taken,
}
