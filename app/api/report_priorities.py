"""The report of epics ranked by their scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement

from app.api.attachments import csv_attachment
from app.api.criteria import CriterionOut, GivenScoreOut, show_criteria, show_given
from app.api.deps import Key, Moment, RuntimeDep, SessionDep
from app.api.epic_filters import Text
from app.api.epic_models import EpicName
from app.api.paging import CursorParameter, Cursors, Limit, ListQuery, list_query
from mappings.governance.values import Stage
from mappings.lists.epics import DriverFilter, EpicFilters, conditions
from mappings.reports.cells import csv_text
from mappings.reports.priorities import (
    DEFINITION,
    NO_CRITERIA,
    Position,
    Priorities,
    PriorityItem,
    Scored,
    linked_to_cycle,
    load_all_priorities,
    load_priorities,
    priorities_table,
)

router = APIRouter(prefix="/reports", tags=["reports"])


class KeyResultNamed(BaseModel):
    key: str = Field(description="Its key.")
    title: str = Field(description="Its title.")


class PriorityOut(EpicName):
    rank: int | None = Field(description="Shared by those with the same score; null: not fully scored.")
    tied: bool = Field(description="Whether others have the same rank.")
    score: float | None = Field(description="The weighted mean, 0 to 5; null: not fully scored.")
    title: str = Field(description="Its title.")
    url: str = Field(description="Its page in the tracker.")
    project: str = Field(description="Project key or owner/repository.")
    status: str = Field(description="The tracker's status.")
    status_category: Literal["todo", "doing"] = Field(description="The kind of status.")
    scores: dict[str, float] = Field(description="Its scores by criterion.")
    given: list[GivenScoreOut] = Field(description="The same with who gave each and when.")
    missing: list[str] = Field(description="The criteria that count and that it is not scored for.")
    key_result: KeyResultNamed | None = Field(description="Of its primary link; null: of none.")
    value: str | None = Field(description="How it helps the business, as its value question was answered.")
    stage: Stage | None = Field(description="Its stage; null: none is set.")
    set_aside: Literal["stop", "defer"] | None = Field(description="The decision that set it aside.")
    set_aside_until: date | None = Field(description="The last day of that.")


class PrioritiesOut(BaseModel):
    definition: str = Field(description="What score, rank and coverage mean.")
    advice: str | None = Field(description="How to begin, as long as there are no criteria.")
    at: Moment = Field(description="The moment of the numbers.")
    criteria: list[CriterionOut] = Field(description="The criteria with their weights, in their order.")
    open: int = Field(description="The open epics that the filters let through.")
    ranked: int = Field(description="Of these the fully scored ones.")
    partly_scored: int = Field(description="Those that are scored for some criteria only.")
    unscored: int = Field(description="Those that are scored for none.")
    coverage: float | None = Field(description="ranked / open, 0..1; null where nothing is open.")
    items: list[PriorityOut] = Field(description="The epics of this page.")
    next: str | None = Field(description="Send it as `cursor` to get the next page; null on the last.")


def _item(item: PriorityItem) -> PriorityOut:
    own = set(PriorityOut.model_fields) - {"scores", "given", "key_result"}
    goal = item.key_result
    return PriorityOut(
        **{name: getattr(item, name) for name in own},
        **show_given(list(item.given)),
        key_result=None if goal is None else KeyResultNamed(key=goal[0], title=goal[1]),
    )


@dataclass(frozen=True, slots=True)
class PriorityFilters:
    """None: all. `driver` and `cycle` (a key): of the epics linked to a key result of theirs, for `driver`
    a live one."""

    source: str | None = None
    project: str | None = None
    cycle: str | None = None
    driver: DriverFilter | None = None


async def _which(session: SessionDep, filters: PriorityFilters, now: datetime) -> list[ColumnElement[bool]]:
    """Raises `Invalid` on a filter that names nothing."""
    asked = EpicFilters(source=filters.source, project=filters.project, driver=filters.driver, open=True)
    found = await conditions(session, asked, (), now)
    if filters.cycle is not None:
        found.append(await linked_to_cycle(session, filters.cycle))
    return found


async def read_priorities(
    session: SessionDep,
    now: datetime,
    filters: PriorityFilters,
    scored: Scored | None,
    limit: int,
    cursor: Cursors | None,
) -> tuple[Priorities, str | None, ListQuery]:
    """A page, the cursor of the next one, and the query with the filters that hold."""
    named = {name: getattr(filters, name) for name in ("source", "project", "cycle", "driver")}
    step = list_query(cursor, limit, **named, scored=scored)
    asked = dict(step.filters)
    chosen: Scored = asked.pop("scored") or "fully"
    after: Position | None = None
    if isinstance(step.after, list):
        (order, key), id = step.after
        after = (order, key, id)
    which = await _which(session, PriorityFilters(**asked), now)
    report = await load_priorities(session, now, which, scored=chosen, limit=step.limit, after=after)
    if not report.more:
        return report, None, step
    order, key, id = report.items[-1].position
    return report, step.cursors.encode([[order, key], id], step.filters), step


@router.get(
    "/priorities",
    summary="Rank the open epics by their scores",
    response_model=PrioritiesOut,
    responses={
        200: {"content": {"text/csv": {"example": "rank,tied,score,source,key\r\n1,false,4.2,jira,A-1"}}}
    },
)
async def get_priorities(
    runtime: RuntimeDep,
    session: SessionDep,
    source: Annotated[Text | None, Query(description="Of this source.")] = None,
    project: Annotated[Text | None, Query(description="Project key or owner/repository, any case.")] = None,
    cycle: Annotated[Key | None, Query(description="Linked to a key result of this cycle.")] = None,
    driver: Annotated[
        DriverFilter | None,
        Query(description="Linked to a live key result of an objective with this driver; `none`: without."),
    ] = None,
    scored: Annotated[
        Scored | None,
        Query(
            description="`fully` (if left out): the ranked ones; `partly`: those scored for some criteria; "
            "`none`."
        ),
    ] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
    format: Annotated[  # the parameter's public name
        Literal["json", "csv"],
        Query(description="`csv`: all of them, with no pages."),
    ] = "json",
) -> PrioritiesOut | Response:
    """`definition` says how it ranks."""
    now = await runtime.now(session)
    filters = PriorityFilters(source, project, cycle, driver)
    if format == "csv":
        return await priorities_csv(session, now, filters, scored)
    report, following, _ = await read_priorities(session, now, filters, scored, limit, cursor)
    return PrioritiesOut(
        definition=DEFINITION,
        advice=None if report.criteria else NO_CRITERIA,
        at=report.at,
        criteria=show_criteria(list(report.criteria)),
        open=report.open,
        ranked=report.ranked,
        partly_scored=report.partly,
        unscored=report.unscored,
        coverage=report.coverage,
        items=[_item(item) for item in report.items],
        next=following,
    )


async def priorities_csv(
    session: SessionDep, now: datetime, filters: PriorityFilters, scored: Scored | None
) -> Response:
    """All of them as a file."""
    criteria, items = await load_all_priorities(
        session, now, await _which(session, filters, now), scored or "fully"
    )
    return csv_attachment(csv_text(*priorities_table(criteria, items)), "priorities")
