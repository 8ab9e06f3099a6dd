"""Telling a database that is away from one that refuses what a step sends."""

from __future__ import annotations

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError

# What PostgreSQL says when the fault is not in the statement: it stops or starts, has no room or no connection left,
# cannot be written to, or has ended one of two transactions that waited for each other.
NOT_THE_STEPS_FAULT = ("08", "57P", "53100", "53300", "25006", "40001", "40P01")


def is_outage(error: BaseException) -> bool:
    """Whether the same work may succeed once the database is back, and says nothing against the work."""
    if not isinstance(error, DatabaseError | InterfaceError | psycopg.Error):
        return False
    told = error if isinstance(error, psycopg.Error) else error.__cause__
    sqlstate = told.sqlstate if isinstance(told, psycopg.Error) else None
    if sqlstate is not None:
        return sqlstate.startswith(NOT_THE_STEPS_FAULT)
    # Nothing was answered: the connection broke, or there was none to be had.
    return isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError)
