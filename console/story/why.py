"""Why a step happened: what it answers, what was thought before it, who allowed it, and what came of it.

Everything is read from stored causes. Where none is stored, the card says so, and shows the order instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import Q

from agents.models import Event, FileVersion, Session, ToolCall
from console import formats
from console.story.causes import (
    MOST_STEPS,
    REQUEST_START,
    Chain,
    Link,
    Shown,
    chains_of,
    condense,
    effects_of,
    home_of,
    links_after,
)
from console.story.rows import EventRow, Lane, RowMaker
from console.story.told import COPIED_ANSWERS, told_events
from console.story.words import PERSON
from console.text import one_line

MOST_EFFECTS = 12
MOST_FILES = 20
NEARBY = 3  # events before one, where the order is all that is known
NO_MEMORY = "No memory store was attached."
UNKNOWN_MEMORY = "The source does not record what the agent remembered."


@dataclass(frozen=True)
class Thought:
    """The last thinking before a step. `is_same_answer`: it belongs to the very answer that holds the step."""

    row: EventRow
    text: str
    is_same_answer: bool


@dataclass(frozen=True)
class Permission:
    """Whether a tool call was allowed. `words` are those of who refused, `waited` how long it took to answer."""

    says: str
    tone: str = ""
    policy: str = ""
    words: str = ""
    waited: str = ""
    answer: EventRow | None = None


@dataclass(frozen=True)
class Step:
    """One step of the way back. `skipped` ones between it and the step shown before it are left out."""

    row: EventRow
    skipped: int


@dataclass(frozen=True)
class Why:
    """Everything that is known. `lane` is whose step it is, also of what the session's stream repeats.

    `instruction` is what that agent worked on, `trigger` what came right before, when that is something else. `unknown`
    says what nobody recorded; then `nearby` holds the events that stand before this one in the log.
    """

    row: EventRow
    lane: Lane
    instruction: EventRow | None
    trigger: EventRow | None
    thought: Thought | None
    memory: str
    call: ToolCall | None
    permission: Permission | None
    steps: tuple[Step, ...]
    effects: tuple[EventRow, ...]
    more_effects: int
    files: tuple[FileVersion, ...]
    request_seq: int | None
    unknown: str
    nearby: tuple[EventRow, ...]


def why_of(event: Event, session: Session, lanes: Mapping[int, Lane]) -> Why:
    """What is known of why an event of this session happened. A fixed number of queries, whatever the event is."""
    home = home_of(event, lanes)
    chain = chains_of(session, {event.seq: home}).get(event.seq) or Chain((_alone(event),))
    thinking = _thinking_before(event, session, home)
    call, answer = _call_of(chain, session)
    effects = _effects(event, call)
    unknown = _unknown(chain, session)
    nearby = _before(event, session, home) if unknown and not chain.told else []
    trigger, instruction = _trigger(chain), chain.instruction
    shown = condense(chain.told)
    wanted = {link.seq for link in (trigger, instruction, *(step.link for step in shown)) if link is not None}
    wanted |= {link.seq for link in effects[:MOST_EFFECTS]}
    rows = _rows(session, lanes, wanted, [event, *thinking, *answer, *nearby])
    asked = rows.get(instruction.seq) if instruction else None
    return Why(
        row=rows[event.seq],
        lane=lanes[home],
        instruction=asked,
        trigger=rows.get(trigger.seq) if trigger and trigger != instruction else None,
        thought=_thought(thinking, chain, rows),
        memory=UNKNOWN_MEMORY if session.is_imported else NO_MEMORY,
        call=call,
        permission=_permission(session, chain, call, answer, rows),
        steps=_steps(shown, rows),
        effects=tuple(rows[link.seq] for link in effects[:MOST_EFFECTS] if link.seq in rows),
        more_effects=max(0, len(effects) - MOST_EFFECTS),
        files=tuple(call.file_versions.order_by("pk")[:MOST_FILES]) if call else (),
        request_seq=chain.request.seq if chain.request else None,
        unknown=unknown,
        nearby=tuple(rows[near.seq] for near in nearby),
    )


def _alone(event: Event) -> Link:
    return Link(event.seq, event.cause_seq, event.type, event.thread_id, event.visible)


def _thinking_before(event: Event, session: Session, home: int) -> list[Event]:
    """The last thinking of the agent before a step, if there is any."""
    thoughts = Event.objects.filter(session=session, thread=home, type="agent.thinking", seq__lt=event.seq)
    return list(thoughts.order_by("-seq")[:1])


def _thought(found: list[Event], chain: Chain, rows: Mapping[int, EventRow]) -> Thought | None:
    if not found or chain.links[0].type.startswith(("user.", "system.")):
        return None  # what people do has its reasons outside of the log
    thinking = found[0]
    text = str(thinking.private_data.get("thinking") or "")
    same = chain.request is not None and thinking.cause_seq == chain.request.seq
    return Thought(rows[thinking.seq], text, same)


def _call_of(chain: Chain, session: Session) -> tuple[ToolCall | None, list[Event]]:
    """The tool call that an event belongs to, and the person's or client's answer to it."""
    use = chain.use
    if use is None:
        return None, []
    own = Q(use_event__seq=use.seq, use_event__session=session)
    shown = Q(crosspost_event__seq=use.seq, crosspost_event__session=session)
    calls = ToolCall.objects.filter(own | shown, session=session)
    call = calls.select_related("use_event", "result_event", "thread").first()
    if call is None:
        return None, []
    answers = Event.objects.filter(
        session=session,
        thread=call.thread_id,
        type__in=COPIED_ANSWERS,
        seq__gt=call.use_event.seq,
        cause_seq=call.use_event.seq,
    )
    return call, list(answers.order_by("seq")[:1])


def _effects(event: Event, call: ToolCall | None) -> list[Link]:
    """What came of an event; of a call and its answer also the result, which the call's own record names."""
    found = effects_of(_alone(event), links_after(event))
    result = call.result_event if call is not None and not event.type.endswith("tool_result") else None
    if result is not None and result.visible and result.seq > event.seq:
        if all(link.seq != result.seq for link in found):
            found.append(_alone(result))
    return sorted(found, key=lambda link: link.seq)


