"""One call of `read`, `write` or `edit`, from the moment it is alone with its file to what it did to it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from agents.sandbox.file_journal import Journal
from agents.sandbox.file_report import EDIT, WRITE, FileBase, FileConflict, FileReport, decoded
from agents.sandbox.file_states import ABSENT, MOST_KEPT, Look, state_of_bytes

TOOLS = ("read", WRITE, EDIT)
# Elsewhere nothing is recorded: uploads cannot be changed, and memories have versions of their own.
RECORDED = ("/workspace/", "/mnt/session/outputs/", "/tmp/")  # noqa: S108 (the sandbox's own)


class Turn:
    """Use as a context manager. `answer` is for the tool while it runs, `end` says what became of the file.

    Args:
        base: what is on record; None when the call is to be carried out whatever it finds.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        exec_id: str,
        thread: str,
        tool: str,
        tool_input: dict[str, Any],
        base: FileBase | None,
    ) -> None:
        self._journal, self._exec_id, self._thread = journal, exec_id, thread
        self._tool, self._input, self._base = tool, tool_input, base
        self._path = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path:
            self._journal.leave(self._path)

    def answer(self, message: dict[str, Any], *, until: float, given_up: Callable[[], bool]) -> dict[str, Any] | None:
        """What to say to the tool; None when its message is the outcome. Raises TimeoutError when no turn came.

        It asks for a turn at a file (`target`), and whether it may change what it has found there (`before`).
        """
        if "target" in message:
            return self._begin(message["target"], until=until, given_up=given_up)
        if "content" not in message and "before" in message:
            return {"go": self._may_change(_parsed(message["before"]))}
        return None

    def end(self, outcome: dict[str, Any]) -> FileReport:
        """Take out of the outcome what it tells of the file."""
        raw = outcome.pop("file", None)
        if not self._path.startswith(RECORDED):
            return FileReport()
        if raw is None:  # it never came to an end
            self._journal.lost_sight(self._path)
            return FileReport(self._path)
        before = _parsed(raw["before"])
        if self._tool == "read":
            self._journal.looked(self._exec_id, self._path, before)
            return FileReport(self._path, before.state if before.state == ABSENT or not outcome["is_error"] else None)
        if raw["after"] is None:
            return FileReport(self._path, conflict=self._conflict(before))
        after = self._as_written(_parsed(raw["after"]), outcome)
        if self._is_done(before):
            self._changed(None, after)
        else:
            self._journal.looked(self._exec_id, self._path, before)
            if after.state is not None and after.state != before.state:
                self._changed(before.state, after)
        return FileReport(self._path, None if outcome["is_error"] else after.state)

    def _begin(self, path: str, *, until: float, given_up: Callable[[], bool]) -> dict[str, Any]:
        if not self._journal.enter(path, until=until, given_up=given_up):
            raise TimeoutError
        self._path = path
        if not path.startswith(RECORDED):
            return {"record": False}
        known = self._journal.known(path)
        return {"record": True, "known": known.state if known else None, "ask": self._base is not None}

    def _may_change(self, before: Look) -> bool:
        """Whether nobody's work is lost by it. A file that cannot be read is left to the tool."""
        if not self._is_done(before):
            self._journal.looked(self._exec_id, self._path, before)
        if self._base is None or before.state is None:
            return True
        if before.state == self._wanted or self._writer(before.state) == self._thread:
            return True
        seen = self._seen
        if seen is not None:
            return before.state == seen
        # A file that was never read may be edited, as an edit says what it replaces. It may be written when nobody
        # is known to have made it.
        return self._tool == EDIT or before.state == ABSENT or not self._writer(before.state)

    def _conflict(self, before: Look) -> FileConflict:
        state = str(before.state)
        return FileConflict(self._seen, state, before.size, self._writer(state), before.dump(data=True)["data"])

    def _writer(self, state: str) -> str:
        """Who made the file's state, by what was seen here and what is on record; "" when nobody knows."""
        known, base = self._journal.known(self._path), self._recorded
        if known is not None and known.state == state and known.thread:
            return known.thread
        return base.writer if base is not None and base.state == state else ""

    def _is_done(self, before: Look) -> bool:
        """What is to be written is there, and nobody said so: it was this very call, in a sandbox that was lost."""
        known = self._journal.known(self._path)
        return self._wanted is not None and before.state == self._wanted != (known.state if known else None)

    def _changed(self, base: str | None, look: Look) -> None:
        self._journal.changed(self._exec_id, self._thread, self._path, self._tool, base=base, look=look)

    @property
    def _recorded(self) -> FileBase | None:
        """What is on record, if it is about this file: a link may have been changed meanwhile."""
        return self._base if self._base is not None and self._base.path == self._path else None

    @property
    def _seen(self) -> str | None:
        return self._recorded.seen if self._recorded is not None else None

    @property
    def _wanted(self) -> str | None:
        """The state that a `write` leaves behind, as far as it can be known beforehand."""
        return state_of_bytes(self._content) if self._tool == WRITE else None

    def _as_written(self, after: Look, outcome: dict[str, Any]) -> Look:
        """What `write` has written is known, also when a command has changed it again at once."""
        if outcome["is_error"] or self._wanted is None:
            return after
        data, stamp = self._content, after.stamp if after.state == self._wanted else None
        return Look(self._wanted, len(data), stamp, data if len(data) <= MOST_KEPT else None)

    @property
    def _content(self) -> bytes:
        return str(self._input.get("content", "")).encode("utf-8", "replace")


def _parsed(raw: dict[str, Any]) -> Look:
    stamp = tuple(raw["stamp"]) if raw["stamp"] else None
    return Look(raw["state"], raw["size"], stamp, decoded(raw["data"]))
