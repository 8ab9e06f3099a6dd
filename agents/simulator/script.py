"""`simulated/tools`: the newest user message is a script; one instruction is one step of the model.

    bash: COMMAND                 write: PATH | TEXT          read: PATH [| FIRST-LAST]
    edit: PATH | OLD | NEW        glob: PATTERN [| PATH]      grep: PATTERN [| PATH]
    custom: TOOL {"json": 1}      (any tool by name, the input as JSON; nothing means {})
    parallel:                     (the indented instructions below it go into one answer)
    say: TEXT                     (said together with the next call, or at the end)
    think: TEXT                   (thought before the next call, or at the end)
    spawn: wait: send: stop: list: parent:   (work with other agents, see script_team.py)
    rounds: N                     (the whole message: N answers without tools)

In TEXT, OLD and NEW `\\n`, `\\t` and `\\\\` are a line end, a tab and a backslash. Other lines are ignored; `fault:`
lines belong to faults.py. The last answer lists every call with its error flag and the text of its result, and what
other agents have sent; a script that only says something is answered with just that.
"""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass, field
from typing import Any

from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.script_team import VERBS, BadInstruction, parts_of, resolved, team_call
from agents.simulator.steps import Call

LINE = re.compile(
    r"(?P<nested>\s*-\s+|\s*)"
    rf"(?P<verb>bash|write|read|edit|glob|grep|custom|say|think|parallel|{'|'.join(VERBS)}):[ ]?(?P<rest>.*)",
    re.DOTALL,
)
SEPARATOR = re.compile(r" \| ?")
ESCAPE = re.compile(r"\\([nt\\])")
ESCAPED = {"n": "\n", "t": "\t", "\\": "\\"}
ROUNDS = re.compile(r"^\s*rounds:\s*(\d{1,4})\s*$", re.MULTILINE)
ROUND = re.compile(r"^Round (\d{1,4}) of \d{1,4}\.$", re.MULTILINE)
DEFAULT_ROUNDS = 8
RANGE = re.compile(r"(\d+)\s*-\s*(-?\d+)")
MAX_RESULT_CHARS = 4_000  # of one result in the final report
USAGE = (
    "This is a simulated model that runs scripts; no instruction was found in the message. "
    "Write one per line, for example:\nbash: echo hello\nread: /mnt/session/uploads/notes.txt\nsay: done"
)


@dataclass
class Answer:
    """One step: the calls of one answer and what is said and thought with them."""

    calls: list[ToolCall] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    say: list[str] = field(default_factory=list)
    think: list[str] = field(default_factory=list)


@dataclass
class Script:
    answers: list[Answer] = field(default_factory=list)
    closing: Answer = field(default_factory=Answer)  # what is said and thought at the end
    problems: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        closing = self.closing
        return not (self.answers or self.problems or closing.say or closing.think)


def parse_script(text: str) -> Script:
    """Never raises: an instruction that cannot be read becomes a problem that the report names."""
    script = Script()
    waiting = Answer()  # collects what is said and thought until the next call
    group: Answer | None = None
    for number, line in enumerate(textwrap.dedent(text).splitlines(), start=1):
        found = LINE.fullmatch(line)
        if found is None:
            continue
        verb, rest = found["verb"], found["rest"]
        if not found["nested"]:
            group = None
        if verb == "parallel":
            group, waiting = waiting, Answer()
            script.answers.append(group)
            continue
        target = waiting if group is None else group
        if verb in ("say", "think"):
            (target.say if verb == "say" else target.think).append(rest)
            continue
        try:
            target.calls.append(_call(verb, rest))
        except BadInstruction as exc:
            script.problems.append(f"line {number}: {exc}")
            continue
        target.labels.append(f"{verb}: {rest}".strip())
        if group is None:
            script.answers.append(waiting)
            waiting = Answer()
    script.answers = [answer for answer in script.answers if answer.calls]
    script.closing = waiting
    return script


