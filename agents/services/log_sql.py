"""Prepared SQL for the few statements that the engine runs at every step.

Django compiles a query anew each time, which took most of a step's time. Here the text is made once from the model's
own fields, so a new column cannot be forgotten, and PostgreSQL keeps its plan. Values are converted by the fields
themselves, both ways: a row read or written here is the same as through a manager.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import BooleanField, CharField, DateTimeField, IntegerField, Model, TextField
from psycopg.types.numeric import Int8

from agents.models import Event, Session, Thread, ToolCall

Row = TypeVar("Row", bound=Model)

SENT_AS_THEY_ARE = (BooleanField, CharField, DateTimeField, TextField)
# Long, and fixed while a worker drives a thread: left out where rows are locked, and read when somebody asks for it.
LEFT_OUT = "agent_snapshot"
MAX_PARAMETERS = 65_535  # of one statement, by PostgreSQL's protocol
PREPARE_AFTER = 2  # uses of a statement on one connection


def execute(sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement, with `$1` and so on for values, in the transaction that is open; the rows it returns."""
    connection = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    if connection.queries_logged:
        connection.queries_log.append({"sql": sql, "time": "0"})  # for tests that count queries
    raw = connection.connection
    if raw.prepare_threshold is None:
        raw.prepare_threshold = PREPARE_AFTER  # Django's own cursors never prepare
    with connection.wrap_database_errors, psycopg.RawCursor(raw) as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []


def claim(sql: str, *values: Any) -> Thread | None:
    """Run an UPDATE of one thread; the thread as it is then, None when the condition does not hold."""
    found = execute(f"{sql} RETURNING {_columns(Thread, 'agents_thread')}", values)
    return _load(Thread, found[0]) if found else None


def lock_session(session_pk: int) -> tuple[Session, datetime] | None:
    """The session without its snapshot, locked until the transaction ends, and the database's time; None when gone."""
    found = execute(_locking(Session), [session_pk])
    return (_load(Session, found[0][:-1], light=True), found[0][-1]) if found else None


def lock_session_and_thread(session_pk: int, thread_pk: int) -> tuple[Session, Thread, datetime] | None:
    """As `lock_session`, and the thread with it, locked in this order as everywhere; None when one is gone."""
    found = execute(_locking_both(), [session_pk, thread_pk])
    if not found:
        return None
    split = len(_names(Session, True))
    session = _load(Session, found[0][:split], light=True)
    thread = _load(Thread, found[0][split:-1], light=True)
    thread.session = session
    return session, thread, found[0][-1]


def select(model: type[Row], condition: str, *values: Any, light: bool = False) -> list[Row]:
    """The rows for which `condition` holds; it may go on with ORDER BY and LIMIT. `light` ones lack their snapshot."""
    found = execute(f"{_selecting(model, light)} WHERE {condition}", values)
    return [_load(model, row, light=light) for row in found]


def open_calls(thread_pk: int) -> list[ToolCall]:
    """The thread's calls without a result, with their `use_event`, in the order the model made them."""
    split = len(_fields(ToolCall))
    calls = []
    for row in execute(_selecting_open_calls(), [thread_pk, ToolCall.State.DONE.value]):
        call = _load(ToolCall, row[:split])
        call.use_event = _load(Event, row[split:])
        calls.append(call)
    return calls


def insert(rows: Sequence[Model], *, ignore_conflicts: bool = False) -> None:
    """Insert rows of one model, by one statement as long as they fit into one.

    They have their keys afterwards, unless conflicts are ignored.
    """
    if not rows:
        return
    model = type(rows[0])
    fields = _inserted(model)
    most = MAX_PARAMETERS // len(fields)
    if len(rows) > most:
        for start in range(0, len(rows), most):
            insert(rows[start : start + most], ignore_conflicts=ignore_conflicts)
        return
    values = [value for row in rows for value in _values(row, fields)]
    found = execute(_inserting(model, len(rows), ignore_conflicts), values)
    for row, (key,) in zip(rows, found, strict=False):
        row.pk = key
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def update(changes: Iterable[tuple[Model, Collection[str]]], *, notification: tuple[str, str] | None = None) -> None:
    """Save these fields of these rows, no row twice, and notify a channel: one statement for all."""
    shapes, values = [], []
    for row, names in changes:
        model = type(row)
        fields = _named(model, tuple(sorted(names)))
        shapes.append((model, tuple(field.column for field in fields)))
        values += _values(row, [*fields, model._meta.pk])
    if shapes or notification:
        execute(_updating(tuple(shapes), notification is not None), [*values, *(notification or ())])


def _fields(model: type[Model]) -> Sequence[Any]:
    return model._meta.concrete_fields


@lru_cache
def _inserted(model: type[Model]) -> list[Any]:
    return [field for field in _fields(model) if field is not model._meta.auto_field]


@lru_cache(maxsize=512)
def _named(model: type[Model], names: tuple[str, ...]) -> list[Any]:
    return [model._meta.get_field(name) for name in names]


