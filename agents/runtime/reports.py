"""What a child tells its lead when its turn ends."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any

from agents.errors import RequestCancelled
from agents.models import Thread, ToolCall
from agents.providers.base import Answer
from agents.runtime import limits
from agents.runtime.attempts import Attempt
from agents.runtime.leases import HOST, Run
from agents.runtime.toolset import has_sandbox_tools
from agents.sandbox import client as sandbox
from agents.services import mail, status, threads
from agents.services.log import Log, clean
from agents.services.turns import start_if_resting

logger = logging.getLogger(__name__)

FOLDER = "/workspace/reports"
NOTHING_SAID = "(The agent ended its turn without a message.)"
UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


def store_long(run: Run, attempt: Attempt, answer: Answer) -> str | None:
    """Put a report that is too long to be delivered whole into a file that its lead can read; the file's path.

    Written before the report is: a worker that dies in between writes the same bytes again.
    """
    thread = run.thread
    if thread is None or thread.is_primary or any(block["type"] == "tool_use" for block in answer.content):
        return None
    text = _text(answer)
    if len(text) <= limits.REPORT_CHARS or not has_sandbox_tools(run.workplace.session.agent_snapshot):
        return None
    if run.workplace.session.sandbox_host not in ("", HOST):
        return None  # the files are on another host
    name = UNSAFE.sub("-", thread.agent_name).strip("-").lower()[:60] or "agent"
    told_apart = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:6]  # a turn may have several reports
    path = f"{FOLDER}/{name}-{thread.ordinal}-{thread.turn_no}-{told_apart}.md"
    exec_id = f"report-{thread.public_id}-{attempt.step.no}"
    try:
        run.workplace.start_sandbox()
        outcome = sandbox.execute(
            run.workplace.spec,
            exec_id=exec_id,
            thread=thread.public_id,
            tool="write",
            input={"file_path": path, "content": text},
            cancellation=run.cancellation,
        )
        sandbox.acknowledge(run.workplace.spec, exec_id)
    except (sandbox.SandboxError, RequestCancelled) as error:
        logger.warning("a long report was not stored thread=%s: %s", thread.public_id, error)
        return None
    return None if outcome.is_error else path


def end_turn(log: Log, child: Thread, answer: Answer, attempt: Attempt) -> None:
    """A child's turn is over: its last message goes to the lead, whose turn it may start."""
    if answer.stop_reason == "refusal":
        explanation = (answer.stop_details or {}).get("explanation") or "It gave no reason."
        text, kind, reason = f"This agent refused the task. {explanation}", mail.FAILURE, {"type": "refusal"}
    else:
        text, kind, reason = _delivered(_text(answer), attempt.report_path), mail.REPORT, {"type": "end_turn"}
    came = None
    if text.strip() or not _has_written_home(log, child):
        content: list[dict[str, Any]] = [{"type": "text", "text": text.strip() and text or NOTHING_SAID}]
        came = threads.report(log, child, clean(content), kind=kind, cause=attempt.start)
    status.set_thread_idle(log, child, reason, cause=attempt.start)
    threads.after_child(log, came)


def hand_in(log: Log, child: Thread, answer: Answer, attempt: Attempt) -> None:
    """Report what a child has to say when it goes on at once, because its lead has written to it meanwhile."""
    text = _delivered(_text(answer), attempt.report_path)
    if text.strip():
        came = threads.report(
            log, child, clean([{"type": "text", "text": text}]), kind=mail.REPORT, cause=attempt.start
        )
        start_if_resting(log, log.primary(), cause=came)


def _delivered(text: str, stored: str | None) -> str:
    if len(text) <= limits.REPORT_CHARS:
        return text
    head = text[: limits.REPORT_HEAD_CHARS]
    head = head[: head.rfind("\n") if "\n" in head[limits.REPORT_HEAD_CHARS // 2 :] else None]
    if stored is None:
        return f"{head}\n\n[The report has {len(text):,} characters. This is its beginning; ask the agent for more.]"
    return f"{head}\n\n[The report has {len(text):,} characters. This is its beginning; all of it is in {stored}]"


def _text(answer: Answer) -> str:
    return "\n\n".join(block["text"] for block in answer.content if block["type"] == "text")


def _has_written_home(log: Log, child: Thread) -> bool:
    """Whether it has sent a message to its lead in this turn."""
    calls = ToolCall.objects.filter(thread=child, turn_no=child.turn_no, name="send_to_parent", is_error=False)
    return calls.exists()
