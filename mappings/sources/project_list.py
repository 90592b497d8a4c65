"""The projects of a source in pages, by key: whether each can be read, and whether writing is paused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from mappings.tables import SourceProjectRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class ProjectPage:
    """`total`: of all pages. `next`: the key after which the next page begins, None on the last."""

    items: Sequence[SourceProjectRow]
    total: int
    next: str | None


async def list_projects(session: AsyncSession, source_id: int, *, after: str, limit: int) -> ProjectPage:
    of_source = SourceProjectRow.source_id == source_id
    query = select(SourceProjectRow).where(of_source, SourceProjectRow.key > after)
    rows = (await session.scalars(query.order_by(SourceProjectRow.key).limit(limit + 1))).all()
    total = await session.scalar(select(func.count()).select_from(SourceProjectRow).where(of_source)) or 0
    items = rows[:limit]
    return ProjectPage(items, total, items[-1].key if len(rows) > limit else None)
