"""The words for what agents do together: messages, waits, refused delegation, workflow runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from console import formats
from console.story.content import blocks_of, excerpt, text_of
from console.story.words import SESSION, Context, Words, tells
from console.text import one_line

NAMED = 5  # agents in a line, before they are only counted

# Messages between agents


@tells("agent.thread_message_sent")
def _sent(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    to = data.get("to_session_thread_id")
    name = context.agent(to, data.get("to_agent_name"))
    says = {
        "task": f"started {name} and asked",
        "message": f"wrote to {name}",
        "report": f"reported to {name}",
        "failure": f"gave up and told {name}",
    }.get(str(private.get("kind")), f"reported to {name}" if to == context.primary else f"asked {name}")
    tone = "failed" if private.get("kind") == "failure" else ""
    return Words("send", says, excerpt(blocks_of(data)), tone=tone)


@tells("agent.thread_message_received")
def _received(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    sender = context.agent(data.get("from_session_thread_id"), data.get("from_agent_name"))
    kinds = {"task": "was asked by", "report": "got the report of"}
    return Words("receive", f"{kinds.get(str(private.get('kind')), 'heard from')} {sender}", excerpt(blocks_of(data)))


# Beside the wire: what agents do to work together


@tells("daybreak.wait_started")
def _wait(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    ids = data.get("session_thread_ids") or []
    names = [context.agent(thread_id) for thread_id in ids]
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    first = "the first of " if data.get("mode") == "any" and len(names) > 1 else ""
    return Words("session", f"waits for {first}{formats.plural(len(names), 'agent')}:", shown)


def ended_wait(words: Words, result: dict[str, Any]) -> Words:
    """A wait that is over, with what ended it."""
    said = words.says.replace("waits for", "waited for", 1)
    try:
        told = json.loads(text_of(blocks_of(result)))
        working = len(told["working"])
    except (ValueError, KeyError, TypeError):
        return replace(words, says=said, text=f"{words.text}. {one_line(text_of(blocks_of(result)))}")
    ends = ""
    if told.get("timed_out"):
        ends = f". Its time was over; {formats.plural(working, 'agent')} worked on"
    elif told.get("note"):
        ends = ". A message came first" if working else ""
    return replace(words, says=said, text=words.text + ends)


@tells("daybreak.warning")
def _warning(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("error", "warns", one_line(str(data.get("message") or "")), tone="waiting", who=SESSION)


@tells("daybreak.tool_result")
def _team_result(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    said = text_of(blocks_of(data))
    name = context.tool(data.get("tool_use_id"))
    if data.get("is_error"):
        return Words("branch", _REFUSED.get(name, f"could not use {name}"), one_line(said), tone="failed")
    if name == "stop_agent":
        return Words("stop", f"ended {context.agent(json.loads(said)['thread_id'])}")
    return Words("branch", f"used {name}", one_line(said), tone="quiet")


_REFUSED = {
    "spawn_agent": "could not start another agent",
    "send_to_agent": "could not write to an agent",
    "send_to_parent": "could not write to its lead",
    "wait_for_agents": "stopped waiting for agents",
    "stop_agent": "could not end an agent",
    "list_agents": "could not list its agents",
}


# Workflow runs


@tells("workflow_run.created")
def _run_created(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    phases = formats.plural(len(data.get("phases") or []), "phase")
    return Words("branch", f"planned the workflow “{one_line(str(data.get('name', '')), 80)}”", phases)


@tells("workflow_run.status_running")
def _run_running(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("branch", "runs the workflow", tone="quiet")


@tells("workflow_run.status_idle")
def _run_idle(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("branch", "paused the workflow", tone="waiting")


@tells("workflow_run.status_ended")
def _run_ended(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    result = (data.get("result") or {}).get("type")
    ends = {"completed": ("finished the workflow", "done"), "error": ("ended the workflow with an error", "failed")}
    says, tone = ends.get(str(result), ("stopped the workflow", ""))
    return Words("branch", says, tone=tone)


@tells("workflow_run.error")
def _run_error(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    error = data.get("error") or {}
    text = one_line(str(error.get("message") or error.get("type") or ""))
    return Words("error", "met an error in the workflow", text, tone="failed")


@tells("workflow_run.phase_started")
def _phase_started(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("branch", "entered the next phase of the workflow", tone="quiet")


@tells("workflow_run.phase_ended")
def _phase_ended(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("branch", "left a phase of the workflow", tone="quiet")
