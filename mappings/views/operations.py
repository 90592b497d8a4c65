"""What a person may do to the views of the list of epics that they saved: each sees their own alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from mappings.errors import Conflict, NotFound, check_values
from mappings.tables import SavedViewRow
from mappings.values import line_error, text_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

MOST_VIEWS = 20
NAME_AT_MOST = 40
QUERY_AT_MOST = 4_000


async def views_of(session: AsyncSession, owner: str) -> Sequence[SavedViewRow]:
    """By their names."""
    saved = select(SavedViewRow).where(SavedViewRow.owner == owner)
    return (await session.scalars(saved.order_by(func.lower(SavedViewRow.name)))).all()


async def save_view(session: AsyncSession, owner: str, name: str, query: str, now: datetime) -> None:
    """Save the query of an address under a name; a view of the same name, in any case, is replaced.
    Raises `Invalid`, and `Conflict` where the owner has the most there may be."""
    check_values([("name", line_error(name, NAME_AT_MOST)), ("query", text_error(query, QUERY_AT_MOST))])
    others = [view for view in await views_of(session, owner) if view.name.lower() != name.lower()]
    if len(others) >= MOST_VIEWS:
        raise Conflict(f"You have {MOST_VIEWS} saved views, the most there may be; delete one first.")
    made = insert(SavedViewRow).values(owner=owner, name=name, query=query, created_at=now)
    await session.execute(
        made.on_conflict_do_update(
            index_elements=[SavedViewRow.owner, func.lower(SavedViewRow.name)],
            set_={"name": name, "query": query},
        )
    )


async def delete_view(session: AsyncSession, owner: str, name: str) -> None:
    """Raises `NotFound` where this owner has none of this name, in any case."""
    own = SavedViewRow.owner == owner, func.lower(SavedViewRow.name) == func.lower(name)
    gone = await session.scalar(delete(SavedViewRow).where(*own).returning(SavedViewRow.id))
    if gone is None:
        raise NotFound.of("saved view", name)
