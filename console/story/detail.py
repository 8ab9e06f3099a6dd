"""One event opened: what it holds, shown as what it is, and the facts around it."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.models import Annotation, Event, Session, ToolCall
from console import formats
from console.story import shapes
from console.story.content import as_json, blocks_of
from console.story.rows import EventRow, Lane, RowMaker
from console.story.span_words import span_text
from console.story.told import told_events, without_copies
from console.text import cut, strip_controls

MAX_PART = 100_000  # characters of one part; the rest is in the raw event
MAX_DIFF_LINES = 400
MAX_IMAGE_BYTES = 2_000_000
IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
EFFECTS = 10
CAUSES = 4  # steps back over records that no page tells of
EFFECTS_WITHIN = 5_000  # events after this one that are looked through


@dataclass(frozen=True)
class Part:
    """A piece of an event. `kind`: markdown, text, code, diff, json, table, terminal or image (then `text` is a data
    address).
    """

    kind: str
    text: str
    title: str = ""
    left_out: int = 0

    @property
    def lines(self) -> list[tuple[str, str]]:
        """A diff's lines with their kind: add, remove, place or keep."""
        kinds = {"+": "add", "-": "remove", "@": "place"}
        lines = self.text.split("\n")[:MAX_DIFF_LINES]
        return [(kinds.get(line[:1], "keep"), line) for line in lines]

    @property
    def more_lines(self) -> int:
        """Lines of a diff that a page does not show."""
        return max(0, self.text.count("\n") + 1 - MAX_DIFF_LINES) if self.kind == "diff" else 0

    @property
    def runs(self) -> list[shapes.Run]:
        """Terminal output by colour."""
        return shapes.runs_of(self.text)

    @property
    def table(self) -> shapes.Table | None:
        return shapes.table_of(self.text)


@dataclass(frozen=True)
class Fact:
    """A line beside the content. `event_id` makes the value a link to that event."""

    name: str
    value: str
    event_id: str = ""
    copy: bool = False


@dataclass(frozen=True)
class EventDetail:
    row: EventRow
    parts: tuple[Part, ...]
    facts: tuple[Fact, ...]
    cause: EventRow | None
    effects: tuple[EventRow, ...]
    raw: Part
    annotations: tuple[Annotation, ...]


def detail_of(event: Event, session: Session, lanes: Mapping[int, Lane]) -> EventDetail:
    maker = RowMaker(session, lanes)
    effects = _effects(event, session)
    cause = _cause(event, session)
    row, *around = maker.rows([event, *cause, *effects])
    causes, effect_rows = around[: len(cause)], around[len(cause) :]
    return EventDetail(
        row=row,
        parts=(*parts_of(event.type, event.data, event.private_data), *_of_span(event.private_data)),
        facts=tuple(facts_of(event, session, row)),
        cause=causes[0] if causes else None,
        effects=tuple(effect_rows),
        raw=raw_of(event),
        annotations=row.annotations,
    )


def wire(event: Event) -> dict[str, Any]:
    """The event in the API's shape."""
    processed = event.processed_at.isoformat().replace("+00:00", "Z") if event.processed_at else None
    return {"id": event.public_id, "type": event.type, **event.data, "processed_at": processed}


def raw_of(event: Event) -> Part:
    """The event as JSON, its beginning when it is long."""
    text, left_out = cut(wire_text(event), MAX_PART)
    title = "The event as the API gives it" if event.visible else "The record, which the API does not show"
    return Part("code", text, title, left_out)


def wire_text(event: Event) -> str:
    return json.dumps(wire(event), indent=2, ensure_ascii=False)


def parts_of(type_: str, data: dict[str, Any], private: dict[str, Any]) -> Iterator[Part]:
    """What a reader wants to see of an event before its raw form. Never raises."""
    if type_.endswith("tool_use"):
        yield from _tool_input(str(data.get("name", "")), data.get("input"))
    elif type_.endswith("tool_result"):
        yield from (_content_part(block, "text") for block in blocks_of(data))
    elif type_ == "agent.thinking":
        if thought := private.get("thinking"):
            yield _part("markdown", str(thought))
    elif type_ == "session.error":
        error = data.get("error")
        yield _part("text", str(error.get("message", "")) if isinstance(error, dict) else as_json(error))
    elif type_ == "user.define_outcome":
        yield _part("markdown", str(data.get("description", "")), "What to produce")
        rubric = data.get("rubric")
        if isinstance(rubric, dict):
            yield _part("markdown", str(rubric.get("content") or rubric.get("text") or as_json(rubric)), "Rubric")
    elif type_ == "span.outcome_evaluation_end":
        yield _part("markdown", str(data.get("explanation", "")))
    elif type_ == "daybreak.warning":
        yield _part("text", str(data.get("message", "")))
    elif type_ == "user.tool_confirmation" and data.get("deny_message"):
        yield _part("text", str(data["deny_message"]))
    else:
        yield from (_content_part(block, "markdown") for block in blocks_of(data))


def _of_span(private: dict[str, Any]) -> Iterator[Part]:
    """What the span of a trace carried beside what its event says."""
    if told := span_text(private):
        yield _part("code", told, "Also in the trace")


def _part(kind: str, text: str, title: str = "") -> Part:
    shown, left_out = cut(text, MAX_PART)
    return Part(kind, shown, title, left_out)


def _shaped(text: str) -> Part:
    """What a tool gave, as what it is."""
    kind = shapes.shape_of(text)
    return _part(kind, shapes.pretty(text) if kind == shapes.JSON else text)


