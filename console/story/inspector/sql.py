"""Reading single fields out of the log's JSON text, in the database."""

from __future__ import annotations

from typing import Any

from django.db import connection

# An escaped NUL is valid JSON that PostgreSQL cannot turn into text. The quick look comes first: texts may be long.
MAY_HAVE_NUL = r"position('\u0000' IN @) > 0"
HAS_NUL = r"@ ~ '(^|[^\\])(\\\\)*\\u0000'"


def field(column: str, *path: str) -> str:
    """SQL for one field of a JSON text as text; NULL where it is missing or cannot be read. `path` is our own."""
    *above, last = path
    steps = "".join(f" -> '{name}'" for name in above)
    is_broken = f"CASE WHEN {MAY_HAVE_NUL} THEN {HAS_NUL} ELSE false END".replace("@", column)
    no_object = f"left({column}, 1) <> '{{'"
    return f"CASE WHEN {no_object} OR {is_broken} THEN NULL ELSE {column}::json{steps} ->> '{last}' END"


def number(column: str, *path: str) -> str:
    """SQL for one field as a whole number; 0 where it is none."""
    text = field(column, *path)
    return f"CASE WHEN ({text}) ~ '^[0-9]{{1,17}}$' THEN ({text})::bigint ELSE 0 END"


def rows(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
