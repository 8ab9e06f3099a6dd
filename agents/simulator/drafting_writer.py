"""`simulated/drafting-writer`: writes one section of a document from the lines of the sources that are about it.

A section is what stands below a heading of the same name; without one, the lines that have a word of its title. The
first version is short. Asked for more, it writes down every line, from what it read before: a follow-up names neither
the section nor its file, so they are known from the thread's own history.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from agents.simulator.assistant import PART, Work
from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.drafting import SECTION
from agents.simulator.team import first_line

FIRST_LINES = 2
MIN_WORD_CHARS = 4
HEADING = re.compile(r"#+\s+(?P<title>.+)")


@dataclass(frozen=True)
class Statement:
    source: str
    line: int
    text: str


def write_section(conversation: Conversation) -> Reply:
    brief = conversation.request if PART.search(conversation.request) else conversation.task
    title, path = SECTION.search(brief), PART.search(brief)
    if title is None or path is None or not conversation.has("write"):
        return Reply(
            text="This is a simulated model that writes one section of a document. I need the tool write, and a task "
            'such as: Write the section "Impact" of the report to /workspace/parts/impact.md.'
        )
    known = Work(replace(conversation, steps=(*conversation.earlier, *conversation.steps)))
    if known.listing is None:
        return known.list_files()
    if unread := known.unread():
        return known.read(unread)
    wants_all = brief is not conversation.request
    chosen = statements(known, title["title"], wants_all=wants_all)
    made = [call for call in conversation.calls if call.name == "write" and call.input.get("file_path") == path[0]]
    if not made:
        content = section(title["title"], chosen)
        return Reply(calls=(ToolCall("write", {"file_path": path[0], "content": content}),))
    if made[-1].result is None or made[-1].is_error:
        return Reply(text=f"I am a simulated model. {path[0]} could not be written: {first_line(made[-1].result)}.")
    sources = sorted({statement.source for statement in chosen})
    return Reply(
        text=f'I am a simulated model. The section "{title["title"]}" is in {path[0]}: {len(chosen)} lines from '
        f"{', '.join(sources) or 'no source'}."
    )


def section(title: str, chosen: list[Statement]) -> str:
    lines = [f"- {statement.text} ({statement.source}:{statement.line})" for statement in chosen]
    return "\n".join([f"## {title}", "", *(lines or ["No source says anything about this."]), ""])


def statements(known: Work, title: str, *, wants_all: bool) -> list[Statement]:
    """Lines of the sources about a title: those below its heading first, then those that only mention it."""
    below, mentioned = [], []
    for source, lines in _sources(known):
        for statement, heading in _lines_with_heading(source, lines):
            if heading.casefold() == title.casefold():
                below.append(statement)
            elif _mentions(statement.text, title):
                mentioned.append(statement)
    return [*below, *mentioned] if wants_all else (below or mentioned)[:FIRST_LINES]


def _sources(known: Work) -> Iterator[tuple[str, list[str]]]:
    for path in known.files():
        call = known.read_of(path)
        if call is not None and call.result is not None and not call.is_error:
            yield path.rpartition("/")[2], call.result.splitlines()


def _lines_with_heading(source: str, lines: list[str]) -> Iterator[tuple[Statement, str]]:
    heading = ""
    for number, line in enumerate(lines, start=1):
        if found := HEADING.fullmatch(line.strip()):
            heading = found["title"].strip()
        elif text := line.strip().removeprefix("- "):
            yield Statement(source, number, text), heading


def _mentions(text: str, title: str) -> bool:
    words = [word for word in re.findall(r"\w+", title.casefold()) if len(word) >= MIN_WORD_CHARS]
    return any(re.search(rf"\b{re.escape(word)}", text.casefold()) for word in words)
