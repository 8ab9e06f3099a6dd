"""`simulated/triage-lead`: has specialists find out why pipelines failed, and merges what they report.

Lists the logs and the team, gives each service's logs to one specialist (the largest services to two, as long as there
is room for more threads), and waits for all of them. A specialist whose report lacks a log is asked once more; what is
missing then is said in the report. Without a team it does the work itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.simulator import team as teams
from agents.simulator import triage
from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.team import Given, Job, Member, Team
from agents.simulator.triage import REPORT_PATH, folder_in, is_listing, logs_in, next_listing, short_name
from agents.simulator.triage_report import read_finding, report, summary
from agents.simulator.triage_rules import Finding

MIN_LOGS_TO_SPLIT = 6
MAX_WRITES = 3  # of the report, when reports of specialists come late
SERVICE = re.compile(r"(?P<service>.+?)[-_.]?\d*\.\w+")
MOVED_REPORT = re.compile(r"/workspace/reports/[\w.-]+\.md")  # where a long report is kept whole
OBJECTIVE = """\
Find out why the pipelines of {title} failed. Their logs are in {folder}.
Expected: one line per log, in one of these forms, the cause in one word and the line that shows it quoted:
- `LOG`: passed
- `LOG`: failed, CAUSE at line NUMBER in step "STEP", NUMBER set aside: LINE
Boundaries: read only the logs below and write no files. Your last message is your report."""
AGAIN = """\
Your report has no line for these logs. Judge them too, in the same form. They are in {folder}."""


@dataclass(frozen=True)
class Share:
    """What one specialist is asked to read."""

    title: str
    agent: str
    logs: tuple[str, ...]


def lead(conversation: Conversation) -> Reply:
    if not conversation.has(teams.SPAWN):
        return triage.triage(conversation)
    work = _Lead(conversation)
    if (reply := work.first_looks()) is not None:
        return reply
    if not work.rounds:
        if not work.logs or not work.team.members or not work.team.places:
            return triage.triage(conversation)
        return work.hand_out()
    if teams.must_wait_again(conversation):
        return Reply(text="Some are still at work: I wait on.", calls=(ToolCall(teams.WAIT, {}),))
    if calls := work.moved_reports():
        return Reply(thinking="A long report was kept in a file: I read it there.", calls=calls)
    if len(work.rounds) == 1 and (calls := work.questions()):
        return Reply(text="A report lacks some logs: I ask once more.", calls=calls)
    if conversation.has("write") and work.must_write():
        call = ToolCall("write", {"file_path": REPORT_PATH, "content": work.report()})
        return Reply(thinking="Everything is in: I merge the reports.", calls=(call,))
    return Reply(text=work.closing_words())


class _Lead:
    """Where the work stands, worked out from the calls of the turn and the messages that came."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.folder = folder_in(conversation.request)
        self.listings = [call for call in conversation.calls if is_listing(call)]
        self.logs = [log for call in self.listings if not call.is_error for log in logs_in(call.result or "")]
        self.team = teams.list_agents(conversation) or Team()
        self.rounds = teams.rounds(conversation)
        self.given = [teams.given_in(conversation, number) for number in self.rounds[:2]]
        made = [call for call in conversation.calls if call.name == "write"]
        self.writes = [call for call in made if call.input.get("file_path") == REPORT_PATH]

    def first_looks(self) -> Reply | None:
        """What is missing before work can be given out: the list of logs and the list of agents."""
        if self.rounds:
            return None
        listing = next_listing(self.conversation, self.folder, self.listings)
        calls = [listing] if listing is not None else []
        if not any(call.name == teams.LIST for call in self.conversation.calls):
            calls.append(ToolCall(teams.LIST, {}))
        if not calls:
            return None
        return Reply(
            thinking="First I look which logs there are and who can read them.",
            text="I am a simulated model. I list the logs and the agents that can work for me.",
            calls=tuple(calls),
        )

    def hand_out(self) -> Reply:
        shares = split(self.logs, self.team.members, self.team.places)
        jobs = [
            Job(share.agent, OBJECTIVE.format(title=share.title, folder=self.folder), share.logs) for share in shares
        ]
        return Reply(
            thinking="Each service gets a specialist; the services with most logs get two.",
            text=f"{len(self.logs)} logs: I give them to {len(jobs)} specialists and wait for their reports.",
            calls=teams.give_out(jobs, self.team),
        )

    def moved_reports(self) -> tuple[ToolCall, ...]:
        paths = {path for given in self.given for job in given for path in MOVED_REPORT.findall(job.report)}
        read = teams.reader(self.conversation)
        asked = self.conversation.calls
        made = [(call.name, call.input) for call in asked]
        calls = [read(path) for path in sorted(paths)]
        return tuple(call for call in calls if (call.name, call.input) not in made)

    def text_of(self, job: Given) -> str:
        """What a specialist said, long reports whole."""
        calls = [teams.was_read(self.conversation, path) for path in MOVED_REPORT.findall(job.report)]
        return "\n".join([job.report, *[call.result or "" for call in calls if call is not None]])

    def found(self) -> dict[str, Finding]:
        """The finding of each log, as far as whoever was to read it reported one; the newest counts."""
        findings = {}
        for given in self.given:
            for job in given:
                wanted = {short_name(path, self.folder): path for path in job.files}
                for line in self.text_of(job).splitlines():
                    finding = read_finding(line.strip())
                    if finding is not None and (path := wanted.get(finding.log)):
                        findings[path] = finding
        return findings

    def missing(self) -> list[tuple[Given, tuple[str, ...]]]:
        """The jobs of the first round whose logs are not all judged, with these logs."""
        found = self.found()
        jobs = [(job, tuple(path for path in job.files if path not in found)) for job in self.given[0]]
        return [(job, paths) for job, paths in jobs if paths]

    def questions(self) -> tuple[ToolCall, ...]:
        calls = [
            teams.message_to(job.thread_id, AGAIN.format(folder=self.folder), paths)
            for job, paths in self.missing()
            if job.thread_id is not None
        ]
        return (*calls, ToolCall(teams.WAIT, {})) if calls else ()

    def trouble(self) -> list[str]:
        sentences = []
        again = {job.thread_id: job for job in self.given[1]} if len(self.given) > 1 else {}
        for job, paths in self.missing():
            second = again.get(job.thread_id)
            last = (second.report if second else "") or job.report
            reason = job.problem or (second.problem if second else "") or first_words(last)
            sentences.append(f"{job.agent} judged {len(job.files) - len(paths)} of {len(job.files)} logs: {reason}.")
            sentences += [f"Nobody judged {short_name(path, self.folder)}." for path in paths]
        return sentences

    def must_write(self) -> bool:
        """Whether there is no report yet, or one that a late message has made out of date."""
        if not self.writes:
            return True
        last = self.writes[-1]
        return not last.is_error and len(self.writes) < MAX_WRITES and last.input.get("content") != self.report()

    def report(self) -> str:
        findings = list(self.found().values())
        counts = [(job.agent, len(job.files)) for job in self.given[0]]
        readers = [f"{agent}: {count} logs" for agent, count in counts]
        return report(findings, self.folder, self.trouble(), readers)

    def closing_words(self) -> str:
        trouble = self.trouble()
        words = f"I am a simulated model. {len(self.given[0])} specialists: {summary(list(self.found().values()))}"
        if trouble:
            words += " " + " ".join(trouble[:20])
        call = self.writes[-1] if self.writes else None
        if call is not None and call.result is not None and not call.is_error:
            return f"{words} The report is in {REPORT_PATH}."
        reason = teams.first_line(call.result) if call else "I have no tool to write files"
        return f"{words} The report could not be written ({reason}), so here it is:\n\n{self.report()}"


def split(logs: list[str], members: tuple[Member, ...], places: int) -> list[Share]:
    """Shares of the logs, one for each place at most: by service, the largest halved while there is room."""
    groups = _by_service(logs)
    while len(groups) > places:
        (name, small), (other, smallest) = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[-2:]
        del groups[name], groups[other]
        groups[f"{name}, {other}"] = sorted(small + smallest)
    agents = teams.assign(groups, members)
    shares = [Share(name, agents[name], tuple(paths)) for name, paths in groups.items()]
    while len(shares) < places:
        largest = max(shares, key=lambda share: len(share.logs))
        if len(largest.logs) < MIN_LOGS_TO_SPLIT:
            break
        place, half = shares.index(largest), (len(largest.logs) + 1) // 2
        shares[place : place + 1] = [
            Share(largest.title, largest.agent, largest.logs[:half]),
            Share(largest.title, largest.agent, largest.logs[half:]),
        ]
    return shares


def _by_service(logs: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in sorted(set(logs)):
        found = SERVICE.fullmatch(path.rpartition("/")[2])
        groups.setdefault(found["service"] if found else "other services", []).append(path)
    return dict(sorted(groups.items()))


def first_words(text: str) -> str:
    return teams.first_line(text) if text.strip() else "no report came"
