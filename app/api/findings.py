"""Findings: what the checks found, and what people decided. A change is evaluated before the answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import select

from app import pipeline
from app.api.deps import Body, CallerDep, Line, RuntimeDep, SessionDep
from app.api.epic_models import EpicName, FindingOut, FindingState, show_finding
from app.api.lookups import source_in
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import Problem, error_responses, invalid, not_found
from app.api.runs import RowId
from app.audit import set_actor
from app.auth.roles import Caller
from app.reevaluation import open_evaluation
from app.runtime import Runtime
from mappings.evaluation.operations import set_finding
from mappings.locks import lock_epics
from mappings.policy.document import CheckName
from mappings.policy.durations import parse_until
from mappings.tables import EpicRow, FindingRow, SourceRow

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


class SnoozeIn(Body):
    until: Until
    reason: Line | None = Field(None, description="Why it is snoozed.")


@router.get("", summary="List findings")
async def list_findings(
    session: SessionDep,
    check: Annotated[CheckName | None, Query(description="Of this check.")] = None,
    state: Annotated[FindingState | None, Query(description="In this state.")] = None,
    source: Annotated[str | None, Query(description="On epics of this source.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[FindingOut]:
    step = list_query(cursor, limit, check=check, state=state, source=source)
    query: Any = (
        select(FindingRow, EpicRow.key, SourceRow.name)
        .join(EpicRow, EpicRow.id == FindingRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(EpicRow.removed_at.is_(None))
    )
    if step.filters["check"] is not None:
        query = query.where(FindingRow.check == step.filters["check"])
    if step.filters["state"] is not None:
        query = query.where(FindingRow.state == step.filters["state"])
    if step.filters["source"] is not None:
        query = query.where(
            EpicRow.source_id == (await source_in(session, step.filters["source"], "source")).id
        )
    rows, following = await page_of(session, query, FindingRow.id, step)
    items = [show_finding(EpicName(source=name, key=key), row) for row, key, name in rows]
    return Page(items=items, next=following)


@router.post(
    "/{id}/waive", summary="Accept a gap until a day, with a reason", responses=error_responses(404, 409)
)
async def waive(id: RowId, body: WaiveIn, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    return await _set(runtime, caller, id, "waived", body.until, body.reason)


@router.post("/{id}/snooze", summary="Be silent about a gap until a day", responses=error_responses(404, 409))
async def snooze(id: RowId, body: SnoozeIn, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    return await _set(runtime, caller, id, "snoozed", body.until, body.reason)


@router.post("/{id}/reopen", summary="End a waiver, snooze or dispute", responses=error_responses(404, 409))
async def reopen(id: RowId, runtime: RuntimeDep, caller: CallerDep) -> FindingOut:
    return await _set(runtime, caller, id, "open", None, None)


async def _set(
    runtime: Runtime, caller: Caller, id: int, state: FindingState, until: str | None, reason: str | None
) -> FindingOut:
    try:
        end = None if until is None else parse_until(until, runtime.clock())
    except ValueError as error:
        raise invalid("until", str(error)) from None
    async with runtime.sessions.begin() as session:
        set_actor(session, caller.who)
        row = await session.get(FindingRow, id)
        if row is None:
            raise not_found("finding", id)
        # The epic's row first, as the evaluator does, so that neither undoes the other's change.
        (epic,) = await lock_epics(session, [row.epic_id])
        await session.refresh(row)
        if row.state == "resolved":
            raise Problem(409, "The finding is resolved; there is nothing to waive, snooze or reopen.")
        await set_finding(session, row, state, end, reason)
        source = await session.get_one(SourceRow, epic.source_id)
        run_id = await open_evaluation(runtime, session, source.id, epic.id)
    await pipeline.evaluate_now(runtime, source, run_id, [epic.id])
    async with runtime.sessions() as session:
        return show_finding(EpicName(source=source.name, key=epic.key), await session.get_one(FindingRow, id))
