"""The trend of coverage: a row frozen each day, and read as it was frozen.

Nothing is filled in: a day on which no process looked has no row, and a day's row is never written again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from mappings.locks import share_source
from mappings.reports.counts import Counts, CoverageDay
from mappings.reports.coverage import load_coverage, load_readings
from mappings.tables import UNFINISHED_STATES, CoverageDayRow, EpicRow, RunRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.reports.coverage import SourceReading

# Until then a day's row waits for epics that midnight has made due: at the end of a cycle most of them.
WAITS_UNTIL = time(1)


# --- freezing ---------------------------------------------------------------------------------


async def freeze_day(session: AsyncSession, now: datetime) -> None:
    """Write the rows of the day of `now`, UTC, that are not there yet: one for all sources, one for each
    source that was ever read, and one for each of its projects.

    Any number of processes may call it at once and at any time: the first that finds a row missing writes it.
    """
    day = now.astimezone(UTC).date()
    frozen = set(await session.scalars(_frozen(day)))
    readings = await load_readings(session) if await _any_left(session, frozen) else {}
    read = {id: reading for id, reading in readings.items() if reading.read_at is not None}
    behind = set[int]()
    if now.astimezone(UTC).time() < WAITS_UNTIL:
        behind = set(await session.scalars(sources_behind(now)))
    missing = read.keys() - frozen - behind
    whole = bool(read) and None not in frozen and not read.keys() & behind
    if not missing and not whole:
        return
    # Whoever deletes a source meanwhile waits, and then meets the rows that are written here.
    there = await share_source(session, *read)
    read = {id: reading for id, reading in read.items() if id in there}
    rows = await _rows(session, now, read, missing & there, whole=whole and bool(read))
    if rows:  # none where the sources were deleted meanwhile
        insertion = insert(CoverageDayRow).on_conflict_do_nothing()
        await session.execute(insertion, [{"day": day, "at": now, **row} for row in rows])


def _frozen(day: date) -> Select[int | None]:
    """The sources with a row of this day; None for the row of all."""
    return select(CoverageDayRow.source_id).where(CoverageDayRow.day == day, CoverageDayRow.project.is_(None))


async def _any_left(session: AsyncSession, frozen: Collection[int | None]) -> bool:
    sources = set(await session.scalars(select(SourceRow.id)))
    return bool(sources) and not {None, *sources} <= set(frozen)


def sources_behind(now: datetime) -> Select[int]:
    """The sources with an epic or a run that waits to be evaluated."""
    due = exists().where(EpicRow.source_id == SourceRow.id, EpicRow.evaluate_at <= now)
    states = ("queued", *UNFINISHED_STATES)
    runs = exists().where(
        RunRow.source_id == SourceRow.id, RunRow.mode == "evaluate", RunRow.state.in_(states)
    )
    return select(SourceRow.id).where(or_(due, runs))


async def _rows(
    session: AsyncSession,
    now: datetime,
    read: dict[int, SourceReading],
    missing: Collection[int],
    *,
    whole: bool,
) -> list[dict[str, Any]]:
    """`read`, which the caller has shared, and `missing` of these."""
    coverage = await load_coverage(session, now)
    by_source, by_project = coverage.by["source"], coverage.by["project"]
    rows: list[dict[str, Any]] = []
    if whole:
        stale = any(reading.stale for reading in read.values())
        total = Counts()
        for id in read:
            total.add(by_source[id])
        rows.append(_row(total, None, None, stale, sources=len(read)))
    for id in sorted(missing):
        stale = read[id].stale
        rows.append(_row(by_source[id], id, None, stale))
        rows += [
            _row(counts, id, project, stale)
            for (source_id, project), counts in sorted(by_project.items())
            if source_id == id
        ]
    return rows


def _row(
    counts: Counts, source_id: int | None, project: str | None, stale: bool, sources: int = 1
) -> dict[str, Any]:
    of = {"source_id": source_id, "project": project, "sources": sources, "stale": stale}
    return {**of, **asdict(counts)}


# --- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trend:
    """`days`: the frozen ones, oldest first. `missing`: the days between the first one ever frozen and today
    that have no row."""

    days: list[CoverageDay]
    missing: list[date]


async def load_trend(
    session: AsyncSession,
    now: datetime,
    days: int,
    *,
    source_id: int | None = None,
    project: str | None = None,
) -> Trend:
    """The last `days` days, today's among them, of all sources, one source, or one project in any case. A
    project that two sources have needs the source: else its trend is empty."""
    today = now.astimezone(UTC).date()
    start = today - timedelta(days=days - 1)
    scope = await _scope(session, source_id, project)
    if scope is None:
        return Trend([], [])
    query = select(CoverageDayRow).where(scope, CoverageDayRow.day >= start).order_by(CoverageDayRow.day)
    frozen = [_day_of(row) for row in await session.scalars(query)]
    first = await session.scalar(select(func.min(CoverageDayRow.day)).where(scope))
    known = {one.day for one in frozen}
    begin = today if first is None else max(start, first)
    between = (begin + timedelta(days=number) for number in range((today - begin).days))
    return Trend(frozen, [day for day in between if day not in known])


async def _scope(
    session: AsyncSession, source_id: int | None, project: str | None
) -> ColumnElement[bool] | None:
    if project is None:
        of_source = CoverageDayRow.source_id.is_not_distinct_from(source_id)
        return and_(of_source, CoverageDayRow.project.is_(None))
    of_project = func.lower(CoverageDayRow.project) == project.lower()
    if source_id is None:
        ids = await session.scalars(select(CoverageDayRow.source_id).where(of_project).distinct())
        found = ids.all()
        if len(found) != 1:
            return None
        (source_id,) = found
    return and_(CoverageDayRow.source_id == source_id, of_project)


def _day_of(row: CoverageDayRow) -> CoverageDay:
    counts = Counts(**{one.name: getattr(row, one.name) for one in fields(Counts)})
    return CoverageDay(row.day, row.at, row.sources, row.stale, counts)
