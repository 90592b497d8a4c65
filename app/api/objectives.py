"""Objectives: what the organisation wants to reach."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.api.deps import (
    IfMatch,
    Key,
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
from app.api.goal_models import KeyInPath, ObjectiveIn, ObjectiveOut
from app.api.paging import CursorParameter, Limit, ListQuery, Page, list_query, page_of
from app.api.problems import error_responses
from mappings.goals import operations
from mappings.goals.key_results import GoalState, Visibility
from mappings.goals.values import Driver, ObjectiveValues
from mappings.lookups import goal_at, goal_in
from mappings.tables import CycleRow, KeyResultRow, ObjectiveRow

router = APIRouter(prefix="/objectives", tags=["goals"])
Parent = aliased(ObjectiveRow, name="parent")

ObjectivePatch = Annotated[
    dict[str, Any],
    Depends(patch_body(ObjectiveIn, "ObjectivePatch", {"state": "achieved", "sponsor": None})),
]


# --- showing ----------------------------------------------------------------------------------


@cache
def _selected() -> Any:
    key_results = (
        select(func.count(KeyResultRow.id))
        .where(KeyResultRow.objective_id == ObjectiveRow.id)
        .scalar_subquery()
    )
    return (
        select(ObjectiveRow, CycleRow.key, Parent.key, key_results)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .outerjoin(Parent, Parent.id == ObjectiveRow.parent_id)
    )


def _show(row: ObjectiveRow, cycle: str | None, parent: str | None, key_results: int) -> ObjectiveOut:
    elsewhere = {"cycle": cycle, "parent": parent, "key_results": key_results}
    own = {name: getattr(row, name) for name in ObjectiveOut.model_fields if name not in elsewhere}
    return ObjectiveOut.model_validate({**own, **elsewhere})


async def _read(session: AsyncSession, row: ObjectiveRow) -> ObjectiveOut:
    return _show(*(await session.execute(_selected().where(ObjectiveRow.id == row.id))).one())


# --- requests ---------------------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    summary="Set an objective",
    responses={**response_headers(201, "ETag"), **error_responses(409)},
)
async def create_objective(
    body: ObjectiveIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> ObjectiveOut:
    row = await operations.create_objective(session, body.values(), await runtime.now(session))
    put_version(response, row.version)
    return await _read(session, row)


@router.get("", summary="List objectives")
async def list_objectives(
    session: ReadingDep,
    cycle: Annotated[Key | None, Query(description="The key of a cycle.")] = None,
    parent: Annotated[Key | None, Query(description="The key of the objective above them.")] = None,
    state: Annotated[GoalState | None, Query(description="In this state.")] = None,
    driver: Annotated[Driver | None, Query(description="With this driver.")] = None,
    visibility: Annotated[Visibility | None, Query(description="With this visibility.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[ObjectiveOut]:
    step = list_query(
        cursor, limit, cycle=cycle, parent=parent, state=state, driver=driver, visibility=visibility
    )
    rows, following = await page_of(session, await _filtered(session, step), ObjectiveRow.id, step)
    return Page(items=[_show(*row) for row in rows], next=following)


async def _filtered(session: AsyncSession, step: ListQuery) -> Any:
    query, filters = _selected(), step.filters
    if filters["cycle"] is not None:
        held = await goal_in(session, CycleRow, filters["cycle"], "cycle")
        query = query.where(ObjectiveRow.cycle_id == held.id)
    if filters["parent"] is not None:
        above = await goal_in(session, ObjectiveRow, filters["parent"], "parent")
        query = query.where(ObjectiveRow.parent_id == above.id)
    for name in ("state", "driver", "visibility"):
        if filters[name] is not None:
            query = query.where(getattr(ObjectiveRow, name) == filters[name])
    return query


@router.get(
    "/{key}", summary="Show an objective", responses={**response_headers(200, "ETag"), **error_responses(404)}
)
async def get_objective(key: KeyInPath, response: Response, session: SessionDep) -> ObjectiveOut:
    row = await goal_at(session, ObjectiveRow, key)
    put_version(response, row.version)
    return await _read(session, row)


@router.patch(
    "/{key}",
    summary="Change an objective",
    responses={**response_headers(200, "ETag", "Northing-Runs"), **error_responses(404, 409, 412)},
)
async def change_objective(
    key: KeyInPath,
    patch: ObjectivePatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> ObjectiveOut:
    """A change of key, state, visibility, public label or cycle has the epics of its key results evaluated
    again, in the runs that `Northing-Runs` names; any other change has no effect on epics.
    """

    def change(current: ObjectiveValues) -> ObjectiveValues:
        return validated(ObjectiveIn, merged(asdict(current), patch)).values()

    row, runs = await operations.change_objective(
        session, key, change, await runtime.now(session), versions=versions_in(if_match)
    )
    put_runs(response, runs)
    put_version(response, row.version)
    return await _read(session, row)


@router.delete("/{key}", status_code=204, summary="Delete an objective", responses=error_responses(404, 409))
async def delete_objective(key: KeyInPath, session: SessionDep) -> None:
    """409 while it has key results or objectives under it; nothing else refers to it."""
    await operations.delete_objective(session, key)
