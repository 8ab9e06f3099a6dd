"""One Claude Code session, told in our events. Pure: lines in, an `ImportedSession` out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from agents.ingestion.blocks import plain_text
from agents.ingestion.claude_delegation import Delegations
from agents.ingestion.claude_events import SOURCE_NAME, ThreadWriter
from agents.ingestion.claude_lines import Line, identify, is_message, short_id, text_of
from agents.ingestion.model import (
    CLAUDE_CODE,
    PRIMARY,
    ImportedEvent,
    ImportedSession,
    ImportedThread,
    ImportReport,
)
from agents.ingestion.ordering import merge_threads, parents_first, with_inserted, with_unique_ids

MAX_TITLE = 120


def convert(
    session_id: str,
    parsed: Iterable[tuple[dict[str, Any], bool]],
    *,
    titles: dict[str, str],
    metas: dict[str, dict[str, Any]],
    report: ImportReport,
) -> ImportedSession:
    """Tell a session in our events.

    `parsed` gives the session's lines (with the flag that text in them was sanitised), its own file first.
    `titles` maps the id of a conversation's last line to the title Claude Code gave it, `metas` a sub-agent's id to
    what its `.meta.json` says.
    """
    lines = identify(parsed, report)
    threads: dict[str, list[Line]] = {PRIMARY: []}
    for line in lines:
        threads.setdefault(line.thread, []).append(line)
    delegations = Delegations(lines, metas)
    for agent in delegations.agents():
        threads.setdefault(agent, [])
    logs = _write(threads, delegations, report)
    events = with_unique_ids(merge_threads(list(logs.values())))
    return ImportedSession(
        external_id=short_id(session_id),
        format=CLAUDE_CODE,
        source_name=SOURCE_NAME,
        title=_title(session_id, [*threads[PRIMARY], *lines], titles),
        threads=[_thread(key, threads[key], delegations) for key in _by_creation(threads, events)],
        events=events,
        annotations=[],
        has_times=any(event.at for event in events),
        metadata=_metadata(lines),
        notes=_notes(threads, delegations),
    )


def _write(
    threads: dict[str, list[Line]], delegations: Delegations, report: ImportReport
) -> dict[str, list[ImportedEvent]]:
    """The log of every thread. What one thread's lines tell about another is put in its place by time."""
    logs: dict[str, list[ImportedEvent]] = {key: [] for key in threads}
    elsewhere: dict[str, list[ImportedEvent]] = defaultdict(list)
    requests: dict[str, str] = {}
    for key, lines in threads.items():
        ordered = parents_first(lines, lambda line: line.uuid, lambda line: line.parent)
        writer = ThreadWriter(key, ordered, delegations, requests, report)
        logs[key] = writer.write()
        for other, event in writer.elsewhere:
            elsewhere[other].append(event)
        if key != PRIMARY and delegations.starter(key) is None:
            elsewhere[PRIMARY].append(_found(key, logs[key], delegations))
    return {key: with_inserted(log, elsewhere[key]) for key, log in logs.items()}


def _found(key: str, log: Sequence[ImportedEvent], delegations: Delegations) -> ImportedEvent:
    """A sub-agent that no call in the log started: all we know is that it was there, from its first line on."""
    return ImportedEvent(
        external_id=f"{key}:created",
        thread=PRIMARY,
        type="session.thread_created",
        payload={"agent_name": delegations.name_of(key), "session_thread_id": key},
        private={"starter": "not in the log"},
        at=next((event.at for event in log if event.at), None),
    )


def _by_creation(threads: Iterable[str], events: Sequence[ImportedEvent]) -> list[str]:
    """The primary thread, then the others in the order in which the log creates them."""
    created = [e.payload["session_thread_id"] for e in events if e.type == "session.thread_created"]
    return list(dict.fromkeys([PRIMARY, *created, *threads]))


def _thread(key: str, lines: Sequence[Line], delegations: Delegations) -> ImportedThread:
    models = (text_of(line.message, "model") for line in lines if line.type == "assistant")
    model = next((m for m in models if m and not m.startswith("<")), None)
    if key == PRIMARY:
        return ImportedThread(PRIMARY, SOURCE_NAME, None, model)
    return ImportedThread(key, delegations.name_of(key), delegations.parent_of(key), model)


def _title(session_id: str, lines: Sequence[Line], titles: dict[str, str]) -> str:
    """The title Claude Code gave, else the beginning of what was asked first."""
    for line in lines:
        if line.uuid and (title := titles.get(line.uuid)):
            return title[:MAX_TITLE]
    for line in lines:
        if line.type == "user" and is_message(line) and line.data.get("isMeta") is not True:
            for text in (plain_text(block).strip() for block in line.blocks):
                if text and not text.startswith(("<", "[Request interrupted", "Caveat:")):
                    return text.splitlines()[0][:MAX_TITLE]
    return f"{SOURCE_NAME} session {session_id[:8]}"


def _metadata(lines: Sequence[Line]) -> dict[str, str]:
    wanted = {"cwd": "cwd", "gitBranch": "git_branch", "version": "claude_code_version"}
    found: dict[str, str] = {}
    for line in lines:
        for key, name in wanted.items():
            if name not in found and (value := text_of(line.data, key)):
                found[name] = value[:512]
    return found


def _notes(threads: dict[str, list[Line]], delegations: Delegations) -> list[str]:
    notes = []
    if not threads[PRIMARY]:
        notes.append("The main conversation is not in the source; only its sub-agents are.")
    orphans = [k for k in threads if k != PRIMARY and delegations.starter(k) is None]
    if orphans and threads[PRIMARY]:
        notes.append(f"No call in the log started these sub-agents: {', '.join(orphans)}.")
    silent = [k for k in threads if k != PRIMARY and not threads[k]]
    if silent:
        notes.append(f"The source has no lines of these sub-agents: {', '.join(silent)}.")
    return notes
