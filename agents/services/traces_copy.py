"""Rows of a log on their way to the database: light ones, many at once, by PostgreSQL's COPY.

A traced session has thousands of events per second to write. A model instance for each would cost more than the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import sql

from agents.ids import ALPHABET, EVENT, RANDOM_LENGTH
from agents.models import Event, Thread
from agents.services.log import clean, dump

_FAIR = 232  # 4 × 58: below it every character is as likely as every other
_CHARACTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
_UNFAIR = bytes(range(_FAIR, 256))
_COLUMNS = (
    "public_id",
    "session_id",
    "seq",
    "position",
    "thread_id",
    "type",
    "payload",
    "private",
    "cause_seq",
    "created_at",
    "processed_at",
    "external_id",
    "visible",
)


@dataclass(slots=True)
class LogRow:
    """The fields of an `Event` that an imported one has, under the same names."""

    public_id: str
    session_id: int
    seq: int
    thread: Thread
    thread_id: int
    type: str
    payload: str
    private: str | None
    cause_seq: int | None
    created_at: datetime
    external_id: str | None
    visible: bool
    usage: dict[str, int] | None = None
    pk: int | None = None

    @property
    def position(self) -> int:
        return self.seq

    @property
    def processed_at(self) -> datetime:
        return self.created_at

    @property
    def private_data(self) -> dict[str, Any]:
        return {"usage": self.usage} if self.usage is not None else {}


def copy_in(rows: Iterable[LogRow]) -> None:
    """Append rows to their session's log, in the transaction that is open. Their keys are not read back."""
    connection = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(Event._meta.db_table), columns)
    with connection.wrap_database_errors, connection.connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            at, seq = row.created_at, row.seq
            copy.write_row(
                (
                    row.public_id,
                    row.session_id,
                    seq,
                    seq,
                    row.thread_id,
                    row.type,
                    row.payload,
                    row.private,
                    row.cause_seq,
                    at,
                    at,
                    row.external_id,
                    row.visible,
                )
            )


def fresh_ids(count: int) -> Sequence[str]:
    """Ids of events as `new_id` makes them, many at once."""
    made: list[str] = []
    while len(made) < count:
        characters = os.urandom((count - len(made)) * (RANDOM_LENGTH + 8)).translate(_CHARACTERS, _UNFAIR).decode()
        made += [
            f"{EVENT}_{characters[start : start + RANDOM_LENGTH]}"
            for start in range(0, len(characters) - RANDOM_LENGTH + 1, RANDOM_LENGTH)
        ]
    return made[:count]


def quick_dump(value: dict[str, Any]) -> str:
    """`dump`, several times as fast, for what orjson can write."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # numbers beyond 64 bits, half surrogate pairs
        return dump(clean(value))
    return dump(clean(value)) if "\\u0000" in text else text