def _values(row: Model, fields: Sequence[Any]) -> list[Any]:
    """What the database is sent. A related row that was stored after it was assigned has its key by now."""
    for field in _relations(type(row)):
        if getattr(row, field.attname) is None and (related := field.get_cached_value(row, default=None)) is not None:
            setattr(row, field.attname, related.pk)
    values = []
    for field in fields:
        value, convert = getattr(row, field.attname), _to_database(field)
        values.append(value if value is None or convert is None else convert(value))
    return values


@lru_cache(maxsize=512)
def _to_database(field: Any) -> Callable[[Any], Any] | None:
    """How a value is sent; None when psycopg takes it as it is. Integers have one width, so that plans are shared."""
    if type(field) in SENT_AS_THEY_ARE:
        return None
    if isinstance(field.target_field if field.is_relation else field, IntegerField):
        return Int8
    return lambda value: field.get_db_prep_save(value, connections[DEFAULT_DB_ALIAS])


def _load(model: type[Row], values: Sequence[Any], *, light: bool = False) -> Row:
    converted = list(values)
    for place, convert in _converters(model, light):
        converted[place] = convert(converted[place], None, connections[DEFAULT_DB_ALIAS])
    return model.from_db(DEFAULT_DB_ALIAS, _names(model, light), converted)


@lru_cache
def _relations(model: type[Model]) -> list[Any]:
    return [field for field in _fields(model) if field.is_relation]


def _read(model: type[Model], light: bool) -> list[Any]:
    return [field for field in _fields(model) if not (light and field.name == LEFT_OUT)]


@lru_cache
def _names(model: type[Model], light: bool = False) -> list[str]:
    return [field.attname for field in _read(model, light)]


@lru_cache
def _converters(model: type[Model], light: bool = False) -> list[tuple[int, Any]]:
    return [
        (place, convert)
        for place, field in enumerate(_read(model, light))
        for convert in field.get_db_converters(connections[DEFAULT_DB_ALIAS])
    ]


def _columns(model: type[Model], alias: str, light: bool = False) -> str:
    return ", ".join(f'{alias}."{field.column}"' for field in _read(model, light))


@lru_cache
def _selecting(model: type[Model], light: bool = False) -> str:
    return f"SELECT {_columns(model, 'r', light)} FROM {model._meta.db_table} r"  # noqa: S608 (names of our own)


@lru_cache
def _locking(model: type[Model]) -> str:
    columns = _columns(model, "r", True)
    return f"SELECT {columns}, clock_timestamp() FROM {model._meta.db_table} r WHERE r.id = $1 FOR UPDATE"  # noqa: S608


@lru_cache
def _locking_both() -> str:
    return (
        f"SELECT {_columns(Session, 's', True)}, {_columns(Thread, 't', True)}, clock_timestamp()"  # noqa: S608 (ours)
        f" FROM {Session._meta.db_table} s JOIN {Thread._meta.db_table} t ON t.session_id = s.id"
        " WHERE s.id = $1 AND t.id = $2 FOR UPDATE OF s, t"
    )


@lru_cache
def _selecting_open_calls() -> str:
    return (
        f"SELECT {_columns(ToolCall, 'c')}, {_columns(Event, 'e')}"  # noqa: S608 (names of our own)
        f" FROM {ToolCall._meta.db_table} c JOIN {Event._meta.db_table} e ON e.id = c.use_event_id"
        " WHERE c.thread_id = $1 AND c.state <> $2 ORDER BY e.seq"
    )


@lru_cache(maxsize=512)
def _inserting(model: type[Model], count: int, ignore_conflicts: bool) -> str:
    columns = [field.column for field in _inserted(model)]
    width = len(columns)
    rows = (
        "(" + ", ".join(f"${number}" for number in range(start + 1, start + width + 1)) + ")"
        for start in range(0, count * width, width)
    )
    names = ", ".join(f'"{column}"' for column in columns)
    end = "ON CONFLICT DO NOTHING" if ignore_conflicts else f"RETURNING {model._meta.pk.column}"
    table = model._meta.db_table
    return f"INSERT INTO {table} ({names}) VALUES {', '.join(rows)} {end}"  # noqa: S608 (names of our own)


@lru_cache(maxsize=512)
def _updating(shapes: tuple[tuple[type[Model], tuple[str, ...]], ...], notifies: bool) -> str:
    parts, number = [], 0
    for model, columns in shapes:
        assigned = ", ".join(f'"{column}" = ${number + place}' for place, column in enumerate(columns, start=1))
        number += len(columns) + 1
        table, key = model._meta.db_table, model._meta.pk.column
        parts.append(f"UPDATE {table} SET {assigned} WHERE {key} = ${number}")  # noqa: S608 (names of our own)
    last = f"SELECT pg_notify(${number + 1}, ${number + 2})" if notifies else parts.pop()
    return f"WITH {', '.join(f'u{place} AS ({part})' for place, part in enumerate(parts))} {last}" if parts else last
