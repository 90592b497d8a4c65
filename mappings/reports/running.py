"""The cycles that are under way, and what weight their objectives give each driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from mappings.tables import CycleRow, ObjectiveRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class ObjectiveWeight:
    """`share`: of an objective, 0..1, in the weights of the objectives of the cycles under way."""

    key: str
    driver: str | None
    share: float


async def objective_weights(
    session: AsyncSession, today: date, cycle: str | None = None
) -> Sequence[ObjectiveWeight]:
    """Of the cycles under way on `today`, or of the cycle of this key, as it is stored; drafts and archived
    ones have none. Empty where no weight is given."""
    query = (
        select(ObjectiveRow.key, ObjectiveRow.driver, ObjectiveRow.weight)
        .join(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .where(ObjectiveRow.state.not_in(("draft", "archived")))
        .order_by(ObjectiveRow.id)
    )
    if cycle is None:
        query = query.where(CycleRow.starts <= today, CycleRow.ends >= today)
    else:
        query = query.where(CycleRow.key == cycle)
    rows = (await session.execute(query)).all()
    whole = sum(weight for _, _, weight in rows)
    if whole <= 0:
        return []
    return [ObjectiveWeight(key, driver, weight / whole) for key, driver, weight in rows]


def by_driver(weights: Iterable[ObjectiveWeight]) -> Mapping[str, float]:
    """By driver its share, 0..1; those without a driver count in the whole. Empty where no weight is
    given. Pure."""
    found: dict[str, float] = {}
    for one in weights:
        if one.driver is not None:
            found[one.driver] = found.get(one.driver, 0.0) + one.share
    return found
