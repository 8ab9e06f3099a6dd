"""What a client sends to a session: messages, interrupts, and answers to what the agent waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Q

from agents.errors import Invalid, NotBuilt, NotFound
from agents.ids import EVENT, new_id
from agents.models import Event, File, Session, Thread, ToolCall, Workspace
from agents.services import budgets, hints, status
from agents.services.log import INTERRUPT_CHANNEL, Log, dump, notify, open_log
from agents.services.turns import look_again, make_ready

RESULT_CONTENT = "content"
MAX_SYSTEM_ITEMS = 1000
STOPPABLE = (Thread.Phase.WAITING_USER, Thread.Phase.WAITING_AGENTS, Thread.Phase.PAUSED)


def send_events(session: Session, *, events: list[dict[str, Any]], by: str | None = None) -> list[Event]:
    """Append a client's events, all or none, and wake the threads they concern.

    Args:
        events: wire form, already checked against the schema.
        by: who sent them, for the record (a person's name or a key's).

    Raises:
        Invalid: the session's state or one of the events forbids it. Nothing is written.
    """
    with open_log(session.pk) as log:
        check_can_receive(log.session)
        return _Receiver(log, by).receive(events)


def check_can_receive(session: Session) -> None:
    if session.is_imported:
        raise Invalid("This session was imported. It can be read, not run.")
    if session.is_terminated or session.archived_at is not None:
        raise Invalid("This session is archived or terminated and takes no more events.")


class _Receiver:
    """Handles the events of one request against a locked session."""

    def __init__(self, log: Log, by: str | None) -> None:
        self.log = log
        self.by = by
        self.threads = [
            log.own(thread) for thread in log.session.threads.defer("agent_snapshot").order_by("ordinal", "pk")
        ]
        self.primary = next(thread for thread in self.threads if thread.is_primary)
        self.answered: dict[int, Thread] = {}
        self.answers: dict[int, Event] = {}  # the last one for each of them
        self.wake: set[int] = set()

    def receive(self, events: list[dict[str, Any]]) -> list[Event]:
        if not events:
            raise Invalid("events: at least one event is needed.")
        check_system_messages(events)
        budgets.check_accepts(self.log.session, self.threads, [event["type"] for event in events])
        echoes = [self._handle(event) for event in events]
        for thread in self.answered.values():
            self._after_answers(thread)
        for pk in self.wake:
            hints.wake(pk)
        return echoes

    def _handle(self, event: dict[str, Any]) -> Event:
        handlers: dict[str, Callable[[dict[str, Any]], Event]] = {
            "user.message": self._message,
            "system.message": self._message,
            "user.interrupt": self._interrupt,
            "user.tool_confirmation": self._confirmation,
            "user.custom_tool_result": self._custom_result,
        }
        kind = event["type"]
        if kind == "user.tool_result":
            raise Invalid("user.tool_result is only for self_hosted environments; this session runs in a cloud one.")
        if kind == "user.define_outcome":
            raise NotBuilt("Outcomes (user.define_outcome) are not built yet.")
        return handlers[kind](event)

    def _private(self) -> dict[str, Any] | None:
        return {"by": self.by} if self.by else None

    def _message(self, event: dict[str, Any]) -> Event:
        thread = self.primary
        interrupting = thread.interrupt_pending
        for answered in self.answered.values():
            if answered.phase == Thread.Phase.WAITING_USER and not answered.interrupt_pending:
                self._settle(answered)
        if event["type"] == "user.message":
            if self._waits_for_answers():
                raise Invalid(
                    "The session waits for answers to tool calls (stop_reason requires_action). "
                    "Answer those calls first, or send user.interrupt."
                )
            check_message_content(self.log.session.workspace, event["content"])
        rests = thread.status == Thread.Status.IDLE and thread.phase == Thread.Phase.IDLE and not interrupting
        row = self.log.append(
            thread,
            event["type"],
            {"content": event["content"]},
            private=self._private(),
            queued=not rests,
            processed=False,
        )
        if event["type"] == "user.message":
            if rests:
                self._make_ready(thread, cause=row)
            else:
                look_again(self.log, thread)
        return row

    def _waits_for_answers(self) -> bool:
        """Nothing works, and somebody waits for a person or a client who has not answered or interrupted it yet."""
        session = self.log.session
        if session.status != Session.Status.IDLE or (session.stop_reason or {}).get("type") != "requires_action":
            return False
        return any(t.phase == Thread.Phase.WAITING_USER and not t.interrupt_pending for t in self.threads)

    def _interrupt(self, event: dict[str, Any]) -> Event:
        wanted = event.get("session_thread_id")
        targets = [thread for thread in self.threads if wanted in (None, thread.public_id)]
        if wanted and not targets:
            raise Invalid(f"session_thread_id: this session has no thread {wanted}.")
        targets = [thread for thread in targets if thread.status != Thread.Status.TERMINATED]
        if wanted and not targets:
            raise Invalid(f"session_thread_id: thread {wanted} is terminated.")
        payload = {"session_thread_id": wanted} if wanted else {}
        if budgets.is_paused(self.log.session):
            return self._unrecorded("user.interrupt", payload)  # nothing goes on: nothing to stop
        busy = [thread for thread in targets if self._can_be_interrupted(thread)]
        row = self.log.append(
            self.primary,
            "user.interrupt",
            payload,
            private=self._private(),
            queued=bool(busy),
            processed=not busy,
        )
        for thread in busy:
            thread.interrupt_seq = row.seq
            thread.runnable_at = self.log.now
            self.log.touch(thread, "interrupt_seq", "runnable_at")
            notify(INTERRUPT_CHANNEL, str(thread.pk))
            self.wake.add(thread.pk)
        return row

    def _unrecorded(self, type_: str, payload: dict[str, Any]) -> Event:
        """What a client is told of an event that changes nothing and does not stand in the log."""
        return Event(public_id=new_id(EVENT), type=type_, payload=dump(payload), processed_at=self.log.now)

    @staticmethod
    def _can_be_interrupted(thread: Thread) -> bool:
        return thread.status in status.WORKING or thread.phase in STOPPABLE

    def _find_call(self, field: str, public_id: str) -> ToolCall:
        named = Event.objects.filter(session=self.log.session, public_id=public_id).first()
        call = (
            ToolCall.objects.select_related("thread", "use_event", "crosspost_event")
            .filter(Q(use_event=named) | Q(crosspost_event=named), session=self.log.session)
            .first()
            if named is not None
            else None
        )
        if call is None:
            raise Invalid(f"{field}: this session has no tool call {public_id}.")
        if call.decision or call.state == ToolCall.State.DONE:
            raise Invalid(f"{field}: {public_id} was answered already.")
        return call

    def _confirmation(self, event: dict[str, Any]) -> Event:
        call = self._find_call("tool_use_id", event["tool_use_id"])
        if call.permission != "ask":
            raise Invalid(f"tool_use_id: {event['tool_use_id']} does not wait for a confirmation.")
        if event["result"] == "allow" and event.get("deny_message") is not None:
            raise Invalid("deny_message goes with result deny only.")
        call.decision = event["result"]
        call.deny_message = event.get("deny_message") or ""
        call.decided_by = self.by or ""
        call.state = ToolCall.State.READY
        call.save(update_fields=["decision", "deny_message", "decided_by", "state"])
        fields = ("result", "deny_message")
        echo, _ = self._answer(call, event, "tool_use_id", {name: event[name] for name in fields if name in event})
        return echo

    def _custom_result(self, event: dict[str, Any]) -> Event:
        call = self._find_call("custom_tool_use_id", event["custom_tool_use_id"])
        if call.kind != ToolCall.Kind.CUSTOM:
            raise Invalid(f"custom_tool_use_id: {event['custom_tool_use_id']} is not a custom tool call.")
        given: dict[str, Any] = {name: event[name] for name in ("content", "is_error") if name in event}
        echo, own = self._answer(call, event, "custom_tool_use_id", given)
        call.decision = "answered"
        call.state = ToolCall.State.DONE
        call.is_error = bool(event.get("is_error"))
        call.ended_at = self.log.now
        call.decided_by = self.by or ""
        call.save(update_fields=["decision", "state", "is_error", "ended_at", "decided_by"])
        call.result_event = own
        self.log.later(lambda: call.save(update_fields=["result_event"]))
        return echo

    def _answer(
        self, call: ToolCall, event: dict[str, Any], reference: str, given: dict[str, Any]
    ) -> tuple[Event, Event]:
        """Echo an answer on the session's stream, and on a child's own: each names the call as that stream does.

        Returns:
            The echo, and the event on the stream of the thread that made the call (the same for the primary).
        """
        thread = self._own(call.thread)
        self.answered[thread.pk] = thread
        payload = {reference: call.use_event.public_id, **given}
        private = self._private()
        own = self.log.append(thread, event["type"], payload, private=private, cause=call.use_event)
        self.answers[thread.pk] = own
        if thread.is_primary:
            return own, own
        shown = call.crosspost_event or call.use_event
        payload = {**payload, reference: shown.public_id, "session_thread_id": thread.public_id}
        return self.log.append(self.primary, event["type"], payload, private=private, cause=shown), own

    def _own(self, thread: Thread) -> Thread:
        """This receiver's instance of a thread, so that its changes are saved once."""
        return next(own for own in self.threads if own.pk == thread.pk)

    def _after_answers(self, thread: Thread) -> None:
        """Go on when nothing is left to wait for; repeat the idle state with the rest otherwise."""
        if thread.phase == Thread.Phase.WAITING_AGENTS and self.log.session.status == Session.Status.IDLE:
            status.settle_session(self.log)  # it waits for others, and one thing less is asked of the client
        if thread.phase != Thread.Phase.WAITING_USER:
            return  # still working on other calls of the batch: it will see the answer by itself
        waiting = status.waiting_ids(self.log, thread, on_session=False)
        if waiting:
            status.set_idle(self.log, thread, {"type": "requires_action", "event_ids": waiting})
            return
        self._settle(thread)

    def _settle(self, thread: Thread) -> None:
        if status.waiting_ids(self.log, thread):
            return
        thread.phase = Thread.Phase.TOOL_BATCH
        thread.runnable_at = self.log.now
        self.log.touch(thread, "phase", "runnable_at")
        status.set_running(self.log, thread, cause=self.answers.get(thread.pk))
        self.wake.add(thread.pk)

    def _make_ready(self, thread: Thread, *, cause: Event) -> None:
        make_ready(self.log, thread, cause=cause)
        self.wake.add(thread.pk)


