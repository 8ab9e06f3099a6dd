"""A session told in a few plain sentences: who was asked what, what came back, what went wrong, and how it ended.

No model writes it. The same log gives the same sentences, each with the events that it is about.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agents.models import File, Session, ToolCall
from console import formats
from console.story.rows import EventRow, Lane
from console.story.storyline_facts import Facts, Moment, Question, Worker, gather, rows_for
from console.text import one_line

MOST_SENTENCES = 60
MOST_ASKED = 10  # messages from people
MOST_WORKERS = 9  # agents that are told of one by one
MOST_OF_A_KIND = 6  # questions, errors, gradings, interrupts: each
MOST_MARKS = 3
QUOTE = 240
_GROUPS = {
    "user.message": MOST_ASKED,
    "user.interrupt": 4,
    "session.error": MOST_OF_A_KIND,
    "user.define_outcome": 3,
    "span.outcome_evaluation_end": MOST_OF_A_KIND,
    "session.status_terminated": 1,
}
_MORE = {
    "user.message": ("more message", "from people"),
    "user.interrupt": ("more interrupt", ""),
    "session.error": ("more error", ""),
    "user.define_outcome": ("more outcome", "set"),
    "span.outcome_evaluation_end": ("more grading", ""),
}
_BEGINS = ("user.message", "user.define_outcome")


@dataclass(frozen=True)
class Sentence:
    """One sentence. It leads to an event (`event_id`), or to a tab where the rest is (`tab`, with its parameters)."""

    text: str
    seq: int
    event_id: str = ""
    tone: str = ""
    tab: str = ""
    parameters: str = ""
    quote: str = ""


@dataclass(frozen=True)
class Storyline:
    summary: str
    sentences: tuple[Sentence, ...]
    is_imported: bool
    outputs: tuple[File, ...]


def storyline_of(session: Session, lanes: Mapping[int, Lane]) -> Storyline:
    """The storyline as the log is now. A fixed number of queries."""
    facts = gather(session, lanes)
    return tell(replace(facts, rows=rows_for(session, lanes, told_seqs(facts))))


def told_seqs(facts: Facts) -> set[int]:
    """The events whose own words a storyline uses."""
    chosen = {moment.seq for kind in _GROUPS for moment in _chosen(facts, kind)[0]}
    for worker in facts.workers.values():
        chosen |= {seq for seq in (worker.asked, worker.reported, worker.said) if seq is not None}
    return chosen


def tell(facts: Facts) -> Storyline:
    """The sentences in the order of the log, the end last. Pure; at most MOST_SENTENCES."""
    told = [
        *(sentence for kind in _GROUPS for sentence in _moments(facts, kind)),
        *_work(facts),
        *_questions(facts),
    ]
    ordered = sorted(told, key=lambda sentence: sentence.seq)
    ending = [*_marks(facts), *_files(facts), *_end(facts)]
    room = MOST_SENTENCES - len(ending)
    if len(ordered) > room:
        left = len(ordered) - room + 1
        gap = Sentence(f"{formats.plural(left, 'more sentence')} would stand here: see every event.", 0, tab="events")
        half = room // 2
        ordered = [*ordered[:half], gap, *ordered[len(ordered) - (room - half - 1) :]]
    return Storyline(_summary(facts), (*ordered, *ending), facts.session.is_imported, tuple(facts.outputs))


def _summary(facts: Facts) -> str:
    """3 agents worked for 2 min 14 s, used tools 41 times (3 failed), and cost $0.12."""
    session = facts.session
    said = [formats.plural(len(facts.lanes), "agent") + " took part"]
    if session.active_ms and session.has_times:
        said.append(f"worked for {formats.duration(session.active_ms / 1000)}")
    if facts.calls:
        failed = f" ({formats.count(facts.failed_calls)} of the calls failed)" if facts.failed_calls else ""
        said.append(f"used tools {_times(facts.calls)}{failed}")
    if facts.cost:
        said.append(f"cost {formats.cost(facts.cost)} at list price")
    return _listed(said) + "."


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{formats.count(number)} times")


def _listed(parts: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


# What people did, and what went wrong


def _chosen(facts: Facts, kind: str) -> tuple[list[Moment], int]:
    """The first and the last of one kind, and how many between them are left out."""
    of_kind = [moment for moment in facts.moments if moment.type == kind]
    most = _GROUPS[kind]
    if len(of_kind) <= most:
        return of_kind, 0
    last = most // 2
    return [*of_kind[: most - last], *of_kind[-last:]] if last else of_kind[:most], len(of_kind) - most


def _moments(facts: Facts, kind: str) -> Iterator[Sentence]:
    chosen, left_out = _chosen(facts, kind)
    seen: Counter[tuple[str, str]] = Counter()
    for moment in chosen:
        row = facts.rows.get(moment.seq)
        if row is None:
            continue
        seen[row.who, row.words.text] += 1
        if kind == "session.error" and seen[row.who, row.words.text] > 1:
            continue  # the same again says nothing new
        yield _of_row(facts, row)
    if left_out:
        one, what = _MORE.get(kind, ("more event", ""))
        text = f"{formats.plural(left_out, one)} {what}".strip() + " came between."
        yield Sentence(text, chosen[_GROUPS[kind] // 2].seq, tab="events", parameters=f"type={kind}")


def _of_row(facts: Facts, row: EventRow) -> Sentence:
    says = row.words.says
    if row.type == "user.message":
        says = f"asked {row.lane.label}"
    return _sentence(f"{row.who} {says}", row, row.words.text)


def _sentence(text: str, row: EventRow, quote: str = "", *, tone: str | None = None) -> Sentence:
    quoted = one_line(quote, QUOTE)
    end = ":" if quoted else "."
    return Sentence(text + end, row.seq, row.public_id, row.words.tone if tone is None else tone, quote=quoted)


# Who worked for whom


def _work(facts: Facts) -> Iterator[Sentence]:
    """Each agent's task and what came of it. Of agents of one kind the first is told, the others are counted."""
    kinds: dict[str, list[Worker]] = defaultdict(list)
    for worker in facts.workers.values():
        if not worker.lane.thread.is_primary:
            kinds[worker.lane.thread.agent_name].append(worker)
    room = MOST_WORKERS
    left: list[Worker] = []
    for alike in kinds.values():
        few = len(alike) <= 3 or len(kinds) <= 2
        named = alike[: min(room, 3 if few else 1)]
        room -= len(named)
        for worker in named:
            yield from _one_worker(facts, worker)
        rest = alike[len(named) :]
        if named and rest:
            yield _rest(facts, rest, "did the same kind of work")
        else:
            left += rest
    if left:
        yield _rest(facts, left, "worked as well")
    primary = next((worker for worker in facts.workers.values() if worker.lane.thread.is_primary), None)
    if primary is not None and (did := _did(primary)) and primary.asked is not None:
        row = facts.rows.get(primary.asked)
        if row is not None:
            yield Sentence(f"{primary.lane.label} {did}.", row.seq, row.public_id, "quiet")


