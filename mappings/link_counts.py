"""How many links there are, counted by an index alone: at 100,000 epics no count reads them all."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from mappings.tables import EpicRow, LinkRow, among_ids

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncSession


async def count_links(
    session: AsyncSession, column: Any, ids: Iterable[int], origin: str | None = None
) -> dict[int, int]:
    """How many links of listed epics there are, of this origin where one is given, by `column` of `LinkRow`,
    of these ids; an id without any may be left out. All are counted, and those of removed epics, of which
    there are few, taken off."""
    rows = await session.execute(_counted(column, origin), {"ids": list(ids)})
    return {id: number for id, number in rows}


@cache
def _counted(column: Any, origin: str | None) -> Select[Any]:
    counted = select(column.label("id"), func.count().label("number"))
    counted = counted.where(among_ids(column)).group_by(column)
    if origin is not None:
        counted = counted.where(LinkRow.origin == origin)
    gone = counted.join(EpicRow, EpicRow.id == LinkRow.epic_id).where(EpicRow.removed_at.is_not(None))
    every, removed = counted.subquery("every"), gone.subquery("removed")
    number = every.c.number - func.coalesce(removed.c.number, 0)
    return select(every.c.id, number).outerjoin(removed, removed.c.id == every.c.id)
