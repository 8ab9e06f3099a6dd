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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.sandbox.hosted_paths import HostedPaths
from agents.sandbox.limits import Limits
from agents.sandbox.prctl import die_with_parent, hide_from_tracing
from agents.sandbox.sdk_tools import load_toolset
from agents.sandbox.text import failure, text_block

_PRINTS_PATHS = ("glob", "grep")


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
        self._tool_error = toolset.ToolError
        context = toolset.AgentToolContext(
            workdir=settings.workdir,
            allowed_roots=[Path(root) for root in settings.allowed_roots],
            read_only_roots=[Path(root) for root in settings.read_only_roots],
        )
        tools = toolset.beta_agent_toolset_20260401(context)
        self._tools = {tool.name: tool for tool in tools if tool.name != "bash"}
        pairs = [(hosted, real) for hosted, real in settings.hosted_paths]
        self._paths = HostedPaths(pairs) if pairs else None

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
    """Answer one call on its socket: our process id at once, so that we can be ended, and then the outcome."""
    try:
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        with socket.socket(fileno=descriptor) as connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps({"pid": os.getpid()}).encode() + b"\n")
            lines.flush()
            call = json.loads(lines.readline())
            lines.write(json.dumps(tools.run(call["tool"], call["input"])).encode() + b"\n")
            lines.flush()
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
