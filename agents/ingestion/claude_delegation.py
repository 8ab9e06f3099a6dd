"""Who asked whom in a Claude Code session: the Task and Agent calls, and the sub-agents they started."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.ingestion.blocks import as_text, plain_text
from agents.ingestion.claude_lines import Line, is_message, short_id, text_of
from agents.ingestion.model import PRIMARY

SPAWNING_TOOLS = ("Task", "Agent")
MESSAGE_TOOL = "SendMessage"
MCP_TOOL = re.compile(r"mcp__(?P<server>.+?)__(?P<tool>.+)", re.DOTALL)
TOOL_USES = ("tool_use", "server_tool_use", "mcp_tool_use")


@dataclass
class Call:
    """One tool call by which an agent wrote to another. `agent` is the other's thread, once it is known."""

    tool_id: str
    event: str
    thread: str
    text: str
    input: dict[str, Any]
    spawns: bool
    agent: str | None = None
    received: bool = False

    @property
    def message_id(self) -> str:
        return f"{self.event}:message"


class Delegations:
    """Every call of a session that addresses another agent, joined to the thread it reached.

    The result of a call names the sub-agent's id. Where there is no result (yet), the sub-agent is the one whose
    first message is the call's prompt, word for word.
    """

    def __init__(self, lines: Sequence[Line], metas: dict[str, dict[str, Any]]) -> None:
        self.metas = metas
        self.calls: dict[str, Call] = {}
        self.tool_events: dict[str, str] = {}
        self.mcp_calls: set[str] = set()
        self._first_texts: dict[str, str] = {}
        for line in lines:
            self._note_calls(line)
            if line.type == "user" and line.thread != PRIMARY and is_message(line):
                self._first_texts.setdefault(line.thread, plain_text(line.message["content"]))
        self._link_by_result(lines)
        self._link_by_prompt()
        self._link_by_name()
        self._to: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls.values():
            if call.agent:
                self._to[call.agent].append(call)

    def starter(self, agent: str) -> Call | None:
        """The call that started the sub-agent, if the log has it."""
        return next((call for call in self._to[agent] if call.spawns), None)

    def starts(self, call: Call) -> bool:
        return call.agent is not None and self.starter(call.agent) is call

    def receive(self, line: Line) -> Call | None:
        """The call whose message this line of a sub-agent is. Each message arrives once."""
        text = plain_text(line.message["content"])
        for call in self._to[line.thread]:
            if not call.received and call.text == text:
                call.received = True
                return call
        return None

    def agents(self) -> list[str]:
        """The sub-agents that calls reached, in the order of the calls."""
        return list(dict.fromkeys(call.agent for call in self.calls.values() if call.agent))

    def name_of(self, agent: str) -> str:
        call = self.starter(agent)
        meta = self.metas.get(agent, {})
        if call:
            for source, key in ((call.input, "name"), (call.input, "subagent_type")):
                if name := text_of(source, key):
                    return name
        return text_of(meta, "name") or text_of(meta, "agentType") or f"sub-agent {agent[:12]}"

    def parent_of(self, agent: str) -> str:
        """The thread that started the sub-agent; the primary where the log does not say, or goes in a circle."""
        seen = {agent}
        at = agent
        while (call := self.starter(at)) and call.thread != PRIMARY:
            at = call.thread
            if at in seen:
                return PRIMARY
            seen.add(at)
        call = self.starter(agent)
        return call.thread if call else PRIMARY

    def _note_calls(self, line: Line) -> None:
        if line.type != "assistant":
            return
        for index, block in enumerate(line.blocks):
            tool_id = text_of(block, "id")
            if not tool_id or block.get("type") not in TOOL_USES:
                continue
            event = self.tool_events.setdefault(tool_id, line.block_id(index))
            if event == line.block_id(index) and MCP_TOOL.fullmatch(as_text(block.get("name"))):
                self.mcp_calls.add(tool_id)
            arguments = block.get("input")
            if not isinstance(arguments, dict) or event != line.block_id(index):
                continue
            spawns = block.get("name") in SPAWNING_TOOLS
            text = text_of(arguments, "prompt" if spawns else "message")
            if text and (spawns or block.get("name") == MESSAGE_TOOL):
                self.calls[tool_id] = Call(tool_id, event, line.thread, text, arguments, spawns)

    def _link_by_result(self, lines: Sequence[Line]) -> None:
        for line in lines:
            agent = text_of(line.data.get("toolUseResult"), "agentId")
            if line.type != "user" or not agent or agent == PRIMARY:
                continue
            for block in line.blocks:
                call = self.calls.get(text_of(block, "tool_use_id") or "")
                if call and call.spawns and short_id(agent) != call.thread:
                    call.agent = short_id(agent)

    def _link_by_prompt(self) -> None:
        linked = {call.agent for call in self.calls.values()}
        free: dict[str, list[str]] = defaultdict(list)
        for agent, text in self._first_texts.items():
            if agent not in linked:
                free[text].append(agent)
        for call in self.calls.values():
            candidates = [a for a in free[call.text] if a != call.thread] if call.spawns else []
            if call.agent is None and candidates:
                call.agent = candidates[0]
                free[call.text].remove(candidates[0])

    def _link_by_name(self) -> None:
        """A message names its addressee: resolved when exactly one sub-agent was started under that name."""
        by_name: dict[str, set[str]] = defaultdict(set)
        for call in self.calls.values():
            if call.spawns and call.agent:
                for name in (text_of(call.input, "name"), call.agent):
                    by_name[name or call.agent].add(call.agent)
        for call in self.calls.values():
            addressees = by_name.get(text_of(call.input, "to") or "", set())
            if not call.spawns and len(addressees) == 1 and call.thread not in addressees:
                call.agent = next(iter(addressees))
