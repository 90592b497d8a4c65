"""Reports: what is counted over all epics."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from app.api.attachments import csv_attachment
from app.api.deps import Key, Moment, RuntimeDep, SessionDep
from mappings.goals.values import Driver
from mappings.reports.cells import csv_text
from mappings.reports.operations import (
    COLUMNS,
    DAYS_AT_MOST,
    DAYS_SHOWN,
    CoverageReport,
    counts_as_members,
    coverage_members,
    coverage_report,
    coverage_table,
)

router = APIRouter(prefix="/reports", tags=["reports"])


class CoverageCounts(BaseModel):
    total: int = Field(description="The evaluated open epics: aligned + unaligned + exempt + waived.")
    aligned: int = Field(description="Those with a link to a live key result.")
    unaligned: int = Field(description="Those without one, neither exempt nor waived.")
    exempt: int = Field(description="Those that the policy exempts.")
    waived: int = Field(description="Those whose gap a person has accepted until a day.")
    rate: float | None = Field(
        description="Coverage: aligned / (total - exempt - waived), 0..1; null where that leaves none."
    )
    steered: float | None = Field(
        description="The share of the aligned epics whose key result is measured, agreed by both sides and "
        "has moved, 0..1; null where none is aligned."
    )
    steered_epics: int = Field(description="How many epics that share is.")
    not_evaluated: int = Field(description="Open epics that are not evaluated yet; not in the total.")
    done: int = Field(description="Finished epics, by their status category; not in the total.")


class CoverageOfSource(CoverageCounts):
    source: str = Field(description="The source's name.")
    read_at: Moment | None = Field(description="When it was last read; null: never.")
    stale: bool = Field(
        description="Whether its last reading failed, in full or in part, or there was none: the numbers may "
        "be old."
    )


class CoverageOfProject(CoverageCounts):
    source: str = Field(description="The name of its source.")
    project: str = Field(description="Project key or owner/repository.")


class CoverageOfDriver(CoverageCounts):
    driver: Driver | None = Field(description="The driver; null: the epics without one.")


class CoverageOfObjective(CoverageCounts):
    objective: str | None = Field(description="The objective's key; null: the epics without a link.")
    title: str | None = Field(description="The objective's title.")


class CoverageOfCycle(CoverageCounts):
    cycle: str | None = Field(description="The cycle's key; null: the epics without one.")


class CoverageOfOwner(CoverageCounts):
    owner: str | None = Field(
        description="The owner of the key result, or else of its objective; null: the epics without one."
    )


class CoverageOfDay(CoverageCounts):
    day: date = Field(description="The day, UTC.")
    at: Moment = Field(description="When it was frozen.")
    sources: int = Field(description="How many sources it counts: those that had been read by then.")
    stale: bool = Field(description="Whether the last reading of at least one of these had failed.")


class FrozenCoverage(CoverageCounts):
    """Coverage at one moment, without a trend."""

    definition: str = Field(description="What all these numbers mean.")
    at: Moment = Field(description="The moment of the numbers.")
    stale_sources: list[str] = Field(
        description="The sources whose last reading failed, or that were never read."
    )
    by_source: list[CoverageOfSource] = Field(description="Each source.")
    by_project: list[CoverageOfProject] = Field(description="Each project that has epics.")
    by_driver: list[CoverageOfDriver] = Field(description="Each driver that has epics.")
    by_objective: list[CoverageOfObjective] = Field(description="Each objective that has epics.")
    by_cycle: list[CoverageOfCycle] = Field(description="Each cycle that has epics.")
    by_owner: list[CoverageOfOwner] = Field(description="Each owner whose key results have epics.")


class CoverageOut(FrozenCoverage):
    trend: list[CoverageOfDay] = Field(
        description="The days that were frozen, oldest first: of all sources, or of the source or project "
        "that is asked for; empty with `cycle`, and for a project of two sources without `source`."
    )
    missing_days: list[date] = Field(
        description="The days between the first frozen one and today that are not in the trend: Northing did "
        "not run. Nothing is filled in for them."
    )


def _present(report: CoverageReport) -> CoverageOut:
    return CoverageOut(
        **coverage_members(report),
        trend=[
            CoverageOfDay(
                day=day.day,
                at=day.at,
                sources=day.sources,
                stale=day.stale,
                **counts_as_members(day.counts),
            )
            for day in report.trend.days
        ],
        missing_days=report.trend.missing,
    )


CSV_EXAMPLE = csv_text(
    COLUMNS,
    [("total", *[None] * 3, 60, 40, 10, 6, 4, 0.8, 0.5, 20, 0, 9, "2026-12-31T09:00:00Z", False)],
)


@router.get(
    "/coverage",
    summary="How many epics serve a key result",
    response_model=CoverageOut,
    responses={200: {"content": {"text/csv": {"example": CSV_EXAMPLE}}}},
)
async def get_coverage(
    runtime: RuntimeDep,
    session: SessionDep,
    source: Annotated[str | None, Query(description="Of this source.")] = None,
    project: Annotated[str | None, Query(description="Project key or owner/repository, any case.")] = None,
    cycle: Annotated[Key | None, Query(description="Of the goals of this cycle.")] = None,
    days: Annotated[
        int, Query(ge=1, le=DAYS_AT_MOST, description="How many days of the trend, today's included.")
    ] = DAYS_SHOWN,
    format: Annotated[  # the parameter's public name
        Literal["json", "csv"],
        Query(description="`csv`: a row for the total, each group and each day of the trend."),
    ] = "json",
) -> CoverageOut | Response:
    """Coverage and, beside it, how much of it is steered. `definition` says what the numbers mean. With a
    filter all of them, the groups and the trend too, are of what it leaves."""
    report = await coverage_report(
        session,
        await runtime.now(session),
        source=source,
        project=project,
        cycle=cycle,
        days=days,
    )
    if format == "json":
        return _present(report)
    return csv_attachment(csv_text(COLUMNS, coverage_table(report)), "coverage")
