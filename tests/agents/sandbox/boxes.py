"""A session's sandbox as tests use it, and a look at the machine from outside of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.providers.base import Cancellation
from agents.sandbox import client

ROOT = Path(__file__).resolve().parents[3]


class Box:
    """One session. `run` carries out a call with a fresh id and remembers that id as `last`."""

    def __init__(self, data_dir: Path, name: str, mode: str, network: bool = False) -> None:
        self.spec = client.SandboxSpec(name, data_dir / "sandboxes" / name, mode, network)
        self.last = ""
        self._count = 0

    def run(
        self,
        tool: str,
        *,
        thread: str = "sthr_1",
        exec_id: str | None = None,
        cancellation: Cancellation | None = None,
        base: client.FileBase | None = None,
        **tool_input: Any,
    ) -> client.ToolOutcome:
        self._count += 1
        self.last = exec_id or f"exec_{self._count}"
        return client.execute(
            self.spec,
            exec_id=self.last,
            thread=thread,
            tool=tool,
            input=tool_input,
            cancellation=cancellation or Cancellation(),
            base=base,
        )

    def bash(self, command: str, **options: Any) -> str:
        """The output of a command that must succeed."""
        outcome = self.run("bash", command=command, **options)
        assert not outcome.is_error, text(outcome)
        return text(outcome)

    def folder(self, name: str) -> Path:
        path = self.spec.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def text(outcome: client.ToolOutcome) -> str:
    assert [block["type"] for block in outcome.content] == ["text"]
    return outcome.content[0]["text"]


def host_processes(mark: str) -> list[int]:
    """Live processes of this machine with `mark` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until(happened: Callable[[], Any], *, at_most_s: float = 30.0) -> Any:
    """What `happened` returned as soon as it is true. Fails when it never is."""
    deadline = time.monotonic() + at_most_s
    while not (result := happened()):
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.02)
    return result


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start `work` in a thread; the returned function waits and gives its result or raises its exception."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 (handed over to the test)
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def finish() -> Any:
        thread.join(timeout=30)
        assert result, "The work did not end."
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    return finish


CALLER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from agents.providers.base import Cancellation
from agents.sandbox import client
spec = client.SandboxSpec({name!r}, Path({folder!r}), {mode!r})
print("ready", flush=True)
sys.stdin.readline()
outcome = client.execute(spec, exec_id={exec_id!r}, thread="sthr_1", tool={tool!r}, input={tool_input!r},
                         cancellation=Cancellation())
print(outcome.content[0]["text"], flush=True)
"""


def other_worker(box: Box, *, exec_id: str, tool: str, **tool_input: Any) -> subprocess.Popen[str]:
    """Another process that makes one call, as soon as it is sent a line."""
    code = CALLER.format(
        root=str(ROOT),
        name=box.spec.session_id,
        folder=str(box.spec.root),
        mode=box.spec.mode,
        exec_id=exec_id,
        tool=tool,
        tool_input=tool_input,
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def go(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


def close(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.communicate()
