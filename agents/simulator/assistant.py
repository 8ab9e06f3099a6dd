"""`simulated/default`: honest about itself in a chat; asked for work, it plans, reads the uploaded files and reports.

With a tool to list and one to write, the work is: a plan in /workspace/plan.md, a list of the uploaded files, the first
lines of each, and /mnt/session/outputs/report.md with what was really read. Errors of tools are named in the report.
Working for a lead it makes no plan, and writes the part that its task names; with none named, its last message is the
report. What it does as a lead is in drafting.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.steps import Call
from agents.simulator.team import first_line, quoted

UPLOADS = "/mnt/session/uploads"
PLAN_PATH = "/workspace/plan.md"
REPORT_PATH = "/mnt/session/outputs/report.md"
MAX_FILES = 8
FILES_PER_ANSWER = 4
MAX_LINES = 200
PART = re.compile(r"/workspace/parts/[\w.-]+\.md\b")  # how a lead names the file that it wants

WORK = re.compile(
    r"\b(analy[sz]e|build|check|compare|create|document|draft|find|fix|investigate|list|look|make|plan|prepare|"
    r"produce|read|report|research|review|summari[sz]e|test|work on|write)\b",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+|;\s+")


def assist(conversation: Conversation) -> Reply:
    if not is_work(conversation):
        return _chat(conversation)
    work = Work(conversation)
    if work.plan is None and not conversation.is_child:
        return work.write_plan()
    if work.listing is None:
        return work.list_files()
    if unread := work.unread():
        return work.read(unread)
    if work.report_path is None:
        return Reply(text=work.report_text())
    if work.report is None:
        return work.write_report()
    return work.finish()


def is_work(conversation: Conversation) -> bool:
    """Whether something is to be done, with tools that can do it."""
    if conversation.steps:
        return True  # begun already
    return (
        conversation.has("write")
        and (conversation.has("glob") or conversation.has("bash"))
        and WORK.search(conversation.request) is not None
    )


def _chat(conversation: Conversation) -> Reply:
    received = " ".join(conversation.request.split())
    shown = received if len(received) <= 200 else received[:199] + "…"
    tools = ", ".join(sorted(conversation.tools or {})) or "none"
    return Reply(
        thinking="A plain message: there is nothing to do with tools, so I say what I am and what I received.",
        text=(
            "This is a simulated model that is part of Daybreak: it follows fixed rules and understands no language. "
            f'I received {len(conversation.request)} characters: "{shown}". '
            f"Tools I was given: {tools}. "
            'Asked to do work (for example "summarise the uploaded files") and given file tools, I would write a '
            "plan, read the uploaded files and write a report. For real answers set ANTHROPIC_API_KEY and choose "
            "a vendor's model."
        ),
    )


@dataclass
class Work:
    """Where the work stands, read from the calls of this turn."""

    conversation: Conversation

    def __post_init__(self) -> None:
        calls = self.conversation.calls
        self.plan = _find(calls, "write", "file_path", PLAN_PATH)
        self.report_path: str | None = REPORT_PATH
        if self.conversation.is_child:
            part = PART.search(self.conversation.request)
            self.report_path = part[0] if part else None
        self.report = _find(calls, "write", "file_path", self.report_path or "")
        self.listing = next((call for call in calls if _is_listing(call)), None)
        self.reads = [call for call in calls if call.name in ("read", "bash") and call is not self.listing]

    def write_plan(self) -> Reply:
        steps = [part.strip() for part in SENTENCE.split(self.conversation.request) if part.strip()]
        lines = ["# Plan", "", "Written by a simulated model from the words of the task.", ""]
        lines += [f"{number}. {step}" for number, step in enumerate(steps[:20], start=1)]
        lines += ["", "How: list the uploaded files, read them, write the report.", ""]
        return Reply(
            thinking="This asks for work and I have file tools. First a plan, then I look at what was uploaded.",
            text="I am a simulated model. I begin with a plan and then look at the uploaded files.",
            calls=(ToolCall("write", {"file_path": PLAN_PATH, "content": "\n".join(lines)}),),
        )

    def list_files(self) -> Reply:
        if self.conversation.has("glob"):
            call = ToolCall("glob", {"pattern": "**/*", "path": UPLOADS})
        else:
            call = ToolCall("bash", {"command": f"find {UPLOADS} -type f"})
        return Reply(calls=(call,))

    def files(self) -> list[str]:
        call = self.listing
        if call is None or call.is_error:
            return []
        lines = (line.strip() for line in (call.result or "").splitlines())
        paths = sorted({line for line in lines if line.startswith("/")})
        folders = {path.rpartition("/")[0] for path in paths}
        return [path for path in paths if path not in folders][:MAX_FILES]

    def read_of(self, path: str) -> Call | None:
        """The call that read a file."""
        return next((call for call in self.reads if _path_of(call) == path), None)

    def unread(self) -> list[str]:
        if not self.conversation.has("read") and not self.conversation.has("bash"):
            return []
        asked = {_path_of(call) for call in self.reads}
        return [path for path in self.files() if path not in asked][:FILES_PER_ANSWER]

    def read(self, paths: list[str]) -> Reply:
        if self.conversation.has("read"):
            calls = [ToolCall("read", {"file_path": path, "view_range": [1, MAX_LINES]}) for path in paths]
        else:
            calls = [ToolCall("bash", {"command": f"head -n {MAX_LINES} -- {quoted(path)}"}) for path in paths]
        return Reply(text=f"I read {len(paths)} of the uploaded files.", calls=tuple(calls))

    def write_report(self) -> Reply:
        return Reply(
            thinking="Everything is read. I write down what I saw, nothing else.",
            calls=(ToolCall("write", {"file_path": self.report_path, "content": self.report_text()}),),
        )

    def report_text(self) -> str:
        task = " ".join(self.conversation.request.split())
        lines = ["# Report", "", "Written by a simulated model: it lists what it read and draws no conclusions.", ""]
        lines += [f"Task: {task}", "", "## Files read", ""]
        listing = self.listing
        if listing is not None and listing.is_error:
            lines.append(f"The files could not be listed: {first_line(listing.result)}")
        elif not self.files():
            lines.append("No files were uploaded.")
        for path in self.files():
            call = self.read_of(path)
            lines.append(f"- `{path}`: {_about(call)}")
        return "\n".join([*lines, ""])

    def finish(self) -> Reply:
        read = sum(not call.is_error for call in self.reads)
        parts = [f"I am a simulated model. I read {read} of {len(self.files())} uploaded files."]
        written = [] if self.conversation.is_child else [(PLAN_PATH, self.plan)]
        for path, call in (*written, (self.report_path, self.report)):
            if call is None or call.result is None or call.is_error:
                reason = first_line(call.result if call else None)
                parts.append(f"{path} could not be written: {reason}")
            else:
                parts.append(f"{path} is written.")
        return Reply(text=" ".join(parts))


def _find(calls: list[Call], name: str, key: str, value: str) -> Call | None:
    return next((call for call in calls if call.name == name and call.input.get(key) == value), None)


def _is_listing(call: Call) -> bool:
    if call.name == "glob":
        return True
    return call.name == "bash" and str(call.input.get("command", "")).startswith("find ")


def _path_of(call: Call) -> str:
    if call.name == "read":
        return str(call.input.get("file_path", ""))
    command = str(call.input.get("command", ""))
    return command.partition(" -- ")[2].strip("'")


def _about(call: Call | None) -> str:
    if call is None or call.result is None:
        return "not read"
    if call.is_error:
        return f"could not be read: {first_line(call.result)}"
    lines = call.result.splitlines()
    if not lines:
        return "empty"
    more = " or more" if len(lines) >= MAX_LINES else ""
    words = sum(len(line.split()) for line in lines)
    first = next((line.strip() for line in lines if line.strip()), "")
    return f'{len(lines)}{more} lines, {words} words, begins with "{first[:120]}"'