def _tool_input(name: str, given: Any) -> Iterator[Part]:
    if not isinstance(given, dict):
        yield _part("code", as_json(given))
        return
    rest, kind = dict(given), name.lower()
    of = f" of {given['file_path']}" if isinstance(given.get("file_path"), str) else ""
    if kind == "bash" and isinstance(rest.get("command"), str):
        yield _part("code", rest.pop("command"), "Command")
    elif kind == "edit" and isinstance(rest.get("old_string"), str) and isinstance(rest.get("new_string"), str):
        yield _part("diff", text_diff(rest.pop("old_string"), rest.pop("new_string")), f"Change{of}")
        rest.pop("file_path" if of else "", None)
    elif kind == "write" and isinstance(rest.get("content"), str):
        yield _part("text", rest.pop("content"), f"New content{of}")
        rest.pop("file_path" if of else "", None)
    if rest:
        yield _part("code", json.dumps(rest, indent=2, ensure_ascii=False), "Input")


def text_diff(old: str, new: str, *, context: int = 3, names: tuple[str, str] | None = None) -> str:
    """A unified diff by lines, without the header lines unless `names` are given."""
    before, after = names or ("", "")
    lines = difflib.unified_diff(
        strip_controls(old).split("\n"), strip_controls(new).split("\n"), before, after, lineterm="", n=context
    )
    listed = list(lines)
    return "\n".join(listed if names else listed[2:])


def _content_part(block: dict[str, Any], text_kind: str) -> Part:
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        return _part(text_kind, block["text"]) if text_kind == "markdown" else _shaped(block["text"])
    if kind == "image":
        return _image(block)
    if kind == "document":
        return _document(block)
    if kind == "redacted":
        return _part("text", "This part was redacted.")
    return _part("code", json.dumps(block, indent=2, ensure_ascii=False))


def _image(block: dict[str, Any]) -> Part:
    """Only bytes we hold are shown; an address elsewhere is named, never fetched."""
    source = block.get("source")
    if not isinstance(source, dict):
        return _part("code", as_json(block))
    data, media_type = source.get("data"), source.get("media_type")
    if source.get("type") == "base64" and media_type in IMAGE_TYPES and isinstance(data, str):
        try:
            size = len(base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError):
            return _part("text", "An image whose bytes are damaged.")
        if size <= MAX_IMAGE_BYTES:
            return Part("image", f"data:{media_type};base64,{data}", f"Image, {formats.size(size)}")
        return _part("text", f"An image of {formats.size(size)}, too large to show here.")
    return _part("text", f"An image: {source.get('url') or source.get('file_id') or 'of an unknown kind'}")


def _document(block: dict[str, Any]) -> Part:
    source = block.get("source")
    title = str(block.get("title") or "Document")
    if isinstance(source, dict) and source.get("type") == "text" and isinstance(source.get("data"), str):
        return _part("text", source["data"], title)
    where = source.get("url") or source.get("file_id") if isinstance(source, dict) else None
    return _part("text", str(where or "The bytes are in the raw event."), title)


def facts_of(event: Event, session: Session, row: EventRow) -> Iterator[Fact]:
    """Where and when an event was recorded, and what belongs to it. One query, for tool calls."""
    yield Fact("Event", event.public_id, copy=True)
    yield Fact("Number", formats.count(event.seq))
    yield Fact("Thread", row.lane.label)
    if session.has_times:
        yield Fact("Recorded", formats.exact(event.created_at))
        if event.processed_at and event.processed_at != event.created_at and not session.is_imported:
            yield Fact("Taken up", formats.exact(event.processed_at))
    if row.queued:
        yield Fact("Taken up", "not yet: it waits until the agent finishes its turn")
    if row.counterpart:
        half = "Received" if event.type.endswith("_sent") else "Sent"
        yield Fact(half, f"by {row.counterpart.lane.label}", event_id=row.counterpart.event_id)
    if row.took:
        yield Fact("Took", row.took)
    yield from _answer(event)


def _cause(event: Event, session: Session) -> list[Event]:
    """The event that made this one happen, if one is recorded: the nearest that a page tells of."""
    seq, told = event.cause_seq, told_events(session)
    for _ in range(CAUSES):
        if seq is None or seq >= event.seq:
            return []
        if found := told.filter(seq=seq).first():
            return [found]
        seq = Event.objects.filter(session=session, seq=seq).values_list("cause_seq", flat=True).first()
    return []


def _effects(event: Event, session: Session) -> list[Event]:
    """What this event made happen: directly, or through a record that no page tells of."""
    within = {"seq__gt": event.seq, "seq__lte": event.seq + EFFECTS_WITHIN}
    own = Event.objects.filter(session=session, **within)
    through = own.filter(cause_seq=event.seq, visible=False).values_list("seq", flat=True)[:EFFECTS]
    causes = [event.seq, *through]
    return list(without_copies(told_events(session)).filter(**within, cause_seq__in=causes).order_by("seq")[:EFFECTS])


def _answer(event: Event) -> Iterator[Fact]:
    """Who decided about a tool call, and what came of it."""
    if not event.type.endswith("tool_use"):
        return
    call = ToolCall.objects.select_related("result_event").filter(use_event=event).first()
    if call is None:
        return
    if call.decision in ("allow", "deny"):
        verb = "Allowed by" if call.decision == "allow" else "Refused by"
        yield Fact(verb, call.decided_by or "a client")
    if call.result_event is not None:
        yield Fact("Result", f"event {formats.count(call.result_event.seq)}", event_id=call.result_event.public_id)
    elif call.state == ToolCall.State.WAITING:
        yield Fact("Result", "waits for an answer")
