"""Chats in the shape of OpenAI's messages: roles `system`, `user`, `assistant`, `tool`, with `tool_calls`.

One agent talks to one person, so everything is on one thread; an assistant with a `name` of its own, or any other
role, is a further agent and has its own.
"""

from __future__ import annotations

from collections import defaultdict, deque
from pathlib import Path
from typing import Any

from agents.ingestion.blocks import as_object, as_text, content_blocks, plain_text, text_blocks
from agents.ingestion.chat_log import ChatLog, as_metadata, digest, source_file
from agents.ingestion.model import PRIMARY, ImportedEvent, ImportedSession, ImportedThread
from agents.ingestion.source import Parsed, Unreadable, clean_text, parse

TAU_BENCH = "tau-bench"
SOURCE_NAME = "Chat log"
LISTS = ("messages", "traj", "history")
PEOPLE = ("user", "human")
INSTRUCTIONS = ("system", "developer")
RESULTS = ("tool", "function")
_IDENTITIES = ("id", "session_id", "conversation_id")
_TAU_METADATA = {"task_id": "task_id", "trial": "trial", "reward": "reward"}


def is_message_list(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and isinstance(item.get("role"), str) for item in value)
    )


def looks_like(value: Any) -> bool:
    return isinstance(value, dict) and any(is_message_list(value.get(name)) for name in LISTS)


def convert(value: dict[str, Any] | list[Any], path: Path, *, sanitised: bool) -> ImportedSession:
    details = value if isinstance(value, dict) else {}
    found = next((m for name in LISTS if is_message_list(m := details.get(name))), value)
    messages: list[dict[str, Any]] = found if isinstance(found, list) else []
    log = ChatLog(sanitised=sanitised)
    log.threads[PRIMARY] = ImportedThread(PRIMARY, _primary_name(messages))
    writer = _Writer(log)
    for index, message in enumerate(messages):
        info = details.get("info")
        writer.write(index, message, {"run": info} if index == 0 and info is not None else {})
    metadata = {"source_file": source_file(path)}
    first = next((m for m in messages if m["role"] in PEOPLE), messages[0])
    title = plain_text(first.get("content"))
    if "traj" in details and "task_id" in details:
        run = f"{as_text(details['task_id'])}/{as_text(details.get('trial'))}"
        metadata |= as_metadata(details, _TAU_METADATA)
        name = clean_text(path.stem)
        external_id = _bounded(f"{TAU_BENCH}/{name}/{run}")
        return log.session(external_id, TAU_BENCH, f"{name} task {run}: {title}", metadata)
    given = as_text(details.get("title")) or title
    return log.session(_identity(details, messages), SOURCE_NAME, given, metadata)


def _identity(details: dict[str, Any], messages: list[dict[str, Any]]) -> str:
    """The conversation's own id, so that a grown copy adds its tail; without one, what it says."""
    own = next((i for name in _IDENTITIES if isinstance(i := details.get(name), str) and i), None)
    return _bounded(f"chat/{own}") if own else digest(messages)


def _bounded(identity: str) -> str:
    return identity if len(identity) <= 250 else digest(identity)


def _primary_name(messages: list[dict[str, Any]]) -> str:
    """The first assistant's name gives the primary thread its own."""
    for message in messages:
        if message["role"] == "assistant":
            return as_text(message.get("name"))[:200] or "assistant"
    return "assistant"


class _Writer:
    def __init__(self, log: ChatLog) -> None:
        self.log = log
        self.primary_name = log.threads[PRIMARY].agent_name
        self.open_calls: dict[str, deque[ImportedEvent]] = defaultdict(deque)

    def write(self, index: int, message: dict[str, Any], private: dict[str, Any]) -> None:
        event_id = f"m{index}"
        role = message["role"]
        name = as_text(message.get("name"))
        if role in RESULTS:
            self._result(event_id, message, private)
        elif role in PEOPLE:
            payload = {"content": content_blocks(message.get("content"))}
            self.log.add(PRIMARY, event_id, "user.message", payload, {**private, "speaker": name or role})
        elif role in INSTRUCTIONS:
            payload = {"content": text_blocks(message.get("content"))}
            self.log.add(PRIMARY, event_id, "system.message", payload, {**private, "speaker": name or role})
        else:
            speaker = name or role
            primary = speaker in (self.primary_name, "assistant")
            thread = PRIMARY if primary else self.log.thread(speaker, event_id)
            self._said(event_id, thread, message, private)

    def _said(self, event_id: str, thread: str, message: dict[str, Any], private: dict[str, Any]) -> None:
        calls = [call for call in _as_list(message.get("tool_calls")) if isinstance(call, dict)]
        if isinstance(message.get("function_call"), dict):
            calls.append({"function": message["function_call"]})
        content = message.get("content")
        if content or not calls:
            payload = {"content": text_blocks(content)}
            self.log.add(thread, event_id, "agent.message", payload, private)
            private = {}
        for number, call in enumerate(calls):
            self._call(f"{event_id}:call-{number}", thread, call, private)
            private = {}

    def _call(self, event_id: str, thread: str, call: dict[str, Any], private: dict[str, Any]) -> None:
        function = call.get("function")
        function = function if isinstance(function, dict) else call
        name, tool_id = as_text(function.get("name")), as_text(call.get("id"))
        arguments = _arguments(function.get("arguments"))
        payload = {"name": name, "input": as_object(arguments.value)}
        private = {**private, **({"tool_id": tool_id} if tool_id else {})}
        private |= {"sanitised": True} if arguments.sanitised else {}
        used = self.log.add(thread, event_id, "agent.tool_use", payload, private)
        self.open_calls[tool_id or name].append(used)

    def _result(self, event_id: str, message: dict[str, Any], private: dict[str, Any]) -> None:
        """A result answers the oldest open call with its id: models repeat ids within a run."""
        called = as_text(message.get("tool_call_id")) or as_text(message.get("name"))
        waiting = self.open_calls[called]
        used = waiting.popleft() if waiting else None
        answered = used.external_id if used else None
        thread = used.thread if used else PRIMARY
        if used is None:
            private = {**private, "tool_use": "not in the log"}
        content = content_blocks(message.get("content"))
        payload = {"tool_use_id": answered or called, "content": content}
        self.log.add(thread, event_id, "agent.tool_result", payload, private, answered)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _arguments(value: Any) -> Parsed:
    """OpenAI sends arguments as JSON text; what does not parse is kept as it is."""
    if value is None:
        return Parsed({}, False)
    if not isinstance(value, str):
        return Parsed(value, False)
    try:
        return parse(value.encode())
    except Unreadable:
        return Parsed({"arguments": value}, False)
