"""What made an event happen and what it made happen, by the causes that the log has stored. Nothing is guessed.

A cause always stands before its effect, so following it back ends, whatever a broken log says.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from agents.models import Event, Session
from agents.services.mail import FAILURE, REPORT, SENT
from agents.services.turns import RECEIVED
from console.story.rows import Lane
from console.story.told import COPIED, COPIED_ANSWERS, CREATED, ROUTINE, SPAN, WAIT_STARTED, WARNING

MOST_STEPS = 3_000  # of a chain that are followed
EFFECTS_WITHIN = 5_000  # events after one in which its effects are looked for
NEAREST = 3  # steps of a chain that are always shown
FIRST_SHOWN, LAST_SHOWN = 8, 5  # of the steps that are left when the routine between them is not told
REQUEST_START = "span.model_request_start"
GRADED = "span.outcome_evaluation_end"
INSTRUCTIONS = ("user.message", "user.define_outcome", GRADED, RECEIVED)
_MILESTONES = (*INSTRUCTIONS, "system.message", "user.interrupt", SENT)
_PASSED_THROUGH = (REQUEST_START, RECEIVED, CREATED, *ROUTINE)

# From each root back to where it began. `is_instruction`: a message or verdict that the root's own agent works on.
BACK = """
WITH RECURSIVE chain(root, home, seq, cause_seq, type, thread_id, visible, about, is_instruction, is_done, depth) AS (
    SELECT root.seq, root.home, e.seq, e.cause_seq, e.type, e.thread_id, e.visible, NULL::text, false, false, 0
    FROM unnest(%(roots)s::bigint[], %(homes)s::bigint[]) AS root(seq, home)
    JOIN agents_event e ON e.session_id = %(session)s AND e.seq = root.seq
  UNION ALL
    SELECT chain.root, chain.home, e.seq, e.cause_seq, e.type, e.thread_id, e.visible,
           CASE WHEN e.type = ANY(%(messages)s) THEN e.private END,
           e.thread_id = chain.home AND e.type = ANY(%(instructions)s)
               AND coalesce(e.private, '') NOT LIKE ALL(%(reports)s),
           chain.is_instruction, chain.depth + 1
    FROM chain JOIN agents_event e ON e.session_id = %(session)s AND e.seq = chain.cause_seq
    WHERE chain.cause_seq < chain.seq AND chain.depth < %(most)s AND NOT (%(until)s AND chain.is_done)
)
SELECT root, seq, cause_seq, type, thread_id, visible, about, is_instruction FROM chain ORDER BY root, depth
"""
_REPORTS = [f'%"kind":"{REPORT}"%', f'%"kind":"{FAILURE}"%', '%:report"%']


@dataclass(frozen=True)
class Link:
    """One event on a chain of causes, without its body. `kind` is what the sender of a message meant by it."""

    seq: int
    cause_seq: int | None
    type: str
    thread: int
    visible: bool
    kind: str = ""
    is_instruction: bool = False

    @property
    def is_told(self) -> bool:
        return self.visible or self.type in (WAIT_STARTED, WARNING, SPAN)


@dataclass(frozen=True)
class Shown:
    """A step of a chain that is shown, and how many before it (nearer to the event) are not."""

    link: Link
    skipped: int = 0


@dataclass(frozen=True)
class Chain:
    """From an event (`links[0]`) back to where it began. `is_cut`: it goes on beyond what was followed."""

    links: tuple[Link, ...]
    is_cut: bool = False

    @property
    def origin(self) -> Link:
        return self.links[-1]

    @property
    def is_broken(self) -> bool:
        """Whether the last step names a cause that is not there, or does not stand before it."""
        return not self.is_cut and self.origin.cause_seq is not None

    @property
    def starts_with_a_person(self) -> bool:
        return self.origin.type.startswith(("user.", "system."))

    @property
    def request(self) -> Link | None:
        """The model request that the event belongs to, or that led to it."""
        return next((link for link in self.links if link.type == REQUEST_START), None)

    @property
    def use(self) -> Link | None:
        """The tool call that the event is, or answers."""
        near = (link for link in self.links[:4] if link.type.endswith("tool_use"))
        return next(near, None) if self.links[0].type.endswith(("tool_use", "tool_result", "confirmation")) else None

    @property
    def instruction(self) -> Link | None:
        """What the agent was working on: a person's message, another agent's, or a verdict that asks for more."""
        links = self.links
        for place, link in enumerate(links):
            if place and link.is_instruction:
                sender = links[place + 1] if place + 1 < len(links) else None
                return sender if link.type == RECEIVED and sender is not None and sender.type == SENT else link
        return None

    @property
    def told(self) -> list[Link]:
        """The steps before the event that a page tells of, each thing once, the nearest first."""
        pairs = zip(self.links, (*self.links[1:], None), strict=True)
        return [link for link, before in pairs if link is not self.links[0] and _tells(link, before)]


def home_of(event: Event, lanes: Mapping[int, Lane]) -> int:
    """The thread whose work an event is: of what the session's stream repeats, the agent's that it names."""
    if event.type in COPIED + COPIED_ANSWERS:
        owner = event.data.get("session_thread_id")
        return next((pk for pk, lane in lanes.items() if lane.public_id == owner), event.thread_id)
    return event.thread_id


def chains_of(
    session: Session, roots: Mapping[int, int], *, until_instruction: bool = False, most: int = MOST_STEPS
) -> dict[int, Chain]:
    """The chain of each of these events. One query.

    Args:
        roots: the `seq` of an event, and the thread whose work it is.
        until_instruction: follow no further than to what the thread was asked, and where that was sent.
    """
    if not roots:
        return {}
    values: dict[str, Any] = {
        "session": session.pk,
        "roots": list(roots),
        "homes": list(roots.values()),
        "messages": [SENT, RECEIVED],
        "instructions": list(INSTRUCTIONS),
        "reports": _REPORTS,
        "until": until_instruction,
        "most": most,
    }
    found: dict[int, list[Link]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(BACK, values)
        for root, seq, cause, type_, thread, visible, about, is_instruction in cursor:
            kind = _kind(about) if about else ""
            found[root].append(Link(seq, cause, type_, thread, visible, kind, is_instruction))
    return {root: Chain(tuple(links), is_cut=len(links) > most) for root, links in found.items()}


def _kind(private: str) -> str:
    told = json.loads(private)
    return str(told.get("kind") or "") if isinstance(told, dict) else ""


def _tells(link: Link, before: Link | None) -> bool:
    """Whether a page tells of a step: not of our own records, nor of what another step says as well."""
    if not link.is_told or link.type == CREATED:
        return False
    if before is None:
        return True
    is_copy = link.type in COPIED + COPIED_ANSWERS and before.type == link.type and before.thread != link.thread
    return not is_copy and not (link.type == RECEIVED and before.type == SENT)


def condense(steps: Sequence[Link]) -> list[Shown]:
    """The steps a reader needs: the nearest, who asked whom on the way, and where it began."""
    last = len(steps) - 1
    kept = [place for place, link in enumerate(steps) if place < NEAREST or place == last or link.type in _MILESTONES]
    if len(kept) > FIRST_SHOWN + LAST_SHOWN:
        kept = kept[:FIRST_SHOWN] + kept[-LAST_SHOWN:]
    shown, before = [], -1
    for place in kept:
        shown.append(Shown(steps[place], place - before - 1))
        before = place
    return shown


def links_after(event: Event) -> list[Link]:
    """What stands after an event and names it, or something after it, as its cause. One query."""
    rows = Event.objects.filter(
        session=event.session_id,
        seq__gt=event.seq,
        seq__lte=event.seq + EFFECTS_WITHIN,
        cause_seq__gte=event.seq,
    ).order_by("seq")
    return [Link(*row) for row in rows.values_list("seq", "cause_seq", "type", "thread_id", "visible")]


def effects_of(root: Link, links: Iterable[Link]) -> list[Link]:
    """What an event made happen, the nearest that a page tells of in each direction. Pure.

    A record that says nothing by itself is passed through: a model request to its answer, a receipt to what was done.

    Args:
        links: events after it, ascending by `seq`.
    """
    passed, found = {root.seq}, []
    types = {root.seq: root}
    for link in links:
        cause = link.cause_seq
        types[link.seq] = link
        if cause not in passed or cause is None or cause >= link.seq:
            continue
        above = types.get(cause)
        is_copy = above is not None and above.type == link.type and above.thread != link.thread
        if not link.is_told or link.type in _PASSED_THROUGH:
            passed.add(link.seq)
        if link.is_told and link.type not in (*ROUTINE, CREATED, REQUEST_START) and not is_copy:
            found.append(link)
    return found
