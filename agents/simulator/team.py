"""What simulated leads share: who can work for them, who was given which job, and what came back.

Nothing here depends on which report came first, or on what thread ids look like: jobs are known by their place in the
answer that gave them out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.simulator.conversation import Conversation, ToolCall
from agents.simulator.memory import SHORTENED
from agents.simulator.steps import Call, Mail, Step

SPAWN, SEND, LIST, WAIT, STOP = "spawn_agent", "send_to_agent", "list_agents", "wait_for_agents", "stop_agent"
PARENT = "send_to_parent"
MAX_FILES = 50  # that a spawn takes as a list of its own
MAX_WAITS = 6  # for one round of jobs: a question of a child ends a wait early

FILES = "Files:"
THREAD_ID = re.compile(r'"thread_id":\s*"([^"]+)"')
FILE_LINE = re.compile(r"^- (/\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Member:
    name: str
    description: str = ""


@dataclass(frozen=True)
class Team:
    """Who can be started, how many more, and which threads are there and have nothing to do."""

    members: tuple[Member, ...] = ()
    resting: tuple[tuple[str, str], ...] = ()  # agent name and thread id
    free_places: int = 0

    @property
    def places(self) -> int:
        """How many jobs can be given out at once."""
        return self.free_places + len(self.resting)


@dataclass(frozen=True)
class Job:
    """One piece of work for one agent."""

    agent: str
    task: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """A job that was given out: the call that did, and the messages that came from its thread since."""

    agent: str
    task: str
    files: tuple[str, ...]
    thread_id: str | None  # None: it was refused
    problem: str
    reports: tuple[Mail, ...] = ()

    @property
    def report(self) -> str:
        """Everything the thread said, oldest first."""
        return "\n".join(mail.text for mail in self.reports)


def list_agents(conversation: Conversation) -> Team | None:
    """The team as the newest list of this turn has it; None before there is one."""
    calls = [call for call in conversation.calls if call.name == LIST and call.result is not None]
    return read_team(calls[-1].result or "") if calls else None


def read_team(result: str) -> Team:
    """Never raises: what cannot be read is left out."""
    try:
        data = json.loads(result)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return Team()
    free = data.get("free_places")
    return Team(
        members=tuple(
            Member(item["name"], str(item.get("description") or ""))
            for item in _items(data.get("agents"))
            if isinstance(item.get("name"), str)
        ),
        resting=tuple(
            (str(item.get("agent")), str(item.get("thread_id")))
            for item in _items(data.get("threads"))
            if item.get("status") == "idle" and not item.get("waiting_for")
        ),
        free_places=free if isinstance(free, int) else 0,
    )


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def give_out(jobs: Iterable[Job], team: Team) -> tuple[ToolCall, ...]:
    """Calls that give out all jobs and then wait for them.

    A job goes to a resting thread of its agent, else to a new one, else, with no place left, to whoever rests.
    """
    jobs, resting, free = list(jobs), list(team.resting), team.free_places
    takers: dict[int, str] = {}
    for number, job in enumerate(jobs):
        if (found := next((thread for thread in resting if thread[0] == job.agent), None)) is not None:
            resting.remove(found)
            takers[number] = found[1]
    calls = []
    for number, job in enumerate(jobs):
        if number not in takers and free <= 0 and resting:
            takers[number] = resting.pop(0)[1]
        if number in takers:
            calls.append(message_to(takers[number], job.task, job.files))
        else:
            free -= 1
            calls.append(_spawn(job))
    return (*calls, ToolCall(WAIT, {}))


def _spawn(job: Job) -> ToolCall:
    if len(job.files) > MAX_FILES:
        return ToolCall(SPAWN, {"agent": job.agent, "task": with_files(job.task, job.files)})
    more = {"files": list(job.files)} if job.files else {}
    return ToolCall(SPAWN, {"agent": job.agent, "task": job.task, **more})


def message_to(thread_id: str, text: str, files: Sequence[str] = ()) -> ToolCall:
    return ToolCall(SEND, {"thread_id": thread_id, "message": with_files(text, files)})


def with_files(text: str, files: Sequence[str]) -> str:
    """The text with its files listed at the end, as a spawned agent's task has them."""
    return "\n".join([text, "", FILES, *(f"- {path}" for path in files)]) if files else text


def files_in(text: str) -> tuple[str, ...]:
    """The paths that a task lists at its end."""
    _, mark, listed = text.rpartition(f"{FILES}\n")
    return tuple(path.strip() for path in FILE_LINE.findall(listed)) if mark else ()