def run_script(conversation: Conversation) -> Reply:
    """The policy: step n of the turn is instruction n, the last step is the report."""
    script = parse_script(conversation.request)
    if script.is_empty:
        return run_rounds(conversation) if ROUNDS.search(conversation.request) else Reply(text=USAGE)
    done = len(conversation.steps)
    if done < len(script.answers):
        answer = script.answers[done]
        return Reply(
            text="\n".join(answer.say),
            thinking="\n".join(answer.think),
            calls=tuple(resolved(call, conversation) for call in answer.calls),
        )
    said = "\n".join(script.closing.say)
    report = _report(script, conversation) if script.answers or script.problems or conversation.mail else ""
    return Reply(
        text="\n".join(part for part in (report, said) if part) or "(nothing to say)",
        thinking="\n".join(script.closing.think),
    )


def run_rounds(conversation: Conversation) -> Reply:
    """Answers as often as the message says, each time asking to be asked again; the last one ends the turn."""
    found = ROUNDS.search(conversation.request)
    wanted = max(1, int(found[1])) if found else DEFAULT_ROUNDS
    number = len(ROUND.findall(conversation.said)) + 1  # answers in a row may come back as one
    text = f"Round {number} of {wanted}."
    if number < wanted:
        return Reply(text=text, goes_on=True)
    return Reply(text=f"{text}\nThis is a simulated model that answers in rounds.")


def _report(script: Script, conversation: Conversation) -> str:
    labels = [label for answer in script.answers for label in answer.labels]
    calls = conversation.calls[: len(labels)]
    failed = sum(call.is_error for call in calls)
    lines = [f"Simulated model: {len(calls)} calls, {failed} with an error."]
    for number, (label, call) in enumerate(zip(labels, calls, strict=False), start=1):
        lines.append(f"{number}. {label} -> {_outcome(call)}")
        lines += [f"   {line}" for line in _shown(call.result or "").splitlines()]
    lines += [f"Not understood, {problem}" for problem in script.problems]
    for mail in conversation.mail:
        lines.append(f"Message from {mail.sender}:")
        lines += [f"   {line}" for line in _shown(mail.text).splitlines()]
    return "\n".join(lines)


def _outcome(call: Call) -> str:
    if call.result is None:
        return "no result"
    return "error" if call.is_error else "ok"


def _shown(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARS:
        return text
    return text[:MAX_RESULT_CHARS] + f"\n[{len(text) - MAX_RESULT_CHARS} more characters]"


def _call(verb: str, rest: str) -> ToolCall:
    if verb == "bash":
        return ToolCall("bash", {"command": _required(rest, "bash: COMMAND")})
    if verb == "custom":
        return _custom(rest)
    if verb in VERBS:
        return team_call(verb, rest, unescape)
    parts = SEPARATOR.split(rest, maxsplit=1)
    if verb == "write":
        path, text = parts_of(rest, 2, "write: PATH | TEXT")
        return ToolCall("write", {"file_path": path, "content": unescape(text)})
    if verb == "edit":
        path, old, new = parts_of(rest, 3, "edit: PATH | OLD | NEW")
        return ToolCall("edit", {"file_path": path, "old_string": unescape(old), "new_string": unescape(new)})
    if verb == "read":
        return _read(parts)
    pattern = _required(parts[0], f"{verb}: PATTERN | PATH")
    path = parts[1].strip() if len(parts) > 1 else ""
    return ToolCall(verb, {"pattern": pattern, **({"path": path} if path else {})})


def _read(parts: list[str]) -> ToolCall:
    tool_input: dict[str, Any] = {"file_path": _required(parts[0].strip(), "read: PATH")}
    if len(parts) > 1:
        found = RANGE.fullmatch(parts[1].strip())
        if found is None:
            raise BadInstruction("a range is FIRST-LAST, for example read: notes.txt | 1-20")
        tool_input["view_range"] = [int(found[1]), int(found[2])]
    return ToolCall("read", tool_input)


def _custom(rest: str) -> ToolCall:
    name, _, given = rest.strip().partition(" ")
    if not name:
        raise BadInstruction('write it as custom: TOOL {"json": 1}')
    try:
        tool_input = json.loads(given) if given.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise BadInstruction(f"the input of {name} is not JSON ({exc})") from exc
    if not isinstance(tool_input, dict):
        raise BadInstruction(f"the input of {name} must be a JSON object")
    return ToolCall(name, tool_input)


def _required(text: str, form: str) -> str:
    if not text.strip():
        raise BadInstruction(f"write it as {form}")
    return text


def unescape(text: str) -> str:
    return ESCAPE.sub(lambda found: ESCAPED[found[1]], text)
