"""Messages between the agents of a session: one sent, one received, joined by a `message_id`.

A message is delivered when it is written. The receiver takes it up at its next model request; an internal mark
records where in its conversation that was (see `take_up`).
"""

from __future__ import annotations

from typing import Any

from agents.ids import MESSAGE, new_id
from agents.models import Event, Thread
from agents.services import log_sql
from agents.services.log import Log
from agents.services.turns import RECEIVED

SENT = "agent.thread_message_sent"
TAKEN = "daybreak.thread_message_taken"

TASK, MESSAGE_KIND, REPORT, FAILURE = "task", "message", "report", "failure"
ENDS_A_WAIT = (TASK, MESSAGE_KIND)  # a report is what was waited for; anything else wants an answer first

# By the place on its thread's stream, so that only that thread's part of the log is read. A received message never
# queues: its place is its `seq`.
UNTAKEN = """
r.thread_id = $1 AND r.position > $2 AND r.type = 'agent.thread_message_received' ORDER BY r.position
"""


def send(
    log: Log,
    sender: Thread,
    receiver: Thread,
    content: list[dict[str, Any]],
    *,
    kind: str,
    cause: Event | int | None,
) -> Event:
    """Deliver `content`. Returns the event on the receiver's stream; waking the receiver is the caller's part.

    Args:
        kind: `task`, `message`, `report` or `failure`; kept beside the wire.
    """
    private = {"message_id": new_id(MESSAGE), "kind": kind}
    to: dict[str, Any] = {"to_session_thread_id": receiver.public_id, "content": content}
    if not receiver.is_primary:
        to["to_agent_name"] = receiver.agent_name
    sent = log.append(sender, SENT, to, private=private, cause=cause)
    came: dict[str, Any] = {"from_session_thread_id": sender.public_id, "content": content}
    if not sender.is_primary:
        came["from_agent_name"] = sender.agent_name
    return log.append(receiver, RECEIVED, came, private={**private, "ordinal": sender.ordinal}, cause=sent)


def untaken(thread: Thread) -> list[Event]:
    """What has come and no turn has taken up, as it came."""
    return log_sql.select(Event, UNTAKEN, thread.pk, thread.mail_seq)


def take_up(log: Log, thread: Thread, messages: list[Event]) -> list[Event]:
    """Make messages part of the thread's conversation, here: a mark for each, which the context is built from.

    Several are taken in the order of who sent them, so that a conversation does not depend on who was faster.
    """
    marks = []
    for message in sorted(messages, key=lambda event: (event.private_data.get("ordinal", 0), event.seq)):
        data = message.data
        payload = {
            "event_id": message.public_id,
            "from_session_thread_id": data["from_session_thread_id"],
            "from_agent_name": data.get("from_agent_name"),
            "content": data["content"],
        }
        marks.append(log.append(thread, TAKEN, payload, cause=message, visible=False))
    if messages:
        thread.mail_seq = max(message.seq for message in messages)
        log.touch(thread, "mail_seq")
    return marks
