"""Carrying out the calls with which agents work together.

Each is a few rows in the transaction that also writes its result: it happens exactly once, whatever becomes of the
worker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents.errors import DaybreakError, Invalid
from agents.models import Thread, ToolCall
from agents.providers import catalog
from agents.runtime import limits, team_tools
from agents.services import budgets, log_sql, mail, rosters, status, threads, waits
from agents.services.log import Log, clean
from agents.services.turns import start_if_resting

WARNING = "daybreak.warning"


@dataclass(frozen=True)
class Done:
    """The result of a call. `malformed` ones can be put right by the model, but only so often.

    `limit` names the limit at which not only the call is refused but the turn ends.
    """

    content: list[dict[str, Any]]
    is_error: bool = False
    malformed: bool = False
    limit: str = ""


def perform(log: Log, thread: Thread, call: ToolCall) -> Done | None:
    """Carry out one call; None when it is a wait that has not ended."""
    name = call.name
    value = {key: given for key, given in call.use_event.data["input"].items() if given is not None}
    if problem := team_tools.problem_with(name, value):
        return _refused(problem)
    if name == "wait_for_agents":
        return _wait_for_agents(log, thread, call, value)
    return _PERFORM[name](log, thread, call, value)


def _spawn_agent(log: Log, lead: Thread, call: ToolCall, value: dict[str, Any]) -> Done:
    places = threads.free_places(log)
    if places <= 0:
        return _refused(
            f"There are {threads.MAX_CHILDREN} agents already, which is the most at a time; idle ones count. "
            "Give one of them the task with send_to_agent, or end one with stop_agent: its place is free when it has "
            "ended, which wait_for_agents tells."
        )
    if log.session.thread_count > threads.MAX_THREADS_EVER:
        return _refused(f"This session has started {threads.MAX_THREADS_EVER} agents, which is the most. Go on alone.")
    try:
        name, snapshot = _member(log, lead, value["agent"])
    except DaybreakError as error:
        return _refused(error.message)
    content = [{"type": "text", "text": _task(value)}]
    if log.session.simulated and not catalog.lookup(snapshot["model"]["id"]).simulated:
        log.session.simulated = False  # not everything in it is, from here on
        log.touch_session("simulated")
    child = threads.spawn(log, lead, call, name=name, snapshot=snapshot, content=content)
    return _result({"thread_id": child.public_id, "agent": name})


def _member(log: Log, lead: Thread, asked: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and snapshot of the agent that is asked for. Raises an error that the model can act on."""
    roster = rosters.roster_of(lead.agent_snapshot)
    if roster is None:
        raise Invalid("This agent has no other agents.")
    if isinstance(asked, str):
        if asked in roster.members:
            return asked, roster.members[asked]
        names = ", ".join(roster.members) or "none"
        raise Invalid(f"There is no agent named {asked[:200]!r}. The agents are: {names}.")
    if not roster.inline_allowed:
        raise Invalid("Agents of your own are not allowed here. Name one of: " + ", ".join(roster.members))
    snapshot = rosters.inline_member(lead.agent_snapshot, asked)
    budgets.check_budgetable(log.session, snapshot["model"]["id"])
    return snapshot["name"], snapshot


def _task(value: dict[str, Any]) -> str:
    files = value.get("files") or []
    return value["task"] + ("\n\nFiles:\n" + "\n".join(f"- {path}" for path in files) if files else "")


def _child(log: Log, value: dict[str, Any]) -> Thread | Done:
    """The child that a call names, or why it cannot be talked to."""
    child = log.find_thread(value["thread_id"])
    if child is None or child.is_primary:
        return _refused(f"You have started no agent with the thread id {value['thread_id'][:100]!r}. See list_agents.")
    if child.status == Thread.Status.TERMINATED or child.closing:
        return _refused(f"The thread {child.public_id} of {child.agent_name} has ended. Start a new one.")
    return child


def _send_to_agent(log: Log, lead: Thread, call: ToolCall, value: dict[str, Any]) -> Done:
    child = _child(log, value)
    if isinstance(child, Done):
        return child
    if problem := _idle_talk(log, lead, child):
        return _refused(problem, limit=problem)
    content = [{"type": "text", "text": value["message"]}]
    came = mail.send(log, lead, child, content, kind=mail.MESSAGE_KIND, cause=call.use_event)
    start_if_resting(log, child, cause=came)
    return _result({"delivered": True, "thread_id": child.public_id})


def _send_to_parent(log: Log, child: Thread, call: ToolCall, value: dict[str, Any]) -> Done:
    lead = log.primary()
    if problem := _idle_talk(log, lead, child):
        return _refused(problem, limit=problem)
    content = [{"type": "text", "text": value["message"]}]
    came = mail.send(log, child, lead, content, kind=mail.MESSAGE_KIND, cause=call.use_event)
    start_if_resting(log, lead, cause=came)
    waits.end_if_over(log)
    return _result({"delivered": True})


