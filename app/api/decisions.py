"""Decisions of reviews and on conflicts, and their undoing. The epic is evaluated before the answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.decision_models import DecisionIn, DecisionOut, show_decision
from app.api.deps import CallerDep, ReadingDep, RuntimeDep, SessionDep, put_runs, response_headers
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RowId
from app.auth.roles import Caller
from app.runtime import Runtime
from mappings.errors import Invalid, NotFound
from mappings.governance.decision_log import decisions_of, load_decision_names
from mappings.governance.decisions import Recorded, record_decision, undo_decision
from mappings.tables import DecisionRow

router = APIRouter(tags=["decisions"])

RECORDED = {**response_headers(201, "Northing-Runs"), **error_responses(404, 409)}


@router.post(
    "/reviews/{id}/decisions",
    status_code=201,
    summary="Record what a review decided, and do it",
    responses=RECORDED,
)
async def decide_in_review(
    id: RowId, body: DecisionIn, response: Response, runtime: RuntimeDep, caller: CallerDep
) -> DecisionOut:
    """409 where the review is closed, the conflict decided, or a gate of the stages closed."""
    return await _record(runtime, caller, response, body, review_id=id, conflict_id=body.conflict)


@router.post(
    "/conflicts/{id}/decisions",
    status_code=201,
    summary="End a conflict by a decision outside of a review",
    description="`epic` and `goal` may be left out: the conflict names what it is on.",
    responses=RECORDED,
)
async def decide_conflict(
    id: RowId, body: DecisionIn, response: Response, runtime: RuntimeDep, caller: CallerDep
) -> DecisionOut:
    if body.item is not None:
        raise Invalid("item", "belongs to a review; decide in the review")
    if body.conflict not in (None, id):
        raise Invalid("conflict", "is another one than the address names")
    return await _record(runtime, caller, response, body, review_id=None, conflict_id=id)


async def _record(
    runtime: Runtime,
    caller: Caller,
    response: Response,
    body: DecisionIn,
    *,
    review_id: int | None,
    conflict_id: int | None,
) -> DecisionOut:
    async with runtime.transaction(caller.who) as session:
        recorded = await record_decision(
            session,
            await runtime.now(session),
            decision=body.decision,
            epic=None if body.epic is None else (body.epic.source, body.epic.key),
            goal=body.goal,
            key_result=body.key_result,
            measure=body.measure,
            by=body.by,
            reason=body.reason,
            decided_by=[person.value() for person in body.decided_by],
            review_id=review_id,
            item_id=body.item,
            conflict_id=conflict_id,
        )
    return await _evaluated(runtime, response, recorded)


async def _evaluated(
    runtime: Runtime, response: Response, recorded: Recorded, *, undone: bool = False
) -> DecisionOut:
    put_runs(response, await pipeline.evaluate_at_once(runtime, recorded.runs))
    async with runtime.sessions() as session:
        return await _show(session, recorded.row.id, recorded.says if undone else ())


async def _show(session: AsyncSession, id: int, left: list[str] | tuple[()] = ()) -> DecisionOut:
    row = await session.get(DecisionRow, id)
    if row is None:
        raise NotFound.of("decision", id)
    return show_decision(row, await load_decision_names(session, [row]), left)


@router.get("/decisions", summary="List decisions, newest first")
async def list_decisions(
    session: ReadingDep,
    epic_source: Annotated[
        str | None, Query(description="About epics of this source, which may be gone.")
    ] = None,
    epic_key: Annotated[
        str | None, Query(description="About this epic; a former key too. Needs `epic_source`.")
    ] = None,
    goal: Annotated[
        str | None, Query(description="About this objective or key result, or with it as target or measure.")
    ] = None,
    review: Annotated[int | None, Query(ge=1, lt=2**63, description="Of this review.")] = None,
    undone: Annotated[
        bool | None, Query(description="Those that were undone, or those that were not.")
    ] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[DecisionOut]:
    given = {
        "epic_source": epic_source,
        "epic_key": epic_key,
        "goal": goal,
        "review": review,
        "undone": undone,
    }
    step = list_query(cursor, limit, **given)
    query = await decisions_of(session, **step.filters)
    found, following = await page_of(session, query, DecisionRow.id, step, newest_first=True)
    rows = [row for (row,) in found]
    names = await load_decision_names(session, rows)
    return Page(items=[show_decision(row, names) for row in rows], next=following)


@router.get("/decisions/{id}", summary="Show a decision", responses=error_responses(404))
async def get_decision(id: RowId, session: SessionDep) -> DecisionOut:
    return await _show(session, id)


@router.post(
    "/decisions/{id}/undo",
    summary="Undo a decision",
    description="Everything is as it was before. 409 where a newer decision stands, or a person changed "
    "since what it would change back: the answer says what, and what to do.",
    responses={**response_headers(200, "Northing-Runs"), **error_responses(404, 409)},
)
async def undo(id: RowId, response: Response, runtime: RuntimeDep, caller: CallerDep) -> DecisionOut:
    async with runtime.transaction(caller.who) as session:
        recorded = await undo_decision(session, id, await runtime.now(session))
    return await _evaluated(runtime, response, recorded, undone=True)
