"""`simulated/build-log-triage`: finds why pipelines failed by searching and reading their logs, and reports it.

Four logs at a time: one search per log, then the lines around the candidates (and whether a failing test also passed),
then a conclusion that is said before the next four. What was said counts as known, so the work goes on after the
conversation was compacted. Works with bash, or with glob, grep, read and write alone.

Working for a lead it judges the logs that its task lists and says what it found; it writes no file.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from agents.simulator import triage_rules as rules
from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.memory import SHORTENED
from agents.simulator.steps import Call
from agents.simulator.team import files_in, first_line, quoted
from agents.simulator.triage_report import LISTING, read_finding, report, say_finding, summary
from agents.simulator.triage_rules import Finding, LogView

UPLOADS = "/mnt/session/uploads"
REPORT_PATH = "/mnt/session/outputs/report.md"
LOGS_PER_ANSWER = 4
LINES_BEFORE, LINES_AFTER = 6, 14  # around a candidate
LINES_BEFORE_END = 25  # above the line that says that the step failed
MAX_RANGES = 4
MAX_HITS_FROM_SHELL = 400
MAX_LISTINGS = 4
MAX_TRIES_PER_LOG = 20  # searches and ranges; a log needs six at most

FOLDER = re.compile(r"/(?:mnt/session/uploads|workspace)(?:/[\w.-]+)*")
NOT_A_LOG = (".md", ".json", ".yaml", ".yml", ".csv", ".pdf", ".png", ".jpg", ".zip", ".gz", ".html")
TRUNCATED = "[output truncated"


def triage(conversation: Conversation) -> Reply:
    work = _Triage(conversation)
    if (missing := work.missing_tools()) is not None:
        return Reply(text=f"This is a simulated model. To triage build logs I need {missing}.")
    if (listing := work.next_listing()) is not None:
        return Reply(
            thinking="First I look which logs there are.",
            text="I am a simulated model. I list the logs and read each one that has a failure.",
            calls=(listing,),
        )
    batch = work.batch()
    if batch and (calls := work.look_ups(batch)):
        return Reply(thinking=work.thought(batch), calls=tuple(calls))
    concluded = [rules.judge(work.short(path), work.views[path]) for path in batch]
    said = "\n".join(say_finding(finding) for finding in concluded)
    findings = [*work.findings.values(), *concluded]
    rest = work.undone[len(batch) :][:LOGS_PER_ANSWER]
    if rest:
        return Reply(text=said, calls=tuple(work.search(path) for path in rest))
    if conversation.is_child:
        return Reply(text=work.report_to_lead(findings))
    if work.report_call is None:
        content = report(findings, work.folder, work.trouble())
        call = ToolCall("write", {"file_path": REPORT_PATH, "content": content})
        return Reply(text=said, thinking="Every log is judged: I write the report.", calls=(call,))
    return Reply(text=work.closing_words(findings))


@dataclass
class _Triage:
    """Where the work stands, worked out from the calls of the turn and from what was said."""

    conversation: Conversation
    logs: list[str] = field(default_factory=list)
    views: dict[str, LogView] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    open_looks: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    searched: set[str] = field(default_factory=set)
    looked: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    findings: dict[str, Finding] = field(default_factory=dict)
    listings: list[Call] = field(default_factory=list)
    report_call: Call | None = None

    def __post_init__(self) -> None:
        self.folder = folder_in(self.conversation.request)
        if self.conversation.is_child:
            self.logs = logs_in("\n".join(files_in(self.conversation.request)))
        self.given = bool(self.logs)
        for call in self.conversation.calls:
            self._take(call)
        for line in self.conversation.said.splitlines():
            if (finding := read_finding(line)) is not None:
                self.findings[finding.log] = finding
        self.undone = [path for path in self.logs if self.short(path) not in self.findings]

    def _take(self, call: Call) -> None:
        if call.name == "write" and call.input.get("file_path") == REPORT_PATH:
            self.report_call = call
        elif is_listing(call):
            self.listings.append(call)
            if not call.is_error and _is_whole(call) and not self.given:
                self.logs = logs_in(call.result or "")
        elif (path := _path_of(call)) is not None:
            self._take_lines(path, call)

    def _take_lines(self, path: str, call: Call) -> None:
        """Lines count only while a result is whole; what a summary shortened is asked for again."""
        view = self.views.setdefault(path, LogView())
        self.tries[path] += 1
        given_up = self.tries[path] > MAX_TRIES_PER_LOG
        question = str(sorted(call.input.items(), key=str))
        if _is_main_search(call):
            if _is_whole(call) or given_up:
                self.searched.add(path)
        elif _is_whole(call) or given_up:
            self.looked.add(path)
            self.open_looks[path].discard(question)
        else:
            self.open_looks[path].add(question)
        if call.result is not None and not call.is_error and _is_whole(call):
            if TRUNCATED in call.result:
                self.cut.add(path)
            view.lines.update(_lines_of(call))

    def missing_tools(self) -> str | None:
        has = self.conversation.has
        writing = () if self.conversation.is_child else ("write",)
        if has("bash", *writing):
            return None
        lacking = [name for name in ("glob", "grep", "read", *writing) if not has(name)]
        return f"bash or these tools: {', '.join(lacking)}" if lacking else None

    def next_listing(self) -> ToolCall | None:
        return None if self.given else next_listing(self.conversation, self.folder, self.listings)

    def batch(self) -> list[str]:
        return self.undone[:LOGS_PER_ANSWER]

    def short(self, path: str) -> str:
        return short_name(path, self.folder)

    def look_ups(self, batch: list[str]) -> list[ToolCall]:
        """Searches that are missing, else what to read; nothing when all of the batch can be judged."""
        searches = [self.search(path) for path in batch if path not in self.searched]
        if searches:
            return searches
        return [call for path in batch for call in self.closer_looks(path)]

    def search(self, path: str, pattern: str = rules.SEARCH) -> ToolCall:
        if self.conversation.has("grep"):
            return ToolCall("grep", {"pattern": pattern, "path": path})
        command = f"grep -nE -e {quoted(pattern)} -- {quoted(path)} | head -n {MAX_HITS_FROM_SHELL}"
        return ToolCall("bash", {"command": command})

    def closer_looks(self, path: str) -> list[ToolCall]:
        """The ranges around the candidates, once per log, and where else a failing test is named."""
        view = self.views[path]
        frame = rules.frame_of(view)
        looked = path in self.looked and not self.open_looks[path]
        if looked or not view.lines or frame.passed:
            return []
        calls = [self.read(path, *r) for r in _ranges(rules.candidates(view, frame), frame)]
        names = {rules.test_name(hit.text) for hit in rules.candidates(view, frame)}
        for name in sorted(name for name in names if name)[:2]:
            calls.append(self.search(path, rules.escape(name)))
        return calls

    def read(self, path: str, first: int, last: int) -> ToolCall:
        if self.conversation.has("read"):
            return ToolCall("read", {"file_path": path, "view_range": [first, last]})
        return ToolCall("bash", {"command": f"sed -n {first},{last}p -- {quoted(path)}"})

    def thought(self, batch: list[str]) -> str:
        names = ", ".join(self.short(path) for path in batch)
        return f"I look at {names}: where did the step fail, and what stands right before it?"

    def trouble(self) -> list[str]:
        """What went wrong while looking, in sentences for the report."""
        lines = []
        if not self.logs:
            last = self.listings[-1] if self.listings else None
            reason = first_line(last.result) if last and last.is_error else "the folder has no logs"
            lines.append(f"No log was found in {self.folder}: {reason}.")
        for call in self.conversation.calls:
            path = _path_of(call)
            if path is not None and call.is_error:
                reason = first_line(call.result)
                lines.append(f"{call.name} failed on {self.short(path)}: {reason}.")
        lines += [f"The search in {self.short(path)} was cut: it had too many hits." for path in sorted(self.cut)]
        return lines[:20]

    def report_to_lead(self, findings: list[Finding]) -> str:
        """The last message of a specialist: a line per log, in a form that `read_finding` reads back."""
        lines = [f"I am a simulated model. {summary(findings)}"]
        lines += [say_finding(finding) for finding in sorted(findings, key=lambda finding: finding.log)]
        return "\n".join([*lines, *self.trouble()])

    def closing_words(self, findings: list[Finding]) -> str:
        call = self.report_call
        written = call is not None and call.result is not None and not call.is_error
        words = f"I am a simulated model. {summary(findings)}"
        if written:
            return f"{words} The report is in {REPORT_PATH}."
        reason = first_line(call.result if call else None)
        full = report(findings, self.folder, self.trouble())
        return f"{words} The report could not be written ({reason}), so here it is:\n\n{full}"


def folder_in(request: str) -> str:
    """The folder that a request names, or the folder of the file that it names; else the uploads."""
    found = FOLDER.search(request)
    if found is None:
        return UPLOADS
    path = found[0].rstrip(".")
    parent, _, name = path.rpartition("/")
    return parent if "." in name else path


def short_name(path: str, folder: str) -> str:
    """What a log is called in findings and reports."""
    return path.removeprefix(folder).lstrip("/").replace("`", "'")


def logs_in(listing: str) -> list[str]:
    """The paths of a listing that are logs, in order."""
    paths = {line.strip() for line in listing.splitlines() if line.strip().startswith("/")}
    folders = {path.rpartition("/")[0] for path in paths}
    return sorted(p for p in paths - folders if not p.lower().endswith(NOT_A_LOG))


def next_listing(conversation: Conversation, folder: str, listings: list[Call]) -> ToolCall | None:
    """The shell first, then glob when the shell is not there or refused; again when a summary cut the list."""
    if len(listings) >= MAX_LISTINGS or any(not call.is_error and _is_whole(call) for call in listings):
        return None
    refused = {call.name for call in listings if call.is_error}
    if conversation.has("bash") and "bash" not in refused:
        return ToolCall("bash", {"command": f"{LISTING}{quoted(folder)} -type f"})
    if conversation.has("glob") and "glob" not in refused:
        return ToolCall("glob", {"pattern": "**/*", "path": folder})
    return None


def is_listing(call: Call) -> bool:
    return call.name == "glob" or str(call.input.get("command", "")).startswith(LISTING)


def _is_main_search(call: Call) -> bool:
    asked = call.input.get("pattern") if call.name == "grep" else call.input.get("command")
    return isinstance(asked, str) and rules.SEARCH[:40] in asked


def _is_whole(call: Call) -> bool:
    """Whether a result came back and is still what the tool returned."""
    return call.result is not None and not call.result.endswith(SHORTENED)


def _ranges(hits: list[rules.Hit], frame: rules.Frame) -> list[tuple[int, int]]:
    """Line ranges around the last candidates and above the failure, overlapping ones joined."""
    wanted = [(max(1, hit.line - LINES_BEFORE), hit.line + LINES_AFTER) for hit in hits]
    wanted.append((max(1, frame.end - LINES_BEFORE_END), frame.end + 2))
    joined: list[tuple[int, int]] = []
    for first, last in sorted(wanted):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined[-MAX_RANGES:]


def _lines_of(call: Call) -> dict[int, str]:
    """Lines by number, as far as the call says which lines it returned."""
    result = call.result or ""
    command = str(call.input.get("command", ""))
    if call.name == "grep" or command.startswith("grep "):
        return rules.parse_hits(result)
    first = _first_line_number(call)
    return {first + i: text for i, text in enumerate(result.split("\n"))} if first else {}


def _first_line_number(call: Call) -> int:
    view_range = call.input.get("view_range")
    if isinstance(view_range, list) and view_range and isinstance(view_range[0], int):
        return view_range[0]
    found = re.match(r"sed -n (\d+),", str(call.input.get("command", "")))
    return int(found[1]) if found else 0


def _path_of(call: Call) -> str | None:
    """The log that a search or a range was about."""
    if call.name == "grep":
        path = call.input.get("path")
    elif call.name == "read":
        path = call.input.get("file_path")
    elif call.name == "bash":
        path = call.input.get("command", "")
        path = path if isinstance(path, str) else ""
        found = re.search(r" -- '((?:[^']|'\\'')*)'", path)
        return found[1].replace("'\\''", "'") if found else None
    else:
        return None
    return path if isinstance(path, str) else None
