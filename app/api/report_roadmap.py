"""The report of work under the outcomes that it serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.attachments import csv_attachment
from app.api.deps import Key, Moment, RuntimeDep, SessionDep, get_runtime
from app.api.epic_filters import Text
from app.runtime import Runtime
from mappings.goals.board import GoalOnBoard
from mappings.goals.values import Driver
from mappings.governance.values import Stage
from mappings.reports.roadmap import DEFINITION, Roadmap, roadmap_report
from mappings.reports.roadmap_bars import DateState
from mappings.reports.roadmap_basis import (
    EPICS_SHOWN,
    MOST_EPICS,
    Basis,
    By,
    DriverFilter,
    RoadmapFilters,
    load_basis,
)
from mappings.reports.roadmap_lanes import EpicOnRoadmap, Lane
from mappings.reports.roadmap_moves import MoveKind
from mappings.reports.roadmap_table import table_header, table_slice

router = APIRouter(prefix="/reports", tags=["reports"])

PAGES_AT_MOST = 10_000


class MoveOut(BaseModel):
    kind: MoveKind = Field(description="What moved.")
    words: str = Field(description="From what, and how far.")


class ValueAnswer(BaseModel):
    answer: str | None = Field(description="How it helps the business; null: not answered.")
    driver: Driver | None = Field(description="Which of the four ways that is.")


class EpicOfRoadmap(BaseModel):
    source: str = Field(description="The source's name.")
    key: str = Field(description="The epic's key.")
    title: str = Field(description="Its title.")
    url: str = Field(description="Its ticket.")
    project: str = Field(description="Project key or owner/repository.")
    status: str = Field(description="Its status in the tracker.")
    alignment: str | None = Field(description="As last evaluated; null: not yet.")
    depth: int = Field(description="How many epics above it are in this group: the nearest one before it.")
    is_initiative: bool = Field(description="Whether it is an initiative.")
    parent: str | None = Field(description="The key of what it is part of.")
    starts_on: date | None = Field(description="Its first planned day.")
    due_on: date | None = Field(description="Its last planned day.")
    created_on: date = Field(description="The day it was made in the tracker, UTC.")
    dates: DateState = Field(description="Which of the two there are, and whether they agree.")
    overdue: bool = Field(description="Whether its due date is before today, UTC.")
    children: int | None = Field(description="How many tickets are part of it; null: not known.")
    children_done: int | None = Field(description="How many of these are done.")
    key_result: str | None = Field(description="The live key result that it stands under.")
    other_key_results: list[str] = Field(description="The other live ones that it serves.")
    closed_key_results: list[str] = Field(description="Those it is linked to, where none is live.")
    stage: Stage | None = Field(description="Where it stands on the way from an idea to done.")
    value: ValueAnswer | None = Field(description="Its value answer, where it was given or asked for.")
    set_aside: str | None = Field(description="`stop` or `defer`: a decision took it out of the count.")
    set_aside_until: Moment | None = Field(description="Until when, exclusive; null: without end.")
    disputed: bool = Field(description="Whether its finding is disputed.")
    moves: list[MoveOut] = Field(description="What moved since the last review.")


class EpicsOfRoadmap(BaseModel):
    total: int = Field(description="How many epics the group has.")
    more: int = Field(description="How many of them are not in `epics`.")
    overdue: int = Field(description="How many of them are overdue.")
    undated: int = Field(description="How many of them have neither a start nor a due date.")
    epics: list[EpicOfRoadmap] = Field(description="The first of them.")


class KeyResultOfRoadmap(BaseModel):
    key: str = Field(description="Its key.")
    title: str = Field(description="Its title.")
    unit: str | None = Field(description="What the figures count.")
    baseline: float | None = Field(description="From.")
    target: float | None = Field(description="To.")
    current: float | None = Field(description="Now: the latest check-in, else the baseline.")
    progress: float | None = Field(description="0..1; null: not measured.")
    steady: float | None = Field(description="What a steady pace would have reached, 0..1.")
    confidence: float | None = Field(description="Of the latest check-in, 0..1.")
    at_risk: bool = Field(description="Whether it is at risk.")


class GroupOfRoadmap(EpicsOfRoadmap):
    objective: str | None = Field(description="The objective's key; null by project.")
    objective_title: str | None = Field(description="Its title.")
    driver: Driver | None = Field(description="Its driver.")
    cycle: str | None = Field(description="Its cycle's key.")
    key_result: KeyResultOfRoadmap | None = Field(description="The key result; null by project.")
    linked: int | None = Field(
        description="How many open epics are linked to the key result, those that stand elsewhere too."
    )
    source: str | None = Field(description="By project: the source's name.")
    project: str | None = Field(description="By project: project key or owner/repository.")


class MovedOut(BaseModel):
    source: str = Field(description="The source's name.")
    key: str = Field(description="The epic's key.")
    title: str = Field(description="Its title.")
    words: str = Field(description="What moved.")


class MovesOut(BaseModel):
    kind: MoveKind = Field(description="What moved.")
    count: int = Field(description="Of how many epics.")
    epics: list[MovedOut] = Field(description="The first of them.")


class ReviewOfRoadmap(BaseModel):
    id: int = Field(description="Its id.")
    cycle: str = Field(description="Its cycle's key.")
    held_on: date = Field(description="The day it is held.")
    frozen_at: Moment = Field(description="The moment that all is compared with.")


class RoadmapOut(BaseModel):
    definition: str = Field(description="What all this means.")
    at: Moment = Field(description="The moment of the report.")
    first: date = Field(description="The first day of the axis.")
    last: date = Field(description="Its last day, inclusive.")
    total: int = Field(description="The open epics: the sum of the five that follow.")
    aligned: int = Field(description="Those in the groups of all pages.")
    unaligned: int = Field(description="Those that stand apart.")
    exempt: int = Field(description="Those that the policy or a decision exempts.")
    waived: int = Field(description="Those whose gap a person has accepted until a day.")
    not_evaluated: int = Field(description="Those that are still to be evaluated.")
    page: int = Field(description="The page of groups.")
    pages: int = Field(description="How many pages there are.")
    groups: list[GroupOfRoadmap] = Field(description="The groups of this page.")
    work_without_outcome: EpicsOfRoadmap = Field(description="Unaligned work.")
    set_aside: EpicsOfRoadmap = Field(description="Exempt or waived work that a decision set aside.")
    last_review: ReviewOfRoadmap | None = Field(description="Null before the first review.")
    moves: list[MovesOut] = Field(description="What moved since then; empty before the first review.")


def _epic(epic: EpicOnRoadmap) -> EpicOfRoadmap:
    details, row = epic.details, epic.details.row
    value = details.value
    return EpicOfRoadmap(
        source=details.source,
        key=row.key,
        title=row.title,
        url=row.url,
        project=row.project,
        status=row.status,
        alignment=row.alignment,
        depth=epic.depth,
        is_initiative=epic.is_initiative,
        parent=row.parent_key,
        starts_on=row.starts_on,
        due_on=row.due_on,
        created_on=row.tracker_created_at.date(),
        dates=epic.bar.dates,
        overdue=epic.bar.is_overdue,
        children=row.children,
        children_done=row.children_done,
        key_result=epic.key_result,
        other_key_results=list(epic.others),
        closed_key_results=list(epic.closed),
        stage=None if details.stage is None else cast("Stage", details.stage.stage),
        value=None
        if value is None
        else ValueAnswer(answer=value.answer, driver=cast("Driver | None", value.driver)),
        set_aside=row.set_aside,
        set_aside_until=row.set_aside_until,
        disputed=details.disputed,
        moves=[MoveOut(kind=move.kind, words=move.words) for move in epic.moves],
    )


def _epics(lane: Lane) -> dict[str, Any]:
    return {
        "total": lane.total,
        "more": lane.more,
        "overdue": lane.overdue,
        "undated": lane.undated,
        "epics": [_epic(epic) for epic in lane.epics],
    }


def _key_result(goal: GoalOnBoard) -> KeyResultOfRoadmap:
    row = goal.row
    return KeyResultOfRoadmap(
        key=row.key,
        title=row.title,
        unit=row.unit,
        baseline=row.baseline,
        target=row.target,
        current=goal.current,
        progress=goal.progress,
        steady=goal.steady,
        confidence=goal.confidence,
        at_risk=goal.at_risk,
    )


def _group(lane: Lane) -> GroupOfRoadmap:
    goal = lane.goal
    return GroupOfRoadmap(
        **_epics(lane),
        objective=goal and goal.objective.key,
        objective_title=goal and goal.objective.title,
        driver=cast("Driver | None", goal and goal.objective.driver),
        cycle=goal and goal.cycle and goal.cycle.key,
        key_result=None if goal is None else _key_result(goal),
        linked=lane.linked,
        source=lane.source,
        project=lane.project,
    )


def _present(report: Roadmap) -> RoadmapOut:
    moves = report.moves
    return RoadmapOut(
        definition=DEFINITION,
        at=report.at,
        first=report.axis.first,
        last=report.axis.last,
        total=report.total,
        aligned=report.aligned,
        unaligned=report.unaligned.total,
        exempt=report.exempt,
        waived=report.waived,
        not_evaluated=report.not_evaluated,
        page=report.filters.page,
        pages=report.pages,
        groups=[_group(lane) for lane in report.lanes],
        work_without_outcome=EpicsOfRoadmap(**_epics(report.unaligned)),
        set_aside=EpicsOfRoadmap(**_epics(report.set_aside)),
        last_review=None
        if moves is None
        else ReviewOfRoadmap(
            id=moves.review.id,
            cycle=moves.cycle,
            held_on=moves.review.held_on,
            frozen_at=moves.review.frozen_at,
        ),
        moves=[]
        if moves is None
        else [
            MovesOut(
                kind=kind,
                count=count,
                epics=[MovedOut(source=e.source, key=e.key, title=e.title, words=e.words) for e in epics],
            )
            for kind, (count, epics) in moves.kinds.items()
        ],
    )


async def _filters(
    by: Annotated[By, Query(description="What the groups are; by driver they are key results too.")] = (
        "outcome"
    ),
    cycle: Annotated[Key | None, Query(description="Under the goals of this cycle.")] = None,
    source: Annotated[str | None, Query(description="Of this source.")] = None,
    project: Annotated[Text | None, Query(description="Project key or owner/repository, any case.")] = None,
    driver: Annotated[
        DriverFilter | None, Query(description="Under objectives with this driver; `none`: without one.")
    ] = None,
    first: Annotated[
        date | None,
        Query(alias="from", description="The axis begins with this day's month; else three months ago."),
    ] = None,
    last: Annotated[
        date | None,
        Query(alias="to", description="The axis ends with this day's month; else in five months."),
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=MOST_EPICS, description="How many epics of each group are shown.")
    ] = EPICS_SHOWN,
    page: Annotated[int, Query(ge=1, le=PAGES_AT_MOST, description="The page of groups.")] = 1,
) -> RoadmapFilters:
    return RoadmapFilters(
        by=by,
        cycle=cycle,
        source=source,
        project=project,
        driver=driver,
        first=first,
        last=last,
        most=limit,
        page=page,
    )


FiltersDep = Annotated[RoadmapFilters, Depends(_filters)]


@router.get(
    "/roadmap",
    summary="Work under the outcomes that it serves",
    response_model=RoadmapOut,
    responses={200: {"content": {"text/csv": {"example": table_header()}}}},
)
async def get_roadmap(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    filters: FiltersDep,
    format: Annotated[  # the parameter's public name
        Literal["json", "csv"],
        Query(description="`csv`: a row for each open epic that the filters let through, all of them."),
    ] = "json",
) -> RoadmapOut | Response:
    """Open work with its dates and progress, under objectives and key results, by driver or by project, and
    what moved since the last review. `definition` says what stands where."""
    now = await runtime.now(session)
    if format == "json":
        return _present(await roadmap_report(session, now, filters))
    basis = await load_basis(session, now, filters)
    return csv_attachment(csv_pieces(get_runtime(request), basis), "roadmap")


async def csv_pieces(runtime: Runtime, basis: Basis) -> AsyncIterator[bytes]:
    """The file a slice at a time, each read in a session of its own."""
    yield table_header().encode()
    after: int | None = 0
    while after is not None:
        async with runtime.sessions() as session:
            lines, after = await table_slice(session, basis, after)
        yield lines.encode()
