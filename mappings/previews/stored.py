"""The stored epics that conditions match, page by page, so that a walk over all of them holds up nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from mappings.evaluation.load import EVALUATED_COLUMNS, epic_of
from mappings.policy.names import former_names
from mappings.rules.condition import AnyOf
from mappings.rules.prefilter import may_match
from mappings.tables import EpicRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Epic
    from mappings.rules.condition import Condition

Item = TypeVar("Item")
PAGE_SIZE = 1000
MATCHED_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class MatchedEpic:
    """An epic that a condition matches: its row, its value as rules see it, and the name of its source."""

    row: EpicRow
    epic: Epic
    source: str


async def matched_epics(
    session: AsyncSession, conditions: Sequence[Condition], after: int = 0
) -> AsyncIterator[list[MatchedEpic]]:
    """The epics with ids above `after` that one of the conditions matches, by id, without removed ones.

    What a page has may be fewer than `PAGE_SIZE`, or none. Nothing is locked.
    """
    rows_of_sources = (await session.scalars(select(SourceRow))).all()
    sources = {row.id: _Source(row) for row in rows_of_sources}
    page: Any = select(*EVALUATED_COLUMNS).select_from(EpicRow).where(EpicRow.removed_at.is_(None))
    possible = may_match(AnyOf(conditions), rows_of_sources)
    if possible is not None:
        page = page.where(possible)
    last: int | None = after
    while last is not None:
        query = page.where(EpicRow.id > last).order_by(EpicRow.id).limit(PAGE_SIZE)
        rows: Sequence[Any] = (await session.execute(query)).all()
        yield await _matched(rows, sources, conditions)
        last = rows[-1].id if len(rows) == PAGE_SIZE else None


class _Source:
    def __init__(self, row: SourceRow) -> None:
        self.name = row.name
        self.former_names = cache(partial(former_names, row.named_projects))


async def _matched(
    rows: Iterable[Any], sources: dict[int, _Source], conditions: Sequence[Condition]
) -> list[MatchedEpic]:
    found: list[MatchedEpic] = []
    async for row in in_turns(rows):
        source = sources[row.source_id]
        epic = epic_of(row, source.former_names(row.project))
        if any(condition.matches(source.name, epic) for condition in conditions):
            found.append(MatchedEpic(row, epic, source.name))
    return found


async def in_turns(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items; other tasks run after each `MATCHED_AT_A_TIME` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % MATCHED_AT_A_TIME:
            await asyncio.sleep(0)
