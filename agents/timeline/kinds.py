"""What the picture tells apart. The number of a kind is its place in `KINDS`; payloads carry the numbers."""

from __future__ import annotations

KINDS = (
    "model",
    "tool",
    "wait_person",
    "wait_agents",
    "wait_tool",
    "wait_queue",
    "wait_retry",
    "grading",
    "compaction",
    "user",
    "said",
    "thought",
    "sent",
    "received",
    "error",
    "failed_result",
    "interrupt",
    "compacted",
    "outcome",
    "warning",
    "status",
)
(
    MODEL,
    TOOL,
    WAIT_PERSON,
    WAIT_AGENTS,
    WAIT_TOOL,
    WAIT_QUEUE,
    WAIT_RETRY,
    GRADING,
    COMPACTION,
    USER,
    SAID,
    THOUGHT,
    SENT,
    RECEIVED,
    ERROR,
    FAILED_RESULT,
    INTERRUPT,
    COMPACTED,
    OUTCOME,
    WARNING,
    STATUS,
) = range(len(KINDS))
LAST_SPAN = COMPACTION  # kinds up to here have a length
BUSY = frozenset({MODEL, TOOL, GRADING, COMPACTION})  # somebody works; the others only wait
FAILURES = frozenset({ERROR, FAILED_RESULT})

# Which of several things in one place is shown, the most telling first.
BY_STRENGTH = (
    ERROR,
    FAILED_RESULT,
    INTERRUPT,
    OUTCOME,
    WARNING,
    WAIT_PERSON,
    USER,
    COMPACTED,
    RECEIVED,
    SENT,
    WAIT_TOOL,
    GRADING,
    TOOL,
    COMPACTION,
    MODEL,
    SAID,
    WAIT_RETRY,
    WAIT_AGENTS,
    WAIT_QUEUE,
    THOUGHT,
    STATUS,
)

# Flags of an item.
OPEN = 1  # it has begun and not ended
FAILED = 2
DERIVED = 4  # it stands for no event of its own: a time between two events
BUCKET = 8  # it stands for all that lies in its place

# Events that are a moment, by type.
MOMENTS = {
    "user.message": USER,
    "user.define_outcome": USER,
    "system.message": USER,
    "agent.message": SAID,
    "agent.thinking": THOUGHT,
    "session.error": ERROR,
    "daybreak.warning": WARNING,
}
TOOL_USES = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use", "daybreak.tool_use")
TOOL_RESULTS = (
    "agent.tool_result",
    "agent.mcp_tool_result",
    "user.custom_tool_result",
    "user.tool_result",
    "daybreak.tool_result",
)
MESSAGE_SENT = "agent.thread_message_sent"
MESSAGE_RECEIVED = "agent.thread_message_received"
