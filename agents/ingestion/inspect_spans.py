"""One sample of an Inspect log as spans: its events are timed steps within nested spans, as traces are."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from agents.ingestion.blocks import as_text
from agents.ingestion.otlp.exports import iso_time
from agents.ingestion.otlp.span import ERROR, Span
from agents.ingestion.otlp.teller import EVALUATION

Json = dict[str, Any]
_REFERENCE = re.compile(r"(?:attachment|tc)://([0-9a-f]{32})")
_ROOT = "root"


def spans_of(sample: Json, task: str, name: str) -> list[Span]:
    return _Sample(sample, task, name).spans()


class _Sample:
    def __init__(self, sample: Json, task: str, name: str) -> None:
        transcript = sample.get("transcript") if isinstance(sample.get("transcript"), dict) else {}
        self.held = {**_object(sample.get("attachments")), **_object(transcript.get("content") if transcript else None)}
        self.sample = sample
        self.trace = _digest(name, 32)
        self.name = name
        self.events = [
            event
            for event in (sample.get("events") or (transcript or {}).get("events") or [])
            if isinstance(event, dict) and not event.get("pending")
        ]
        self.root = self._span(_ROOT, task)
        self.made: dict[str, Span] = {_ROOT: self.root}
        self.ids: dict[str, str] = {}  # of Inspect's spans, what stands for them among ours

    def spans(self) -> list[Span]:
        self._nest()
        for number, event in enumerate(self.events):
            kind = event.get("event")
            if kind == "model":
                self._model(number, event)
            elif kind == "tool":
                self._tool(number, event)
            elif kind == "error":
                self._failed(number, event)
        if not any(event.get("event") == "model" for event in self.events):
            self._from_messages()
        self._scores()
        failure = _object(self.sample.get("error"))
        if failure and not any(event.get("event") == "error" for event in self.events):
            self.root.status, self.root.status_message = ERROR, as_text(failure.get("message")) or "the sample failed"
        times = [t for span in self.made.values() for t in (span.start, span.end) if t]
        self.root.start, self.root.end = min(times, default=0), max(times, default=0)
        return list(self.made.values())

    def _nest(self) -> None:
        """Inspect's spans; its tool spans are told by the tool events that follow their beginnings."""
        asked = {as_text(event.get("span_id")) for event in self.events if event.get("event") == "model"}
        for number, event in enumerate(self.events):
            name, own = as_text(event.get("name")), as_text(event.get("id"))
            if event.get("event") == "span_end":
                if span := self.made.get(self.ids.get(own, "")):
                    span.end = max(span.end, iso_time(as_text(event.get("timestamp"))))
                continue
            if event.get("event") != "span_begin" or not own:
                continue
            if event.get("type") == "tool" and (found := self._tool_event(number, name)) is not None:
                self.ids[own] = f"event{found}"
                continue
            self.ids[own] = f"span{own}"
            span = self._span(f"span{own}", name, self._parent(event.get("parent_id")), event)
            if event.get("type") == "agent" or (event.get("type") == "scorer" and own in asked):
                span.attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
            self.made[f"span{own}"] = span

    def _tool_event(self, begin: int, name: str) -> int | None:
        for number in range(begin + 1, len(self.events)):
            event = self.events[number]
            if event.get("event") == "tool" and event.get("function") == name:
                return number if f"event{number}" not in self.ids.values() else None
        return None

    def _model(self, number: int, event: Json) -> None:
        output = _object(event.get("output"))
        counts = _object(output.get("usage"))
        span = self._add(number, f"chat {as_text(event.get('model'))}", event)
        span.attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": as_text(output.get("model") or event.get("model")),
            "gen_ai.input.messages": self._resolved(self._input(event)),
            "gen_ai.output.messages": self._resolved(output.get("choices") or []),
            "gen_ai.usage.input_tokens": counts.get("input_tokens"),
            "gen_ai.usage.output_tokens": counts.get("output_tokens"),
            "gen_ai.usage.cache_read.input_tokens": counts.get("input_tokens_cache_read"),
            "gen_ai.usage.cache_creation.input_tokens": counts.get("input_tokens_cache_write"),
            "gen_ai.usage.reasoning.output_tokens": counts.get("reasoning_tokens"),
            "gen_ai.response.finish_reasons": [_object(c).get("stop_reason") for c in _list(output.get("choices"))],
        }
        failure = event.get("error") or output.get("error")
        if failure:
            span.status, span.status_message = ERROR, as_text(failure)

    def _input(self, event: Json) -> list[Any]:
        """Newer logs keep each message once, in a pool, and refer to ranges of it."""
        pool = _list(self.sample.get("message_pool")) or _list(_object(self.sample.get("events_data")).get("messages"))
        found = list(_list(event.get("input")))
        for reference in _list(event.get("input_refs")):
            if isinstance(reference, list) and len(reference) == 2 and all(type(part) is int for part in reference):
                found += pool[max(0, reference[0]) : max(0, reference[1])]
        return found

    def _tool(self, number: int, event: Json) -> None:
        span = self._add(number, f"execute_tool {as_text(event.get('function'))}", event)
        span.attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": as_text(event.get("function")),
            "gen_ai.tool.call.id": as_text(event.get("id")),
            "gen_ai.tool.call.arguments": self._resolved(event.get("arguments")),
            "gen_ai.tool.call.result": self._resolved(event.get("result")),
        }
        if failure := event.get("error"):
            span.status = ERROR
            span.status_message = as_text(_object(failure).get("message") or failure)
            span.attributes["error.type"] = as_text(_object(failure).get("type"))

    def _failed(self, number: int, event: Json) -> None:
        span = self._add(number, "error", event)
        failure = event.get("error")
        span.status, span.status_message = ERROR, as_text(_object(failure).get("message") or failure)

    def _from_messages(self) -> None:
        """Old and shortened logs have no events: the conversation at the end is all there is."""
        messages = [message for message in _list(self.sample.get("messages")) if isinstance(message, dict)]
        if not messages:
            return
        last = next((i for i in range(len(messages) - 1, -1, -1) if messages[i].get("role") == "assistant"), None)
        span = self._add(len(self.events), "chat", {})
        given, after = (messages, []) if last is None else (messages[:last], messages[last + 1 :])
        span.attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": as_text(_object(self.sample.get("output")).get("model")),
            "gen_ai.input.messages": self._resolved([*given, *after]),
            "gen_ai.output.messages": self._resolved([] if last is None else [messages[last]]),
        }

    def _scores(self) -> None:
        for scorer, score in _object(self.sample.get("scores")).items():
            told = _object(score)
            why = self._resolved(told.get("explanation")) or self._resolved(told.get("answer"))
            attributes = {
                "gen_ai.evaluation.name": as_text(scorer),
                "gen_ai.evaluation.score.label": as_text(told.get("value")),
                "gen_ai.evaluation.explanation": as_text(why),
            }
            self.root.events.append({"name": EVALUATION, "time": 0, "attributes": attributes})

    def _resolved(self, value: Any, depth: int = 0) -> Any:
        """Long texts are kept once per sample, and referred to."""
        if isinstance(value, str):
            return _REFERENCE.sub(lambda found: as_text(self.held.get(found[1], found[0])), value)
        if depth > 100:
            return value
        if isinstance(value, list):
            return [self._resolved(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self._resolved(item, depth + 1) for key, item in value.items()}
        return value

    def _add(self, number: int, name: str, event: Json) -> Span:
        key = f"event{number}"
        self.made[key] = self._span(key, name, self._parent(event.get("span_id")), event)
        return self.made[key]

    def _parent(self, inspects: Any) -> str:
        return self.ids.get(as_text(inspects), _ROOT)

    def _span(self, key: str, name: str, parent: str = "", event: Json | None = None) -> Span:
        start = iso_time(as_text((event or {}).get("timestamp")))
        end = iso_time(as_text((event or {}).get("completed"))) or start
        parent_id = _digest(f"{self.name}:{parent}", 16) if parent else ""
        return Span(self.trace, _digest(f"{self.name}:{key}", 16), parent_id, name[:200], 1, start, max(start, end))


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