def check_message_content(workspace: Workspace, content: list[dict[str, Any]]) -> None:
    """Refuse what no model could be shown: nothing, empty text, redacted blocks, files that are not there."""
    if not content:
        raise Invalid("content: at least one block is needed.")
    for number, block in enumerate(content):
        if block["type"] == "redacted":
            raise Invalid(f"content.{number}: a redacted block cannot be sent.")
        if block["type"] == "text" and not block["text"].strip():
            raise Invalid(f"content.{number}: the text is empty.")
        source = block.get("source") or {}
        if source.get("type") == "file":
            files = File.objects.in_workspace(workspace).unexpired()
            if not files.filter(public_id=source["file_id"]).exists():
                raise NotFound(f"content.{number}: there is no file {source['file_id']}.")


def check_system_messages(events: list[dict[str, Any]]) -> None:
    """At most one `system.message`, last, after what it accompanies."""
    places = [number for number, event in enumerate(events) if event["type"] == "system.message"]
    if not places:
        return
    if len(places) > 1:
        raise Invalid("events: at most one system.message per request.")
    if places[0] != len(events) - 1:
        raise Invalid("events: a system.message must be the last event of its request.")
    items = events[-1]["content"]
    if not 1 <= len(items) <= MAX_SYSTEM_ITEMS:
        raise Invalid(f"content: a system.message has 1 to {MAX_SYSTEM_ITEMS} text items.")
