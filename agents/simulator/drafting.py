"""Leads that have a document written in sections: `simulated/drafting-lead`, and `simulated/default` with a roster.

A plan file, one thread per section, each writing its own file below /workspace/parts, then the lead reads the parts and
merges them into /mnt/session/outputs/report.md. The drafting lead sends one follow-up to the writer of the shortest
section first. The default leaves one gap on purpose, the summary, and says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.simulator import assistant
from agents.simulator import team as teams
from agents.simulator.assistant import PLAN_PATH, REPORT_PATH
from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.team import Given, Job, Team

PARTS = "/workspace/parts"
MAX_SECTIONS = 12
MAX_MEMBERS = 5  # whom the default policy gives a section
MAX_TITLE_CHARS = 80
MAX_SUBJECT_CHARS = 600
DEFAULT_SECTIONS = ("Background", "Findings", "Next steps")
BULLET = re.compile(r"^\s*(?:[-*]|\d{1,2}[.)])\s+(\S.*?)[\s.:;]*$", re.MULTILINE)
SECTION = re.compile(r'section "(?P<title>[^"]*)"')
WRITE_SECTION = """\
Write the section "{title}" of this document: {subject}
Expected: the file {path}, in Markdown, every statement with its source.
Boundaries: the sources are in /mnt/session/uploads; write no other file. Say in your last message what you wrote."""
DO_PART = """\
Write the section "{title}" of a shared report on this task: {subject}
Expected: the file {path}, in Markdown.
Boundaries: write no other file. Say in your last message what you wrote."""
FOLLOW_UP = """\
Your section is the shortest of all. Say more: use every line of the sources that is about it, and write your file \
again."""


@dataclass(frozen=True)
class Section:
    title: str
    agent: str
    path: str


def draft(conversation: Conversation) -> Reply:
    """The policy of the drafting lead: sections as the request lists them."""
    return _lead(conversation, is_default=False)


def assist(conversation: Conversation) -> Reply:
    """The default policy: alone or, when it has agents to work for it, one section for each of up to five."""
    return _lead(conversation, is_default=True)


def _lead(conversation: Conversation, *, is_default: bool) -> Reply:
    wants_work = bool(conversation.steps) or assistant.WORK.search(conversation.request) is not None
    if not conversation.has(teams.SPAWN) or (is_default and not wants_work):
        return assistant.assist(conversation)
    team = teams.list_agents(conversation)
    if team is None and not conversation.steps:
        return Reply(
            thinking="This is work for several: first I look who there is.",
            text="I am a simulated model. I look which agents can work for me.",
            calls=(ToolCall(teams.LIST, {}),),
        )
    work = _Draft(conversation, team or Team(), is_default)
    if not work.given and not (work.team.members and work.team.places):
        return assistant.assist(conversation)
    return _next_answer(work)


def _next_answer(work: _Draft) -> Reply:
    conversation = work.conversation
    if not work.given:
        if work.plan is None and conversation.has("write"):
            return work.write_plan()
        return work.hand_out()
    if teams.must_wait_again(conversation):
        return Reply(text="Some are still at work: I wait on.", calls=(ToolCall(teams.WAIT, {}),))
    if calls := work.unread_parts():
        return Reply(text="I read the parts.", calls=calls)
    if not work.is_default and len(work.rounds) == 1 and (calls := work.follow_up()):
        return Reply(thinking="One section is thinner than the others.", text="I ask for more.", calls=calls)
    if work.report_call is None and conversation.has("write"):
        call = ToolCall("write", {"file_path": REPORT_PATH, "content": work.report()})
        return Reply(thinking="All parts are there: I merge them.", calls=(call,))
    return Reply(text=work.closing_words())


class _Draft:
    """Where the work stands, worked out from the calls of the turn and the messages that came."""

    def __init__(self, conversation: Conversation, team: Team, is_default: bool) -> None:
        self.conversation = conversation
        self.team = team
        self.is_default = is_default
        self.rounds = teams.rounds(conversation)
        self.given = teams.given_in(conversation, self.rounds[0]) if self.rounds else []
        writes = {str(call.input.get("file_path")): call for call in conversation.calls if call.name == "write"}
        self.plan = writes.get(PLAN_PATH)
        self.report_call = writes.get(REPORT_PATH)
        self.subject = _subject(conversation.request)

    def sections(self) -> list[Section]:
        """What will be written by whom: a pure function of the request and the team."""
        if self.is_default:
            names = [member.name for member in self.team.members[: min(MAX_MEMBERS, self.team.places)]]
            pairs = [(name[:MAX_TITLE_CHARS].replace('"', "'"), name) for name in names]
        else:
            titles = _titles(self.conversation.request)[: self.team.places]
            agents = teams.assign(titles, self.team.members)
            pairs = [(title, agents[title]) for title in titles]
        slugs = _slugs([title for title, _ in pairs])
        return [Section(title, agent, f"{PARTS}/{slug}.md") for (title, agent), slug in zip(pairs, slugs, strict=True)]

    def write_plan(self) -> Reply:
        lines = ["# Plan", "", "Written by a simulated model from the words of the task.", ""]
        lines += [f"Task: {self.subject}", ""]
        lines += [
            f'{number}. "{section.title}" by {section.agent}, in `{section.path}`'
            for number, section in enumerate(self.sections(), start=1)
        ]
        lines += ["", f"Then: read the parts, merge them into `{REPORT_PATH}`.", ""]
        call = ToolCall("write", {"file_path": PLAN_PATH, "content": "\n".join(lines)})
        return Reply(text="I write down who does what.", calls=(call,))

    def hand_out(self) -> Reply:
        form = DO_PART if self.is_default else WRITE_SECTION
        jobs = [
            Job(section.agent, form.format(title=section.title, subject=self.subject, path=section.path))
            for section in self.sections()
        ]
        return Reply(
            text=f"{len(jobs)} sections, one agent for each. I wait for all of them.",
            calls=teams.give_out(jobs, self.team),
        )

    def unread_parts(self) -> tuple[ToolCall, ...]:
        """The parts as they are after the newest round: only what was asked for in it is read again."""
        if not (self.conversation.has("read") or self.conversation.has("bash")):
            return ()
        read = teams.reader(self.conversation)
        newest = self._asked_last()
        asked = {path for job in newest if (path := _path_of(job))}
        tried = [call for step in self.conversation.steps[self.rounds[-1] :] for call in step.calls]
        made = [(call.name, call.input) for call in tried]
        calls = [read(path) for path in sorted(asked)]
        return tuple(call for call in calls if (call.name, call.input) not in made)

    def _asked_last(self) -> list[Given]:
        if len(self.rounds) == 1:
            return [job for job in self.given if job.thread_id is not None]
        again = {job.thread_id for job in teams.given_in(self.conversation, self.rounds[-1])}
        return [job for job in self.given if job.thread_id in again]

    def content(self, job: Given) -> str:
        """What was written for a job: its file, else what its writer said, else why there is nothing."""
        path = _path_of(job)
        call = teams.was_read(self.conversation, path) if path else None
        if call is not None and not call.is_error and (call.result or "").strip():
            lines = (call.result or "").strip().splitlines()
            return "\n".join(lines[1:] if lines[0].startswith("#") else lines).strip()
        if job.report.strip():
            return job.report.strip()
        return f"This section is missing: {job.problem or 'nothing came back'}."

    def follow_up(self) -> tuple[ToolCall, ...]:
        """One message to the writer of the shortest section that was written."""
        written = [(job.thread_id, self.content(job)) for job in self.given if job.thread_id and job.reports]
        if not written:
            return ()
        thread_id, _ = min(written, key=lambda item: (item[1].count("\n- "), len(item[1])))
        return (teams.message_to(thread_id, FOLLOW_UP), ToolCall(teams.WAIT, {}))

    def report(self) -> str:
        parts = [(_title_of(job), self.content(job)) for job in self.given]
        lines = [f"# {self.subject}", "", f"Written by simulated models: {len(parts)} sections, one agent each.", ""]
        if not self.is_default:
            lines += ["## In short", "", *[f"- {title}: {_first_statement(text)}" for title, text in parts], ""]
        for title, text in parts:
            lines += [f"## {title}", "", text, ""]
        return "\n".join(lines)

    def closing_words(self) -> str:
        words = [f"I am a simulated model. {len(self.given)} agents wrote a section each."]
        words += [f'"{_title_of(job)}" is missing: {job.problem}.' for job in self.given if job.problem]
        call = self.report_call
        if call is None or call.result is None or call.is_error:
            reason = teams.first_line(call.result) if call else "I have no tool to write files"
            return " ".join(words) + f" The report could not be written ({reason}), so here it is:\n\n{self.report()}"
        words.append(f"I merged them into {REPORT_PATH}.")
        if self.is_default:
            words.append("I left one gap on purpose: the report has no summary.")
        return " ".join(words)


def _subject(request: str) -> str:
    """What the document is about: the request up to its list, on one line."""
    start = BULLET.search(request)
    text = request[: start.start()] if start and start.start() else request
    flat = " ".join(text.split()).rstrip(":")
    return flat if len(flat) <= MAX_SUBJECT_CHARS else flat[: MAX_SUBJECT_CHARS - 1] + "…"


def _titles(request: str) -> list[str]:
    listed = [title.replace('"', "'")[:MAX_TITLE_CHARS] for title in BULLET.findall(request)]
    found = list(dict.fromkeys(listed))[:MAX_SECTIONS]
    return found if len(found) > 1 else list(DEFAULT_SECTIONS)


def _slugs(titles: list[str]) -> list[str]:
    """File names for titles, each different."""
    slugs: list[str] = []
    for number, title in enumerate(titles, start=1):
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or f"part-{number}"
        slugs.append(slug if slug not in slugs else f"{slug}-{number}")
    return slugs


def _title_of(job: Given) -> str:
    found = SECTION.search(job.task)
    return found["title"] if found else job.agent


def _path_of(job: Given) -> str:
    found = assistant.PART.search(job.task)
    return found[0] if found else ""


def _first_statement(text: str) -> str:
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "nothing"
