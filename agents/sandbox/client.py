"""Run tool calls in a session's sandbox. The only module of this package that the rest of Daybreak needs.

Usable from any number of threads and worker processes at once: they all meet the session's one executor. Nothing here
falls back to running commands without a sandbox.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from agents.errors import RequestCancelled
from agents.providers.base import Cancellation
from agents.sandbox import bubblewrap, launcher, processes
from agents.sandbox.file_report import FileBase, FileChange, FileConflict, FileReport
from agents.sandbox.spec import (
    BUBBLEWRAP,
    FILES_ONLY,
    MemoryMount,
    SandboxError,
    SandboxGone,
    SandboxSpec,
    ToolOutcome,
)
from agents.sandbox.text import failure
from agents.sandbox.validation import refusal, without_nulls
from agents.sandbox.wire import Connection

__all__ = [
    "BUBBLEWRAP",
    "FILES_ONLY",
    "FileBase",
    "FileChange",
    "FileConflict",
    "FileReport",
    "MemoryMount",
    "SandboxError",
    "SandboxGone",
    "SandboxSpec",
    "ToolOutcome",
    "acknowledge",
    "cancel",
    "close_thread",
    "destroy",
    "execute",
    "lookup",
    "probe",
    "probe_reason",
    "process_limit_mode",
    "reattach",
    "start",
    "stop",
    "stop_all",
    "wait_until_ready",
    "was_ready_at",
]

logger = logging.getLogger(__name__)

_ATTEMPTS = 5
_PATIENCE_S = 60.0  # without news, ask whether the executor still answers
_PING_S = 10.0
_CANCEL_S = 2.5  # the executor itself allows 2 s

_starting: set[str] = set()
_starting_lock = threading.Lock()


def start(spec: SandboxSpec) -> None:
    """Start the session's sandbox in the background, if it is not running. Returns at once; a failure is logged."""
    key = str(spec.root)
    if processes.find(spec.data_dir, spec.session_id) is not None:
        return
    with _starting_lock:
        if key in _starting:
            return
        _starting.add(key)
    threading.Thread(target=_start, args=(spec, key), daemon=True, name="sandbox start").start()


def wait_until_ready(spec: SandboxSpec, cancellation: Cancellation) -> None:
    """Return when the session's executor takes calls. Raises SandboxError and RequestCancelled as `execute` does."""
    with _ensure(spec, cancellation):
        pass


def was_ready_at(spec: SandboxSpec, moment: float) -> bool:
    """Whether the executor that is alive now was already there at that moment (seconds since 1970, this clock)."""
    running = processes.find(spec.data_dir, spec.session_id)
    return running is not None and running.started_at < moment


def execute(
    spec: SandboxSpec,
    *,
    exec_id: str,
    thread: str,
    tool: str,
    input: Any,
    cancellation: Cancellation,
    base: FileBase | None = None,
) -> ToolOutcome:
    """Carry out one tool call and wait for its outcome. An `exec_id` runs once, however often it is sent.

    Calls of one `thread` run in the order they came. Whatever is wrong with `tool` or `input` is an error outcome.

    Args:
        base: for `write` and `edit`: what is on record about the file. When another thread has changed it since this
            one saw it, the tool does not run and the outcome's report has a conflict.

    Raises:
        RequestCancelled: `cancellation` fired; nothing the call started is alive any more.
        SandboxGone: the executor died after it had accepted the call.
        SandboxError: no executor could be started; the call has not run.
    """
    if problem := _refusal(spec, tool, input):
        return _outcome(failure(problem))
    request: dict[str, Any] = {
        "op": "execute",
        "exec_id": exec_id,
        "thread": thread,
        "tool": tool,
        "input": without_nulls(input),
        "base": asdict(base) if base is not None else None,
    }
    for _ in range(_ATTEMPTS):
        with _ensure(spec, cancellation) as connection:
            if not connection.send(request):
                continue  # it ended as we connected
            accepted = _receive(spec, connection, exec_id, cancellation)
            if accepted is not None:
                return _await_outcome(spec, connection, exec_id, cancellation)
    raise SandboxError(f"The sandbox of {spec.session_id} ends as soon as it has started. {launcher.last_words(spec)}")


def reattach(spec: SandboxSpec, *, exec_id: str, cancellation: Cancellation) -> ToolOutcome:
    """Wait for the outcome of a call that an earlier worker began.

    Raises SandboxGone when no executor knows the call, and RequestCancelled as `execute` does.
    """
    connection = launcher.connect(spec)
    if connection is None:
        raise SandboxGone(f"The sandbox of {spec.session_id} has ended; what became of the call is unknown.")
    with connection:
        connection.send({"op": "wait", "exec_id": exec_id})
        return _await_outcome(spec, connection, exec_id, cancellation)


def lookup(spec: SandboxSpec, exec_id: str) -> ToolOutcome | Literal["running"] | None:
    """What is known of a call; None when no executor knows it. Starts nothing and waits for nothing."""
    answer = _ask(spec, {"op": "lookup", "exec_id": exec_id})
    if answer is None or answer.get("unknown"):
        return None
    return "running" if answer.get("running") else _outcome(answer["outcome"])


