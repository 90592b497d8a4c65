"""What a person may ask of where work goes: now, or of a month that was frozen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger

from mappings.errors import Invalid
from mappings.evaluation.context import load_key_results
from mappings.lookups import goal_in, source_in
from mappings.reports.allocation import AllocationReport, Served
from mappings.reports.allocation_epics import (
    Period,
    classified,
    counting_goals,
    exempt_ids,
    load_blocks,
    month_of,
)
from mappings.reports.allocation_months import RowFilters, frozen_month, frozen_months, read_blocks
from mappings.reports.running import by_driver, objective_weights
from mappings.tables import CycleRow, EpicRow, ObjectiveRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.key_results import KeyResult

NO_CYCLE_OF_MONTH = "cannot be sent with month: a frozen month keeps no cycle"


async def allocation_report(
    session: AsyncSession,
    now: datetime,
    *,
    month: date | None = None,
    source: str | None = None,
    project: str | None = None,
    cycle: str | None = None,
) -> AllocationReport:
    """Of all epics, or those of this source, project and cycle, in any case. `month`: its first day; None is
    now, with what was finished since the first of this month.

    Raises `Invalid` on `source` and `cycle`, and `NotFound` for a month that was not frozen.
    """
    months = await frozen_months(session)
    if month is not None:
        return await _of_month(session, now, months, month, source, project, cycle)
    cycle_row = None if cycle is None else await goal_in(session, CycleRow, cycle, "cycle")
    goals = await load_key_results(session)
    start, end = month_of(now.astimezone(UTC).date())
    objectives = await _objectives(session)
    served = {id: Served(goal.objective_key, goal.driver) for id, goal in goals.items()}
    within = None
    if cycle_row is not None:
        of_cycle = {key for key, (_, cycle_id) in objectives.items() if cycle_id == cycle_row.id}
        within = {id for id, goal in goals.items() if goal.objective_key in of_cycle}
    blocks = await load_blocks(
        session,
        counting_goals(goals, now),
        served,
        Period(start, end, over=False),
        await _own_columns(session, source, project),
        within,
    )
    weights = await objective_weights(
        session, now.astimezone(UTC).date(), None if cycle_row is None else cycle_row.key
    )
    return AllocationReport(
        at=now,
        month=None,
        starts=start,
        ends=end,
        months=months,
        blocks=blocks,
        driver_weights=by_driver(weights),
        objective_weights={one.key: one.share for one in weights},
        titles={key: title for key, (title, _) in objectives.items()},
    )


async def _of_month(
    session: AsyncSession,
    now: datetime,
    months: Any,
    month: date,
    source: str | None,
    project: str | None,
    cycle: str | None,
) -> AllocationReport:
    if cycle is not None:
        raise Invalid("cycle", NO_CYCLE_OF_MONTH)
    frozen = frozen_month(months, month)
    start, end = month_of(month)
    blocks = await read_blocks(session, month, source, project)
    weights = await objective_weights(session, (end - timedelta(days=1)).date())
    objectives = await _objectives(session)
    return AllocationReport(
        at=now,
        month=frozen,
        starts=start,
        ends=end,
        months=months,
        blocks=blocks,
        driver_weights=by_driver(weights),
        objective_weights={one.key: one.share for one in weights},
        titles={key: title for key, (title, _) in objectives.items()},
    )


async def _objectives(session: AsyncSession) -> Mapping[str, tuple[str, int | None]]:
    """By key the title and the cycle's id."""
    rows = await session.execute(select(ObjectiveRow.key, ObjectiveRow.title, ObjectiveRow.cycle_id))
    return {key: (title, cycle_id) for key, title, cycle_id in rows}


async def _own_columns(
    session: AsyncSession, source: str | None, project: str | None
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if source is not None:
        found.append(EpicRow.source_id == (await source_in(session, source, "source")).id)
    if project is not None:
        found.append(func.lower(EpicRow.project) == project.lower())
    return found


# --- the epics behind a number -----------------------------------------------------------------


async def current_rows(
    session: AsyncSession, now: datetime, filters: RowFilters, after: int, limit: int
) -> Sequence[Any]:
    """The epics that a number of the report of now counts, by id, after the one with the id `after`: `id`,
    `source`, `key`, `title`, `status_category`, `allocation`, `children`, `points`, `finished_at`. Raises
    `Invalid` on `source` and `cycle`."""
    goals = await load_key_results(session)
    counting = counting_goals(goals, now)
    period = Period(*month_of(now.astimezone(UTC).date()), over=False)
    which = await _own_columns(session, filters.source, filters.project)
    if filters.state is not None:
        still_open = EpicRow.status_category != "done"
        which.append(still_open if filters.state == "open" else ~still_open)
    exempt = await exempt_ids(session, counting, period, which)
    epics = classified(counting, period, exempt, *which, EpicRow.id > after).subquery()
    query = (
        select(
            *(EpicRow.id, SourceRow.name.label("source"), EpicRow.key, EpicRow.title),
            *(EpicRow.status_category, epics.c.allocation, EpicRow.children, EpicRow.points),
            EpicRow.finished_at,
        )
        .select_from(epics)
        .join(EpicRow, EpicRow.id == epics.c.id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .order_by(EpicRow.id)
        .limit(limit)
    )
    if filters.allocation is not None:
        query = query.where(epics.c.allocation == filters.allocation)
    if filters.cycle is not None:
        query = query.where(epics.c.key_results.overlap(await _of_cycle(session, goals, filters.cycle)))
    for name, of in (("driver", "driver"), ("objective", "objective_key")):
        text = getattr(filters, name)
        if text is not None:
            query = query.where(epics.c.allocation == "aligned", _serves(epics, goals, of, text))
    return (await session.execute(query)).all()


async def _of_cycle(session: AsyncSession, goals: Mapping[int, KeyResult], cycle: str) -> Any:
    """The ids of its key results, as an array."""
    row = await goal_in(session, CycleRow, cycle, "cycle")
    of_cycle = {key for key, (_, cycle_id) in (await _objectives(session)).items() if cycle_id == row.id}
    ids = [id for id, goal in goals.items() if goal.objective_key in of_cycle]
    return literal(ids, ARRAY(BigInteger))


def _serves(epics: Any, goals: Mapping[int, KeyResult], of: str, text: str) -> ColumnElement[bool]:
    """Whether a key result that counts for the epic has this driver, or is of this objective."""
    ids = [id for id, goal in goals.items() if (getattr(goal, of) or "none").lower() == text.lower()]
    some: ColumnElement[bool] = epics.c.key_results.overlap(literal(ids, ARRAY(BigInteger)))
    return some | epics.c.key_results.is_(None) if text == "none" else some