def _trigger(chain: Chain) -> Link | None:
    """The nearest step before the event that is more than a question to the model."""
    return next((link for link in chain.told if link.type != REQUEST_START), None)


def _before(event: Event, session: Session, home: int) -> list[Event]:
    near = told_events(session).filter(seq__lt=event.seq, seq__gte=event.seq - 500)
    return list(near.order_by("-seq")[:NEARBY])


def _rows(session: Session, lanes: Mapping[int, Lane], seqs: Iterable[int], known: list[Event]) -> dict[int, EventRow]:
    """Rows by `seq`, made at once."""
    events = {event.seq: event for event in known}
    missing = [seq for seq in seqs if seq not in events]
    if missing:
        events |= {event.seq: event for event in Event.objects.filter(session=session, seq__in=missing)}
    ordered = [events[seq] for seq in sorted(events)]
    return {row.seq: row for row in RowMaker(session, lanes).rows(ordered)}


def _steps(shown: list[Shown], rows: Mapping[int, EventRow]) -> tuple[Step, ...]:
    return tuple(Step(rows[step.link.seq], step.skipped) for step in shown if step.link.seq in rows)


def _unknown(chain: Chain, session: Session) -> str:
    """What is not recorded about where an event comes from; empty when the way leads back to a person."""
    if chain.starts_with_a_person:
        return ""
    if chain.is_cut:
        return f"The way back is longer than {formats.count(MOST_STEPS)} steps. It is not followed further."
    if chain.is_broken:
        return f"The record names event {chain.origin.cause_seq} as the cause, which is not before it in the log."
    if len(chain.links) == 1:
        if session.is_imported:
            return "The source does not record why; shown is the order."
        return "No cause is recorded for it; shown is the order."
    if session.is_imported:
        return "What led to that, the source does not record."
    return "What led to that is not recorded."


# Permission


def _permission(
    session: Session, chain: Chain, call: ToolCall | None, answers: list[Event], rows: Mapping[int, EventRow]
) -> Permission | None:
    if call is None:
        is_call = chain.use is not None and not chain.use.type.startswith("daybreak.")
        return Permission("The source does not record who allowed it.") if is_call and session.is_imported else None
    if call.kind == ToolCall.Kind.TEAM:
        return None
    answer = answers[0] if answers else None
    by = _by(call, answer)
    waited = _waited(call, answer) if session.has_times else ""
    row = rows.get(answer.seq) if answer else None
    policy = str((call.use_event.data.get("evaluation") or {}).get("type") or "")
    words = one_line(call.deny_message, 600)
    if call.kind == ToolCall.Kind.CUSTOM:
        return _of_custom_tool(call, by, waited, row)
    if call.permission == "deny":
        return Permission("Refused without asking: it is not among what this agent may do.", "failed", policy, words)
    if call.decision == "allow":
        return Permission(f"{by} allowed it.", "done", policy, "", waited, row)
    if call.decision == "deny":
        return Permission(f"{by} refused it.", "failed", policy, words, waited, row)
    if call.permission != "ask":
        return Permission("Allowed by the agent's policy: nobody was asked.", "", policy)
    if call.state == ToolCall.State.WAITING:
        return Permission("It waits for a person to allow it.", "waiting", policy)
    return Permission("Nobody decided: the call was closed before an answer came.", "", policy)


def _of_custom_tool(call: ToolCall, by: str, waited: str, row: EventRow | None) -> Permission:
    """A custom tool runs at the client: its answer is what counts."""
    if call.state == ToolCall.State.WAITING:
        return Permission("The client runs this tool. Its answer has not come yet.", "waiting")
    if call.decision == "answered":
        return Permission(f"The client runs this tool. {by} gave the answer.", "", "", "", waited, row)
    return Permission("The client runs this tool. The call was closed before an answer came.")


def _by(call: ToolCall, answer: Event | None) -> str:
    said = answer.private_data.get("by") if answer is not None else ""
    return one_line(str(call.decided_by or said or PERSON), 200)


def _waited(call: ToolCall, answer: Event | None) -> str:
    if answer is None:
        return ""
    return formats.duration((answer.created_at - call.use_event.created_at).total_seconds())