def _list_agents(log: Log, lead: Thread, call: ToolCall, value: dict[str, Any]) -> Done:
    roster = rosters.roster_of(lead.agent_snapshot)
    members = roster.members if roster else {}
    agents = [{"name": name, "description": member.get("description")} for name, member in members.items()]
    children = [child.wire() for child in waits.children(log)]
    return _result({"agents": agents, "threads": children, "free_places": max(0, threads.free_places(log))})


def _stop_agent(log: Log, lead: Thread, call: ToolCall, value: dict[str, Any]) -> Done:
    child = _child(log, value)
    if isinstance(child, Done):
        return child
    threads.stop(log, child, cause=call.use_event)
    return _result({"stopped": True, "thread_id": child.public_id})


def _wait_for_agents(log: Log, lead: Thread, call: ToolCall, value: dict[str, Any]) -> Done | None:
    """Begin a wait, or look whether one that was begun is over."""
    if call.state == ToolCall.State.RUNNING:
        wait = waits.current(log, lead)
    else:
        children = waits.children(log)
        ids = value.get("thread_ids") or [child.thread_id for child in children if not child.is_finished]
        unknown = sorted(set(ids) - {child.thread_id for child in children})
        if unknown:
            return _refused(f"You have started no agent with the thread id {unknown[0][:100]!r}. See list_agents.")
        if not ids:
            return _result({"finished": [], "working": [], "timed_out": False, "note": "No agent is working."})
        seconds = value.get("timeout_s")
        until = None if seconds is None else log.now + timedelta(seconds=seconds)
        wait = waits.start(log, lead, call, thread_ids=ids, mode=value.get("mode", "all"), until=until)
    told = waits.outcome(log, lead, wait)
    if told is not None:
        return _result(told)
    _park(log, lead, call, wait)
    return None


def _park(log: Log, lead: Thread, call: ToolCall, wait: waits.Wait) -> None:
    """Leave the call open and the worker free. A deadline is when the lead may be claimed again."""
    if call.state != ToolCall.State.RUNNING:
        call.state, call.started_at = ToolCall.State.RUNNING, log.now
        log.change(call, "state", "started_at")
    lead.phase, lead.runnable_at = Thread.Phase.WAITING_AGENTS, wait.until
    log.touch(lead, "phase", "runnable_at")
    status.settle_session(log)


_PERFORM = {
    "spawn_agent": _spawn_agent,
    "send_to_agent": _send_to_agent,
    "list_agents": _list_agents,
    "stop_agent": _stop_agent,
    "send_to_parent": _send_to_parent,
}

RECENT_TALK = """
SELECT seq FROM agents_event
WHERE session_id = $1 AND type = 'agent.thread_message_received'
  AND (thread_id = $2 OR thread_id = $3 AND (private::json ->> 'ordinal')::bigint = $4)
ORDER BY seq DESC LIMIT $5
"""
LAST_WORK = """
SELECT coalesce(max(seq) FILTER (WHERE type <> 'daybreak.warning'), 0),
       coalesce(max(seq) FILTER (WHERE type = 'daybreak.warning'), 0)
FROM agents_event
WHERE session_id = $1 AND seq > $2
  AND (thread_id IN ($3, $4) AND type IN ('agent.tool_use', 'agent.mcp_tool_use', 'agent.custom_tool_use')
       OR thread_id = $3 AND type = 'daybreak.warning')
"""


def _idle_talk(log: Log, lead: Thread, child: Thread) -> str:
    """Why two agents may not go on talking: they only talk to each other. Empty while they may.

    Before it comes to that there is a warning on the timeline.
    """
    log.flush()
    most = limits.MAX_MESSAGES_WITHOUT_WORK
    recent = log_sql.execute(RECENT_TALK, [log.session.pk, child.pk, lead.pk, child.ordinal, most])
    if len(recent) < limits.WARN_AT_MESSAGES_WITHOUT_WORK:
        return ""
    ((worked, warned),) = log_sql.execute(LAST_WORK, [log.session.pk, recent[-1][0], child.pk, lead.pk])
    count = sum(seq > worked for (seq,) in recent)
    if count >= limits.WARN_AT_MESSAGES_WITHOUT_WORK and warned <= worked:
        message = f"{lead.agent_name} and {child.agent_name} have exchanged {count} messages without using a tool."
        log.append(child, WARNING, {"kind": "ping_pong", "message": message}, visible=False)
    if count < most:
        return ""
    names = f"{lead.agent_name} and {child.agent_name}"
    return f"{names} have exchanged {most} messages without using a tool, which is the most."


def _result(told: dict[str, Any]) -> Done:
    return Done([{"type": "text", "text": json.dumps(clean(told), ensure_ascii=False)}])


def _refused(problem: str, *, limit: str = "") -> Done:
    return Done([{"type": "text", "text": problem}], is_error=True, malformed=True, limit=limit)
