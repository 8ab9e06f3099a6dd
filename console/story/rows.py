"""The event list of a session: which events a page shows, and each as one row of words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from agents.models import Annotation, Event, ModelAttempt, Session, Thread, ToolCall
from agents.services.mail import SENT
from agents.services.turns import RECEIVED
from console import formats
from console.story.team_words import ended_wait
from console.story.told import COPIED, COPIED_ANSWERS, WAIT_STARTED
from console.story.words import Context, Words, usage_words, who_of, words_for

PAGE_SIZE = 60  # rows of one piece: a page holds a few of them at a time
ENDS_NEARBY = 400  # events after a piece in which the ends of its model requests are looked for
MESSAGES_NEARBY = 2_000  # events around a page in which the other half of a message is looked for
LANES = 10  # distinguishable hues in tokens.css
_REFERENCES = ("tool_use_id", "mcp_tool_use_id", "custom_tool_use_id")
_REQUEST_END = "span.model_request_end"
_INSIDE_REQUEST = ("agent.message", "agent.thinking", "agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use")


@dataclass(frozen=True)
class Lane:
    """A thread as the page shows it: its name, and which of the ten hues is its own."""

    thread: Thread
    label: str
    hue: int

    @property
    def public_id(self) -> str:
        return self.thread.public_id


@dataclass(frozen=True)
class Counterpart:
    """The other half of a message between agents: where it was received, or where it was sent."""

    event_id: str
    lane: Lane
    says: str


@dataclass(frozen=True)
class EventRow:
    """One line of the list. `clock` is the time since the start, empty for a session without times."""

    public_id: str
    seq: int
    type: str
    lane: Lane
    who: str
    words: Words
    at: datetime | None
    clock: str
    took: str = ""
    inside: bool = False
    queued: bool = False
    counterpart: Counterpart | None = None
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True)
class Window:
    """Which events a page shows: `events` ascending by `seq`, and whether there are more on either side."""

    events: list[Event]
    has_earlier: bool
    has_later: bool

    @property
    def first_seq(self) -> int:
        return self.events[0].seq if self.events else 0

    @property
    def last_seq(self) -> int:
        return self.events[-1].seq if self.events else 0


def lanes_of(session: Session) -> dict[int, Lane]:
    """Every thread of the session by its key, the primary one first. One query.

    A hue is an agent's own wherever it can be: it follows from the name, and moves on only when taken.
    """
    threads = list(session.threads.order_by("ordinal", "pk"))
    names = dict.fromkeys(thread.agent_name for thread in threads)
    hues: dict[str, int] = {}
    for name in names:
        wished = sum(name.encode("utf-8", "replace")) % LANES
        free = [hue % LANES for hue in range(wished, wished + LANES) if hue % LANES not in hues.values()]
        hues[name] = free[0] if free else wished
    seen: dict[str, int] = defaultdict(int)
    lanes = {}
    for thread in threads:
        seen[thread.agent_name] += 1
        number = seen[thread.agent_name]
        label = thread.agent_name if number == 1 else f"{thread.agent_name} {number}"
        lanes[thread.pk] = Lane(thread, label, hues[thread.agent_name])
    return lanes


def window_from(events: QuerySet[Event], seq: int, size: int = PAGE_SIZE) -> Window:
    """Up to `size` events from `seq` on."""
    found = list(events.filter(seq__gte=seq).order_by("seq")[: size + 1])
    earlier = seq > 1 and events.filter(seq__lt=seq).exists()
    return Window(found[:size], has_earlier=earlier, has_later=len(found) > size)


def window_until(events: QuerySet[Event], seq: int | None, size: int = PAGE_SIZE) -> Window:
    """The last `size` events before `seq`; before the end when it is None."""
    before = events if seq is None else events.filter(seq__lt=seq)
    found = list(before.order_by("-seq")[: size + 1])
    later = seq is not None and events.filter(seq__gte=seq).exists()
    return Window(found[:size][::-1], has_earlier=len(found) > size, has_later=later)


def window_around(events: QuerySet[Event], seq: int, size: int = PAGE_SIZE) -> Window:
    """A page on which the event `seq` stands in the first third."""
    before = list(events.filter(seq__lt=seq).order_by("-seq").values_list("seq", flat=True)[: size // 4])
    return window_from(events, before[-1] if before else seq, size)


@dataclass
class RowMaker:
    """Turns events of one session into rows, with a fixed number of queries per batch."""

    session: Session
    lanes: Mapping[int, Lane]
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        agents = {lane.public_id: lane.label for lane in self.lanes.values()}
        primary = next((lane.public_id for lane in self.lanes.values() if lane.thread.is_primary), "")
        self.context = Context(agents=agents, primary=primary)

    def rows(self, events: Sequence[Event]) -> list[EventRow]:
        """In the order given."""
        if not events:
            return []
        facts = _Facts(self.session, events)
        context = Context(facts.tools, self.context.agents, self.context.primary)
        return [self._row(event, facts, context) for event in events]

    def _row(self, event: Event, facts: _Facts, context: Context) -> EventRow:
        data, private = facts.parsed[event.pk]
        lane = self.lanes[event.thread_id]
        words = facts.enrich(event, words_for(event.type, data, private, context))
        if lane.thread.is_primary:
            words = _as_copy(words, event.type, data, context)
        elif event.type in COPIED_ANSWERS:
            words = replace(words, says=f"{words.says} for {lane.label}")
        at = event.created_at if self.session.has_times else None
        return EventRow(
            public_id=event.public_id,
            seq=event.seq,
            type=event.type,
            lane=lane,
            who=words.who or who_of(event.type, private, lane.label),
            words=words,
            at=at,
            clock=formats.offset((at - self.session.created_at).total_seconds()) if at else "",
            took=facts.took(event) if at else "",
            inside=event.type in _INSIDE_REQUEST and facts.has_requests,
            queued=event.visible and event.processed_at is None and not self.session.is_imported,
            counterpart=self._counterpart(event, facts),
            annotations=tuple(facts.annotations.get(event.pk, ())),
        )

    def _counterpart(self, event: Event, facts: _Facts) -> Counterpart | None:
        other = facts.counterparts.get(event.pk)
        if other is None:
            return None
        lane = self.lanes[other.thread_id]
        says = f"received by {lane.label}" if other.type == RECEIVED else f"sent by {lane.label}"
        return Counterpart(other.public_id, lane, says)


def _as_copy(words: Words, type_: str, data: dict[str, Any], context: Context) -> Words:
    """What the session's stream repeats of another agent's own is told as that agent's, and as a copy."""
    owner = str(data.get("session_thread_id") or context.primary)
    if type_ not in COPIED + COPIED_ANSWERS or owner == context.primary or owner not in context.agents:
        return words
    who = words.who if type_ in COPIED_ANSWERS else context.agents[owner]
    return replace(words, says=f"{words.says} (copy on the session's stream)", tone="quiet", who=who)


