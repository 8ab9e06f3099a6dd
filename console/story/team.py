"""Who works for whom in a session: each agent with what it was asked, what it reported, and how it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max, Min, Q

from agents.models import Event, Session, Thread
from agents.services.mail import FAILURE, MESSAGE_KIND, SENT
from agents.services.status import WORKING
from agents.services.turns import RECEIVED
from console import formats
from console.status import RECORDED, Status, status_of_thread
from console.story.content import blocks_of, excerpt
from console.story.rows import Lane

TEXT_CHARS = 200
MOST_SHOWN = 60  # agents in the table
_ASKED = ("user.message", RECEIVED)
_SAID = "agent.message"
_UNFINISHED = (Thread.Phase.WAITING_USER, Thread.Phase.PAUSED)
_STOPPABLE = (Thread.Phase.WAITING_USER, Thread.Phase.WAITING_AGENTS)


@dataclass(frozen=True)
class Said:
    """One line of a message, and the event it comes from. `kind` is what the sender meant by it, if that is known."""

    text: str
    event_id: str
    kind: str = ""


@dataclass(frozen=True)
class Member:
    """One agent's thread. `task` and `report` are None when there is none; figures are, when nobody counted."""

    lane: Lane
    status: Status
    depth: int
    works_for: Lane | None
    task: Said | None
    report: Said | None
    seconds: float | None
    ticks: bool
    tokens: int | None
    cost: int | None
    can_interrupt: bool
    can_end: bool

    @property
    def is_interim(self) -> bool:
        """Whether what it said last is a word on the way, not its report."""
        if self.report is None or self.works_for is None or self.status.kind == RECORDED.kind:
            return False
        return self.report.kind in (MESSAGE_KIND, _SAID)


@dataclass(frozen=True)
class Team:
    members: tuple[Member, ...]
    summary: str

    @property
    def shown(self) -> tuple[Member, ...]:
        """Those that a page lists: it stays small, however many there were."""
        return self.members[:MOST_SHOWN]

    @property
    def more(self) -> int:
        return len(self.members) - len(self.shown)

    @property
    def is_alone(self) -> bool:
        return len(self.members) < 2


def team_of(session: Session, lanes: Mapping[int, Lane], now: datetime) -> Team:
    """Everybody who works in the session, the lead first, each below the agent it works for. Two queries."""
    said = _messages(session, lanes)
    members = [_member(session, lane, depth, lanes, said, now) for lane, depth in _in_order(lanes)]
    return Team(tuple(members), _summary(members))


def helpers_of(thread: Thread, lanes: Mapping[int, Lane]) -> int:
    """How many of the agents that a thread has started are not finished."""
    own = (lane.thread for lane in lanes.values() if lane.thread.parent_id == thread.pk)
    return sum(1 for child in own if child.status in WORKING or child.phase in _UNFINISHED)


def _in_order(lanes: Mapping[int, Lane]) -> list[tuple[Lane, int]]:
    below: dict[int | None, list[Lane]] = {}
    for lane in lanes.values():
        below.setdefault(lane.thread.parent_id, []).append(lane)
    found: list[tuple[Lane, int]] = []
    rest = [(lane, 0) for lane in reversed(below.get(None, []))]
    while rest:
        lane, depth = rest.pop()
        found.append((lane, depth))
        rest += [(child, depth + 1) for child in reversed(below.get(lane.thread.pk, []))]
    return found


def _member(
    session: Session,
    lane: Lane,
    depth: int,
    lanes: Mapping[int, Lane],
    said: Mapping[int, tuple[Said | None, Said | None]],
    now: datetime,
) -> Member:
    thread = lane.thread
    task, report = said.get(thread.pk, (None, None))
    failed = report is not None and report.kind == FAILURE
    helpers = helpers_of(thread, lanes)
    status = status_of_thread(thread, imported=session.is_imported, helpers=helpers, failed=failed)
    seconds = thread.active_seconds_at(now)
    can_interrupt, can_end = acts_on(thread, session)
    return Member(
        lane=lane,
        status=status,
        depth=min(depth, 3),
        works_for=lanes.get(thread.parent_id) if thread.parent_id else None,
        task=task,
        report=report,
        seconds=seconds if session.has_times and (seconds or not session.is_imported) else None,
        ticks=thread.active_since is not None,
        tokens=_counted(session, thread.total_tokens),
        cost=_counted(session, thread.list_cost_nanousd),
        can_interrupt=can_interrupt,
        can_end=can_end,
    )


def acts_on(thread: Thread, session: Session) -> tuple[bool, bool]:
    """Whether an agent can be interrupted now, and whether it can be ended."""
    stoppable = thread.status in WORKING or thread.phase in _STOPPABLE
    lives = not session.is_imported and not session.is_terminated and not thread.closing
    rests = thread.status == Thread.Status.IDLE and not thread.interrupt_pending
    return lives and stoppable and not thread.interrupt_pending, lives and rests and not thread.is_primary


def _counted(session: Session, number: int) -> int | None:
    return None if session.is_imported and not number else number


def tasks_of(session: Session, threads: Iterable[int]) -> dict[int, Said]:
    """The first thing each of these threads was asked. Two queries; none for no thread."""
    pks = set(threads)
    if not pks:
        return {}
    events = Event.objects.filter(session=session, thread__in=pks, type__in=_ASKED).order_by()
    firsts = events.values("thread_id").annotate(first=Min("seq")).values_list("first", flat=True)
    return {event.thread_id: _said(event) for event in Event.objects.filter(session=session, seq__in=list(firsts))}


def _messages(session: Session, lanes: Mapping[int, Lane]) -> dict[int, tuple[Said | None, Said | None]]:
    """What each thread was asked first and what it said last: to its lead, or at all where it is nobody's."""
    events = Event.objects.filter(session=session, type__in=(*_ASKED, SENT, _SAID)).order_by()
    rows = events.values("thread_id").annotate(
        asked=Min("seq", filter=Q(type__in=_ASKED)),
        sent=Max("seq", filter=Q(type=SENT)),
        said=Max("seq", filter=Q(type=_SAID)),
    )
    leads = {lane.thread.parent_id for lane in lanes.values()}
    places = {}
    for row in rows:
        is_lead = row["thread_id"] in leads or lanes[row["thread_id"]].thread.is_primary
        places[row["thread_id"]] = (row["asked"], row["said"] if is_lead else row["sent"] or row["said"])
    seqs = {seq for pair in places.values() for seq in pair if seq is not None}
    found = {event.seq: _said(event) for event in Event.objects.filter(session=session, seq__in=seqs)}
    return {pk: (found.get(asked), found.get(last)) for pk, (asked, last) in places.items()}


def _said(event: Event) -> Said:
    text = excerpt(blocks_of(event.data), TEXT_CHARS) or "(nothing)"
    return Said(text, event.public_id, str(event.private_data.get("kind") or event.type))


def _summary(members: list[Member]) -> str:
    """5 agents: 2 work, 1 waits for you, 2 finished."""
    words = Counter(member.status.word for member in members)
    told = ", ".join(f"{formats.count(number)} {_THEY.get(word, word)}" for word, number in words.items())
    return f"{formats.plural(len(members), 'agent')}: {told}"


_THEY = {"works": "at work", "waits for you": "waiting for you"}
