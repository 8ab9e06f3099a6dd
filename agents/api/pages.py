"""Cursor pages: opaque, signed positions in one ordered list.

A cursor says which list, order and direction made it and the values of the order fields at its row. So pages neither
skip nor repeat rows when others are added meanwhile, and a cursor from elsewhere is an error, not a surprise.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from agents.errors import Invalid

Row = TypeVar("Row", bound=Model)
Position = tuple[datetime | int, ...]

NEWEST = ("created_at", "id")
BY_POSITION = ("position",)
PREFIX = "page_"
SIGNATURE_BYTES = 9
TIME_FILTERS = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: list[Row]
    next_page: str | None
    prev_page: str | None = None

    def wire(self, serialise: Callable[[Row], Any], *, both_ways: bool = False) -> dict[str, Any]:
        """The answer of a list call. Only the sessions list has `prev_page`; elsewhere the key must be absent."""
        body = {"data": [serialise(row) for row in self.rows], "next_page": self.next_page}
        return {**body, "prev_page": self.prev_page} if both_ways else body


@dataclass(frozen=True)
class Cursor:
    order: str
    forwards: bool
    position: Position

    def encode(self, name: str) -> str:
        values = [v.isoformat() if isinstance(v, datetime) else v for v in self.position]
        payload = json.dumps([self.order, int(self.forwards), *values], separators=(",", ":")).encode()
        return PREFIX + base64.urlsafe_b64encode(_signature(name, payload) + payload).decode().rstrip("=")


def paginate(
    rows: QuerySet[Row],
    query: dict[str, Any],
    *,
    name: str,
    fields: tuple[str, ...] = NEWEST,
    default_order: str = "desc",
    both_ways: bool = False,
) -> Page[Row]:
    """One page of `rows`, which must be filtered already and not yet ordered.

    Args:
        query: what `parse_query` returned: `limit`, and maybe `page`, `order` and `created_at_*`.
        name: which list this is, with whatever its cursors must not be carried between (a parent's id).
        fields: what orders the list, together unique; times or integers, all in the same direction.
        both_ways: also offer the way back (`prev_page`).

    Raises:
        Invalid: the cursor is garbage, of another list or order, or outside the `created_at` filter.
    """
    order, limit = query.get("order", default_order), query["limit"]
    cursor = _read_cursor(query, name=name, order=order, fields=fields)
    forwards = cursor.forwards if cursor else True
    ascending = (order == "asc") == forwards
    if cursor:
        rows = rows.filter(_beyond(fields, cursor.position, ascending=ascending))
    found = list(rows.order_by(*(field if ascending else f"-{field}" for field in fields))[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    if not forwards:
        found.reverse()

    def to(row: Row, *, forwards: bool) -> str:
        return Cursor(order, forwards, tuple(getattr(row, field) for field in fields)).encode(name)

    has_next = more if forwards else bool(found)
    has_prev = both_ways and bool(found) and (bool(cursor) if forwards else more)
    return Page(
        rows=found,
        next_page=to(found[-1], forwards=True) if has_next else None,
        prev_page=to(found[0], forwards=False) if has_prev else None,
    )


def created_within(rows: QuerySet[Row], query: dict[str, Any], field: str = "created_at") -> QuerySet[Row]:
    """`rows` narrowed by the `created_at[gte]`-like filters of `query`."""
    given = {f"{field}__{end}": query[f"created_at_{end}"] for end in TIME_FILTERS if f"created_at_{end}" in query}
    return rows.filter(**given)


def _beyond(fields: tuple[str, ...], position: Position, *, ascending: bool) -> Q:
    """Rows after `position`. The bound on the first field alone lets the index do the work."""
    end = "gt" if ascending else "lt"
    beyond, equal = Q(), Q()
    for field, value in zip(fields, position, strict=True):
        beyond |= equal & Q(**{f"{field}__{end}": value})
        equal &= Q(**{field: value})
    return Q(**{f"{fields[0]}__{end}e": position[0]}) & beyond


def _read_cursor(query: dict[str, Any], *, name: str, order: str, fields: tuple[str, ...]) -> Cursor | None:
    text = query.get("page")
    if text is None:
        return None
    try:
        cursor = _decode(text, name=name)
    except (ValueError, TypeError, binascii.Error) as exc:
        raise Invalid("page: this is not a cursor of this list. Start again without `page`.") from exc
    if len(cursor.position) != len(fields):
        raise Invalid("page: this is not a cursor of this list. Start again without `page`.")
    if cursor.order != order:
        raise Invalid(f"page: this cursor was made with order={cursor.order}. Use the same order, or no cursor.")
    if fields[0] == "created_at" and not _is_within(cursor.position[0], query):
        raise Invalid("page: this cursor lies outside the created_at filter. Start again without `page`.")
    return cursor


def _decode(text: str, *, name: str) -> Cursor:
    encoded = text.removeprefix(PREFIX).encode("ascii")
    raw = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not constant_time_compare(signature, _signature(name, payload)):
        raise ValueError("not signed by us for this list")
    order, forwards, *values = json.loads(payload)
    position = tuple(datetime.fromisoformat(v) if isinstance(v, str) else v for v in values)
    return Cursor(order, bool(forwards), position)


def _signature(name: str, payload: bytes) -> bytes:
    return salted_hmac(f"agents.api.pages:{name}", payload, algorithm="sha256").digest()[:SIGNATURE_BYTES]


def _is_within(moment: datetime | int, query: dict[str, Any]) -> bool:
    if not isinstance(moment, datetime):
        return True
    moment = moment if moment.tzinfo else timezone.make_aware(moment)
    checks: dict[str, Callable[[Any], bool]] = {
        "gt": lambda bound: moment > bound,
        "gte": lambda bound: moment >= bound,
        "lt": lambda bound: moment < bound,
        "lte": lambda bound: moment <= bound,
    }
    return all(check(query[f"created_at_{end}"]) for end, check in checks.items() if f"created_at_{end}" in query)