def assign(names: Iterable[str], members: Sequence[Member]) -> dict[str, str]:
    """Which agent gets what: who names it in its name or description, else the others in turn."""
    names = list(names)
    named: dict[str, str] = {}
    for name in names:
        pattern = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", re.IGNORECASE)
        experts = [m.name for m in members if pattern.search(m.name) or pattern.search(m.description)]
        if experts:
            named[name] = experts[0]
    others = [member.name for member in members if member.name not in named.values()] or [m.name for m in members]
    left = [name for name in names if name not in named]
    return {**named, **{name: others[number % len(others)] for number, name in enumerate(left)}}


def rounds(conversation: Conversation) -> list[int]:
    """The numbers of the steps of this turn that gave out work."""
    numbered = enumerate(conversation.steps)
    return [number for number, step in numbered if any(call.name in (SPAWN, SEND) for call in step.calls)]


def given_in(conversation: Conversation, number: int, until: int | None = None) -> list[Given]:
    """The jobs given out in a step, with what their threads said after it (and before step `until`)."""
    agents = {thread_id: agent for agent, thread_id in known_threads(conversation)}
    given = []
    for call in conversation.steps[number].calls:
        if call.name not in (SPAWN, SEND):
            continue
        thread_id = thread_of(call)
        reports = tuple(
            mail
            for mail in conversation.mail
            if mail.thread_id == thread_id and mail.after > number and (until is None or mail.after <= until)
        )
        text = call.input.get("task" if call.name == SPAWN else "message")
        agent = _agent_of(call) if call.name == SPAWN else agents.get(str(call.input.get("thread_id")), "an agent")
        given.append(Given(agent, str(text or ""), _files_of(call), thread_id, _problem(call), reports))
    return given


def known_threads(conversation: Conversation) -> list[tuple[str, str]]:
    """Agent name and thread id of every thread this agent has started or seen listed, oldest first."""
    found: dict[str, str] = {}
    for step in (*conversation.earlier, *conversation.steps):
        for call in step.calls:
            if call.name == SPAWN and (thread_id := thread_of(call)) is not None:
                found.setdefault(thread_id, _agent_of(call))
            elif call.name == LIST and call.result is not None:
                for agent, thread_id in read_team(call.result).resting:
                    found.setdefault(thread_id, agent)
    return [(agent, thread_id) for thread_id, agent in found.items()]


def spawned(steps: Iterable[Step]) -> list[str]:
    """The ids of the threads that were started, in order."""
    ids = [thread_of(call) for step in steps for call in step.calls if call.name == SPAWN]
    return [thread_id for thread_id in ids if thread_id is not None]


def thread_of(call: Call) -> str | None:
    """The thread that a call started or reached; None when it was refused."""
    if call.is_error or call.result is None:
        return None
    found = THREAD_ID.search(call.result)
    return found[1] if found else None


def must_wait_again(conversation: Conversation) -> bool:
    """Whether the last wait ended while agents were still at work: its time was over, or one asked something."""
    since = conversation.steps[_last_round(conversation) :]
    waits = [call for step in since for call in step.calls if call.name == WAIT]
    if not waits or len(waits) >= MAX_WAITS or waits[-1].is_error:
        return False
    try:
        data = json.loads(waits[-1].result or "")
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and bool(data.get("working"))


def _last_round(conversation: Conversation) -> int:
    found = rounds(conversation)
    return found[-1] if found else 0


def reader(conversation: Conversation) -> Callable[[str], ToolCall]:
    """How this agent reads a whole file."""
    if conversation.has("read"):
        return lambda path: ToolCall("read", {"file_path": path})
    return lambda path: ToolCall("bash", {"command": f"cat -- {quoted(path)}"})


def was_read(conversation: Conversation, path: str, *, since: int = 0) -> Call | None:
    """The newest call of `reader` for a path, from step `since` on, unless a summary has shortened its result."""
    wanted = reader(conversation)(path)
    answered = [call for step in conversation.steps[since:] for call in step.calls if call.result is not None]
    calls = [call for call in answered if not (call.result or "").endswith(SHORTENED)]
    return next((c for c in reversed(calls) if c.name == wanted.name and c.input == wanted.input), None)


def quoted(text: str) -> str:
    """`text` as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def first_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else "no result came back"


def _agent_of(call: Call) -> str:
    agent = call.input.get("agent")
    return str(agent.get("name")) if isinstance(agent, dict) else str(agent)


def _files_of(call: Call) -> tuple[str, ...]:
    files = call.input.get("files")
    if isinstance(files, list):
        return tuple(str(path) for path in files)
    return files_in(str(call.input.get("task" if call.name == SPAWN else "message", "")))


def _problem(call: Call) -> str:
    if call.result is None:
        return "no result came back"
    return first_line(call.result) if call.is_error else ""
