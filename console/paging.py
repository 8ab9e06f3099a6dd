"""Keyset pages over (created_at, pk), newest first: the last page is as quick as the first, whatever is added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from django.core.exceptions import BadRequest
from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page, and the cursors of its neighbours (empty when there is none)."""

    rows: list[Row]
    newer: str
    older: str


def keyset_page(queryset: QuerySet[Row], *, cursor: str, size: int) -> Page[Row]:
    """The page that `cursor` names; the newest one without a cursor.

    Raises BadRequest for a cursor that we did not make.
    """
    towards_newer, moment, pk = _read(cursor) if cursor else (False, None, 0)
    if moment is None:
        found = list(queryset.order_by("-created_at", "-pk")[: size + 1])
        return _page(found[:size], newer=False, older=len(found) > size)
    if towards_newer:
        beyond = Q(created_at__gt=moment) | Q(pk__gt=pk)
        rows = queryset.filter(beyond, created_at__gte=moment).order_by("created_at", "pk")
        found = list(rows[: size + 1])
        return _page(found[:size][::-1], newer=len(found) > size, older=True)
    beyond = Q(created_at__lt=moment) | Q(pk__lt=pk)
    rows = queryset.filter(beyond, created_at__lte=moment).order_by("-created_at", "-pk")
    found = list(rows[: size + 1])
    return _page(found[:size], newer=True, older=len(found) > size)


def _page(rows: list[Row], *, newer: bool, older: bool) -> Page[Row]:
    return Page(
        rows=rows,
        newer=_write("n", rows[0]) if rows and newer else "",
        older=_write("o", rows[-1]) if rows and older else "",
    )


def _write(direction: str, row: Model) -> str:
    micros = (row.created_at - _EPOCH) // _MICROSECOND  # type: ignore[attr-defined]
    return f"{direction}{micros}.{row.pk}"


def _read(cursor: str) -> tuple[bool, datetime, int]:
    micros, dot, pk = cursor[1:].partition(".")
    try:
        if cursor[0] not in "no" or not dot or len(cursor) > 40:
            raise ValueError
        return cursor[0] == "n", _EPOCH + int(micros) * _MICROSECOND, int(pk)
    except (ValueError, OverflowError) as exc:
        raise BadRequest("This page address is damaged. Start again from the first page.") from exc
