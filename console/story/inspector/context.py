"""What filled a model's window: the request as it was stored, piece by piece, what was cached, what was dropped.

Sizes in tokens are estimates from the length of the text, as the engine itself makes them; what a provider counted is
shown beside them. See docs/decisions/0003.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from agents.models import Blob, Event, ModelAttempt, Step
from agents.providers import catalog
from agents.runtime.compaction import CHARS_PER_TOKEN
from agents.runtime.context import CONTEXT_TYPES, SUMMARY_INTRODUCTION
from console.story.causes import REQUEST_START, chains_of, home_of
from console.story.inspector.asked import Asked
from console.story.rows import EventRow, Lane, RowMaker
from console.text import one_line

MOST_PARTS = 6_000  # messages of one request that are read
BATCH = 2_000
LARGEST = 10
IMAGE_TOKENS = 1_600  # whatever its bytes: about what the largest image that is not scaled down costs
MOST_COMPACTIONS = 5
COMPACTED = "agent.thread_context_compacted"
_FROM_LEAD, _FROM_AGENT = "[Message from the lead]", "[Message from agent "
KINDS = {
    "system": "Instructions (system prompt)",
    "tools": "Tool definitions",
    "memory": "Memory",
    "summary": "Summary of earlier turns",
    "user": "Messages from people",
    "agents": "Messages from other agents",
    "own": "Its own messages",
    "thinking": "Its thinking",
    "calls": "Its tool calls",
    "results": "Tool results",
    "files": "Images and documents",
    "unread": "Parts too large to look into",
}


@dataclass
class Piece:
    """One block of a request. `use_id` names the tool call that it is, or answers."""

    kind: str
    chars: int
    text: str = ""
    use_id: str = ""
    event: EventRow | None = None

    @property
    def tokens(self) -> int:
        return -(-self.chars // CHARS_PER_TOKEN)


@dataclass(frozen=True)
class Share:
    """All pieces of one kind: how many, about how many tokens, and their part of the whole in per cent."""

    kind: str
    label: str
    pieces: int
    tokens: int
    percent: float
    x: float
    width: float


@dataclass(frozen=True)
class Composition:
    shares: tuple[Share, ...]
    largest: tuple[Piece, ...]
    tokens: int
    messages: int
    left_out: int


@dataclass(frozen=True)
class Dropped:
    """A compaction before the request: what its window no longer held from then on."""

    row: EventRow
    before_tokens: int | None


@dataclass(frozen=True)
class ContextBody:
    """`composition` is None when the request was not kept (`missing` says why)."""

    lane: Lane | None
    request: EventRow | None
    is_newest: bool
    attempt: ModelAttempt | None
    is_compaction: bool
    usage: dict[str, int]
    window: int | None
    composition: Composition | None
    missing: str
    compactions: tuple[Dropped, ...]
    dropped: tuple[tuple[str, int], ...]

    @property
    def read_tokens(self) -> int:
        return sum(self.usage.get(name, 0) for name in ("fresh", "cached", "stored"))

    @property
    def filled(self) -> int | None:
        return round(100 * self.read_tokens / self.window) if self.window and self.read_tokens else None


def read(asked: Asked) -> ContextBody:
    """The request that the selected event belongs to; without one, the newest of its thread."""
    start, is_newest = _request(asked)
    if start is None:
        missing = "No model request was made here yet."
        if asked.session.is_imported:
            missing = "The source does not record its model requests, so what filled the window is unknown."
        return ContextBody(None, None, False, None, False, {}, None, None, missing, (), ())
    attempt = ModelAttempt.objects.filter(start_event=start).select_related("step").first()
    ends = Event.objects.filter(session=asked.session, type="span.model_request_end", cause_seq=start.seq)
    end = ends.filter(seq__gt=start.seq).order_by("seq").first()
    composition = _composition(asked, attempt) if attempt is not None and attempt.request_sha256 else None
    compactions = _compactions(asked, start)
    return ContextBody(
        lane=asked.lanes[start.thread_id],
        request=RowMaker(asked.session, asked.lanes).rows([start])[0],
        is_newest=is_newest,
        attempt=attempt,
        is_compaction=attempt is not None and attempt.step.kind == Step.Kind.COMPACTION,
        usage=_usage(attempt, end),
        window=catalog.lookup(attempt.model).context_window if attempt is not None else None,
        composition=composition,
        missing="" if composition else _missing(asked, attempt),
        compactions=compactions,
        dropped=_dropped(asked, start, compactions),
    )


def _request(asked: Asked) -> tuple[Event | None, bool]:
    """The start of the request, and whether it was taken because it is the newest."""
    starts = Event.objects.filter(session=asked.session, type=REQUEST_START)
    if asked.event is None:
        primary = next(lane.thread for lane in asked.lanes.values() if lane.thread.is_primary)
        return starts.filter(thread=primary).order_by("-seq").first(), True
    event = asked.event
    home = home_of(event, asked.lanes)
    chain = chains_of(asked.session, {event.seq: home}, most=5).get(event.seq)
    if chain is not None and chain.request is not None and chain.request.thread == home:
        return starts.filter(seq=chain.request.seq).first(), False
    return starts.filter(thread=home, seq__lte=event.seq).order_by("-seq").first(), True


def _missing(asked: Asked, attempt: ModelAttempt | None) -> str:
    if asked.session.is_imported:
        return "The source does not keep what its model was shown: what filled the window is unknown."
    if attempt is not None and attempt.ended_at is None:
        return "The request is under way. What it holds is kept when it ends."
    return "This request was not kept: it was interrupted, or ended by an error, before it could be."


def _usage(attempt: ModelAttempt | None, end: Event | None) -> dict[str, int]:
    """What the provider counted."""
    if attempt is not None and attempt.total_tokens:
        stored = attempt.cache_creation_5m_input_tokens + attempt.cache_creation_1h_input_tokens
        return {
            "fresh": attempt.input_tokens,
            "cached": attempt.cache_read_input_tokens,
            "stored": stored,
            "written": attempt.output_tokens,
        }
    told = end.data.get("model_usage") if end is not None else None
    names = {
        "fresh": "input_tokens",
        "cached": "cache_read_input_tokens",
        "stored": "cache_creation_input_tokens",
        "written": "output_tokens",
    }
    counts = told if isinstance(told, dict) else {}
    found = {name: counts.get(wire) or 0 for name, wire in names.items()}
    return found if any(found.values()) else {}


# What the request held


def _composition(asked: Asked, attempt: ModelAttempt) -> Composition | None:
    """Three queries for a request of up to 2,000 messages: the list, its parts, and the calls they name."""
    manifest = _blobs([attempt.request_sha256]).get(attempt.request_sha256)
    try:
        told: Any = _parsed(manifest) if manifest is not None else None
        hashes: list[str] = told["messages"]
        fixed = {"system": told["system"], "tools": told["tools"]}
    except (KeyError, TypeError):
        return None
    kept = hashes[-MOST_PARTS:]
    blobs = _blobs([*fixed.values(), *kept])
    pieces = [piece for kind, sha256 in fixed.items() for piece in _fixed(kind, blobs.get(sha256))]
    for sha256 in kept:
        pieces += _message(blobs.get(sha256))
    largest = sorted(pieces, key=lambda piece: -piece.chars)[:LARGEST]
    _name_calls(asked, largest)
    return composition_of(pieces, tuple(largest), messages=len(hashes), left_out=len(hashes) - len(kept))


def composition_of(
    pieces: Iterable[Piece], largest: tuple[Piece, ...] = (), *, messages: int = 0, left_out: int = 0
) -> Composition:
    """Pieces added up by kind, in the order of KINDS, with their places on a bar of 100 units. Pure."""
    counts: dict[str, list[Piece]] = {}
    for piece in pieces:
        counts.setdefault(piece.kind, []).append(piece)
    tokens = {kind: sum(piece.tokens for piece in counts.get(kind, ())) for kind in KINDS}
    whole = sum(tokens.values()) or 1
    shares, x = [], 0.0
    for kind, label in KINDS.items():
        if kind in counts or kind == "memory":
            width = 100 * tokens[kind] / whole
            shares.append(Share(kind, label, len(counts.get(kind, ())), tokens[kind], round(width, 1), x, width))
            x += width
    return Composition(tuple(shares), largest, sum(tokens.values()), messages, left_out)


def _blobs(hashes: list[str]) -> dict[str, Blob]:
    found: dict[str, Blob] = {}
    wanted = list(dict.fromkeys(hashes))
    for start in range(0, len(wanted), BATCH):
        found |= {blob.sha256: blob for blob in Blob.objects.filter(sha256__in=wanted[start : start + BATCH])}
    return found


def _parsed(blob: Blob) -> Any:
    """A part as JSON; None when its bytes are not in the table, or are no JSON."""
    try:
        return json.loads(bytes(blob.data)) if blob.data is not None else None
    except ValueError:
        return None


def _fixed(kind: str, blob: Blob | None) -> Iterator[Piece]:
    value = _parsed(blob) if blob is not None else None
    if kind == "tools" and isinstance(value, list):
        for tool in value:
            name = str(tool.get("name") or "") if isinstance(tool, dict) else ""
            yield Piece("tools", len(json.dumps(tool, ensure_ascii=False)), one_line(f"definition of {name}", 120))
    elif isinstance(value, str) and value:
        yield Piece(kind, len(value), one_line(value, 160))


def _message(blob: Blob | None) -> list[Piece]:
    if blob is None:
        return []
    message = _parsed(blob)
    if not isinstance(message, dict):
        return [Piece("unread", blob.size_bytes)]
    return pieces_of(message)


def pieces_of(message: Mapping[str, Any]) -> list[Piece]:
    """The blocks of one message of a request, each by what it is. Pure; takes whatever shape it gets."""
    content, role = message.get("content"), str(message.get("role") or "")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    said = _first_text(blocks)
    # The engine writes who a message is from into a block of its own, before the message's.
    is_letter = len(blocks) > 1 and said.startswith((_FROM_LEAD, _FROM_AGENT))
    base = {"assistant": "own", "system": "system"}.get(role, "agents" if is_letter else "user")
    if role == "user" and said.startswith(SUMMARY_INTRODUCTION):
        base = "summary"
    return [_piece(block, base) for block in blocks]


def _first_text(blocks: list[dict[str, Any]]) -> str:
    text = blocks[0].get("text") if blocks and blocks[0].get("type") == "text" else None
    return text if isinstance(text, str) else ""


_BLOCK_KINDS = {
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "tool_use": "calls",
    "tool_result": "results",
    "image": "files",
    "document": "files",
}


def _piece(block: dict[str, Any], base: str) -> Piece:
    kind = str(block.get("type"))
    if kind == "text":
        text = str(block.get("text") or "")
        return Piece(base, len(text), one_line(text, 160))
    if kind == "image":
        return Piece("files", IMAGE_TOKENS * CHARS_PER_TOKEN, "an image")
    dumped = json.dumps(block, ensure_ascii=False)
    use_id = str(block.get("tool_use_id") or block.get("id") or "")
    text = block.get("thinking") or block.get("name") or _inner(block)
    return Piece(_BLOCK_KINDS.get(kind, base), len(dumped), one_line(str(text or kind), 160), use_id)


def _inner(block: dict[str, Any]) -> str:
    content = block.get("content")
    return _first_text([part for part in content if isinstance(part, dict)]) if isinstance(content, list) else ""


def _name_calls(asked: Asked, pieces: list[Piece]) -> None:
    """Give each piece the event of the tool call that it names."""
    ids = {piece.use_id for piece in pieces if piece.use_id}
    if not ids:
        return
    events = list(Event.objects.filter(session=asked.session, public_id__in=ids).order_by("seq"))
    rows = {row.public_id: row for row in RowMaker(asked.session, asked.lanes).rows(events) if _is_told(row)}
    for piece in pieces:
        piece.event = rows.get(piece.use_id)


def _is_told(row: EventRow) -> bool:
    return not row.type.startswith("daybreak.")


# What was dropped before


def _compactions(asked: Asked, start: Event) -> tuple[Dropped, ...]:
    """The summaries that stand before a request on its thread, the newest first."""
    found = Event.objects.filter(session=asked.session, thread=start.thread_id, type=COMPACTED, seq__lt=start.seq)
    events = list(found.order_by("-seq")[:MOST_COMPACTIONS])
    rows = {row.seq: row for row in RowMaker(asked.session, asked.lanes).rows(events[::-1])}
    dropped = []
    for event in events:
        tokens = event.private_data.get("pre_compaction_tokens") or event.data.get("pre_compaction_tokens")
        dropped.append(Dropped(rows[event.seq], tokens if isinstance(tokens, int) else None))
    return tuple(dropped)


_DROPPED_NAMES = {
    "user.message": "messages from people",
    "system.message": "instructions",
    "agent.message": "messages of its own",
    "agent.thinking": "thoughts",
    "daybreak.thread_message_taken": "messages from other agents",
}


def _dropped(asked: Asked, start: Event, compactions: tuple[Dropped, ...]) -> tuple[tuple[str, int], ...]:
    """What the newest summary stands for: how many of each were in the conversation before it."""
    if not compactions:
        return ()
    before = Event.objects.filter(session=asked.session, thread=start.thread_id, seq__lt=compactions[0].row.seq)
    counted = before.filter(Q(visible=True) | Q(type__startswith="daybreak."), type__in=CONTEXT_TYPES).order_by()
    totals: dict[str, int] = {}
    for type_, number in counted.values_list("type").annotate(Count("pk")):
        name = _DROPPED_NAMES.get(type_) or ("tool calls" if type_.endswith("tool_use") else "tool results")
        if type_ != COMPACTED:
            totals[name] = totals.get(name, 0) + number
    return tuple(sorted(totals.items(), key=lambda item: -item[1]))
