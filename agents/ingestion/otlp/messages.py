"""Conversations as every vendor and library writes them, read into one shape: messages of parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from agents.ingestion.blocks import as_text, content_blocks

Role = Literal["system", "user", "assistant", "tool"]
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
}
_LISTS = ("messages", "contents", "input", "output", "choices", "candidates", "prompt")
_JSON_STARTS = ("{", "[")
STREAMED = 10  # more answers than this from one request are the pieces of one


@dataclass(slots=True)
class Part:
    """`text`, `thinking`: `value` is the text. `call`: a tool's `name` and input. `result`: of the call `id`.
    `block`: anything else, as a content block."""

    kind: Literal["text", "thinking", "call", "result", "block"]
    value: Any
    id: str = ""
    name: str = ""
    failed: bool = False


@dataclass(slots=True)
class Message:
    role: Role
    parts: list[Part] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(part.value for part in self.parts if part.kind == "text")


def parsed(value: Any) -> Any:
    """JSON in a text, or the value as it is."""
    if not isinstance(value, str):
        return value
    stripped = value.lstrip()
    if not stripped.startswith(_JSON_STARTS):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def read_messages(value: Any, default: Role) -> list[Message]:
    """The messages in a value; a plain text is one of the `default` role. What is no conversation gives none."""
    value = parsed(value)
    if isinstance(value, str):
        return [Message(default, [Part("text", value)])] if value.strip() else []
    found = [message for message in _read(value, default, 0) if message.parts]
    if len(found) > STREAMED and default == "assistant" and all(m.role == "assistant" for m in found):
        return [Message("assistant", _joined(part for m in found for part in m.parts))]
    return found


def _joined(parts: Iterable[Part]) -> list[Part]:
    joined: list[Part] = []
    for part in parts:
        if part.kind == "text" and joined and joined[-1].kind == "text":
            joined[-1] = Part("text", joined[-1].value + part.value)
        else:
            joined.append(part)
    return joined


def _read(value: Any, default: Role, depth: int) -> Iterator[Message]:
    if depth > 6:
        return
    if isinstance(value, list):
        if value and all(isinstance(item, dict) and _is_part(item) for item in value):
            yield Message(default, list(read_parts(value)))
            return
        for item in value:
            if isinstance(item, dict | list):
                yield from _read(item, default, depth + 1)
    elif isinstance(value, dict):
        yield from _read_object(value, default, depth)


def _read_object(value: dict[str, Any], default: Role, depth: int) -> Iterator[Message]:
    if message := _one(value):
        yield message
        return
    if isinstance(inner := value.get("message"), dict):  # a choice; OpenInference's lists
        yield from _read(inner, default, depth + 1)
        return
    if isinstance(inner := value.get("content"), dict) and "parts" in inner:  # Gemini's candidate
        yield from _read({"role": "assistant", **inner}, default, depth + 1)
        return
    if _is_part(value):
        yield Message("tool" if "output" in value else default, list(read_parts([value])))
        return
    for name in ("system", "system_instruction"):
        if isinstance(text := value.get(name), str) and text:
            yield Message("system", [Part("text", text)])
    given = value.get("args")
    if isinstance(given, list) and given and isinstance(given[0], str) and set(value) <= {"args", "kwargs"}:
        yield Message(default, [Part("text", given[0])])
    for name in _LISTS:
        inner = parsed(value.get(name))
        if isinstance(inner, list | dict):
            yield from _read(inner, default, depth + 1)
        elif isinstance(inner, str) and inner and name in ("prompt", "contents", "input"):
            yield Message(default, [Part("text", inner)])


def _one(value: dict[str, Any]) -> Message | None:
    """An object that is a message by itself: it has a role, or one of the types that stand for one."""
    kind = value.get("type")
    role = value.get("role") or (kind if kind in ("human", "ai", "system", "tool") else None)
    if not isinstance(role, str):
        return None
    known = _ROLES.get(role.lower(), "assistant")
    content = next((value[n] for n in ("parts", "contents") if isinstance(value.get(n), list)), value.get("content"))
    if isinstance(content, dict) and content.get("type") == "function" and "function" in content:
        return Message(known)  # a tool's definition, which some integrations list among the messages
    call_id = next((as_text(value[n]) for n in ("tool_call_id", "id", "name") if n in value and value[n]), "")
    calls = list(_calls(value))
    if known == "tool" and _is_call_list(content):
        return Message("assistant", list(_call_list(content)))
    if known == "tool" and not (isinstance(content, list) and any(_is_part(item) for item in content)):
        identity = as_text(value.get("tool_call_id") or "")
        failed = value.get("is_error") is True or value.get("status") == "error" or bool(value.get("error"))
        name = as_text(value.get("name") or value.get("function") or ("" if identity else call_id))
        return Message("tool", [Part("result", content, identity, name, failed)])
    if known == "assistant" and _is_call_list(content):
        return Message(known, [*_call_list(content), *calls])
    parts = list(read_parts(None if known == "assistant" and content == "None" else content))  # Python's, as text
    if isinstance(thought := value.get("reasoning_content"), str) and thought:
        parts.insert(0, Part("thinking", thought))
    return Message(known, [*parts, *calls])


def _calls(value: dict[str, Any]) -> Iterator[Part]:
    """Tool calls beside the content, where OpenAI and those who follow it put them."""
    extra = value.get("additional_kwargs")
    given = value.get("tool_calls") or (extra.get("tool_calls") if isinstance(extra, dict) else None)
    for call in given if isinstance(given, list) else []:
        if isinstance(call, dict):
            call = call["tool_call"] if isinstance(call.get("tool_call"), dict) else call
            yield _call(call)
    if isinstance(call := value.get("function_call"), dict):
        yield _call(call)


def _call(call: dict[str, Any]) -> Part:
    function = call["function"] if isinstance(call.get("function"), dict) else call
    name = next((as_text(function[n]) for n in ("name", "toolName", "tool.name", "function") if function.get(n)), "")
    keys = ("arguments", "args", "input", "tool.args")
    arguments = parsed(next((function[key] for key in keys if key in function), {}))
    identity = next((as_text(call[n]) for n in ("call_id", "id", "toolCallId") if call.get(n)), "")
    return Part("call", arguments, identity, name)


def _is_call_list(content: Any) -> bool:
    """A list of calls, or such a list as text: how some libraries log an answer that calls tools."""
    found = parsed(content)
    return isinstance(found, list) and bool(found) and all(_is_call(item) for item in found)


def _is_call(item: Any) -> bool:
    return isinstance(item, dict) and (
        isinstance(item.get("function"), dict) or "tool.name" in item or ("toolName" in item and "output" not in item)
    )


def _call_list(content: Any) -> Iterator[Part]:
    for item in parsed(content):
        yield _call(item)


def read_calls(value: Any) -> list[Message]:
    """An answer that is nothing but a list of tool calls."""
    if not _is_call_list(value):
        return []
    return [Message("assistant", list(_call_list(value)))]


_PART_TYPES = frozenset(
    """text input_text output_text thinking redacted_thinking reasoning tool_use server_tool_use mcp_tool_use tool_call
    tool-call function_call tool_result tool_call_response tool-result function_call_output image image_url
    document blob file uri""".split()
)


def _is_part(item: Any) -> bool:
    return isinstance(item, dict) and "role" not in item and (item.get("type") in _PART_TYPES or _is_call(item))


def read_parts(content: Any) -> Iterator[Part]:
    """The parts of a message's content."""
    if content is None:
        return
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, str):
            if item:
                yield Part("text", item)
        elif isinstance(item, dict):
            yield from _part(item)
        else:
            yield Part("text", as_text(item))


