"""Sessions with a lead and agents that work for it, run by the engine with the simulated `simulated/tools`.

What the lead is told is a script; what it tells the others is one too. See agents/simulator/README.md.
"""

from __future__ import annotations

import json
from typing import Any

from agents.ids import EXEC, new_id
from agents.models import Thread, ToolCall
from agents.services.calls import TEAM_USE, append_result
from agents.services.log import open_log
from tests import factories
from tests.worker import wait_until

ASK = {"type": "always_ask"}


def make_member(workspace: Any, name: str = "north", *, asks: bool = False, **more: Any) -> Any:
    """An agent that runs scripts; with `asks` a person has to allow every command."""
    toolset: dict[str, Any] = dict(factories.TOOLSET)
    if asks:
        toolset["configs"] = [{"name": "bash", "enabled": True, "permission_policy": ASK}]
    return factories.make_agent(workspace, name=name, model="simulated/tools", **{"tools": [toolset], **more})


def make_lead(workspace: Any, *members: Any, name: str = "lead", inline: bool = False, **more: Any) -> Any:
    roster = [{"type": "agent", "id": member.public_id} for member in members]
    team: dict[str, Any] = {"type": "coordinator", "agents": roster}
    if inline:
        subagents = {"type": "enabled", "inline_agents": {"type": "enabled"}, "predefined_agents": roster}
        team = {"type": "multiagent_20261001", "subagents": subagents}
    return factories.make_agent(workspace, name=name, model="simulated/tools", multiagent=team, **more)


def parallel(*lines: str) -> str:
    """A script whose instructions are one answer."""
    return "\n".join(["parallel:", *(f"  {line}" for line in lines)])


def start(workspace: Any, script: str, *members: Any, title: str = "Triage", **lead: Any) -> Any:
    """A session of a lead that is told `script` and may start `members`: one named north unless given."""
    members = members or (make_member(workspace),)
    return factories.make_session(workspace, agent=make_lead(workspace, *members, **lead), title=title, says=script)


def settle(session: Any, *, timeout_s: float = 40.0) -> Any:
    """Wait until nobody works, and return the session as it is then."""

    def stopped() -> bool:
        session.refresh_from_db()
        return session.status in ("idle", "terminated")

    wait_until(stopped, timeout_s=timeout_s)
    return session


def wait_for_questions(session: Any, number: int) -> list[Any]:
    """Wait until so many calls wait for a person, and return them."""
    calls = session.tool_calls.filter(state="waiting").select_related("use_event", "thread").order_by("use_event__seq")
    wait_until(lambda: calls.count() >= number)
    return list(calls)


# Without a worker: what the engine would write, through the same services


def delegate(session: Any, name: str = "north", task: str = "Read the log.") -> Any:
    """The lead starts an agent and gives it a task. Returns the child's thread."""
    from agents.services import threads

    with open_log(session.pk) as log:
        lead = log.primary()
        call = _team_call(log, lead, "spawn_agent", {"agent": name, "task": task})
        snapshot = {**lead.agent_snapshot, "multiagent": None, "name": name}
        child = threads.spawn(log, lead, call, name=name, snapshot=snapshot, content=factories.text(task))
        told = json.dumps({"thread_id": child.public_id, "agent": name})
        append_result(log, lead, call, factories.text(told), is_error=False)
    return child


def refuse(session: Any, name: str, reason: str, **given: Any) -> Any:
    """One of the lead's calls for working together is refused. Returns the result's event."""
    with open_log(session.pk) as log:
        call = _team_call(log, log.primary(), name, given)
        return append_result(log, log.primary(), call, factories.text(reason), is_error=True)


def report(session: Any, child: Any, said: str, *, kind: str = "report") -> None:
    """A child ends its turn with these words, which go to the lead."""
    from agents.services import status, threads

    with open_log(session.pk) as log:
        thread = log.find_thread(child.public_id)
        start = log.append(thread, "span.model_request_start", {})
        log.append(thread, "agent.message", {"content": factories.text(said)}, cause=start)
        _end_request(log, thread, start)
        threads.report(log, thread, factories.text(said), kind=kind, cause=start)
        thread.phase, thread.runnable_at = Thread.Phase.IDLE, None
        log.touch(thread, "phase", "runnable_at")
        status.set_thread_idle(log, thread, {"type": "end_turn"}, cause=start)
        if kind == "failure":
            status.set_thread_terminated(log, thread, cause=start)


def ask(session: Any, child: Any, given: dict[str, Any], said: str = "") -> ToolCall:
    """A child wants to run bash and waits for a person: the call stands on its stream and, copied, on the session's."""
    from agents.services import status

    payload = {"name": "bash", "input": given, "evaluated_permission": "ask", "evaluation": ASK}
    with open_log(session.pk) as log:
        thread = log.find_thread(child.public_id)
        start = log.append(thread, "span.model_request_start", {})
        if said:
            log.append(thread, "agent.message", {"content": factories.text(said)}, cause=start)
        use = log.append(thread, "agent.tool_use", payload, cause=start)
        _end_request(log, thread, start)
        shown = {**payload, "session_thread_id": child.public_id}
        copy = log.append(log.primary(), "agent.tool_use", shown, cause=use)
        call = ToolCall(
            session=log.session,
            thread=thread,
            use_event=use,
            crosspost_event=copy,
            name="bash",
            state=ToolCall.State.WAITING,
            permission="ask",
            exec_id=new_id(EXEC),
            input_sha256="0" * 64,
        )
        log.add(call)
        thread.phase, thread.runnable_at = Thread.Phase.WAITING_USER, None
        log.touch(thread, "phase", "runnable_at")
        event_ids = status.waiting_ids(log, thread, on_session=False)
        status.set_thread_idle(log, thread, {"type": "requires_action", "event_ids": event_ids})
    return call


def wait(session: Any, *children: Any, mode: str = "all") -> Any:
    """The lead begins to wait for these agents. Returns its call."""
    from agents.services import waits

    with open_log(session.pk) as log:
        lead = log.primary()
        call = _team_call(log, lead, "wait_for_agents", {})
        call.state, call.started_at = ToolCall.State.RUNNING, log.now
        waits.start(log, lead, call, thread_ids=[child.public_id for child in children], mode=mode, until=None)
        lead.phase, lead.runnable_at = Thread.Phase.WAITING_AGENTS, None
        log.touch(lead, "phase", "runnable_at")
    return call


def end_wait(session: Any, call: Any, **told: Any) -> None:
    with open_log(session.pk) as log:
        call = ToolCall.objects.select_related("use_event").get(pk=call.pk)
        result = {"finished": [], "working": [], "timed_out": False, **told}
        append_result(log, log.primary(), call, factories.text(json.dumps(result)), is_error=False)


def _end_request(log: Any, thread: Any, start: Any) -> None:
    usage = {"input_tokens": 900, "output_tokens": 40, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    ended = {"model_request_start_id": start.public_id, "model_usage": usage, "is_error": False}
    log.append(thread, "span.model_request_end", ended, cause=start)


def _team_call(log: Any, lead: Any, name: str, given: dict[str, Any]) -> ToolCall:
    use = log.append(lead, TEAM_USE, {"name": name, "input": given}, visible=False)
    call = ToolCall(
        session=log.session,
        thread=lead,
        use_event=use,
        kind=ToolCall.Kind.TEAM,
        name=name,
        state=ToolCall.State.READY,
        exec_id=new_id(EXEC),
        input_sha256="0" * 64,
    )
    log.add(call)
    return call
