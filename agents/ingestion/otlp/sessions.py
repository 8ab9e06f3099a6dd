"""Spans as sessions. Pure: the same spans in any order give the same session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agents.ingestion.blocks import as_text, plain_text
from agents.ingestion.model import OTLP, ImportedAnnotation, ImportedSession, ImportedThread
from agents.ingestion.otlp import langfuse
from agents.ingestion.otlp.forest import Node, grow
from agents.ingestion.otlp.span import Span
from agents.ingestion.otlp.teller import EVALUATION, SPAN_EVENT, Teller
from agents.ingestion.otlp.thread_log import results_by_call
from agents.ingestion.otlp.threads import Threads, assign

SOURCE_NAME = "OpenTelemetry"
MAX_TITLE = 120
MAX_METADATA = 512
MAX_SHOWN_ALONE = 5_000  # spans of a session in which no span says anything
_RESOURCE = {"service.name": "service_name", "user.id": "user_id", "langfuse.trace.name": "trace_name"}


def group(spans: Iterable[Span]) -> dict[str, list[Span]]:
    """The spans of each session, by the session's key. All spans of a trace belong to one session."""
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    sessions: dict[str, list[Span]] = defaultdict(list)
    for trace in traces.values():
        _, key = min(span.session_key for span in trace)
        sessions[key] += trace
    return dict(sessions)


def convert(key: str, spans: Sequence[Span]) -> ImportedSession:
    """One session out of all its spans."""
    nodes = grow(list(spans))
    threads = assign(nodes)
    quoted = results_by_call([message for node in nodes for message in node.reading.inputs])
    teller = Teller(nodes, threads, quoted)
    events = teller.tell()
    if not events:
        for node in nodes[:MAX_SHOWN_ALONE]:
            teller.now = node.start
            teller.add_span(node)
    untold = sum(node not in teller.told for node in nodes)
    return ImportedSession(
        external_id=key,
        format=OTLP,
        source_name=SOURCE_NAME,
        title=_title(teller, nodes),
        threads=[
            ImportedThread(agent.key, agent.name, agent.parent.key if agent.parent else None, agent.model or None)
            for agent in threads.all.values()
        ],
        events=events,
        annotations=list(_annotations(nodes, teller, threads)),
        has_times=any(event.at for event in events),
        metadata=_metadata(nodes),
        notes=_notes(untold),
        spans=tuple(spans),
    )


def _title(teller: Teller, nodes: list[Node]) -> str:
    """What was asked first; without a question, what the first span is called."""
    asked = ("user.message", "agent.thread_message_sent")
    for event in teller.events:
        if event.type in asked and (text := plain_text(event.payload["content"]).strip()):
            return text.splitlines()[0][:MAX_TITLE]
    roots = [node for node in nodes if node.parent is None]
    return (roots[0].span.name if roots else "")[:MAX_TITLE] or "Trace"


def _metadata(nodes: list[Node]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in nodes:
        for key, name in _RESOURCE.items():
            value = node.span.resource.get(key, node.span.attributes.get(key))
            if name not in found and isinstance(value, str) and value:
                found[name] = value[:MAX_METADATA]
    traces = list(dict.fromkeys(node.span.trace_id for node in nodes))
    found["trace_id"] = traces[0] if len(traces) == 1 else f"{traces[0]} and {len(traces) - 1} more"
    return found


def _notes(untold: int) -> list[str]:
    if not untold:
        return []
    spans = "1 span has" if untold == 1 else f"{untold} spans have"
    return [f"{spans} neither content nor an error and no place in the log; they are kept with the trace."]


def _annotations(nodes: list[Node], teller: Teller, threads: Threads) -> Iterator[ImportedAnnotation]:
    """Scores and evaluations that came with the trace, on what they are about."""
    by_node: dict[str, str] = {}
    last = ""
    for event in teller.events:
        if event.type == "agent.message":
            last = event.external_id
        if event.type in ("agent.message", "agent.tool_use", SPAN_EVENT):
            by_node[(event.private or {}).get("span") or event.external_id.rpartition(":")[0]] = event.external_id
    fallback = last or (teller.events[-1].external_id if teller.events else "")
    for node in nodes:
        on = by_node.get(node.span.span_id) or fallback
        for category, value, text, author in (*_scores(node.span), *_evaluations(node.span)):
            if on:
                said = f"{value}: {text}" if text and value else value or text
                yield ImportedAnnotation(on, "note", category[:100] or None, said, author[:200])


def _scores(span: Span) -> Iterator[tuple[str, str, str, str]]:
    scores = span.attributes.get(langfuse.SCORES)
    for score in scores if isinstance(scores, list) else []:
        if isinstance(score, dict):
            value = score.get("stringValue") if score.get("value") is None else score["value"]
            author = as_text(score.get("authorUserId")) or f"Langfuse {as_text(score.get('source')).lower()}".strip()
            yield as_text(score.get("name")), as_text(value), as_text(score.get("comment")), author


def _evaluations(span: Span) -> Iterator[tuple[str, str, str, str]]:
    for event in span.events:
        if event["name"] == EVALUATION:
            told: dict[str, Any] = event["attributes"]
            value = told.get("gen_ai.evaluation.score.label") or told.get("gen_ai.evaluation.score.value")
            text = as_text(told.get("gen_ai.evaluation.explanation"))
            yield as_text(told.get("gen_ai.evaluation.name")), as_text(value), text, "Evaluation"