def _one_worker(facts: Facts, worker: Worker) -> Iterator[Sentence]:
    name = worker.lane.label
    task = facts.rows.get(worker.asked or 0)
    if task is not None:
        lead = facts.lanes.get(worker.lane.thread.parent_id or 0)
        who = lead.label if lead is not None and task.type != "user.message" else task.who
        yield _sentence(f"{who} asked {name}", task, task.words.text, tone="")
    end = facts.rows.get(worker.reported or worker.said or 0)
    did = _did(worker)
    if end is None:
        if did and task is not None:
            yield Sentence(f"{name} {did}, and has not reported yet.", task.seq, task.public_id)
        return
    gave_up = end.words.tone == "failed"
    verb = "could not finish" if gave_up else "reported" if worker.reported else _spoke(worker)
    text = f"{name} {did} and {verb}" if did else f"{name} {verb}"
    yield _sentence(text, end, end.words.text, tone="failed" if gave_up else "")


def _spoke(worker: Worker) -> str:
    return "said" if worker.messages < 2 else f"spoke {_times(worker.messages)}, the last time"


def _did(worker: Worker) -> str:
    """ran bash 12 times and grep twice (3 failed), changed 2 files."""
    parts = []
    if worker.tools:
        named = [f"{name} {_times(calls)}" for name, calls in worker.tools[:3]]
        others = sum(calls for _, calls in worker.tools[3:])
        named += [f"other tools {_times(others)}"] if others else []
        failed = f" ({formats.count(worker.failed_calls)} failed)" if worker.failed_calls else ""
        parts.append(f"used {_listed(named)}{failed}")
    if worker.files:
        parts.append(f"changed {formats.plural(worker.files, 'file')}")
    return _listed(parts)


