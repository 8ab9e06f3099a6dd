"""The spans of a session told as events: what came in, what was asked and answered, what tools did, what failed."""

from __future__ import annotations

from typing import Any

from agents.ingestion.blocks import as_object, as_text
from agents.ingestion.model import PRIMARY, ImportedEvent
from agents.ingestion.otlp.forest import Node
from agents.ingestion.otlp.messages import Message, Part, result_blocks
from agents.ingestion.otlp.moments import error_text, moments, says_error, task_of
from agents.ingestion.otlp.reading import COUNTERS, unused
from agents.ingestion.otlp.span import moment
from agents.ingestion.otlp.thread_log import (
    Call,
    History,
    ThreadLog,
    blocks,
    bounded,
    content_of,
    result_text,
    said_by,
)
from agents.ingestion.otlp.threads import Agent, Threads

SPAN_EVENT = "daybreak.span"
EVALUATION = "gen_ai.evaluation.result"
TOLD_OTHERWISE = ("exception", EVALUATION)  # as an error, as an annotation
Json = dict[str, Any]


class Teller:
    """Walks the moments of a session in order. `events` is the log."""

    def __init__(self, nodes: list[Node], threads: Threads, quoted: dict[str, Part]) -> None:
        self.nodes = nodes
        self.threads = threads
        self.quoted = quoted
        self.events: list[ImportedEvent] = []
        self.logs: dict[str, ThreadLog] = {}
        self.tool_calls: dict[Node, Call] = {}
        self.request: dict[Node, str] = {}
        self.created: set[str] = set()
        self.told: set[Node] = set()
        self.names: set[str] = set()
        self.last_request: dict[str, str] = {}
        self.unclaimed: set[str] = set()  # calls without an id whose span came before the answer that made them
        self.now = 0

    def tell(self) -> list[ImportedEvent]:
        for node, begins in moments(self.nodes):
            self.now = node.span.start or node.span.end if begins else node.span.end or node.span.start
            (self._begin if begins else self._end)(node)
        return self.events

    # Beginnings and ends

    def _begin(self, node: Node) -> None:
        started = self.threads.started_by(node)
        if node.kind == "tool":
            self._tool_begins(node)
        if started is not None:
            self._agent_begins(node, started)
        elif node.kind == "model" and not node.wraps:
            self._request(node)
        elif node.kind == "other":
            self._note(node)

    def _end(self, node: Node) -> None:
        started = self.threads.started_by(node)
        if node.kind == "model" and not node.wraps:
            self._answer(node)
        elif started is not None:
            self._agent_ends(node, started)
        if node.kind == "tool":
            self._tool_ends(node)
        if (node.kind in ("agent", "other") or node.wraps) and node.reading.failed and not node.failed_below:
            self._error(node, self._log(started or self.threads.of(node)))

    # Model requests

    def _request(self, node: Node) -> None:
        log = self._log(self.threads.of(node))
        self._history(node, log, node.reading.inputs)
        details: Json = {"model": node.reading.model}
        event = self._add(node, log, "start", "span.model_request_start", {}, details, log.last_in)
        self.request[node] = self.last_request[log.key] = event

    def _history(self, node: Node, log: ThreadLog, messages: list[Message]) -> None:
        """What is new in the conversation that a request sends along."""
        history = History(log)
        for place, message in enumerate(messages):
            if message.role in ("system", "user"):
                self._incoming(node, log, history, place, message)
            elif message.role == "assistant":
                self._said(node, log, f"in{place}", message, log.last_in, history)
            for number, part in enumerate(message.parts):
                if part.kind == "result":
                    self._quoted_result(node, log, history, f"in{place}.{number}", part)

    def _incoming(self, node: Node, log: ThreadLog, history: History, place: int, message: Message) -> None:
        content = content_of(message)
        text = said_by(message)
        if not content or not history.is_new(message.role, text):
            return
        kind = "user.message"
        if message.role == "system":
            kind = "system.message" if all(part.kind == "text" for part in content) else kind
        agent = self.threads.all[log.key]
        if kind == "user.message" and agent.nested and not log.messages_sent and agent.parent is not None:
            self._hand_over(node, agent, text, blocks(content), None)
            return
        log.last_in = self._add(node, log, f"in{place}", kind, {"content": blocks(content)}, None, None)

    def _answer(self, node: Node) -> None:
        log = self._log(self.threads.of(node))
        start = self.request[node]
        history = None
        for place, message in enumerate(node.reading.outputs):
            self._said(node, log, f"out{place}", message, start, history)
        reading = node.reading
        tokens = {name: reading.usage.get(name, 0) for name in COUNTERS}
        payload = {"model_request_start_id": start, "is_error": reading.failed, "model_usage": tokens}
        private = {"model": reading.model or None, **reading.details}
        private = {key: value for key, value in private.items() if value not in (None, "", 0)}
        end = self._add(node, log, "end", "span.model_request_end", payload, private | self._beside(node), start)
        if reading.failed:
            self._error(node, log, cause=end, kind="model_request_failed_error")

    def _said(
        self, node: Node, log: ThreadLog, place: str, message: Message, cause: str | None, history: History | None
    ) -> None:
        """An answer, or one in a history (`history` is set) whose own request was not traced."""
        text: list[Part] = []
        quoted: Json = {"from": "the history of a later request"} if history else {}

        def flush(number: int) -> None:
            said = "\n".join(as_text(part.value) for part in text)
            if not text:
                return
            if history is None:
                log.tell("assistant", said)
            if history is None or history.is_new("assistant", said):
                payload = {"content": [{"type": "text", "text": as_text(p.value)} for p in text]}
                self._add(node, log, f"{place}.{number}", "agent.message", payload, quoted, cause)
                log.last_said = said
            text.clear()

        for number, part in enumerate(message.parts):
            if part.kind in ("text", "block"):
                text.append(part)
                continue
            flush(number)
            if part.kind == "thinking" and part.value:
                if history is None:
                    log.tell("thinking", part.value)
                if history is None or history.is_new("thinking", part.value):
                    private = {"thinking": part.value, **quoted}
                    self._add(node, log, f"{place}.{number}", "agent.thinking", {}, private, cause)
            elif part.kind == "call":
                self._called(node, log, f"{place}.{number}", part, cause, history)
        flush(len(message.parts))

    # Tools

    def _called(
        self, node: Node, log: ThreadLog, place: str, part: Part, cause: str | None, history: History | None
    ) -> None:
        known = log.by_id.get(part.id) if part.id else None
        if known is None and part.id:
            known = self._claim(log, part, same_input=True)
            if known is not None:
                known.id = part.id
                log.by_id[part.id] = known
        elif known is None:
            text = f"{part.name}\n{part.value}"
            if history is not None and not history.is_new("call", text):
                return
            if history is None:
                log.tell("call", text)
            known = self._claim(log, part, same_input=False)
        if known is None or (known.said and history is None):  # some models use an id again
            known = self._tool_use(node, log, place, part.name, part.id, part.value, cause)
        known.said = True

    def _claim(self, log: ThreadLog, part: Part, *, same_input: bool) -> Call | None:
        """A call whose span began before the answer that makes it was complete."""
        for call in log.calls:
            if call.event in self.unclaimed and call.name == part.name:
                if call.arguments == part.value or not same_input:
                    self.unclaimed.discard(call.event)
                    return call
        return None

    def _tool_use(
        self, node: Node, log: ThreadLog, place: str, name: str, call_id: str, given: Any, cause: str | None
    ) -> Call:
        event_id = f"{log.key}:call:{bounded(call_id)}" if call_id else ""
        payload = {"name": name or "tool", "input": as_object(given if given is not None else {})}
        private = {"tool_id": call_id} if call_id else {}
        event = self._add(node, log, place, "agent.tool_use", payload, private, cause, event_id=event_id)
        return log.add(Call(event, log.key, name, call_id, given))

    def _tool_begins(self, node: Node) -> None:
        reading, log = node.reading, self._log(self.threads.of(node))
        call = log.find_without_span(reading.call_id, reading.name, reading.arguments)
        if call is None:
            call = self._tool_use(
                node, log, "use", reading.name, reading.call_id, reading.arguments, self.last_request.get(log.key)
            )
            self.unclaimed.add(call.event)
        call.has_span = True
        self.tool_calls[node] = call
        self.told.add(node)

    def _tool_ends(self, node: Node) -> None:
        call, log = self.tool_calls[node], self._log(self.threads.of(node))
        if call.answered:
            return
        result, failed = node.reading.result, node.reading.failed
        quoted = self.quoted.get(call.id) if call.id else None
        if result is None and quoted is not None:
            result = quoted.value
        failed = failed or (quoted is not None and quoted.failed) or says_error(result)
        private = self._beside(node)
        if failed and node.span.status_message:
            private["error"] = node.span.status_message
        self._result(node, log, "result", call, result, failed, private)

    def _quoted_result(self, node: Node, log: ThreadLog, history: History, place: str, part: Part) -> None:
        """A tool's result that is only known from the request that quotes it."""
        text = result_text(part.value)
        call = log.find(part.id, part.name)
        if part.id and call is not None:
            if not call.answered and not call.has_span:
                self._result(node, log, place, call, part.value, part.failed, {})
            return
        if not history.is_new("result", text):
            return
        if call is not None and not call.has_span:
            self._result(node, log, place, call, part.value, part.failed, {}, tell=False)
        elif call is None:
            payload: Json = {"tool_use_id": part.id or part.name or "unknown", "content": result_blocks(part.value)}
            payload |= {"is_error": True} if part.failed else {}
            private = {"tool_use": "not in the trace"}
            log.last_in = self._add(node, log, place, "agent.tool_result", payload, private, None)

    def _result(
        self,
        node: Node,
        log: ThreadLog,
        place: str,
        call: Call,
        result: Any,
        failed: bool,
        private: Json,
        *,
        tell: bool = True,
    ) -> None:
        call.answered = True
        if tell:
            log.tell("result", result_text(result))
        payload: Json = {"tool_use_id": call.event, "content": result_blocks(result)}
        if failed:
            payload["is_error"] = True
        event_id = f"{call.event}:result"
        log.last_in = self._add(node, log, place, "agent.tool_result", payload, private, call.event, event_id=event_id)

    # Agents

    def _agent_begins(self, node: Node, agent: Agent) -> None:
        self.told.add(node)
        log = self._log(agent)
        parent = agent.parent
        if parent is not None and agent.key not in self.created:
            self._create(node, agent, parent)
        if not agent.nested:
            self._history(node, log, [m for m in node.reading.inputs if m.role in ("user", "system")])
            return
        tool = node if node.kind == "tool" else node.tool
        task = task_of(tool) if tool is not None and tool in self.tool_calls else ""
        asked = next((m for m in reversed(node.reading.inputs) if m.role == "user" and content_of(m)), None)
        if task:
            cause = self.tool_calls[tool].event if tool is not None else None
            self._hand_over(node, agent, task, [{"type": "text", "text": task}], cause)
        elif asked is not None:
            self._hand_over(node, agent, said_by(asked), blocks(content_of(asked)), None)

    def _create(self, node: Node, agent: Agent, parent: Agent) -> None:
        self.created.add(agent.key)
        tool = node if node.kind == "tool" else node.tool
        cause = self.tool_calls[tool].event if tool is not None and tool in self.tool_calls else None
        payload = {"agent_name": agent.name, "session_thread_id": agent.key}
        event_id = f"{agent.key}:created"
        self._add(node, self._log(parent), "created", "session.thread_created", payload, None, cause, event_id=event_id)

    def _hand_over(self, node: Node, agent: Agent, text: str, content: list[Json], cause: str | None) -> None:
        """The parent asks the agent: one message, sent on one thread and received on the other."""
        parent, log = agent.parent, self._log(agent)
        if parent is None:
            return
        log.messages_sent += 1
        log.tell("user", text)
        name = f"{agent.key}:task{log.messages_sent}"
        cause = cause or (f"{agent.key}:created" if agent.key in self.created else None)
        log.last_in = self._message(node, name, "task", parent, agent, content, cause)

    def _agent_ends(self, node: Node, agent: Agent) -> None:
        """An agent's answer: its report to who started it, or what it said to the session."""
        log, parent = self._log(agent), agent.parent
        said = "\n".join(m.text for m in node.reading.outputs if m.text) if node.kind == "agent" else ""
        if said and not log.told[("assistant", " ".join(said.split()))]:
            log.tell("assistant", said)
            payload = {"content": [{"type": "text", "text": said}]}
            self._add(node, log, "said", "agent.message", payload, self._beside(node), log.last_in)
            log.last_said = said
        if agent.nested and parent is not None and log.last_said and not node.reading.failed:
            name = f"{agent.key}:report"
            content = [{"type": "text", "text": log.last_said}]
            received = self._message(node, name, "report", agent, parent, content, None)
            self._log(parent).last_in = received

    def _message(
        self, node: Node, name: str, kind: str, sender: Agent, receiver: Agent, content: list[Json], cause: str | None
    ) -> str:
        private = {"message_id": name, "kind": kind}
        sent: Json = {"content": content, "to_session_thread_id": receiver.key}
        if receiver.key != PRIMARY:
            sent["to_agent_name"] = receiver.name
        received: Json = {"content": content, "from_session_thread_id": sender.key}
        if sender.key != PRIMARY:
            received["from_agent_name"] = sender.name
        own, others = self._log(sender), self._log(receiver)
        first = self._add(node, own, kind, "agent.thread_message_sent", sent, private, cause, event_id=f"{name}:sent")
        kind_in = "agent.thread_message_received"
        return self._add(node, others, kind, kind_in, received, private, first, event_id=f"{name}:received")

    # Everything else

    def _note(self, node: Node) -> None:
        """A span that nothing else tells, when it has something to say."""
        log = self._log(self.threads.of(node))
        if node.reading.inputs:
            self._history(node, log, node.reading.inputs)
        plain_events = [event for event in node.span.events if event["name"] not in TOLD_OTHERWISE]
        if node.reading.content or plain_events:
            self.add_span(node)

    def add_span(self, node: Node) -> None:
        """The span itself, beside the wire, with everything it carries."""
        log = self._log(self.threads.of(node))
        span = node.span
        payload = {"name": span.name, "is_error": span.failed}
        private = {"attributes": span.attributes, "duration_ms": round((node.end - node.start) / 1e6, 3)}
        self._add(node, log, "span", SPAN_EVENT, payload, private | self._beside(node, attributes=False), None)

    def _error(self, node: Node, log: ThreadLog, *, cause: str | None = None, kind: str = "unknown_error") -> None:
        payload = {"error": {"type": kind, "message": error_text(node), "retry_status": {"type": "exhausted"}}}
        self._add(node, log, "error", "session.error", payload, self._beside(node), cause)

    def _beside(self, node: Node, *, attributes: bool = True) -> Json:
        """What the span carries beyond its events: kept, and shown with one of them."""
        span = node.span
        found: Json = {"span": span.span_id, "trace": span.trace_id}
        rest = unused(span, node.reading.used) if attributes else {}
        kept = {"attributes": rest, "events": span.events, "links": span.links, "resource": span.resource}
        kept |= {"scope": span.scope, "notes": span.notes}
        return found | {key: value for key, value in kept.items() if value}

    def _unique(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self.names:
            name, number = f"{wanted}~{number}", number + 1
        self.names.add(name)
        return name

    def _log(self, agent: Agent) -> ThreadLog:
        return self.logs.setdefault(agent.key, ThreadLog(agent.key))

    def _add(
        self,
        node: Node,
        log: ThreadLog,
        place: str,
        kind: str,
        payload: Json,
        private: Json | None,
        cause: str | None,
        *,
        event_id: str = "",
    ) -> str:
        self.told.add(node)
        agent = self.threads.all[log.key]
        if agent.parent is not None and agent.key not in self.created:
            self._create(node, agent, agent.parent)
        name = self._unique(event_id or f"{node.span.trace_id[:12]}.{node.span.span_id}:{place}")
        visible = kind != SPAN_EVENT
        event = ImportedEvent(name, log.key, kind, payload, private or None, moment(self.now), cause, visible)
        self.events.append(event)
        return name
