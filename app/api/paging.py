"""Lists: `limit`, an opaque `cursor` that holds the filters, and `next`.

A list is ordered by id, or by another value and then by id, so a row that exists while all pages are read
is returned exactly once, as long as its value stays the same.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import DateTime, Integer, Select, bindparam, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.errors import Invalid

Item = TypeVar("Item")
# The id of the last row, or the value that the list is ordered by, as text, and the id.
Position = int | list[Any]
LIMIT, MOST = 50, 500
DIGEST = 16
CURSOR_AT_MOST = 12_000  # characters: all filters at their longest, in letters of four bytes

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many items at most.")]


@dataclass(frozen=True, slots=True)
class Cursors:
    """The cursors of one list: what was `sent`, the `key` (32 bytes) that signs them, and the `path` of the
    list, which they do not leave."""

    sent: str | None
    key: bytes = field(repr=False)
    path: str

    def digest(self, packed: bytes) -> bytes:
        return hmac.digest(self.key, json.dumps(self.path).encode() + packed, "sha256")[:DIGEST]

    def encode(self, after: Position, filters: dict[str, Any]) -> str:
        packed = json.dumps([after, filters], separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(self.digest(packed) + packed).decode().rstrip("=")

    def decode(self, sent: str) -> tuple[Position, dict[str, Any]]:
        """Where to continue, and the filters. Raises `Invalid`."""
        try:
            padded = sent + "=" * (-len(sent) % 4)
            raw = base64.b64decode(padded, altchars=b"-_", validate=True)
            packed = raw[DIGEST:]
            if base64.urlsafe_b64encode(raw).decode().rstrip("=") != sent:
                raise ValueError("another spelling of the same bytes")
            if not hmac.compare_digest(self.digest(packed), raw[:DIGEST]):
                raise ValueError("not signed by us for this list")
            after, filters = json.loads(packed)
            id = after[1] if isinstance(after, list) else after
            if type(id) is not int or not 0 < id < 2**63 or not isinstance(filters, dict):
                raise ValueError("another shape than ours")
        except (ValueError, TypeError, IndexError):
            raise Invalid(
                "cursor", "is not a cursor that Northing made for this list; start again without it"
            ) from None
        return after, filters


async def _cursors(
    request: Request,
    cursor: Annotated[
        str | None,
        Query(max_length=CURSOR_AT_MOST, description="`next` of the previous page; it holds the filters."),
    ] = None,
) -> Cursors:
    runtime: Runtime = request.app.state.runtime
    return Cursors(cursor, runtime.signing.key("cursor"), request.scope["path"].lower())


# Never None in a request: None stands for a list that is made up in Python.
CursorParameter = Annotated[Cursors | None, Depends(_cursors)]


class Page(BaseModel, Generic[Item]):
    items: list[Item] = Field(description="The items of this page.")
    next: str | None = Field(description="Send it as `cursor` to get the next page; null on the last.")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The query of one page: `filters` are those of the cursor, if there is one, else those of the call."""

    limit: int
    after: Position
    filters: dict[str, Any]
    cursors: Cursors


def list_query(cursor: Cursors | None, limit: int, **filters: str | int | bool | None) -> ListQuery:
    """Raises 422 for a cursor that Northing did not make, of another list or against `filters`."""
    assert cursor is not None
    if cursor.sent is None:
        return ListQuery(limit, 0, filters, cursor)
    after, held = cursor.decode(cursor.sent)
    if held.keys() != filters.keys():
        raise Invalid("cursor", "belongs to another version of this list; start again without it")
    given = {name: value for name, value in filters.items() if value is not None}
    if any(held[name] != value for name, value in given.items()):
        raise Invalid("cursor", "holds other filters; leave the filters out, or start again without it")
    return ListQuery(limit, after, held, cursor)


async def page_of(
    session: AsyncSession,
    query: Select[Any],
    id_column: Any,
    step: ListQuery,
    *,
    newest_first: bool = False,
    value: Any = None,
) -> tuple[Sequence[Any], str | None]:
    """The rows of one page and the cursor of the next, None on the last. `query` is filtered already.

    `value`: the column, never null, that the list is ordered by before the id; it is added to the rows.
    `newest_first`: the greatest come first.
    """
    beyond = _beyond(step.after, value)
    pages = _PAGES.setdefault(query, {})
    kind = id_column, value, newest_first, tuple(beyond)
    statement = pages.get(kind)
    if statement is None:
        statement = pages[kind] = _page(query, *kind)
    rows = (await session.execute(statement, {"page_rows": step.limit + 1, **beyond})).all()
    return first_page(rows, id_column, step, value=value)


def _beyond(after: Position, value: Any) -> dict[str, Any]:
    """The parameters by which `_page` continues."""
    if not isinstance(after, list):
        return {"after_id": after} if after else {}
    first = datetime.fromisoformat(after[0]) if isinstance(value.type, DateTime) else after[0]
    return {"after_value": first, "after_id": after[1]}


# The statements of a query's pages, kept as long as the query: to make one, and to find it among those that
# were compiled before, takes SQLAlchemy as long as a short list takes the database. A list whose `query` is
# always the same object spares both, and one that is made for a request leaves nothing.
_PAGES: WeakKeyDictionary[Select[Any], dict[Any, Select[Any]]] = WeakKeyDictionary()


def _page(
    query: Select[Any], id_column: Any, value: Any, newest_first: bool, beyond: tuple[str, ...]
) -> Select[Any]:
    """The statement of a page; `beyond`: the names of the parameters by which it continues."""
    columns = [id_column]
    if value is not None:
        query, columns = query.add_columns(value.label("_value")), [value, id_column]
    query = query.order_by(*(column.desc() if newest_first else column for column in columns))
    id = bindparam("after_id", type_=id_column.type)
    if "after_value" in beyond:
        row, position = tuple_(*columns), tuple_(bindparam("after_value", type_=value.type), id)
        query = query.where(row < position if newest_first else row > position)
    elif beyond:
        query = query.where(id_column < id if newest_first else id_column > id)
    return query.limit(bindparam("page_rows", type_=Integer))


def first_page(
    rows: Sequence[Any], id_column: Any, step: ListQuery, *, value: Any = None
) -> tuple[Sequence[Any], str | None]:
    """As `page_of`, of rows that are read: those of the page, and perhaps more."""
    if len(rows) <= step.limit:
        return rows, None
    page = rows[: step.limit]
    id = _id(page[-1], id_column)
    after = id if value is None else [_as_text(page[-1][-1]), id]
    return page, step.cursors.encode(after, step.filters)


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else value


def _id(row: Any, column: Any) -> int:
    first = row[0]
    value: int = getattr(first, column.key) if hasattr(first, column.key) else row._mapping[column.key]
    return value