def acknowledge(spec: SandboxSpec, exec_id: str) -> None:
    """The outcome is stored: the executor may forget the call."""
    _ask(spec, {"op": "acknowledge", "exec_id": exec_id})


def close_thread(spec: SandboxSpec, thread: str) -> None:
    """An agent thread has ended for good: end its shell and whatever runs in it. Starts nothing."""
    _ask(spec, {"op": "close", "thread": thread})


def stop(spec: SandboxSpec) -> None:
    """End the session's executor and every process in its sandbox. Its files stay."""
    launcher.end(spec)


def destroy(spec: SandboxSpec) -> None:
    """End the sandbox and remove the session's folder with all its files."""
    launcher.end(spec)
    launcher.remove_folder(spec)
    processes.log_file(spec.data_dir, spec.session_id).unlink(missing_ok=True)


def stop_all(data_dir: Path) -> int:
    """End every executor of a data dir; how many there were."""
    return launcher.end_all(data_dir)


def probe() -> str:
    """`bubblewrap` or `files_only`: what this machine can do. Tried once per process (about 0.1 s)."""
    return bubblewrap.verdict()[0]


def probe_reason() -> str:
    """A sentence for a person: why `probe` says what it says."""
    return bubblewrap.verdict()[1]


def process_limit_mode() -> str:
    """What stops a session at 256 processes: `cgroup` or `ulimit` (the kernel), else `watchdog` (the executor)."""
    return bubblewrap.process_limit_mode()


def _start(spec: SandboxSpec, key: str) -> None:
    try:
        with launcher.ensure(spec):
            pass
    except (SandboxError, OSError, ValueError) as error:
        logger.warning("sandbox did not start session=%s error=%s", spec.session_id, error)
    finally:
        with _starting_lock:
            _starting.discard(key)


def _refusal(spec: SandboxSpec, tool: str, tool_input: Any) -> str:
    if tool == "bash" and spec.mode == FILES_ONLY:
        return (
            "bash is not available: this server cannot isolate commands, so it runs none. "
            "read, write, edit, glob and grep work."
        )
    return refusal(tool, tool_input)


def _ensure(spec: SandboxSpec, cancellation: Cancellation) -> Connection:
    give_up = threading.Event()
    cancellation.on_cancel(give_up.set)
    try:
        return launcher.ensure(spec, give_up=give_up)
    except (SandboxError, OSError, ValueError) as error:
        if cancellation.cancelled:
            raise RequestCancelled("The tool call was interrupted before it began.") from error
        if isinstance(error, SandboxError):
            raise
        raise SandboxError(f"The sandbox of {spec.session_id} could not be started: {error}") from error
    finally:
        cancellation.forget(give_up.set)


def _await_outcome(spec: SandboxSpec, connection: Connection, exec_id: str, cancellation: Cancellation) -> ToolOutcome:
    answer = _receive(spec, connection, exec_id, cancellation)
    if answer is None or "outcome" not in answer:
        raise SandboxGone(f"The sandbox of {spec.session_id} has ended; what became of the call is unknown.")
    return _outcome(answer["outcome"])


def _receive(
    spec: SandboxSpec, connection: Connection, exec_id: str, cancellation: Cancellation
) -> dict[str, Any] | None:
    """The next message of the executor, None when it is gone. A cancellation ends the call and raises."""
    cancellation.on_cancel(connection.hang_up)
    try:
        answer = _next_message(spec, connection)
    finally:
        cancellation.forget(connection.hang_up)
    if cancellation.cancelled:
        if not cancellation.lost:
            cancel(spec, exec_id)
        raise RequestCancelled("The tool call was interrupted.")
    return answer


def _next_message(spec: SandboxSpec, connection: Connection) -> dict[str, Any] | None:
    while True:
        try:
            return connection.receive(timeout_s=_PATIENCE_S)
        except TimeoutError:
            if _ask(spec, {"op": "status"}) is None:  # frozen, or killed while somebody keeps this socket open
                launcher.end(spec)
                return None


def cancel(spec: SandboxSpec, exec_id: str) -> None:
    """End the call's process tree; an executor that does not manage it in time is ended as a whole.

    A call that nobody knows, or that has ended, is left as it is.
    """
    connection = launcher.connect(spec)
    if connection is None:
        return
    started = time.monotonic()
    with connection:
        answer = connection.ask({"op": "cancel", "exec_id": exec_id}, timeout_s=_CANCEL_S)
    if answer is None:
        waited_s = time.monotonic() - started
        logger.warning("executor did not cancel session=%s exec=%s waited=%.1f", spec.session_id, exec_id, waited_s)
        launcher.end(spec)


def _ask(spec: SandboxSpec, message: dict[str, Any]) -> dict[str, Any] | None:
    connection = launcher.connect(spec)
    if connection is None:
        return None
    with connection:
        return connection.ask(message, timeout_s=_PING_S)


def _outcome(raw: dict[str, Any]) -> ToolOutcome:
    files = FileReport.parse(raw.get("files"))
    return ToolOutcome(raw["content"], raw["is_error"], raw.get("duration_ms", 0.0), files)
