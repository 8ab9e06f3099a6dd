"""One row of words per event type. Every type of the wire has its sentence; an unknown one is named and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from console import formats
from console.story.content import blocks_of, excerpt, tool_gist
from console.text import one_line

SESSION = "Session"
PERSON = "Client"
GRADER = "Grader"


@dataclass(frozen=True)
class Words:
    """What happened, as "who says text".

    `tone` is empty or one of failed, waiting, done, quiet (routine). `code` sets the text in monospace. `who` is set
    where the event tells of somebody else than the one whose thread it is on.
    """

    icon: str
    says: str
    text: str = ""
    tone: str = ""
    code: bool = False
    who: str = ""


@dataclass(frozen=True)
class Context:
    """What an event's sentence needs beside the event.

    `tools` names the tool of a `*_use` event by its id; `agents` names the agent of a thread by its id, with the
    primary thread's id in `primary`.
    """

    tools: Mapping[str, str] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    primary: str = ""

    def tool(self, event_id: object) -> str:
        return self.tools.get(str(event_id), "a tool")

    def agent(self, thread_id: object, name: object = None) -> str:
        return str(self.agents.get(str(thread_id)) or name or "another agent")


Teller = Callable[[dict[str, Any], dict[str, Any], Context], Words]
_TELLERS: dict[str, Teller] = {}


def words_for(type_: str, data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    """The sentence for an event. Never raises, whatever the payload holds."""
    teller = _TELLERS.get(type_)
    if teller is None:
        return Words("event", type_, one_line(str(data)) if data else "", tone="quiet", code=True)
    try:
        return teller(data, private, context)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return Words("event", type_, "(its content has an unexpected shape)", tone="quiet")


def who_of(type_: str, private: dict[str, Any], agent_name: str) -> str:
    """Whose act it is: a person's, an agent's, or the session's own."""
    if type_.startswith(("user.", "system.")):
        return str(private.get("by") or private.get("speaker") or PERSON)
    if type_.startswith("span.outcome_"):
        return GRADER
    if type_.startswith(("agent.", "span.", "session.thread_", "session.error", "daybreak.")):
        return agent_name
    return SESSION


def known_types() -> frozenset[str]:
    return frozenset(_TELLERS)


def tells(*types: str) -> Callable[[Teller], Teller]:
    def register(teller: Teller) -> Teller:
        for type_ in types:
            _TELLERS[type_] = teller
        return teller

    return register


# People and clients


