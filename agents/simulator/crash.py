"""`simulated/crash-in-the-middle`: a team at slow, countable work, to kill workers under.

The lead starts agents (5 unless the request names another number: "with 8 agents"), each of which counts to a number in
a file of its own, one slow command per step; then it reads the files, has the first agent count on, and writes a report
with everything. Whatever is killed, a count has each number once, and the report is the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.simulator import team as teams
from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.steps import Call
from agents.simulator.team import Job, Team

AGENTS, MAX_AGENTS = 5, 25
NUMBERS, MAX_NUMBERS = 4, 50
SLEEP_S, MAX_SLEEP_S = 0.3, 10.0
REPORT_PATH = "/mnt/session/outputs/report.md"
FOLDER = "/workspace/counts"
WITH_AGENTS = re.compile(r"\b(\d{1,2}) agents\b")
COUNT = re.compile(r"[Cc]ount to (?P<to>\d{1,2})(?: from (?P<first>\d{1,2}))?")
SLOWLY = re.compile(r"\bevery (?P<seconds>\d{1,2}(?:\.\d{1,3})?) s\b")
PATH = re.compile(rf"{FOLDER}/[\w.-]+")
TASK = "Count to {to}, one number every {seconds:g} s, in {path}. Write no other file. Report the last number."
MORE = "Count to {to} from {first}, one number every {seconds:g} s, in {path}. Report the last number."


@dataclass(frozen=True)
class Count:
    """What one agent is to count."""

    first: int
    to: int
    seconds: float
    path: str

    @property
    def calls(self) -> list[ToolCall]:
        """One call per answer: a number each, and a look at the file at the end."""
        folder = self.path.rpartition("/")[0]
        numbers = [
            f"mkdir -p {folder}; sleep {self.seconds:g}; echo {number} >> {self.path}"
            for number in range(self.first, self.to + 1)
        ]
        return [ToolCall("bash", {"command": command}) for command in [*numbers, f"cat {self.path}"]]


def crash_in_the_middle(conversation: Conversation) -> Reply:
    return _lead(conversation) if conversation.has(teams.SPAWN) else _count(conversation)


def _wanted(request: str) -> Count:
    """The count that a text asks for; without a path it is the one of somebody who works alone."""
    count, slowly, path = COUNT.search(request), SLOWLY.search(request), PATH.search(request)
    return Count(
        first=int(count["first"] or 1) if count else 1,
        to=min(MAX_NUMBERS, int(count["to"])) if count else NUMBERS,
        seconds=min(MAX_SLEEP_S, float(slowly["seconds"])) if slowly else SLEEP_S,
        path=path[0].rstrip(".") if path else f"{FOLDER}/alone.txt",
    )


def _count(conversation: Conversation) -> Reply:
    calls = _wanted(conversation.request).calls
    done = len(conversation.steps)
    if done < len(calls):
        return Reply(text=f"Step {done + 1} of {len(calls)}.", calls=(calls[done],))
    last = conversation.last_calls[0] if conversation.last_calls else Call("bash", {})
    counted = (last.result or "").split()
    return Reply(text=f"I am a simulated model. I counted {len(counted)} numbers: {' '.join(counted)}.")


def _lead(conversation: Conversation) -> Reply:
    rounds = teams.rounds(conversation)
    team = teams.list_agents(conversation)
    if team is None:
        return Reply(text="I am a simulated model. I look who can count.", calls=(ToolCall(teams.LIST, {}),))
    if not rounds:
        return _start(conversation, team)
    if teams.must_wait_again(conversation):
        return Reply(calls=(ToolCall(teams.WAIT, {}),))
    given = teams.given_in(conversation, rounds[0])
    paths = [found[0].rstrip(".") for job in given if (found := PATH.search(job.task))]
    if len(rounds) == 1 and (calls := _count_on(conversation, given)):
        return Reply(text="The first one counts on.", calls=calls)
    read = teams.reader(conversation)
    if missing := [path for path in paths if teams.was_read(conversation, path, since=rounds[-1]) is None]:
        return Reply(text="I read what was counted.", calls=tuple(read(path) for path in missing))
    if not any(call.name == "write" for call in conversation.calls):
        content = _report(conversation, given, paths, rounds[-1])
        return Reply(calls=(ToolCall("write", {"file_path": REPORT_PATH, "content": content}),))
    return Reply(text=f"I am a simulated model. {len(given)} agents counted. The report is in {REPORT_PATH}.")


def _start(conversation: Conversation, team: Team) -> Reply:
    found = WITH_AGENTS.search(conversation.request)
    count = min(int(found[1]) if found else AGENTS, MAX_AGENTS, team.places)
    if not count or not team.members:
        return _count(conversation.without(lambda step: any(call.name == teams.LIST for call in step.calls)))
    wanted = _wanted(conversation.request)
    jobs = [
        Job(
            team.members[number % len(team.members)].name,
            TASK.format(to=wanted.to, seconds=wanted.seconds, path=f"{FOLDER}/{number + 1}.txt"),
        )
        for number in range(count)
    ]
    return Reply(text=f"{count} agents count at the same time.", calls=teams.give_out(jobs, team))


def _count_on(conversation: Conversation, given: list[teams.Given]) -> tuple[ToolCall, ...]:
    first = given[0]
    if first.thread_id is None:
        return ()
    wanted = _wanted(first.task)
    more = MORE.format(to=wanted.to + 2, first=wanted.to + 1, seconds=wanted.seconds, path=wanted.path)
    return (teams.message_to(first.thread_id, more), ToolCall(teams.WAIT, {}))


def _report(conversation: Conversation, given: list[teams.Given], paths: list[str], since: int) -> str:
    lines = ["# Counts", "", "Written by a simulated model from what the files hold.", ""]
    for job, path in zip(given, paths, strict=False):
        call = teams.was_read(conversation, path, since=since)
        counted = " ".join((call.result or "").split()) if call is not None else "not read"
        said = " ".join(job.report.split()) or job.problem or "nothing"
        lines += [f"## {path}", "", f"- In the file: {counted}", f"- Reported: {said}", ""]
    return "\n".join(lines)
