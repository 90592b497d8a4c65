"""What a roadmap is drawn by: what was asked for, the axis, the goals that are live, and the last review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import defer

from mappings.goals.key_results import CLOSED, is_live
from mappings.goals.rows import key_result_of
from mappings.goals.values import Driver
from mappings.lookups import goal_in, source_in
from mappings.reports.roadmap_bars import Axis, axis_of
from mappings.tables import (
    CycleRow,
    KeyResultRow,
    ObjectiveRow,
    ReviewKeyResultRow,
    ReviewRow,
    SourceRow,
)

if TYPE_CHECKING:
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncSession

By = Literal["outcome", "driver", "project"]
DriverFilter = Literal[Driver, "none"]
DRIVERS: tuple[str, ...] = get_args(DriverFilter)
MOST_EPICS, EPICS_SHOWN = 500, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadmapFilters:
    """None: not asked for. `first` and `last`: the months of these days begin and end the axis. `most`: how
    many epics a group shows."""

    by: By = "outcome"
    cycle: str | None = None
    source: str | None = None
    project: str | None = None
    driver: DriverFilter | None = None
    first: date | None = None
    last: date | None = None
    most: int = EPICS_SHOWN
    page: int = 1


@dataclass(frozen=True, slots=True)
class LiveGoal:
    """A key result that is live, without descriptions. `then`: its key in the last review, else its own."""

    row: KeyResultRow
    objective: ObjectiveRow
    cycle: CycleRow | None
    is_wanted: bool
    then: str


@dataclass(frozen=True, slots=True)
class Basis:
    """What a roadmap is drawn by: the axis, what was asked for, and all goals that are live, by id."""

    at: datetime
    filters: RoadmapFilters
    axis: Axis
    source: SourceRow | None
    review: ReviewRow | None
    live: Mapping[int, LiveGoal]

    @property
    def review_id(self) -> int | None:
        return None if self.review is None else self.review.id


async def load_basis(session: AsyncSession, now: datetime, filters: RoadmapFilters) -> Basis:
    """Raises `Invalid` on `source` or `cycle` where there is none, and on `to` for an axis that is none."""
    axis = axis_of(now.date(), filters.first, filters.last)
    source = None if filters.source is None else await source_in(session, filters.source, "source")
    cycle = None if filters.cycle is None else await goal_in(session, CycleRow, filters.cycle, "cycle")
    review = await _last_review(session, now, cycle)
    return Basis(now, filters, axis, source, review, await _live_goals(session, now, filters, cycle, review))


async def _live_goals(
    session: AsyncSession,
    now: datetime,
    filters: RoadmapFilters,
    cycle: CycleRow | None,
    review: ReviewRow | None,
) -> dict[int, LiveGoal]:
    """All that are live, by id: what others than the wanted ones serve is not shown."""
    then = and_(
        ReviewKeyResultRow.key_result_id == KeyResultRow.id,
        ReviewKeyResultRow.review_id == (None if review is None else review.id),
    )
    query = (
        select(KeyResultRow, ObjectiveRow, CycleRow, ReviewKeyResultRow.key)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .outerjoin(ReviewKeyResultRow, then)
        .where(KeyResultRow.state.not_in(CLOSED), ObjectiveRow.state.not_in(CLOSED))
        .where(or_(CycleRow.ends.is_(None), CycleRow.ends >= now.date()))
        .order_by(CycleRow.ends.nulls_last(), ObjectiveRow.id, KeyResultRow.id)
        .options(defer(KeyResultRow.description), defer(ObjectiveRow.description))
    )
    return {
        row.id: LiveGoal(row, objective, of, _is_wanted(objective, filters, cycle), then or row.key)
        for row, objective, of, then in await session.execute(query)
        if is_live(key_result_of(row, objective, None if of is None else of.ends), now)
    }


def _is_wanted(objective: ObjectiveRow, filters: RoadmapFilters, cycle: CycleRow | None) -> bool:
    return (filters.driver is None or (objective.driver or "none") == filters.driver) and (
        cycle is None or objective.cycle_id == cycle.id
    )


async def _last_review(session: AsyncSession, now: datetime, cycle: CycleRow | None) -> ReviewRow | None:
    query = select(ReviewRow).where(ReviewRow.frozen_at < now)
    if cycle is not None:
        query = query.where(ReviewRow.cycle_id == cycle.id)
    order = ReviewRow.frozen_at.desc(), ReviewRow.id.desc()
    return (await session.scalars(query.order_by(*order).limit(1))).one_or_none()
