"""Logs of agents talking to each other, each message with its speaker: the shape of Who&When.

The speaker of a message is its `name`, else its `role` up to " (". Every speaker has a thread. A role such as
"Orchestrator (-> WebSurfer)" says who was addressed; where a log does not say so, no arrow is drawn.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agents.ingestion.blocks import as_text, content_blocks, plain_text, text_blocks
from agents.ingestion.chat_log import ChatLog, as_metadata, digest, source_file
from agents.ingestion.model import ImportedAnnotation, ImportedSession

SOURCE_NAME = "Who&When"
AUTHOR = "Who&When annotators"
PEOPLE = ("human", "user")
_LABELLED = re.compile(r"(?P<speaker>.*?) \((?P<label>.*)\)", re.DOTALL)
_METADATA = {
    "question_ID": "question_id",
    "level": "level",
    "ground_truth": "ground_truth",
    "is_correct": "is_correct",
    "is_corrected": "is_corrected",
    "mistake_agent": "mistake_agent",
    "mistake_step": "mistake_step",
}


def looks_like(value: dict[str, Any]) -> bool:
    """Whether it is a conversation that names its speakers, or that people have labelled."""
    history = value.get("history")
    if not isinstance(history, list) or not history or not all(isinstance(m, dict) for m in history):
        return False
    return "mistake_step" in value or any(m.get("name") or _LABELLED.fullmatch(as_text(m.get("role"))) for m in history)


def convert(value: dict[str, Any], path: Path, *, sanitised: bool) -> ImportedSession:
    log = ChatLog(sanitised=sanitised)
    prompts = value.get("system_prompt")
    speakers = [speaker_of(message) for message in value["history"]]
    prompts = dict(prompts) if isinstance(prompts, dict) else {}
    for step, message in enumerate(value["history"]):
        prompt = prompts.pop(speakers[step], None)  # told once, with the first thing the speaker says
        _add_message(log, step, message, {"system_prompt": prompt} if prompt else {})
    _add_label(log, value, speakers)
    title = as_text(value.get("question")) or plain_text(value["history"][0].get("content"))
    metadata = {**as_metadata(value, _METADATA), "source_file": source_file(path)}
    return log.session(digest(value), SOURCE_NAME, title, metadata)


def speaker_of(message: dict[str, Any]) -> str:
    name = message.get("name")
    if isinstance(name, str) and name:
        return name
    return as_text(message.get("role")).split(" (")[0]


def step_id(step: int) -> str:
    return f"step-{step}"


def _add_message(log: ChatLog, step: int, message: dict[str, Any], private: dict[str, Any]) -> None:
    event_id = step_id(step)
    speaker = speaker_of(message)
    thread = log.thread(speaker, event_id)
    content = message.get("content")
    role = as_text(message.get("role"))
    label = match["label"] if (match := _LABELLED.fullmatch(role)) else None
    private = {"step": step, "role": role, **private}
    if speaker.lower() in PEOPLE:
        primary = next(iter(log.threads))
        payload = {"content": content_blocks(content)}
        log.add(primary, event_id, "user.message", payload, {**private, "speaker": speaker})
    elif label and label.startswith("-> ") and label[3:].strip() not in ("", speaker):
        _add_addressed(log, event_id, thread, label[3:].strip(), content, private)
    else:
        private |= {"label": label} if label else {}
        log.add(thread, event_id, "agent.message", {"content": text_blocks(content)}, private)


def _add_addressed(
    log: ChatLog, event_id: str, sender: str, addressee: str, content: Any, private: dict[str, Any]
) -> None:
    receiver = log.thread(addressee, event_id)
    primary = next(iter(log.threads))
    joined = {"message_id": f"{event_id}:message"}
    sent: dict[str, Any] = {"content": content_blocks(content), "to_session_thread_id": receiver}
    if receiver != primary:
        sent["to_agent_name"] = log.threads[receiver].agent_name
    log.add(sender, event_id, "agent.thread_message_sent", sent, {**private, **joined})
    received: dict[str, Any] = {"content": sent["content"], "from_session_thread_id": sender}
    if sender != primary:
        received["from_agent_name"] = log.threads[sender].agent_name
    kind = "agent.thread_message_received"
    log.add(receiver, f"{event_id}:received", kind, received, joined, event_id)


def _add_label(log: ChatLog, value: dict[str, Any], speakers: list[str]) -> None:
    """The people's label: who made the deciding mistake, in which step (from 0), and why they think so."""
    if value.get("mistake_step") is None:
        return
    agent = as_text(value.get("mistake_agent"))
    text = as_text(value.get("mistake_reason"))
    try:
        step = int(as_text(value["mistake_step"]))
    except ValueError:
        step = -1
    if not 0 <= step < len(speakers):
        given = as_text(value["mistake_step"])[:100]
        log.notes.append(f"The label names step {given}, which the log does not have: {text}")
        return
    if agent and agent != speakers[step]:
        note = f"The label names {agent}, but step {step} was spoken by {speakers[step]}."
        log.notes.append(note)
        text = f"{text}\n\n{note}" if text else note
    category = as_text(value.get("mistake_type") or value.get("labels"))[:100] or None
    log.annotations.append(ImportedAnnotation(step_id(step), "failure", category, text, AUTHOR))
