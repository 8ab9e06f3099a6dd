"""The process that carries out one session's tool calls, inside the sandbox. It outlives the worker that started it.

It listens on a Unix socket that it inherits. A connection carries one request and its answer, as JSON lines:

    {"op": "execute", "exec_id", "thread", "tool", "input", "base"}  ->  {"accepted": true}, later {"outcome": {...}}
    {"op": "wait", "exec_id"}                    ->  {"outcome": {...}} or {"unknown": true}
    {"op": "lookup", "exec_id"}                  ->  {"running": true}, {"outcome": {...}} or {"unknown": true}
    {"op": "cancel" | "acknowledge", "exec_id"}  ->  {"done": true}
    {"op": "status"}                             ->  {"running": 1, "kept": 0, "idle_s": 0.0}
    {"op": "end_if_idle"}                        ->  {"ending": true} or {"ending": false}

Calls of one thread run one after another, those of different threads in parallel. A result stays in memory until it is
acknowledged, so a worker that takes over can fetch it; the same `exec_id` never runs twice. Beside what the model gets
to read, an outcome tells in `files` what the call has seen and changed (see `file_report.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.sandbox.bash import Drains, Shell, ShellSettings, bash_outcome, remove_files
from agents.sandbox.file_journal import Journal
from agents.sandbox.file_report import FileBase, FileReport
from agents.sandbox.file_tool_process import FileCall, FileToolProcess
from agents.sandbox.file_turns import TOOLS as TAKE_TURNS
from agents.sandbox.file_turns import Turn
from agents.sandbox.limits import Limits
from agents.sandbox.prctl import hide_from_tracing
from agents.sandbox.text import Output, failure, text_block
from agents.sandbox.watchdog import Watchdog

FILE_TOOLS = ("read", "write", "edit", "glob", "grep")
_WRITES = ("write", "edit")
_REQUEST_BYTES = 64 * 1024 * 1024
_CANCEL_WAIT_S = 2.0
_FETCHED_WITHIN_S = 60.0  # a result that nobody acknowledged for so long does not keep others from starting


@dataclass(frozen=True)
class ExecutorSettings:
    """What the worker tells a new executor; `bash` is False where there is no sandbox to put it into."""

    listener: int
    limits: Limits
    bash: bool
    process_rlimit: bool
    python_path: str
    environment: dict[str, str]
    file_tools: dict[str, Any]  # FileToolSettings without the limits
    disk_folders: list[str]
    spill_folder: str
    shown_spill_folder: str
    shared_folders: dict[str, str]  # where commands may change files of others, by the name the model knows

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, raw: str) -> ExecutorSettings:
        fields = json.loads(raw)
        return cls(**{**fields, "limits": Limits(**fields["limits"])})


@dataclass
class Call:
    exec_id: str
    thread: str
    tool: str
    input: dict[str, Any]
    base: FileBase | None = None
    files: FileReport | None = None  # what it came to, beside what the journal knows
    done: threading.Event = field(default_factory=threading.Event)
    outcome: dict[str, Any] | None = None
    cancelled: bool = False
    kill: Callable[[str], None] | None = None  # set while it runs


class Lane(threading.Thread):
    """Runs the calls of one agent thread, in the order they came, and owns that thread's shell."""

    def __init__(self, executor: Executor, name: str) -> None:
        super().__init__(daemon=True, name=f"lane {name}")
        self.calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self.shell: Shell | None = None
        self._executor = executor

    def run(self) -> None:
        while (call := self.calls.get()) is not None:
            self._run_call(call)
        self._close_shell()

    def _run_call(self, call: Call) -> None:
        started = time.monotonic()
        try:
            outcome = self._outcome(call)
        except Exception as error:  # noqa: BLE001 (a call always gets an outcome, and the lane goes on)
            outcome = failure(f"{call.tool} could not run: {error}")
        outcome["duration_ms"] = round((time.monotonic() - started) * 1000, 3)
        outcome["files"] = self._executor.journal.report(call.exec_id, call.files).dump() if call.files else None
        self._executor.finish(call, outcome)

    def _outcome(self, call: Call) -> dict[str, Any]:
        if call.tool == "bash":
            return self._bash(call)
        if call.tool not in FILE_TOOLS:
            return failure(f"{call.tool} is not available here.")
        if call.tool in _WRITES and (refusal := self._executor.watchdog.disk_refusal()):
            return failure(f"{call.tool}: {refusal}")
        file_call = FileCall(self._executor.file_tools)
        if not self._executor.begin(call, file_call.kill):
            return failure("The call was interrupted before it began.")
        limit_s = self._executor.settings.limits.file_tool_s
        if call.tool not in TAKE_TURNS:
            return self._fit(call, file_call.run(call.tool, call.input, timeout_s=limit_s))
        with Turn(
            self._executor.journal,
            exec_id=call.exec_id,
            thread=call.thread,
            tool=call.tool,
            tool_input=call.input,
            base=call.base,
        ) as turn:
            outcome = file_call.run(call.tool, call.input, timeout_s=limit_s, turn=turn)
            call.files = turn.end(outcome)
        return self._fit(call, outcome)

    def _fit(self, call: Call, outcome: dict[str, Any]) -> dict[str, Any]:
        """Long texts go to a file, whichever tool they come from."""
        content = []
        for block in outcome["content"]:
            if block.get("type") == "text":
                output = self._executor.output(call)
                output.append(block["text"].encode())
                block = text_block(output.shown())
                output.close()
            content.append(block)
        return {**outcome, "content": content}

    def _bash(self, call: Call) -> dict[str, Any]:
        settings = self._executor.shell_settings
        if settings is None:
            return failure("bash is not available: this server has no sandbox for it.")
        if call.input.get("restart"):
            self._close_shell()
            self.shell = Shell(settings)
            return {"content": [text_block("A new shell is open.")], "is_error": False}
        before = ""
        if self.shell is not None and not self.shell.alive:
            before = f"The shell was {self.shell.death or 'ended'} between calls; this is a new one."
            self._close_shell()
        if self.shell is None:
            self.shell = Shell(settings)
        if not self._executor.begin(call, self.shell.kill):
            return failure("The call was interrupted before it began.")
        output = self._executor.output(call)
        journal = self._executor.journal
        command = journal.begin_command(call.exec_id, call.thread)
        try:
            finished = self.shell.run(
                call.input["command"],
                timeout_s=self._timeout_s(call),
                output=output,
                drains=self._executor.drains,
            )
        finally:
            journal.end_command(command, walk=not call.cancelled)  # a cancelled call must end at once
            call.files = FileReport()
        outcome = bash_outcome(finished, output, before=before)
        if not finished.still_writing:
            output.close()
        if finished.note:  # it ended the shell, and the outcome says so
            self._close_shell()
        return outcome

    def _close_shell(self) -> None:
        if self.shell is not None:
            self.shell.close()
            self.shell = None

    def _timeout_s(self, call: Call) -> float:
        limits = self._executor.settings.limits
        asked_ms = call.input.get("timeout_ms")
        return min(asked_ms / 1000, limits.bash_longest_s) if asked_ms else limits.bash_s


