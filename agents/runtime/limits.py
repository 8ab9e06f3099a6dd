"""Ceilings that keep a run bounded. Sources: the contract's limits and the runtime design."""

MAX_TOOL_ROUNDS = 200  # model answers with tool calls in one turn
LOOP_HINT_AT = 3  # same tool, same input, same result
LOOP_STOP_AT = 6
MAX_BAD_CALLS_IN_A_ROW = 5  # answers whose tool calls were all malformed or refused by a limit
MAX_TAKEOVERS = 3  # a step that takes down this many workers stops its thread
MAX_COMPACTIONS_IN_A_ROW = 3
COMPACT_AT_SHARE = 0.8  # of the model's context window
STEPS_PER_ADVANCE = 10
SECONDS_PER_ADVANCE = 5.0
TRIMMED_RESULT_CHARS = 2_000  # of an old tool result, when the conversation is summarised
MAX_RETRY_DELAY_S = 60.0
MAX_RETRY_AFTER_S = 3_600.0
REPORT_CHARS = 20_000  # of a child's report that are delivered whole
REPORT_HEAD_CHARS = 4_000  # of a longer one: its beginning, and the file with all of it
WARN_AT_MESSAGES_WITHOUT_WORK = 10  # between two agents that use no tool meanwhile
MAX_MESSAGES_WITHOUT_WORK = 50
