"""The lines of one Claude Code thread as events: messages, thoughts, tool calls, model requests, errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agents.ingestion.blocks import as_object, as_text, content_blocks, plain_text, text_block, text_blocks
from agents.ingestion.claude_delegation import MCP_TOOL, TOOL_USES, Call, Delegations
from agents.ingestion.claude_lines import Line, is_message, text_of
from agents.ingestion.claude_usage import request_usage
from agents.ingestion.model import PRIMARY, ImportedEvent, ImportReport

SOURCE_NAME = "Claude Code"

_INTERRUPTED = "[Request interrupted by user"
_PRINTED = re.compile(r"<(?:local-command|bash)-(?:stdout|stderr)>")
_TYPED = {"<command-name>": "slash_command", "<command-message>": "slash_command", "<bash-input>": "shell"}
_STATUS = re.compile(r"\b(?P<status>[45]\d\d)\b")
_ERROR_TYPES = {"429": "model_rate_limited_error", "529": "model_overloaded_error"}


class ThreadWriter:
    """Writes the log of one thread, line by line. `elsewhere` collects what belongs in other threads' logs."""

    def __init__(
        self,
        key: str,
        lines: Sequence[Line],
        delegations: Delegations,
        requests: dict[str, str],
        report: ImportReport,
    ) -> None:
        self.key = key
        self.lines = lines
        self.delegations = delegations
        self.requests = requests
        self.report = report
        self.elsewhere: list[tuple[str, ImportedEvent]] = []
        self.log: list[ImportedEvent] = []
        self.by_uuid = {line.uuid: line for line in lines if line.uuid}
        self.last_event: dict[str | None, str | None] = {}
        self.pieces: dict[str, list[Line]] = {}
        for line in lines:
            if (request := line.request_id) and is_message(line):
                self.pieces.setdefault(request, []).append(line)

    def write(self) -> list[ImportedEvent]:
        previous: datetime | None = None
        for line in self.lines:
            line, untimed = (line, False) if line.at else (replace(line, at=previous), True)
            previous = line.at
            events = self._events(line)
            if untimed and line.at:
                events = [_marked(event, at_from="the line before") for event in events]
            if line.sanitised:
                events = [_marked(event, sanitised=True) for event in events]
            cause = events[-1].external_id if events else self.last_event.get(line.parent)
            self.last_event[line.uuid] = cause
            self.log.extend(events)
            if events:
                self.report.imported_lines += 1
        return self.log

    def _events(self, line: Line) -> list[ImportedEvent]:
        events: list[ImportedEvent] = []
        if line.type == "user" and is_message(line):
            events = self._user(line)
        elif line.type == "assistant" and is_message(line):
            events = self._assistant(line)
        elif line.type == "system":
            events = self._system(line)
        elif line.type == "attachment":
            events = self._queued(line)
        if not events:
            self.report.skipped_line(_kind(line))
        return events

    # What came in: people, the harness, other agents, tools.

    def _user(self, line: Line) -> list[ImportedEvent]:
        events: list[ImportedEvent] = []
        rest: list[tuple[int, Any]] = []
        details = {"tool_use_result": r} if (r := line.data.get("toolUseResult")) is not None else {}
        for index, block in enumerate(line.blocks):
            if isinstance(block, dict) and block.get("type") == "tool_result":
                events += self._tool_result(line, index, block, {} if events else details)
            else:
                rest.append((index, block))
        if rest or not events:
            index = rest[0][0] if rest else 0
            events += self._incoming(line, line.block_id(index), [block for _, block in rest])
        return events

    def _incoming(self, line: Line, event_id: str, content: list[Any]) -> list[ImportedEvent]:
        text = plain_text(content)
        if text.startswith(_INTERRUPTED):
            return [self._event(line, event_id, "user.interrupt", {}, {"text": text})]
        if line.data.get("isCompactSummary") is True:
            return self._compact_summary(line, event_id, content)
        if line.data.get("isMeta") is True or _PRINTED.match(text):
            private = {"is_meta": True} if line.data.get("isMeta") is True else {"kind": "output"}
            return [self._from_harness(line, event_id, content, private)]
        if self.key != PRIMARY and (received := self._received(line, event_id, content)):
            return [received]
        typed = next((kind for mark, kind in _TYPED.items() if text.startswith(mark)), None)
        payload = {"content": content_blocks(content)}
        return [self._event(line, event_id, "user.message", payload, {"kind": typed} if typed else {})]

    def _from_harness(self, line: Line, event_id: str, content: list[Any], private: dict[str, Any]) -> ImportedEvent:
        """Text that Claude Code itself put into the conversation. The wire's system message takes text alone."""
        blocks = content_blocks(content)
        kind = "system.message" if all(b["type"] == "text" for b in blocks) else "user.message"
        return self._event(line, event_id, kind, {"content": blocks}, {"speaker": SOURCE_NAME, **private})

    def _compact_summary(self, line: Line, event_id: str, content: list[Any]) -> list[ImportedEvent]:
        summary = self._from_harness(line, event_id, content, {"compact_summary": True})
        before = self.by_uuid.get(line.parent or "")
        if before is not None and before.data.get("subtype") == "compact_boundary":
            return [summary]
        private = {"summary": plain_text(content)}
        compacted = f"{line.external_id}:compacted"
        return [self._event(line, compacted, "agent.thread_context_compacted", {}, private), summary]

    def _received(self, line: Line, event_id: str, content: list[Any]) -> ImportedEvent | None:
        """A sub-agent's prompt, or a later message to it: joined to the call that sent it, if the log has that."""
        call = self.delegations.receive(line)
        if call is None and any(event.type.startswith("agent.") for event in self.log):
            return None
        sender = call.thread if call else self.delegations.parent_of(self.key)
        payload = {"content": content_blocks(content), "from_session_thread_id": sender}
        if sender != PRIMARY:
            payload["from_agent_name"] = self.delegations.name_of(sender)
        private = {"message_id": call.message_id} if call else {"sender": "not in the log"}
        cause = f"{call.event}:sent" if call else f"{self.key}:created"
        return self._event(line, event_id, "agent.thread_message_received", payload, private, cause)

    def _tool_result(
        self, line: Line, index: int, block: dict[str, Any], details: dict[str, Any]
    ) -> list[ImportedEvent]:
        tool_id = text_of(block, "tool_use_id") or ""
        used = self.delegations.tool_events.get(tool_id)
        mcp = tool_id in self.delegations.mcp_calls
        payload: dict[str, Any] = {
            "mcp_tool_use_id" if mcp else "tool_use_id": used or tool_id,
            "content": content_blocks(block.get("content")),
        }
        if isinstance(block.get("is_error"), bool):
            payload["is_error"] = block["is_error"]
        private = details if used else {**details, "tool_use": "not in the log"}
        kind = "agent.mcp_tool_result" if mcp else "agent.tool_result"
        result = self._event(line, line.block_id(index), kind, payload, private, used)
        return [*self._report(line, f"{result.external_id}:report", tool_id, payload), result]

    def _report(self, line: Line, report_id: str, tool_id: str, result: dict[str, Any]) -> list[ImportedEvent]:
        """The result of a Task call is what the sub-agent reported: sent on its thread, received on this one."""
        call = self.delegations.calls.get(tool_id)
        details = line.data.get("toolUseResult")
        status = details.get("status") if isinstance(details, dict) else None
        ended = status in (None, "completed") and result.get("is_error") is not True
        if call is None or not call.spawns or call.agent is None or not ended:
            return []
        private = {"message_id": f"{call.event}:report"}
        sent: dict[str, Any] = {"content": result["content"], "to_session_thread_id": self.key}
        if self.key != PRIMARY:
            sent["to_agent_name"] = self.delegations.name_of(self.key)
        event = self._event(line, f"{report_id}-sent", "agent.thread_message_sent", sent, private)
        self.elsewhere.append((call.agent, replace(event, thread=call.agent)))
        received = {
            "content": result["content"],
            "from_session_thread_id": call.agent,
            "from_agent_name": self.delegations.name_of(call.agent),
        }
        kind = "agent.thread_message_received"
        return [self._event(line, report_id, kind, received, private, event.external_id)]

    def _queued(self, line: Line) -> list[ImportedEvent]:
        """What a person typed while the agent worked is kept as an attachment."""
        attachment = line.data.get("attachment")
        if not isinstance(attachment, dict) or attachment.get("type") != "queued_command":
            return []
        payload = {"content": content_blocks(attachment.get("prompt"))}
        return [self._event(line, line.external_id, "user.message", payload, {"kind": "queued"})]

    # What the model said.

    def _assistant(self, line: Line) -> list[ImportedEvent]:
        if line.data.get("isApiErrorMessage") is True:
            return [self._api_error(line)]
        request = line.request_id or line.external_id
        pieces = self.pieces[request]
        usage = request_usage(pieces)
        counted = usage is not None and self.requests.setdefault(request, self.key) == self.key
        start = f"{request}:start" if counted else self.last_event.get(line.parent)
        events: list[ImportedEvent] = []
        if counted and line.external_id == pieces[0].external_id:
            events.append(self._request_start(line, f"{request}:start"))
        for index, block in enumerate(line.blocks):
            events += self._said(line, index, block, start)
        if counted and usage and line.external_id == pieces[-1].external_id:
            payload = {"model_request_start_id": start, **usage.payload}
            kind = "span.model_request_end"
            events.append(self._event(line, f"{request}:end", kind, payload, usage.private, start))
        return events

    def _request_start(self, line: Line, event_id: str) -> ImportedEvent:
        """The log has no time for the request itself: it went out when the line it answers was there."""
        private: dict[str, Any] = {"model": text_of(line.message, "model")}
        before = self.by_uuid.get(line.parent or "")
        if before is not None and before.at and line.at and before.at <= line.at:
            line = replace(line, at=before.at)
            private["at_from"] = "the line before"
        cause = self.last_event.get(line.parent)
        return self._event(line, event_id, "span.model_request_start", {}, private, cause)

    def _said(self, line: Line, index: int, block: Any, cause: str | None) -> list[ImportedEvent]:
        event_id = line.block_id(index)
        kind = block.get("type") if isinstance(block, dict) else None
        if kind in ("thinking", "redacted_thinking"):
            private: dict[str, Any] = {"redacted": True} if kind == "redacted_thinking" else {}
            if thinking := text_of(block, "thinking"):
                private = {"thinking": thinking}
            return [self._event(line, event_id, "agent.thinking", {}, private, cause)]
        if kind in TOOL_USES:
            return self._tool_use(line, event_id, block, cause)
        if isinstance(kind, str) and kind.endswith("_tool_result"):
            return self._tool_result(line, index, block, {})
        payload = {"content": text_blocks(block)}
        model = text_of(line.message, "model") or ""
        private = {"synthetic": True} if model.startswith("<") else {}
        return [self._event(line, event_id, "agent.message", payload, private, cause)]

    def _tool_use(self, line: Line, event_id: str, block: dict[str, Any], cause: str | None) -> list[ImportedEvent]:
        name = as_text(block.get("name"))
        payload: dict[str, Any] = {"name": name, "input": as_object(block.get("input"))}
        kind = "agent.tool_use"
        if mcp := MCP_TOOL.fullmatch(name):
            kind = "agent.mcp_tool_use"
            payload |= {"name": mcp["tool"], "mcp_server_name": mcp["server"]}
        tool_id = text_of(block, "id")
        used = self._event(line, event_id, kind, payload, {"tool_id": tool_id} if tool_id else {}, cause)
        call = self.delegations.calls.get(tool_id or "")
        if call is None or call.agent is None or call.event != event_id:
            return [used]
        return [used, *self._delegated(line, call, call.agent)]

    def _delegated(self, line: Line, call: Call, agent: str) -> list[ImportedEvent]:
        name = self.delegations.name_of(agent)
        events = []
        if self.delegations.starts(call):
            kinds = ("subagent_type", "description", "model", "isolation")
            private = {k: call.input[k] for k in kinds if k in call.input}
            payload: dict[str, Any] = {"agent_name": name, "session_thread_id": agent}
            kind = "session.thread_created"
            events.append(self._event(line, f"{agent}:created", kind, payload, private, call.event))
        sent: dict[str, Any] = {"content": [text_block(call.text)], "to_session_thread_id": agent}
        sent["to_agent_name"] = name
        private = {"message_id": call.message_id}
        kind = "agent.thread_message_sent"
        events.append(self._event(line, f"{call.event}:sent", kind, sent, private, call.event))
        return events

    # What went wrong, and what Claude Code noted down.

    def _system(self, line: Line) -> list[ImportedEvent]:
        subtype = line.data.get("subtype")
        if subtype == "compact_boundary":
            details = as_object(line.data.get("compactMetadata"))
            known = {"preTokens": "pre_compaction_tokens", "trigger": "trigger"}
            private = {name: details[key] for key, name in known.items() if key in details}
            kind = "agent.thread_context_compacted"
            return [self._event(line, line.external_id, kind, {}, private)]
        if subtype == "api_error":
            error = line.data.get("error")
            message = text_of(error, "message") or as_text(error)
            payload = _error(message, as_text(error), "retrying")
            return [self._event(line, line.external_id, "session.error", payload, {"error": error})]
        return []

    def _api_error(self, line: Line) -> ImportedEvent:
        message = plain_text(line.blocks)
        payload = _error(message, message, "exhausted")
        cause = self.last_event.get(line.parent)
        return self._event(line, line.external_id, "session.error", payload, {}, cause)

    def _event(
        self,
        line: Line,
        event_id: str,
        kind: str,
        payload: dict[str, Any],
        private: dict[str, Any],
        cause: str | None = None,
    ) -> ImportedEvent:
        return ImportedEvent(event_id, self.key, kind, payload, private or None, line.at, cause)


def _marked(event: ImportedEvent, **marks: Any) -> ImportedEvent:
    return replace(event, private={**(event.private or {}), **marks})


def _error(message: str, details: str, retry: str) -> dict[str, Any]:
    """A failed model request. The status, where the details name one, tells overload and rate limits apart."""
    status = _STATUS.search(details)
    kind = _ERROR_TYPES.get(status["status"] if status else "", "model_request_failed_error")
    return {"error": {"type": kind, "message": message, "retry_status": {"type": retry}}}


def _kind(line: Line) -> str:
    """What sort of line it is that no event stands for, for the summary of skipped lines."""
    if line.type in ("user", "assistant"):
        return f"{line.type} line without a readable message"
    details = line.data.get({"attachment": "attachment", "progress": "data"}.get(line.type, ""))
    named = ((line.data, "subtype"), (details, "type"), (line.data, "operation"), (line.data, "level"))
    part = next((text for data, key in named if (text := text_of(data, key))), None)
    return f"{line.type}: {part}" if part else line.type