@tells("user.message")
def _user_message(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("person", "asked", excerpt(blocks_of(data)))


@tells("system.message")
def _system_message(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("person", "added an instruction", excerpt(blocks_of(data)))


@tells("user.interrupt")
def _interrupt(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    thread = data.get("session_thread_id")
    return Words("stop", f"interrupted {context.agent(thread)}" if thread else "interrupted every agent")


@tells("user.tool_confirmation")
def _confirmation(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    tool = context.tool(data.get("tool_use_id"))
    if data.get("result") == "allow":
        return Words("check", f"allowed {tool}")
    return Words("stop", f"refused {tool}", one_line(str(data.get("deny_message") or "")))


@tells("user.custom_tool_result", "user.tool_result")
def _client_result(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    tool = context.tool(data.get("custom_tool_use_id") or data.get("tool_use_id"))
    return _result(f"answered {tool}", f"answered {tool} with an error", data)


@tells("user.define_outcome")
def _define_outcome(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    tries = data.get("max_iterations") or 3
    return Words("flag", "set an outcome", f"{one_line(str(data.get('description', '')))} (at most {tries} gradings)")


# Agents


@tells("agent.message")
def _agent_message(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("message", "said", excerpt(blocks_of(data)) or "(nothing)")


@tells("agent.thinking")
def _thinking(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    thought = private.get("thinking")
    if not thought:
        return Words("thought", "thought", "(the text was not recorded)", tone="quiet")
    return Words("thought", "thought", one_line(str(thought)))


@tells("agent.tool_use")
def _tool_use(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    name, given = str(data.get("name", "a tool")), data.get("input")
    asked = {"ask": ("waiting", "asks to run"), "deny": ("failed", "was refused")}
    tone, verb = asked.get(str(data.get("evaluated_permission")), ("", "ran"))
    return Words("tool", f"{verb} {name}", tool_gist(name, given), tone=tone, code=True)


@tells("agent.mcp_tool_use")
def _mcp_tool_use(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    words = _tool_use(data, private, context)
    return Words("tool", f"{words.says} on {data.get('mcp_server_name', 'a server')}", words.text, words.tone, True)


@tells("agent.custom_tool_use")
def _custom_tool_use(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    name = str(data.get("name", "a tool"))
    return Words("tool", f"asks the client to run {name}", tool_gist(name, data.get("input")), code=True)


@tells("agent.tool_result", "agent.mcp_tool_result")
def _tool_result(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    tool = context.tool(data.get("tool_use_id") or data.get("mcp_tool_use_id"))
    return _result(f"got the result of {tool}", f"got an error from {tool}", data)


def _result(says: str, says_failed: str, data: dict[str, Any]) -> Words:
    said = excerpt(blocks_of(data), 200) or "nothing"
    if data.get("is_error"):
        return Words("result", says_failed, said, tone="failed", code=True)
    return Words("result", says, said, code=True)


@tells("agent.thread_context_compacted")
def _compacted(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    before = data.get("pre_compaction_tokens")
    size = f" It held {formats.tokens(int(before))} tokens." if before else ""
    return Words("compact", "made room in its context", f"Earlier turns were summarised; the log keeps them.{size}")


# The session and its threads


@tells("session.status_running")
def _running(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("session", "started working", tone="quiet")


@tells("session.status_rescheduled", "session.thread_status_rescheduled")
def _rescheduled(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    until = str(private.get("held_until") or "")[11:19]  # the time of day, in UTC
    text = f"The provider takes no requests with this key before {until} UTC." if until else ""
    return Words("retry", "waits before it tries again", text, who=_thread_name(data, context))


@tells("session.status_terminated", "session.thread_status_terminated")
def _terminated(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("stop", "ended for good", who=_thread_name(data, context))


@tells("session.status_idle")
def _idle(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    reason = data.get("stop_reason") or {}
    says, tone = _STOPS.get(str(reason.get("type")), ("stopped", ""))
    details = data.get("stop_details") or {}
    waiting = len(reason.get("event_ids") or [])
    text = formats.plural(waiting, "open call") if waiting else one_line(str(details.get("explanation") or ""))
    return Words("session", says, text, tone=tone)


_STOPS = {
    "end_turn": ("finished its turn", "done"),
    "requires_action": ("waits for an answer", "waiting"),
    "retries_exhausted": ("gave up this turn", "failed"),
    "budget_reached": ("paused at its budget", "waiting"),
    "refusal": ("stopped: the model refused", "failed"),
}


@tells("session.thread_created")
def _thread_created(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("branch", f"started {context.agent(data.get('session_thread_id'), data.get('agent_name'))}")


@tells("session.thread_status_running")
def _thread_running(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("session", "started working", tone="quiet", who=_thread_name(data, context))


@tells("session.thread_status_idle")
def _thread_idle(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    reason = (data.get("stop_reason") or {}).get("type")
    says, tone = _STOPS.get(str(reason), ("stopped", ""))
    return Words("session", says, tone="quiet" if tone == "done" else tone, who=_thread_name(data, context))


def _thread_name(data: dict[str, Any], context: Context) -> str:
    """The agent whose thread a status is about; empty when it is about the session."""
    if "session_thread_id" not in data:
        return ""
    return context.agent(data.get("session_thread_id"), data.get("agent_name"))


@tells("session.error")
def _error(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    error = data.get("error") or {}
    retry = (error.get("retry_status") or {}).get("type")
    says = {"retrying": "met an error and tries again", "terminal": "met an error that ends the session"}
    text = one_line(str(error.get("message") or error.get("type") or "unknown error"))
    return Words("error", says.get(str(retry), "met an error and gave up"), text, tone="failed")


@tells("session.updated")
def _updated(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    names = {"agent": "the agent's configuration"}
    changed = ", ".join(names.get(key, f"the {key}") for key in data) or "nothing"
    title = f"“{one_line(str(data['title']), 120)}”" if data.get("title") else ""
    return Words("session", f"changed {changed}", title)


@tells("session.usage")
def _usage(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    usage = data.get("usage") or {}
    written = usage.get("cache_creation") or {}
    read = usage.get("input_tokens", 0) + usage.get("cache_read_input_tokens", 0) + sum(written.values())
    cents = int((usage.get("list_cost") or {}).get("amount", 0))
    text = f"{formats.tokens(read)} tokens in, {formats.tokens(usage.get('output_tokens', 0))} out, ${cents / 100:,.2f}"
    return Words("usage", "has used so far", text, tone="quiet")


@tells("session.deleted")
def _deleted(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("stop", "was deleted")


# Model requests and gradings


@tells("span.model_request_start")
def _request_start(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("model", "asked its model", str(private.get("model") or ""), tone="quiet")


@tells("span.model_request_end")
def _request_end(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    if data.get("is_error"):
        return Words("model", "got no answer from its model", tone="failed")
    return Words("model", "got its model's answer", usage_words(data.get("model_usage") or {}), tone="quiet")


def usage_words(usage: dict[str, Any]) -> str:
    """1.20 k tokens in (80 % cached), 312 out."""
    fresh, cached = usage.get("input_tokens") or 0, usage.get("cache_read_input_tokens") or 0
    read = fresh + cached + (usage.get("cache_creation_input_tokens") or 0)
    share = f" ({round(100 * cached / read)} % cached)" if cached and read else ""
    return f"{formats.tokens(read)} tokens in{share}, {formats.tokens(usage.get('output_tokens') or 0)} out"


@tells("span.outcome_evaluation_start")
def _grading(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("flag", f"started grading {data.get('iteration', 0) + 1}")


@tells("span.outcome_evaluation_ongoing")
def _grading_on(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    return Words("flag", "is still grading", tone="quiet")


@tells("span.outcome_evaluation_end")
def _graded(data: dict[str, Any], private: dict[str, Any], context: Context) -> Words:
    verdicts = {
        "satisfied": ("found the rubric met", "done"),
        "needs_revision": ("asked for another revision", "waiting"),
        "max_iterations_reached": ("still found the rubric unmet, and no grading is left", "failed"),
        "failed": ("could not grade the work by this rubric", "failed"),
        "interrupted": ("was interrupted", ""),
    }
    says, tone = verdicts.get(str(data.get("result")), (f"gave the verdict {data.get('result')}", ""))
    return Words("flag", says, one_line(str(data.get("explanation") or "")), tone=tone)