class Executor:
    def __init__(self, settings: ExecutorSettings) -> None:
        self.settings = settings
        limits = settings.limits
        self.shell_settings = (
            ShellSettings(limits, settings.environment, settings.process_rlimit) if settings.bash else None
        )
        self.drains = Drains()
        self.journal = Journal(settings.shared_folders)
        self.file_tools = FileToolProcess(
            json.dumps({**settings.file_tools, "limits": asdict(limits)}),
            python_path=settings.python_path,
            environment=settings.environment,
        )
        self.watchdog = Watchdog(
            limits,
            shells=self._shells,
            running=self._kills,
            folders=settings.disk_folders,
            watch_processes=settings.bash,
        )
        self._listener = socket.socket(fileno=settings.listener)
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}
        self._lanes: dict[str, Lane] = {}
        self._active_at = time.monotonic()
        self._ending = False

    def serve(self) -> None:
        """Answer requests until there has been nothing to do for `idle_s`."""
        if self.shell_settings is not None:
            remove_files(self.shell_settings.calls_folder)  # of an executor that was killed
        self.watchdog.start()
        self.file_tools.start()
        self._listener.settimeout(min(1.0, self.settings.limits.idle_s / 4))
        while not self._end_if(idle_s=self.settings.limits.idle_s):
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(None)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
        self._listener.close()

    # What lanes use

    def output(self, call: Call) -> Output:
        safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in call.exec_id)[:100]
        return Output(
            self.settings.spill_folder,
            shown_folder=self.settings.shown_spill_folder,
            name=safe or "output",
            limit_bytes=self.settings.limits.spill_bytes,
        )

    def begin(self, call: Call, kill: Callable[[str], None]) -> bool:
        """From now on the call can be ended; False when it has been cancelled already."""
        with self._lock:
            call.kill = kill
            return not call.cancelled

    def finish(self, call: Call, outcome: dict[str, Any]) -> None:
        with self._lock:
            call.kill = None
            call.outcome = outcome
            self._active_at = time.monotonic()
        call.done.set()

    # Requests

    def _converse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rwb") as lines:

            def answer(message: dict[str, Any]) -> None:
                lines.write(json.dumps(message).encode() + b"\n")
                lines.flush()

            request = json.loads(lines.readline(_REQUEST_BYTES))
            op = request.get("op")
            if op == "execute":
                self._execute(request, answer)
            elif op == "status":
                answer(self._status())
            elif op == "close":
                self._close(request["thread"])
                answer({"done": True})
            elif op == "end_if_idle":
                answer({"ending": self._end_if(idle_s=0.0)})
            else:
                self._about_call(op, request["exec_id"], answer)

    def _execute(self, request: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
        with self._lock:
            if self._ending:
                return  # the worker sees a connection closed without an answer, and starts a new executor
            self._active_at = time.monotonic()
            call = self._calls.get(request["exec_id"])
            is_new = call is None
            if call is None:
                base = FileBase.parse(request.get("base"))
                call = Call(request["exec_id"], request["thread"], request["tool"], request["input"], base)
                self._calls[call.exec_id] = call
        # Told before it starts: a worker that did not hear this knows that the call has not run.
        with contextlib.suppress(OSError):
            answer({"accepted": True})
        if is_new:
            self._lane(call.thread).calls.put(call)
        call.done.wait()
        answer({"outcome": call.outcome})

    def _about_call(self, op: str, exec_id: str, answer: Callable[[dict[str, Any]], None]) -> None:
        with self._lock:
            self._active_at = time.monotonic()
            call = self._calls.get(exec_id)
            if op == "acknowledge" and call is not None and call.done.is_set():
                del self._calls[exec_id]
                self.journal.acknowledge(exec_id, told=not call.cancelled)
        if op == "cancel" and call is not None:
            self._cancel(call)
        if op == "wait" and call is not None:
            call.done.wait()
        if op in ("cancel", "acknowledge"):
            answer({"done": True})
        elif call is None:
            answer({"unknown": True})
        else:
            answer({"outcome": call.outcome} if call.done.is_set() else {"running": True})

    def _close(self, thread: str) -> None:
        """The agent thread has ended for good: nothing of its shell stays alive."""
        with self._lock:
            lane = self._lanes.pop(thread, None)
        if lane is not None:
            if (shell := lane.shell) is not None:
                shell.kill("closed")
            lane.calls.put(None)

    def _cancel(self, call: Call) -> None:
        with self._lock:
            call.cancelled = True
            kill = call.kill
        if kill is not None:
            kill("interrupted")
        call.done.wait(_CANCEL_WAIT_S)

    def _status(self) -> dict[str, Any]:
        with self._lock:
            running = sum(not call.done.is_set() for call in self._calls.values())
            return {
                "running": running,
                "kept": len(self._calls) - running,
                "idle_s": time.monotonic() - self._active_at,
            }

    def _end_if(self, *, idle_s: float) -> bool:
        """Refuse new work from now on, if nothing runs, for so long, and nobody waits for a result."""
        with self._lock:
            idle_since_s = time.monotonic() - self._active_at
            running = any(not call.done.is_set() for call in self._calls.values())
            waited_for = idle_since_s < _FETCHED_WITHIN_S and any(not call.cancelled for call in self._calls.values())
            if not running and idle_since_s >= idle_s and (idle_s or not waited_for):
                self._ending = True
            return self._ending

    # Lists for the watchdog

    def _shells(self) -> list[Any]:
        with self._lock:
            lanes = list(self._lanes.values())
        return [shell for lane in lanes if (shell := lane.shell) is not None and shell.alive]

    def _kills(self) -> list[Callable[[str], None]]:
        with self._lock:
            return [call.kill for call in self._calls.values() if call.kill is not None]

    def _lane(self, thread: str) -> Lane:
        with self._lock:
            lane = self._lanes.get(thread)
            if lane is None:
                lane = self._lanes[thread] = Lane(self, thread)
                lane.start()
            return lane


def main() -> None:
    """Entry point; the settings are the first argument."""
    hide_from_tracing()  # from what runs in the shells
    with contextlib.suppress(ValueError, OSError):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Executor(ExecutorSettings.parse(sys.argv[1])).serve()
    os._exit(0)
