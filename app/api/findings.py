"""Findings: what the checks found, and what people decided. A change is evaluated before the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Select, func, or_, select, union_all
from sqlalchemy.orm import aliased

from app import pipeline
from app.api.deps import Body, CallerDep, Line, ReadingDep, RuntimeDep
from app.api.epic_models import EpicName, FindingOut, FindingState, show_finding
from app.api.paging import CursorParameter, Limit, ListQuery, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RowId
from app.runtime import Runtime
from mappings.checks.check import About
from mappings.checks.registry import CheckName
from mappings.evaluation.operations import (
    dismiss_finding,
    reopen_finding,
    snooze_finding,
    uphold_finding,
    waive_finding,
)
from mappings.lookups import source_in
from mappings.plain_rows import FINDING_COLUMNS, PlainFinding
from mappings.runs.reevaluation import ChangedEpic
from mappings.tables import EpicRow, FindingRow, KeyResultRow, ObjectiveRow, SourceRow

router = APIRouter(prefix="/findings", tags=["findings"])

Until = Annotated[
    str,
    Field(
        max_length=64,
        description="A date (the end of that day, UTC) or a time; within 366 days.",
        examples=["2026-12-31"],
    ),
]


class WaiveIn(Body):
    reason: Line = Field(
        description="Why the gap is accepted; the ticket shows it.",
        examples=["Compliance work, agreed with the steering committee"],
    )
    until: Until


class DismissIn(Body):
    reason: Line = Field(
        description="Why the finding does not hold here; the ticket shows it.",
        examples=["Work on the office, which no key result measures"],
    )


class SnoozeIn(Body):
    until: Until
    reason: Line | None = Field(None, description="Why it is snoozed.")


ABOUT: dict[About, Any] = {
    "epic": FindingRow.epic_id.is_not(None),
    "goal": or_(FindingRow.objective_id.is_not(None), FindingRow.key_result_id.is_not(None)),
    "source": FindingRow.source_id.is_not(None),
}
_EPICS_SOURCE = aliased(SourceRow)
# Each finding with the names of what it is on: the epic's source and key, the goal, the source.
_NAMED: Any = (
    select(
        *FINDING_COLUMNS,
        _EPICS_SOURCE.name,
        EpicRow.key,
        func.coalesce(ObjectiveRow.key, KeyResultRow.key),
        SourceRow.name,
    )
    .select_from(FindingRow)
    .outerjoin(EpicRow, EpicRow.id == FindingRow.epic_id)
    .outerjoin(_EPICS_SOURCE, _EPICS_SOURCE.id == EpicRow.source_id)
    .outerjoin(ObjectiveRow, ObjectiveRow.id == FindingRow.objective_id)
    .outerjoin(KeyResultRow, KeyResultRow.id == FindingRow.key_result_id)
    .outerjoin(SourceRow, SourceRow.id == FindingRow.source_id)
)
_LISTED = _NAMED.where(EpicRow.removed_at.is_(None))


@router.get("", summary="List findings")
async def list_findings(
    session: ReadingDep,
    check: Annotated[CheckName | None, Query(description="Of this check.")] = None,
    state: Annotated[FindingState | None, Query(description="In this state.")] = None,
    about: Annotated[About | None, Query(description="On epics, on goals or on sources.")] = None,
    source: Annotated[
        str | None, Query(description="On epics of this source, or on the source itself.")
    ] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[FindingOut]:
    step = list_query(cursor, limit, check=check, state=state, about=about, source=source)
    query = _LISTED
    if step.filters["check"] is not None:
        query = query.where(FindingRow.check == step.filters["check"])
    if step.filters["state"] is not None:
        query = query.where(FindingRow.state == step.filters["state"])
    if step.filters["about"] is not None:
        query = query.where(ABOUT[step.filters["about"]])
    if step.filters["source"] is not None:
        source_id = (await source_in(session, step.filters["source"], "source")).id
        query = query.where(FindingRow.id.in_(_page_of_source(query, source_id, step)))
    rows, following = await page_of(session, query, FindingRow.id, step)
    return Page(items=list(map(_shown, rows)), next=following)


def _page_of_source(query: Select[Any], source_id: int, step: ListQuery) -> Any:
    """The ids of a page of `query`, of the findings on epics of a source and on the source itself. Each of
    the two is a query with a limit of its own: one condition over both joins would read every finding."""
    ids = query.with_only_columns(FindingRow.id, maintain_column_froms=True)
    page = ids.where(FindingRow.id > step.after).order_by(FindingRow.id).limit(step.limit + 1)
    of_epics, own = EpicRow.source_id == source_id, FindingRow.source_id == source_id
    return union_all(page.where(of_epics), page.where(own))


@router.post(
    "/{id}/waive", summary="Accept a gap until a day, with a reason", responses=error_responses(404, 409)
)
async def waive(id: RowId, body: WaiveIn, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    async with runtime.transaction(caller.who) as session:
        changed = await waive_finding(session, id, body.until, body.reason, await runtime.now(session))
    return await _evaluated(runtime, id, changed)


@router.post("/{id}/snooze", summary="Be silent about a gap until a day", responses=error_responses(404, 409))
async def snooze(id: RowId, body: SnoozeIn, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    async with runtime.transaction(caller.who) as session:
        changed = await snooze_finding(session, id, body.until, body.reason, await runtime.now(session))
    return await _evaluated(runtime, id, changed)


@router.post("/{id}/reopen", summary="End a waiver, snooze or dispute", responses=error_responses(404, 409))
async def reopen(id: RowId, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    async with runtime.transaction(caller.who) as session:
        changed = await reopen_finding(session, id, await runtime.now(session))
    return await _evaluated(runtime, id, changed)


@router.post(
    "/{id}/uphold",
    summary="Decide a dispute: the finding stands",
    description="It is open again, and its notice comes back.",
    responses=error_responses(404, 409),
)
async def uphold(id: RowId, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    async with runtime.transaction(caller.who) as session:
        changed = await uphold_finding(session, id, await runtime.now(session))
    return await _evaluated(runtime, id, changed)


@router.post(
    "/{id}/dismiss",
    summary="Decide a dispute: the finding does not hold here",
    description="It is waived for 366 days, the longest that a waiver may last.",
    responses=error_responses(404, 409),
)
async def dismiss(id: RowId, body: DismissIn, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    async with runtime.transaction(caller.who) as session:
        changed = await dismiss_finding(session, id, body.reason, await runtime.now(session))
    return await _evaluated(runtime, id, changed)


async def _evaluated(runtime: Runtime, id: int, changed: ChangedEpic | None) -> FindingOut:
    """The finding, its epic evaluated after the change."""
    if changed is not None:
        await pipeline.evaluate_now(runtime, changed.run_id, [changed.epic.id])
    async with runtime.sessions() as session:
        return _shown((await session.execute(_NAMED.where(FindingRow.id == id))).one())


def _shown(row: Sequence[Any]) -> FindingOut:
    """Of a row of `_NAMED`."""
    *members, epics_source, epic_key, goal, source = row
    epic = None if epics_source is None or epic_key is None else EpicName(source=epics_source, key=epic_key)
    return show_finding(PlainFinding._make(members), epic, goal, source)