def _part(item: dict[str, Any]) -> Iterator[Part]:
    if isinstance(inner := item.get("message_content"), dict):
        item = inner
    kind = item.get("type")
    if kind in ("thinking", "reasoning", "redacted_thinking"):
        text = next((item[n] for n in ("thinking", "content", "text", "reasoning") if isinstance(item.get(n), str)), "")
        if not text and isinstance(item.get("summary"), list):
            text = "\n".join(as_text(s.get("text")) for s in item["summary"] if isinstance(s, dict))
        yield Part("thinking", text)
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "tool-call", "function_call"):
        yield _call(item)
    elif _is_call(item):
        yield _call(item)
    elif kind in ("tool_result", "tool_call_response", "tool-result", "function_call_output"):
        yield _result(item)
    elif isinstance(call := item.get("function_call") or item.get("functionCall"), dict):
        yield _call(call)
    elif isinstance(answer := item.get("function_response") or item.get("functionResponse"), dict):
        name = as_text(answer.get("name"))
        yield Part("result", answer.get("response"), as_text(answer.get("id") or ""), name)
    elif isinstance(text := item.get("text", item.get("content")), str) and kind in (None, "", *_TEXT_TYPES):
        if text:
            yield Part("text", text)
    elif item:
        yield Part("block", content_blocks(item)[0])


_TEXT_TYPES = ("text", "input_text", "output_text")


def _result(item: dict[str, Any]) -> Part:
    identity = next((as_text(item[n]) for n in ("tool_use_id", "call_id", "toolCallId", "id") if item.get(n)), "")
    held = next((item[n] for n in ("response", "content", "output", "result") if n in item), None)
    if isinstance(held, dict) and held.get("type") in ("text", "json") and "value" in held:
        held = held["value"]
    name = as_text(item.get("toolName") or item.get("name") or "")
    return Part("result", held, identity, name, item.get("is_error") is True)


def result_blocks(value: Any) -> list[dict[str, Any]]:
    """A tool's result as content blocks of the wire; MCP's and LangChain's wrappers are taken off."""
    value = parsed(value)
    if isinstance(value, dict) and isinstance(value.get("content"), list | str) and set(value) <= _WRAPPER:
        value = value["content"]
    if isinstance(value, list) and value and all(isinstance(v, dict) and isinstance(v.get("type"), str) for v in value):
        return content_blocks(value)
    if value is None:
        return []
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [{"type": "text", "text": text}] if text else []


_WRAPPER = frozenset(
    "content isError is_error structuredContent meta _meta additional_kwargs response_metadata type name id "
    "tool_call_id artifact status".split()
)
