"""Which convention a span follows: the first that recognises it reads it."""

from __future__ import annotations

from agents.ingestion.otlp import anthropic_sdk, claude_code_spans, genai, observations, openinference, vercel
from agents.ingestion.otlp.reading import Reading, first
from agents.ingestion.otlp.span import Span

DIALECTS = (anthropic_sdk, claude_code_spans, observations, openinference, vercel, genai)
_CONTENT = ("input.value", "output.value", "gen_ai.input.messages", "gen_ai.output.messages", "message", "content")


def read_span(span: Span) -> Reading:
    """What the span tells. Never raises: a span that nobody recognises is an `other`."""
    for dialect in DIALECTS:
        kind = dialect.kind_of(span)
        if kind is not None:
            reading = dialect.read(span, kind)
            reading.failed = reading.failed or span.failed
            return reading
    return Reading("other", span.name, failed=span.failed, content=first(span, *_CONTENT) is not None)
