"""Coverage now: the epics counted with one query, whatever the number of groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, func, outerjoin, select, true
from sqlalchemy.orm import defer

from mappings.goals.key_results import is_live
from mappings.goals.rows import key_result_of
from mappings.reports.counts import AlikeEpics, Coverage, GoalFacts, count_coverage
from mappings.reports.steering import steered_key_results
from mappings.tables import (
    READING_MODES,
    UNFINISHED_STATES,
    CycleRow,
    EpicRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    RunRow,
    SourceRow,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.reports.counts import Alignment


@dataclass(frozen=True, slots=True)
class SourceReading:
    """`read_at`: when the last run that read it ended; None: never. `stale`: the last one that ended did not
    read it to its end, or none has."""

    name: str
    read_at: datetime | None
    stale: bool


async def load_coverage(
    session: AsyncSession,
    now: datetime,
    *,
    source_id: int | None = None,
    project: str | None = None,
    cycle: str | None = None,
) -> Coverage:
    """Of all open epics, or those of this source, of the project of this name in any case, or of this cycle,
    whose key is given as it is stored."""
    conditions: list[ColumnElement[bool]] = [EpicRow.removed_at.is_(None)]
    if source_id is not None:
        conditions.append(EpicRow.source_id == source_id)
    if project is not None:
        conditions.append(func.lower(EpicRow.project) == project.lower())
    epics = await _alike_epics(session, and_(*conditions))
    return count_coverage(
        epics, await _goal_facts(session, now), await steered_key_results(session, now), cycle
    )


async def _alike_epics(session: AsyncSession, which: ColumnElement[bool]) -> list[AlikeEpics]:
    # Of each epic one row, so that an epic with many links is counted once.
    linked = (
        select(LinkRow.epic_id, func.array_agg(LinkRow.key_result_id).label("key_results"))
        .group_by(LinkRow.epic_id)
        .subquery()
    )
    columns = (
        EpicRow.source_id,
        EpicRow.project,
        EpicRow.alignment,
        EpicRow.status_category == "done",
        linked.c.key_results,
    )
    rows = await session.execute(
        select(*columns, func.count())
        .select_from(EpicRow)
        .outerjoin(linked, linked.c.epic_id == EpicRow.id)
        .where(which)
        .group_by(*columns)
    )
    return [
        AlikeEpics(
            source_id, project, cast("Alignment | None", alignment), done, frozenset(ids or ()), number
        )
        for source_id, project, alignment, done, ids, number in rows
    ]


async def _goal_facts(session: AsyncSession, now: datetime) -> dict[int, GoalFacts]:
    rows = await session.execute(
        select(KeyResultRow, ObjectiveRow, CycleRow.key, CycleRow.ends)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .options(defer(KeyResultRow.description), defer(ObjectiveRow.description))
    )
    return {
        row.id: GoalFacts(
            objective=objective.key,
            objective_title=objective.title,
            driver=objective.driver,
            cycle=cycle,
            owner=row.owner or objective.owner,
            live=is_live(key_result_of(row, objective, ends), now),
        )
        for row, objective, cycle, ends in rows
    }


async def load_readings(session: AsyncSession) -> dict[int, SourceReading]:
    """Of every source, by id: when it was last read, and whether that was to its end."""
    rows = await session.execute(_with_last_runs(select(), SourceRow))
    return {row.id: reading_of(row) for row in rows}


def readings_beside(around: Subquery) -> Select[Any]:
    """The one row of `around`, and beside it what `reading_of` makes a source's reading of; its `id` is None
    where there is no source."""
    return _with_last_runs(select(around), outerjoin(around, SourceRow, true()))


def reading_of(row: Row[Any]) -> SourceReading:
    return SourceReading(row.name, row.read_at, row.state != "succeeded")


def _with_last_runs(query: Select[Any], sources: Any) -> Select[Any]:
    ended = (
        select(RunRow.finished_at, RunRow.state)
        .where(RunRow.source_id == SourceRow.id, RunRow.mode.in_(READING_MODES))
        .where(RunRow.state.not_in(("queued", *UNFINISHED_STATES)))
        .order_by(RunRow.id.desc())
        .limit(1)
        .correlate(SourceRow)
    )
    last = ended.lateral("last")
    good = ended.where(RunRow.state.in_(("succeeded", "partial"))).lateral("good")
    return (
        query.add_columns(SourceRow.id, SourceRow.name, good.c.finished_at.label("read_at"), last.c.state)
        .select_from(sources)
        .outerjoin(last, true())
        .outerjoin(good, true())
        .order_by(func.lower(SourceRow.name))
    )
