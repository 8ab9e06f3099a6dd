"""What a model is shown: the log of one thread, turned into one request.

A pure function of the log and the agent snapshot: rendering the same log twice gives the same bytes, so that prompt
caches hold and a request can be shown later exactly as it was made.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.models import Event
from agents.runtime import toolset
from agents.services.calls import TEAM_RESULT, TEAM_USE
from agents.services.mail import TAKEN

CONTEXT_TYPES = (
    "user.message",
    "system.message",
    "user.custom_tool_result",
    "agent.thinking",
    "agent.message",
    "agent.tool_use",
    "agent.mcp_tool_use",
    "agent.custom_tool_use",
    "agent.tool_result",
    "agent.mcp_tool_result",
    TAKEN,
    TEAM_USE,
    TEAM_RESULT,
    "agent.thread_context_compacted",
)
TOOL_USES = frozenset({"agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use", TEAM_USE})
RESULT_OF = {
    "agent.tool_result": "tool_use_id",
    TEAM_RESULT: "tool_use_id",
    "agent.mcp_tool_result": "mcp_tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
}
EMPTY_RESULT = {"type": "text", "text": "(nothing was returned)"}
NO_RESULT = "No result was recorded for this call. Its outcome is unknown: check before relying on it."
SUMMARY_INTRODUCTION = "Earlier parts of this conversation were summarised to save space. The summary:\n\n"

FileReader = Callable[[str], tuple[str, bytes] | None]  # None: the file is gone


@dataclass(frozen=True)
class MountedFile:
    """A file the agent finds in its sandbox."""

    path: str
    size_bytes: int


def system_prompt(
    snapshot: dict[str, Any], *, mounts: Sequence[MountedFile], mode: str, network: bool, team: str = ""
) -> str:
    """The agent's own instructions, and what it needs to know of the place it works in and of its `team`."""
    parts = [snapshot["system"]] if snapshot.get("system") else []
    if team:
        parts.append(team)
    if toolset.has_sandbox_tools(snapshot):
        parts.append(_sandbox_notes(mounts, mode=mode, network=network))
    return "\n\n".join(parts)


def _sandbox_notes(mounts: Sequence[MountedFile], *, mode: str, network: bool) -> str:
    lines = [
        "You work in a sandbox of this session.",
        "- /workspace is your working directory.",
        "- /mnt/session/uploads holds the files you were given, read-only.",
        "- Write deliverables to /mnt/session/outputs: the user can download what is there.",
    ]
    if not network:
        lines.append("- There is no network.")
    if mode == "files_only":
        lines.append("- Commands cannot be run here: bash is refused. The file tools work.")
    if mounts:
        lines.append("Files you were given:")
        lines += [f"- {mount.path} ({mount.size_bytes} bytes)" for mount in mounts]
    return "\n".join(lines)


class ContextBuilder:
    """Builds the `messages` of a request from the events of one thread."""

    def __init__(self, read_file: FileReader) -> None:
        self._read_file = read_file
        self.messages: list[dict[str, Any]] = []
        self._open_calls: dict[str, None] = {}

    def build(self, events: Sequence[Event]) -> list[dict[str, Any]]:
        """Messages in the Messages API's shape.

        Args:
            events: processed events of one thread by `position`, of `CONTEXT_TYPES`, from the last compaction on.
        """
        for event in events:
            self._add_event(event)
        self._close_open_calls()
        return self.messages

    def _add_event(self, event: Event) -> None:
        data = event.data
        if event.type in RESULT_OF:
            self._add_result(data[RESULT_OF[event.type]], data)
            return
        if event.type in TOOL_USES:
            block = {"type": "tool_use", "id": event.public_id, "name": data["name"], "input": data["input"]}
            self._add("assistant", [block])
            self._open_calls[event.public_id] = None
        elif event.type == "agent.message":
            self._add("assistant", self._texts(data["content"]))
        elif event.type == "agent.thinking":
            self._add("assistant", event.private_data.get("blocks", []))
        else:
            self._close_open_calls()
            self._add_input(event, data)

    def _add_input(self, event: Event, data: dict[str, Any]) -> None:
        if event.type == "agent.thread_context_compacted":
            self._say([{"type": "text", "text": SUMMARY_INTRODUCTION + event.private_data["summary"]}])
        elif event.type == "system.message":
            self.messages.append({"role": "system", "content": self._texts(data["content"])})
        elif event.type == TAKEN:
            header = {"type": "text", "text": _header(data)}
            self._say([header, *(self._input_block(block) for block in data["content"])])
        else:
            self._say([self._input_block(block) for block in data["content"]])

    def _add_result(self, call_id: str, data: dict[str, Any]) -> None:
        if call_id not in self._open_calls:
            return  # the call was compacted away with its answer
        del self._open_calls[call_id]
        content = [self._input_block(block) for block in data.get("content") or []] or [dict(EMPTY_RESULT)]
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id, "content": content}
        if data.get("is_error"):
            block["is_error"] = True
        self._add("user", [block])

    def _close_open_calls(self) -> None:
        """Every tool use has exactly one result before the model is asked again."""
        for call_id in list(self._open_calls):
            self._add_result(call_id, {"content": [{"type": "text", "text": NO_RESULT}], "is_error": True})

    def _say(self, blocks: list[dict[str, Any]]) -> None:
        """An input is a message of its own, also right after another: what was said first stays told apart."""
        self.messages.append({"role": "user", "content": blocks})

    def _add(self, role: str, blocks: list[dict[str, Any]]) -> None:
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"].extend(blocks)
        else:
            self.messages.append({"role": role, "content": list(blocks)})

    @staticmethod
    def _texts(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"type": "text", "text": block["text"]} for block in content if block.get("text", "").strip()]

    def _input_block(self, block: dict[str, Any]) -> dict[str, Any]:
        """A wire block as the Messages API takes it: files are inlined."""
        if block["type"] not in ("image", "document"):
            return block
        source = block["source"]
        if source["type"] == "file":
            found = self._read_file(source["file_id"])
            if found is None:
                return {"type": "text", "text": f"[The file {source['file_id']} is no longer available.]"}
            source = _inline(*found)
        kept = {key: block[key] for key in ("title", "context") if block.get(key) is not None}
        return {"type": block["type"], "source": source, **kept}


def _header(data: dict[str, Any]) -> str:
    """Who a message is from. Ours alone: it is a block of its own, which no message can write."""
    if data["from_agent_name"] is None:
        return "[Message from the lead]"
    name = " ".join(data["from_agent_name"].split()).replace('"', "'")
    return f'[Message from agent "{name}" ({data["from_session_thread_id"]})]'


def _inline(mime: str, data: bytes) -> dict[str, Any]:
    if mime.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": data.decode("utf-8", "replace")}
    return {"type": "base64", "media_type": mime, "data": base64.b64encode(data).decode("ascii")}


def canonical(value: Any) -> bytes:
    """The bytes a value is hashed and stored as."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")
