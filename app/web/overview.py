"""The overview: how well the work is steered, and what waits for the person who looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.web.charts import LineChart, Series, line_chart
from app.web.first_run import first_run_page
from app.web.page import page
from app.web.router import may, needs
from mappings.goals.values import Driver
from mappings.reports.changes import WEEK, load_week, rules_of
from mappings.reports.counts import Counts
from mappings.reports.movement import FOUR_WEEKS, ONE_WEEK, Movement, movement, segments
from mappings.reports.operations import CoverageReport, coverage_report
from mappings.reports.running import by_driver, ended_cycles, objective_weights, running_cycles
from mappings.reports.set_up import load_set_up
from mappings.reports.waiting import closed_goal_epics, closed_goal_epics_of, load_waiting
from mappings.reports.week import CLOSING, Digest
from mappings.words import day_words, percent

WORST_SHOWN = 6
CLOSED_NAMED = 3

router = APIRouter()


@dataclass(frozen=True, slots=True)
class DriverWork:
    """`share`: of the aligned epics. `weight`: in the objectives of the cycles under way. None: not known."""

    driver: str | None
    epics: int
    share: float | None
    weight: float | None


@dataclass(frozen=True, slots=True)
class ProjectWork:
    source: str
    project: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class ClosedGoal:
    """A key result that was closed on `day`, and how many epics have no live one beside it."""

    key: str
    state: str
    day: date
    epics: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Coverage went down in a week, with what the data says of it."""

    movement: Movement
    goals: Sequence[ClosedGoal]
    cycles: Sequence[tuple[str, date]]
    closed_goal: int


@router.get("/", dependencies=[needs("GET /reports/coverage")])
async def show_overview(
    request: Request, runtime: RuntimeDep, session: SessionDep, caller: CallerDep
) -> HTMLResponse:
    set_up = await load_set_up(session)
    welcome = await first_run_page(request, session, set_up)
    if welcome is not None:
        return welcome
    now = await runtime.now(session)
    today = now.astimezone(UTC).date()
    report = await coverage_report(session, now)
    week = await load_week(session, now)
    counts, sources = report.coverage.total, _sources_read(report)
    values: dict[str, Any] = {
        "set_up": set_up,
        "counts": counts,
        "cycles": await running_cycles(session, today),
        "movement": movement(report.trend.days, counts, sources, now, FOUR_WEEKS),
        "chart": coverage_chart(report),
        "missing": report.trend.missing,
        "drop": await _drop(session, report, week, now),
        "drivers": driver_work(report, by_driver(await objective_weights(session, today))),
        "worst": (worst := worst_projects(report))[:WORST_SHOWN],
        "more_worst": len(worst) - WORST_SHOWN,
        "week": week,
        "rules": await rules_of(session, week.lines, now),
        "waiting": await load_waiting(
            session,
            now,
            edits=may(caller, "POST /notices/approve"),
            removes=may(caller, "POST /runs/{id}/accept-removals"),
        ),
    }
    return await page(request, session, "overview.html", values)


def _sources_read(report: CoverageReport) -> int:
    return sum(reading.read_at is not None for reading in report.readings.values())


# --- figures --------------------------------------------------------------------------------------


def coverage_chart(report: CoverageReport) -> LineChart | None:
    """Coverage and steered by day, up to now; None where no day before this one is frozen."""
    days, counts = report.trend.days, report.coverage.total
    if not days or days[0].day >= report.at.astimezone(UTC).date():
        return None
    covered = segments(days, counts, report.at, "rate")
    steered = segments(days, counts, report.at, "steered")
    if not covered:
        return None
    return line_chart(
        [
            *(Series("Steered", "two", part) for part in steered),
            *(Series("Coverage", "ln", part, goes_on=part is not covered[-1]) for part in covered),
        ],
        label=f"{_story('Coverage', covered)} {_story('Steered', steered)}".strip(),
        low=0,
        high=100,
        unit="%",
        start=days[0].at,
        end=report.at,
        marks=5,
        area=True,
    )


def _story(name: str, parts: Sequence[Sequence[tuple[datetime, float]]]) -> str:
    """In figures: the first value, the last, and the greatest where that is neither."""
    points = [point for part in parts for point in part]
    if not points:
        return ""
    first, last, top = points[0], points[-1], max(points, key=lambda point: point[1])
    story = f"{name} was {_shown(first)} on {day_words(first[0])} and is {_shown(last)} now"
    if _shown(top) not in (_shown(first), _shown(last)):
        story += f"; it was {_shown(top)} on {day_words(top[0])}"
    return f"{story}."


def _shown(point: tuple[datetime, float]) -> str:
    return percent(point[1] / 100)


def driver_work(report: CoverageReport, weights: Any) -> list[DriverWork]:
    """Of the aligned epics, by driver, in the drivers' order; None, the goals without one, last where there
    are any."""
    by, aligned = report.coverage.by["driver"], report.coverage.total.aligned
    drivers: list[str | None] = [*get_args(Driver)]
    if None in by and by[None].aligned:
        drivers.append(None)
    return [
        DriverWork(
            driver,
            epics := by[driver].aligned if driver in by else 0,
            epics / aligned if aligned else None,
            weights.get(driver, 0.0) if weights and driver is not None else None,
        )
        for driver in drivers
    ]


def worst_projects(report: CoverageReport) -> list[ProjectWork]:
    """Those with unaligned epics, the lowest coverage first, of equal ones the most unaligned."""
    projects = [
        ProjectWork(report.readings[source].name, project, counts)
        for (source, project), counts in report.groups("project")
        if counts.unaligned
    ]
    return sorted(projects, key=lambda one: (one.counts.rate or 0.0, -one.counts.unaligned))


async def _drop(session: AsyncSession, report: CoverageReport, week: Digest, now: datetime) -> Drop | None:
    moved = movement(report.trend.days, report.coverage.total, _sources_read(report), now, ONE_WEEK)
    if moved is None or moved.points >= 0:
        return None
    closed = [line for line in week.lines if line.kind == "goals_closed" and line.detail in CLOSING]
    keys = [(key, line) for line in closed for key in line.names][:CLOSED_NAMED]
    epics = await closed_goal_epics_of(session, [key for key, _ in keys])
    return Drop(
        moved,
        goals=[
            ClosedGoal(key, line.detail or "", line.at.date(), epics[key])
            for key, line in keys
            if epics.get(key)
        ],
        cycles=await ended_cycles(session, (now - WEEK).date(), now.astimezone(UTC).date()),
        closed_goal=await closed_goal_epics(session),
    )