class _Facts:
    """What a batch of events needs beside itself, looked up for all of them at once."""

    def __init__(self, session: Session, events: Sequence[Event]) -> None:
        self.parsed = {event.pk: (event.data, event.private_data) for event in events}
        self.has_requests = any(event.type.startswith("span.model_request") for event in events)
        self.tools = self._tool_names(session, events)
        self.ends = self._request_ends(session, events)
        self.attempts = self._attempts(events)
        self.calls = self._tool_calls(events)
        self.waits = self._waits(events)
        self.counterparts = self._counterparts(session, events)
        self.annotations = self._annotations(events)

    def _tool_names(self, session: Session, events: Sequence[Event]) -> dict[str, str]:
        """Tool names by the id of their use: of uses in this batch, and of those its answers refer to."""
        names = {e.public_id: _name(self.parsed[e.pk][0]) for e in events if e.type.endswith("tool_use")}
        asked = {
            str(data[key]) for data, _ in self.parsed.values() for key in _REFERENCES if key in data
        } - names.keys()
        if asked:
            for use in Event.objects.filter(session=session, public_id__in=asked):
                names[use.public_id] = _name(use.data)
        return names

    def _request_ends(self, session: Session, events: Sequence[Event]) -> dict[str, Event]:
        """The end of each model request that starts in this batch, looked for a little beyond it."""
        starts = [event for event in events if event.type == "span.model_request_start"]
        if not starts:
            return {}
        window = {"seq__gt": starts[0].seq, "seq__lte": events[-1].seq + ENDS_NEARBY}
        ends = Event.objects.filter(session=session, type=_REQUEST_END, **window).order_by("seq")
        return {str(end.data.get("model_request_start_id")): end for end in ends[:ENDS_NEARBY]}

    def _attempts(self, events: Sequence[Event]) -> dict[int, ModelAttempt]:
        pks = [event.pk for event in events if event.type == "span.model_request_start"]
        if not pks:
            return {}
        return {attempt.start_event_id: attempt for attempt in ModelAttempt.objects.filter(start_event__in=pks)}  # type: ignore[misc]

    def _tool_calls(self, events: Sequence[Event]) -> dict[int, ToolCall]:
        """By the key of the result event."""
        pks = [event.pk for event in events if event.type.endswith("tool_result")]
        if not pks:
            return {}
        return {call.result_event_id: call for call in ToolCall.objects.filter(result_event__in=pks)}  # type: ignore[misc]

    def _waits(self, events: Sequence[Event]) -> dict[int, ToolCall]:
        """The call behind each wait for agents, by the key of the event with which it began."""
        begun = {str(self.parsed[e.pk][0].get("tool_use_id")): e.pk for e in events if e.type == WAIT_STARTED}
        if not begun:
            return {}
        calls = ToolCall.objects.filter(use_event__public_id__in=begun).select_related("use_event", "result_event")
        return {begun[call.use_event.public_id]: call for call in calls}

    def _counterparts(self, session: Session, events: Sequence[Event]) -> dict[int, Event]:
        """The other half of each message between agents, by the key of the half in this batch."""
        messages = [event for event in events if event.type in (SENT, RECEIVED)]
        if not messages:
            return {}
        seqs = [event.seq for event in messages]
        near = {"seq__gte": min(seqs) - MESSAGES_NEARBY, "seq__lte": max(seqs) + MESSAGES_NEARBY}
        candidates = Event.objects.filter(session=session, type__in=(SENT, RECEIVED), **near)
        halves: dict[tuple[object, str], Event] = {}
        for event in candidates.only("pk", "public_id", "type", "thread_id", "private"):
            halves.setdefault((event.private_data.get("message_id"), event.type), event)
        found = {}
        for event in messages:
            other = RECEIVED if event.type == SENT else SENT
            message_id = self.parsed[event.pk][1].get("message_id")
            if message_id and (half := halves.get((message_id, other))):
                found[event.pk] = half
        return found

    def _annotations(self, events: Sequence[Event]) -> dict[int, list[Annotation]]:
        found: dict[int, list[Annotation]] = defaultdict(list)
        for annotation in Annotation.objects.filter(event__in=[e.pk for e in events]).order_by("pk"):
            found[annotation.event_id].append(annotation)
        return found

    def enrich(self, event: Event, words: Words) -> Words:
        """A model request says which model, and what came of it; a wait that is over, how it ended."""
        wait = self.waits.get(event.pk)
        if wait is not None and wait.result_event is not None:
            return ended_wait(words, wait.result_event.data)
        if event.type != "span.model_request_start":
            return words
        attempt, end = self.attempts.get(event.pk), self.ends.get(event.public_id)
        said = [attempt.model if attempt else words.text]
        failed = False
        if end is not None:
            data = end.data
            failed = bool(data.get("is_error"))
            said.append("no answer" if failed else usage_words(data.get("model_usage") or {}))
        text = ", ".join(part for part in said if part)
        return Words(words.icon, words.says, text, tone="failed" if failed else words.tone)

    def took(self, event: Event) -> str:
        """How long a model request, a tool call or a wait took."""
        if event.type == "span.model_request_start":
            end = self.ends.get(event.public_id)
            return formats.duration((end.created_at - event.created_at).total_seconds()) if end else ""
        call = self.calls.get(event.pk) or self.waits.get(event.pk)
        if call is None or call.started_at is None or call.ended_at is None:
            return ""
        return formats.duration((call.ended_at - call.started_at).total_seconds())


def _name(data: dict[str, Any]) -> str:
    return str(data.get("name") or "a tool")


def annotated_events(session: Session, limit: int = 20) -> list[Annotation]:
    """What people said of this session's events, in the order of the log."""
    rows: Iterable[Annotation] = session.annotations.select_related("event").order_by("event__seq", "pk")[:limit]
    return list(rows)
