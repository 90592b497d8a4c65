"""Cycles: the periods that goals are set for."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import (
    IfMatch,
    ReadingDep,
    RuntimeDep,
    SessionDep,
    merged,
    patch_body,
    put_runs,
    put_version,
    response_headers,
    validated,
    versions_in,
)
from app.api.goal_models import CycleIn, CycleOut, KeyInPath
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from mappings.goals import operations
from mappings.goals.values import CycleValues, Review
from mappings.lookups import goal_at
from mappings.tables import CycleRow, ObjectiveRow

router = APIRouter(prefix="/cycles", tags=["goals"])

CyclePatch = Annotated[
    dict[str, Any],
    Depends(patch_body(CycleIn, "CyclePatch", {"ends": "2027-01-15"})),
]


@cache
def _selected() -> Any:
    objectives = (
        select(func.count(ObjectiveRow.id)).where(ObjectiveRow.cycle_id == CycleRow.id).scalar_subquery()
    )
    return select(CycleRow, objectives.label("objectives"))


def _show(row: CycleRow, objectives: int) -> CycleOut:
    kept = {name: getattr(row, name) for name in CycleOut.model_fields if name != "objectives"}
    return CycleOut(**kept, objectives=objectives)


async def _present(session: AsyncSession, row: CycleRow, response: Response) -> CycleOut:
    put_version(response, row.version)
    return _show(*(await session.execute(_selected().where(CycleRow.id == row.id))).one())


@router.post(
    "",
    status_code=201,
    summary="Make a cycle",
    responses={**response_headers(201, "ETag"), **error_responses(409)},
)
async def create_cycle(
    body: CycleIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> CycleOut:
    row = await operations.create_cycle(session, body.values(), await runtime.now(session))
    return await _present(session, row, response)


@router.get("", summary="List cycles")
async def list_cycles(
    session: ReadingDep,
    review: Annotated[Review | None, Query(description="Reviewed this often.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[CycleOut]:
    step = list_query(cursor, limit, review=review)
    query = _selected()
    if step.filters["review"] is not None:
        query = query.where(CycleRow.review == step.filters["review"])
    rows, following = await page_of(session, query, CycleRow.id, step)
    return Page(items=[_show(row, objectives) for row, objectives in rows], next=following)


@router.get(
    "/{key}", summary="Show a cycle", responses={**response_headers(200, "ETag"), **error_responses(404)}
)
async def get_cycle(key: KeyInPath, response: Response, session: SessionDep) -> CycleOut:
    return await _present(session, await goal_at(session, CycleRow, key), response)


@router.patch(
    "/{key}",
    summary="Change a cycle",
    responses={**response_headers(200, "ETag", "Northing-Runs"), **error_responses(404, 409, 412)},
)
async def change_cycle(
    key: KeyInPath,
    patch: CyclePatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> CycleOut:
    """A change of `ends` has the epics of the cycle's key results evaluated again."""

    def change(current: CycleValues) -> CycleValues:
        return validated(CycleIn, merged(asdict(current), patch)).values()

    row, runs = await operations.change_cycle(
        session, key, change, await runtime.now(session), versions=versions_in(if_match)
    )
    put_runs(response, runs)
    return await _present(session, row, response)


@router.delete("/{key}", status_code=204, summary="Delete a cycle", responses=error_responses(404, 409))
async def delete_cycle(key: KeyInPath, session: SessionDep) -> None:
    """409 while the cycle has objectives."""
    await operations.delete_cycle(session, key)
