"""What a person may ask of all epics at once: coverage, now and by day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from mappings.goals.values import Driver
from mappings.lookups import goal_in, source_in
from mappings.reports.counts import DEFINITION, Counts, Coverage
from mappings.reports.coverage import SourceReading, load_coverage, load_readings
from mappings.reports.coverage_days import Trend, load_trend
from mappings.tables import CycleRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.reports.counts import Dimension

DAYS_SHOWN, DAYS_AT_MOST = 90, 1100


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """`at`: the moment of the numbers. `readings`: of every source that is asked for, by its id."""

    at: datetime
    coverage: Coverage
    readings: dict[int, SourceReading]
    trend: Trend

    @property
    def stale_sources(self) -> list[str]:
        return [reading.name for reading in self.readings.values() if reading.stale]

    def groups(self, dimension: Dimension) -> list[tuple[Any, Counts]]:
        """Each group and its counts, in the order of their names, the group None last; of sources also those
        without epics."""
        found: dict[Any, Counts] = dict(self.coverage.by[dimension])
        if dimension == "source":
            found = {id: found.get(id, Counts()) for id in self.readings}
        if dimension == "project":  # a source that was deleted between the two queries has no reading
            found = {name: counts for name, counts in found.items() if name[0] in self.readings}
        return sorted(found.items(), key=lambda group: self._order(dimension, group[0]))

    def reading_of(self, dimension: Dimension, name: Any) -> SourceReading:
        """Of the source that a group of the dimension `source` or `project` belongs to."""
        return self.readings[name if dimension == "source" else name[0]]

    def _order(self, dimension: Dimension, name: Any) -> tuple[Any, ...]:
        if dimension == "source":
            return (self.readings[name].name.lower(),)
        if dimension == "project":
            return self.readings[name[0]].name.lower(), name[1].lower(), name[1]
        if dimension == "driver":
            return name is None, get_args(Driver).index(name) if name else 0
        return name is None, (name or "").lower(), name or ""


async def coverage_report(
    session: AsyncSession,
    now: datetime,
    *,
    source: str | None = None,
    project: str | None = None,
    cycle: str | None = None,
    days: int = DAYS_SHOWN,
) -> CoverageReport:
    """Of the source of this name, the project and the cycle of these keys, in any case, or of all.

    The trend is kept for all sources, for each source and for each project: with `cycle` it is empty. `days`:
    how many of them, today's included. Raises `Invalid` on `source` and `cycle`.
    """
    source_row = None if source is None else await source_in(session, source, "source")
    cycle_row = None if cycle is None else await goal_in(session, CycleRow, cycle, "cycle")
    source_id = None if source_row is None else source_row.id
    readings = await load_readings(session)
    coverage = await load_coverage(
        session,
        now,
        source_id=source_id,
        project=project,
        cycle=None if cycle_row is None else cycle_row.key,
    )
    trend = Trend([], [])
    if cycle_row is None:
        trend = await load_trend(session, now, days, source_id=source_id, project=project)
    if source_id is not None:
        readings = {source_id: readings[source_id]}
    return CoverageReport(now, coverage, readings, trend)


# --- as members of an answer ------------------------------------------------------------------


def coverage_members(report: CoverageReport) -> dict[str, Any]:
    """All but the trend, by public names: the counts, when they are of, and each group with its own."""

    def named(dimension: Dimension) -> list[tuple[Any, dict[str, Any]]]:
        return [(name, counts_as_members(counts)) for name, counts in report.groups(dimension)]

    readings, titles = report.readings, report.coverage.titles
    return {
        **counts_as_members(report.coverage.total),
        "definition": DEFINITION,
        "at": report.at,
        "stale_sources": report.stale_sources,
        "by_source": [
            {
                "source": readings[id].name,
                "read_at": readings[id].read_at,
                "stale": readings[id].stale,
                **counts,
            }
            for id, counts in named("source")
        ],
        "by_project": [
            {"source": readings[id].name, "project": project, **counts}
            for (id, project), counts in named("project")
        ],
        "by_driver": [{"driver": name, **counts} for name, counts in named("driver")],
        "by_objective": [
            {"objective": key, "title": titles.get(key), **counts} for key, counts in named("objective")
        ],
        "by_cycle": [{"cycle": key, **counts} for key, counts in named("cycle")],
        "by_owner": [{"owner": name, **counts} for name, counts in named("owner")],
    }


def counts_as_members(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in COUNTED}


COUNTED = (
    *("total", "aligned", "unaligned", "exempt", "waived", "rate", "steered", "steered_epics"),
    *("not_evaluated", "done"),
)

# --- as a table -------------------------------------------------------------------------------

COLUMNS = (
    *("group", "source", "name", "title", "total", "aligned", "unaligned", "exempt", "waived", "rate"),
    *("steered", "steered_epics", "not_evaluated", "done", "at", "stale"),
)


def coverage_table(report: CoverageReport) -> Iterator[tuple[Any, ...]]:
    """A row for the total, for each group and for each day of the trend, in the order of `COLUMNS`. None is
    an empty cell, as in the group of the epics without a driver, objective, cycle or owner."""
    stale = bool(report.stale_sources)
    yield _table_row("total", None, None, None, report.coverage.total, report.at, stale)
    for dimension in report.coverage.by:
        for name, counts in report.groups(dimension):
            if dimension in ("source", "project"):
                reading = report.reading_of(dimension, name)
                project = name[1] if dimension == "project" else reading.name
                yield _table_row(
                    dimension, reading.name, project, None, counts, reading.read_at, reading.stale
                )
            else:
                title = report.coverage.titles.get(name) if dimension == "objective" else None
                yield _table_row(dimension, None, name, title, counts, report.at, stale)
    for day in report.trend.days:
        yield _table_row("day", None, day.day, None, day.counts, day.at, day.stale)


def _table_row(
    group: str, source: str | None, name: Any, title: str | None, counts: Counts, at: Any, stale: Any
) -> tuple[Any, ...]:
    numbers = (
        *(counts.total, counts.aligned, counts.unaligned, counts.exempt, counts.waived, counts.rate),
        *(counts.steered, counts.steered_epics, counts.not_evaluated, counts.done),
    )
    return (group, source, name, title, *numbers, at, stale)
