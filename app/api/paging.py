"""Lists: `limit`, an opaque `cursor` that holds the filters, and `next`.

A list is ordered by id, so a row that exists while all pages are read is returned exactly once.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.errors import Invalid

Item = TypeVar("Item")
LIMIT, MOST = 50, 500
DIGEST = 6

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many items at most.")]
CursorParameter = Annotated[
    str | None, Query(max_length=4000, description="`next` of the previous page; it holds the filters.")
]


class Page(BaseModel, Generic[Item]):
    items: list[Item] = Field(description="The items of this page.")
    next: str | None = Field(description="Send it as `cursor` to get the next page; null on the last.")


def _digest(packed: bytes) -> bytes:
    """Not a secret: it detects a cursor that was changed on its way or made up by a caller, so the filters
    in a cursor need no second check."""
    return hashlib.blake2b(packed, digest_size=DIGEST).digest()


def _encode(after: int, filters: dict[str, Any]) -> str:
    packed = json.dumps([after, filters], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(packed) + packed).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The query of one page: `filters` are those of the cursor, if there is one, else those of the call."""

    limit: int
    after: int
    filters: dict[str, Any]


def list_query(cursor: str | None, limit: int, **filters: str | int | bool | None) -> ListQuery:
    """Raises 422 for a cursor that Northing did not make, of another list or against `filters`."""
    if cursor is None:
        return ListQuery(limit, 0, filters)
    after, held = _decode(cursor, filters)
    return ListQuery(limit, after, held)


def _decode(cursor: str, filters: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The id to continue after, and the filters; 422 as in `list_query`."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    packed = raw[DIGEST:]
    if not packed or _digest(packed) != raw[:DIGEST]:
        raise Invalid("cursor", "is not a cursor that Northing made; start again without it")
    after, held = json.loads(packed)
    if held.keys() != filters.keys():
        raise Invalid("cursor", "belongs to another list; start again without it")
    given = {name: value for name, value in filters.items() if value is not None}
    if any(held[name] != value for name, value in given.items()):
        raise Invalid("cursor", "holds other filters; leave the filters out, or start again without it")
    return after, held


async def page_of(
    session: AsyncSession,
    query: Select[Any],
    id_column: Any,
    step: ListQuery,
    *,
    newest_first: bool = False,
) -> tuple[Sequence[Any], str | None]:
    """The rows of one page and the cursor of the next, None on the last. `query` is filtered already."""
    limit, after, filters = step.limit, step.after, step.filters
    if newest_first:
        query = query.order_by(id_column.desc())
        query = query.where(id_column < after) if after else query
    else:
        query = query.order_by(id_column).where(id_column > after)
    rows = (await session.execute(query.limit(limit + 1))).all()
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], _encode(_id(rows[limit - 1], id_column), filters)


def _id(row: Any, column: Any) -> int:
    first = row[0]
    value: int = getattr(first, column.key) if hasattr(first, column.key) else row._mapping[column.key]
    return value