def _rest(facts: Facts, rest: Sequence[Worker], what: str) -> Sentence:
    """And 13 more agents did the same kind of work."""
    rows = [row for worker in rest if (row := facts.rows.get(worker.reported or worker.said or worker.asked or 0))]
    failed = sum(row.words.tone == "failed" for row in rows)
    problem = f"; {formats.count(failed)} of them could not finish" if failed else ""
    number = formats.plural(len(rest), "more agent")
    place = max((row.seq for row in rows), default=0)
    return Sentence(f"{number} {what}{problem}.", place, tab="threads", tone="failed" if failed else "")


# Where it waited for people


def _questions(facts: Facts) -> Iterator[Sentence]:
    told = facts.questions[:MOST_OF_A_KIND]
    for question in told:
        yield _one_question(facts, question)
    if left := len(facts.questions) - len(told) + facts.more_questions:
        seq = told[-1].call.use_event.seq
        text = f"{formats.plural(left, 'more time', 'more times')} an agent waited for an answer."
        yield Sentence(text, seq + 1, tab="tools")


def _one_question(facts: Facts, question: Question) -> Sentence:
    call = question.call
    name, tool = facts.lanes[call.thread_id].label, one_line(call.name, 80)
    custom = call.kind == ToolCall.Kind.CUSTOM
    asks = f"{name} asked the client to run {tool}" if custom else f"{name} asked whether it may run {tool}"
    after = f" after {formats.duration(question.waited_s)}" if question.waited_s is not None else ""
    by = one_line(question.by, 100) or "a client"
    ends = {
        "allow": (f"; {by} allowed it{after}.", "", ""),
        "deny": (f"; {by} refused it{after}", "failed", call.deny_message),
        "answered": (f"; {by} answered{after}.", "", ""),
    }
    open_ = ("; it still waits for an answer.", "waiting", "")
    closed = ("; the call was closed before anybody answered.", "", "")
    end, tone, words = ends.get(call.decision, open_ if call.state == ToolCall.State.WAITING else closed)
    quote = one_line(words, QUOTE)
    if call.decision == "deny":
        end += ":" if quote else "."
    return Sentence(asks + end, call.use_event.seq, call.use_event.public_id, tone, quote=quote)


# How it ended


def _marks(facts: Facts) -> Iterable[Sentence]:
    for mark in facts.marks[:MOST_MARKS]:
        what = f" ({one_line(mark.category, 80)})" if mark.category else ""
        who, number = one_line(mark.author_name, 80) or "Somebody", formats.count(mark.event.seq)
        quote = one_line(mark.text, QUOTE)
        text = f"{who} marked event {number} as a failure{what}" + (":" if quote else ".")
        yield Sentence(text, mark.event.seq, mark.event.public_id, "failed", quote=quote)


def _files(facts: Facts) -> Iterable[Sentence]:
    if facts.outputs:
        names = [one_line(file.filename, 80) for file in facts.outputs[:3]]
        more = len(facts.outputs) - len(names)
        names += [formats.plural(more, "more file")] if more else []
        yield Sentence(f"It delivered {_listed(names)}.", 0, tab="session")
    if facts.changed_paths:
        yield Sentence(
            f"{formats.plural(facts.changed_paths, 'file')} were written or changed on the way."
            if facts.changed_paths > 1
            else "1 file was written or changed on the way.",
            0,
            tab="files",
        )


def _end(facts: Facts) -> Iterable[Sentence]:
    primary = next((worker for worker in facts.workers.values() if worker.lane.thread.is_primary), None)
    row = facts.rows.get(primary.said or 0) if primary is not None else None
    if row is not None:
        yield _sentence(f"In the end {row.who} said", row, row.words.text)
    if not facts.moments and not any(worker.messages for worker in facts.workers.values()):
        yield Sentence("Nothing has been asked yet.", 0)
    elif facts.session.is_imported:
        yield Sentence("The record ends here; what came after it is not known.", 0, tone="quiet")
    else:
        yield Sentence(f"Now: {facts.status.word}. {facts.status.detail}", 0, tone=_tone(facts))


def _tone(facts: Facts) -> str:
    return facts.status.kind if facts.status.kind in ("waiting", "failed", "done") else "quiet"
