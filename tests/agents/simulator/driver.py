"""Drives a simulated model through a whole turn against real files: the engine and the sandbox in forty lines."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anthropic.lib.tools import ToolError
from anthropic.lib.tools import agent_toolset as sdk

from agents.providers.base import Answer, Cancellation, ModelRequest
from agents.providers.catalog import lookup
from agents.providers.simulated import SimulatedProvider
from agents.simulator.summary import INSTRUCTION

FOLDERS = {"/workspace": "workspace", "/mnt/session/uploads": "uploads", "/mnt/session/outputs": "outputs"}
PATHS = ("path", "file_path")
FILE_TOOLS = ("read", "write", "edit", "glob", "grep")
REFUSED = "bash is not available on this machine: use the file tools."


def definitions(*names):
    return [{"name": name, "input_schema": {"type": "object"}} for name in names]


@dataclass
class Sandbox:
    """The session's folders under `root`, with the hosted paths in tool input and output."""

    root: Path
    bash: str = "on"  # on, refused
    calls: list = field(default_factory=list)

    def __post_init__(self):
        for name in FOLDERS.values():
            (self.root / name).mkdir(parents=True, exist_ok=True)
        context = sdk.AgentToolContext(
            workdir=self.root / "workspace",
            allowed_roots=[self.root / "uploads", self.root / "outputs"],
            read_only_roots=[self.root / "uploads"],
        )
        makers = (sdk.beta_read_tool, sdk.beta_write_tool, sdk.beta_edit_tool, sdk.beta_glob_tool, sdk.beta_grep_tool)
        self.tools = {tool.name: tool for tool in (make(context) for make in makers)}

    def run(self, name, tool_input):
        self.calls.append((name, tool_input))
        if name == "bash":
            return self._bash(tool_input)
        if name not in self.tools:
            return f"There is no tool {name}.", True
        real = {key: self._inside(v) if key in PATHS else v for key, v in tool_input.items()}
        try:
            return self._outside(anyio.run(self.tools[name].call, real)), False
        except (ToolError, ValueError) as exc:
            return self._outside(str(exc)), True

    def _bash(self, tool_input):
        if self.bash == "refused":
            return REFUSED, True
        command = self._inside(tool_input.get("command", ""))
        done = subprocess.run(
            ["/bin/bash", "-c", command], capture_output=True, text=True, timeout=20, cwd=self.root / "workspace"
        )
        return self._outside(done.stdout + done.stderr), done.returncode != 0

    def _inside(self, value):
        if isinstance(value, str):
            for hosted, name in FOLDERS.items():
                value = value.replace(hosted, str(self.root / name))
        return value

    def _outside(self, value):
        for hosted, name in FOLDERS.items():
            value = value.replace(str(self.root / name), hosted)
        return value


@dataclass
class Run:
    answers: list[Answer]
    messages: list[dict]
    compactions: int = 0

    @property
    def text(self):
        return "".join(b["text"] for b in self.answers[-1].content if b["type"] == "text")


def ask(model, messages, tools=(), *, seed="sesn/sthr/1/1", system="", cancellation=None):
    request = ModelRequest(model=model, system=system, messages=messages, tools=definitions(*tools), seed=seed)
    return list(SimulatedProvider(latency_scale=0).request(request, cancellation or Cancellation()))


def say(text):
    return {"role": "user", "content": text}


def compacted(model, messages):
    """What an engine does when the context is nearly full: asks for a summary and goes on from it."""
    summary = ask(model, [*messages, say(f"{INSTRUCTION}, so that the work can go on from it.")])[-1]
    return [say(summary.content[0]["text"])]


def drive(model, text, sandbox, tools=("bash", *FILE_TOOLS), *, messages=None, max_steps=300):
    messages = [*(messages or []), say(text)]
    answers = []
    compactions = 0
    window = lookup(model).context_window
    for step in range(max_steps):
        if answers and answers[-1].usage.context_tokens > 0.8 * window:
            messages = compacted(model, messages)
            compactions += 1
        answer = ask(model, messages, tools, seed=f"sesn/sthr/{step}/1")[-1]
        answers.append(answer)
        messages.append({"role": "assistant", "content": answer.content})
        if answer.stop_reason != "tool_use":
            return Run(answers, messages, compactions)
        results = []
        for block in answer.content:
            if block["type"] == "tool_use":
                content, is_error = sandbox.run(block["name"], block["input"])
                results.append(
                    {
                        "type": "tool_result",
                        "tool_use_id": block["id"],
                        "content": [{"type": "text", "text": content}],
                        "is_error": is_error,
                    }
                )
        messages.append({"role": "user", "content": results})
    raise AssertionError(f"{model} did not end its turn in {max_steps} steps.")
