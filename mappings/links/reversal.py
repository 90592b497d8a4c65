"""Taking several links by hand back as one change, and making such links again as they were.

The caller has the epics evaluated before it answers (`pipeline.evaluate_at_once` takes the runs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from mappings.errors import Conflict
from mappings.links.operations import link_manually, where_to_change
from mappings.locks import lock_epics_and_sources, lock_goals_exclusive
from mappings.lookups import why_removed
from mappings.parents import ChangedParent
from mappings.runs.reevaluation import open_evaluations, reevaluate_below
from mappings.tables import MANUAL_ORIGINS, EpicRow, KeyResultRow, LinkRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class LinkValues:
    """A link that a person made. `epic` and `key_result` are ids."""

    epic: int
    key_result: int
    origin: str
    weight: float
    primary: bool
    why: str


async def unlink_all(
    session: AsyncSession, link_ids: Sequence[int], now: datetime, *, of: int | None = None
) -> tuple[list[LinkValues], list[int]]:
    """Take these links back, all or none: what they were, and the ids of the runs. `of`: the id of the epic
    that they must be of, None for any.

    Raises `Conflict` where one is gone, or is made by a rule, the ticket or a parent."""
    await lock_goals_exclusive(session)
    found = select(LinkRow).where(among(LinkRow.id, link_ids)).order_by(LinkRow.epic_id, LinkRow.id)
    rows = list(await session.scalars(found.execution_options(populate_existing=True)))
    if len(rows) < len(set(link_ids)) or any(of not in (None, row.epic_id) for row in rows):
        raise Conflict("A link of this change was taken back already. Nothing was changed.")
    for row in rows:
        if row.origin not in MANUAL_ORIGINS:
            raise Conflict(await where_to_change(session, row))
    epics = await lock_epics_and_sources(session, sorted({row.epic_id for row in rows}))
    values = [_values(row) for row in rows]
    for row in rows:
        await session.delete(row)
    await session.flush()
    return values, await _evaluation_of(session, epics, now)


async def link_again(session: AsyncSession, links: Sequence[LinkValues], now: datetime) -> list[int]:
    """Make links again that were taken back, all or none; the ids of the runs.

    Raises `Conflict` where the epic or the key result is gone, or a person linked them since, or made another
    link the primary one."""
    await lock_goals_exclusive(session)
    epics = {
        row.id: row for row in await lock_epics_and_sources(session, sorted({link.epic for link in links}))
    }
    goals = await _keys(session, {link.key_result for link in links})
    for link in links:
        epic = epics.get(link.epic)
        if epic is None or link.key_result not in goals:
            raise Conflict("The epic or the key result is gone. Nothing was undone.")
        if epic.removed_at is not None:
            raise Conflict(f"{why_removed(epic.key, epic.removed_at, epic.removal_reason)}.")
        goal = goals[link.key_result]
        if link.primary and await _has_primary(session, epic.id):
            raise Conflict(f"Another link of {epic.key} was made primary since. Nothing was undone.")
        _, is_new = await link_manually(
            session, epic.id, goal, link.origin, link.why, now, weight=link.weight, primary=link.primary
        )
        if not is_new:
            raise Conflict(f"{epic.key} was linked to {goal} again since. Nothing was undone.")
    return await _evaluation_of(session, epics.values(), now)


async def _keys(session: AsyncSession, ids: Iterable[int]) -> dict[int, str]:
    """The keys of these key results by their ids."""
    rows = await session.execute(select(KeyResultRow.id, KeyResultRow.key).where(among(KeyResultRow.id, ids)))
    return {id: key for id, key in rows}


async def _has_primary(session: AsyncSession, epic_id: int) -> bool:
    primary = select(LinkRow.id).where(LinkRow.epic_id == epic_id, LinkRow.is_primary)
    return await session.scalar(primary) is not None


def _values(row: LinkRow) -> LinkValues:
    return LinkValues(row.epic_id, row.key_result_id, row.origin, row.weight, row.is_primary, row.why)


async def _evaluation_of(session: AsyncSession, epics: Collection[EpicRow], now: datetime) -> list[int]:
    runs = await open_evaluations(session, epics, now)
    changed = [ChangedParent(epic.id, epic.key) for epic in epics]
    below = await reevaluate_below(session, changed, [epic.id for epic in epics], now)
    return list(dict.fromkeys([*runs, *below]))
