"""The process that runs read, write, edit, glob and grep: the SDK's own functions, one forked child per call.

A child costs a few milliseconds and buys three things: a call can be ended at any point, a hostile regular expression
blocks nobody else, and the SDK's own time limit for grep works, since it needs a main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.sandbox.file_states import look_at
from agents.sandbox.hosted_paths import HostedPaths
from agents.sandbox.limits import Limits
from agents.sandbox.prctl import die_with_parent, hide_from_tracing
from agents.sandbox.sdk_tools import load_toolset
from agents.sandbox.text import failure, is_storable, text_block

_PRINTS_PATHS = ("glob", "grep")
_CHANGED_BY_ANOTHER = "The file is not what it was when you saw it last. Read it again."


@dataclass(frozen=True)
class FileToolSettings:
    limits: Limits
    workdir: str
    allowed_roots: list[str]
    read_only_roots: list[str]
    hosted_paths: list[list[str]]  # empty inside the sandbox, where hosted paths are real

    @classmethod
    def parse(cls, raw: str) -> FileToolSettings:
        fields = json.loads(raw)
        return cls(**{**fields, "limits": Limits(**fields["limits"])})


class FileTools:
    def __init__(self, settings: FileToolSettings) -> None:
        toolset = load_toolset()
        self._tool_error, self._resolve_path = toolset.ToolError, toolset.resolve_path
        self._context = toolset.AgentToolContext(
            workdir=settings.workdir,
            allowed_roots=[Path(root) for root in settings.allowed_roots],
            read_only_roots=[Path(root) for root in settings.read_only_roots],
        )
        tools = toolset.beta_agent_toolset_20260401(self._context)
        self._tools = {tool.name: tool for tool in tools if tool.name != "bash"}
        pairs = [(hosted, real) for hosted, real in settings.hosted_paths]
        self._paths = HostedPaths(pairs) if pairs else None

    def target(self, tool_input: Mapping[str, Any]) -> Path | None:
        """The file that read, write or edit is about, links followed; None when the tool will refuse it."""
        given = self._paths.real_input(tool_input) if self._paths else tool_input
        try:
            target: Path = self._resolve_path(self._context, str(given["file_path"]))
        except (ValueError, OSError, RuntimeError):
            return None
        return target

    def hosted(self, target: Path) -> str:
        return self._paths.hosted(str(target)) if self._paths else str(target)

    def run_alone(
        self, name: str, tool_input: Mapping[str, Any], target: Path, ask: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> dict[str, object]:
        """As `run`, for a call that wants to be alone with its file; `ask` sends a message and waits for the answer.

        The outcome tells how the file was before and after, `after` being None when it was not to be changed.
        """
        turn = ask({"target": self.hosted(target)})
        before = look_at(str(target))
        if before.blocks:
            return failure(f"{name}: {tool_input['file_path']}: not a regular file")
        if not turn["record"]:
            return self.run(name, tool_input)
        news = before.dump(data=before.state != turn["known"])
        if turn["ask"] and name != "read" and not ask({"before": news})["go"]:
            return {**failure(_CHANGED_BY_ANOTHER), "file": {"before": before.dump(data=True), "after": None}}
        outcome = self.run(name, tool_input)
        after = before if name == "read" else look_at(str(target))
        outcome["file"] = {"before": news, "after": after.dump(data=after.state != before.state)}
        return outcome

    def run(self, name: str, tool_input: Mapping[str, Any]) -> dict[str, object]:
        """The outcome, whatever the tool does. The input has been checked by the worker."""
        given = dict(tool_input)
        if self._paths:
            given = self._paths.real_input(given)
        try:
            result = asyncio.run(self._tools[name].call(given))
        except self._tool_error as error:
            return failure(self._hosted(str(error), tool_input, given))
        except MemoryError:
            return failure(f"{name}: out of memory")
        except Exception as error:  # noqa: BLE001 (hostile input: whatever the SDK raises is the call's outcome)
            return failure(self._hosted(f"{name}: {type(error).__name__}: {error}", tool_input, given))
        if not isinstance(result, str):
            return {"content": list(result), "is_error": False}
        text = self._hosted(result, tool_input, given, name=name)
        return {"content": [text_block(text or "(empty)")], "is_error": False}

    def _hosted(self, text: str, asked: Mapping[str, Any], given: Mapping[str, Any], name: str = "") -> str:
        if self._paths is None or name == "read":
            return text
        if name in _PRINTS_PATHS:
            return self._paths.hosted_text(text, line_starts_only=True)
        if isinstance(path := asked.get("file_path"), str):
            text = text.replace(str(given["file_path"]), path)
        return self._paths.hosted_text(text)


def serve(control: socket.socket, tools: FileTools) -> None:
    """Fork a child for every socket that arrives; return when the executor is gone. Stays single-threaded."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _run_child(descriptors[0], tools)
        os.close(descriptors[0])


def _run_child(descriptor: int, tools: FileTools) -> None:
    """Answer one call on its socket: our process id at once, so that we can be ended, and then the outcome.

    A call that is to be alone with its file asks for its turn in between.
    """
    try:
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        with socket.socket(fileno=descriptor) as connection, connection.makefile("rwb") as lines:

            def say(message: Mapping[str, Any]) -> None:
                lines.write(json.dumps(message).encode() + b"\n")
                lines.flush()

            def ask(message: Mapping[str, Any]) -> dict[str, Any]:
                say(message)
                heard: dict[str, Any] = json.loads(lines.readline())
                return heard

            call = ask({"pid": os.getpid()})
            target = tools.target(call["input"]) if call["alone"] else None
            if target is None or not is_storable(tools.hosted(target)):
                say(tools.run(call["tool"], call["input"]))
            else:
                say(tools.run_alone(call["tool"], call["input"], target, ask))
    finally:
        os._exit(0)


def _set_limits(limits: Limits) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_size_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # an even lower limit is in force already
            resource.setrlimit(kind, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows too large is an error, not a death


def main() -> None:
    """Entry point; standard input is a socket on which the executor hands over one socket per call."""
    hide_from_tracing()
    settings = FileToolSettings.parse(sys.argv[1])
    _set_limits(settings.limits)
    tools = FileTools(settings)
    tools.run("glob", {"pattern": "nothing-has-this-name"})  # so that children find asyncio imported
    gc.freeze()
    serve(socket.socket(fileno=0), tools)
