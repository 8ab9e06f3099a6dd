"""One line per log record: control characters in user text never start a new line."""

from __future__ import annotations

import logging


class LineFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        return "".join(c if c == "\t" or c.isprintable() else ascii(c)[1:-1] for c in line)
