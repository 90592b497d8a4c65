"""The cycles that are under way, and what weight their objectives give each driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from mappings.tables import CycleRow, ObjectiveRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class RunningCycle:
    """`day`: which of its `days` today is, the first being 1."""

    key: str
    day: int
    days: int


async def running_cycles(session: AsyncSession, today: date) -> list[RunningCycle]:
    """Those whose first and last day include `today`, the one that ends first in front."""
    rows = await session.scalars(
        select(CycleRow)
        .where(CycleRow.starts <= today, CycleRow.ends >= today)
        .order_by(CycleRow.ends, func.lower(CycleRow.key))
    )
    return [
        RunningCycle(row.key, (today - row.starts).days + 1, (row.ends - row.starts).days + 1) for row in rows
    ]


async def ended_cycles(session: AsyncSession, since: date, today: date) -> list[tuple[str, date]]:
    """The keys and last days of those whose last day is `since` or later, and before `today`."""
    rows = await session.execute(
        select(CycleRow.key, CycleRow.ends)
        .where(CycleRow.ends >= since, CycleRow.ends < today)
        .order_by(CycleRow.ends.desc(), func.lower(CycleRow.key))
    )
    return [(key, ends) for key, ends in rows]


async def driver_weights(session: AsyncSession, today: date) -> Mapping[str, float]:
    """By driver its share, 0..1, in the weights of the objectives of the cycles under way; drafts and
    archived ones have none. Empty where no weight is given; those without a driver count in the whole."""
    weight = func.sum(ObjectiveRow.weight)
    rows = await session.execute(
        select(ObjectiveRow.driver, weight)
        .join(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .where(CycleRow.starts <= today, CycleRow.ends >= today)
        .where(ObjectiveRow.state.not_in(("draft", "archived")))
        .group_by(ObjectiveRow.driver)
    )
    weights: dict[str | None, float] = {driver: number for driver, number in rows}
    whole = sum(weights.values())
    if whole <= 0:
        return {}
    return {driver: number / whole for driver, number in weights.items() if driver is not None}
