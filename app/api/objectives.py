"""Objectives: what the organisation wants to reach."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.api.deps import (
    IfMatch,
    Key,
    RuntimeDep,
    SessionDep,
    check_version,
    merged,
    patch_body,
    put_runs,
    put_version,
    response_headers,
    validated,
)
from app.api.goal_models import Driver, GoalState, ObjectiveIn, ObjectiveOut, Visibility
from app.api.goals import KeyInPath, check_unused, goal_at, goal_in, key_for, named_users, set_changed_columns
from app.api.paging import CursorParameter, Limit, ListQuery, Page, list_query, page_of
from app.api.problems import error_responses, invalid
from mappings import invalidate
from mappings.locks import lock_goals_exclusive
from mappings.runs.reevaluation import reevaluate
from mappings.tables import CycleRow, KeyResultRow, ObjectiveRow

router = APIRouter(prefix="/objectives", tags=["goals"])
Parent = aliased(ObjectiveRow, name="parent")

# Alignments and findings depend on these; titles, people and weights change neither.
EVALUATION_FIELDS = {"key", "state", "visibility", "public_label", "cycle_id"}

ObjectivePatch = Annotated[
    dict[str, Any],
    Depends(patch_body(ObjectiveIn, "ObjectivePatch", {"state": "achieved", "sponsor": None})),
]


# --- showing ----------------------------------------------------------------------------------


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


# --- operations -------------------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    summary="Set an objective",
    responses={**response_headers(201, "ETag"), **error_responses(409)},
)
async def create_objective(
    body: ObjectiveIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> ObjectiveOut:
    await lock_goals_exclusive(session)
    key = await key_for(session, ObjectiveRow, body.key)
    row = ObjectiveRow(**await _columns(session, body, key), created_at=runtime.clock())
    session.add(row)
    await session.flush()
    put_version(response, row.version)
    return await _read(session, row)


@router.get("", summary="List objectives")
async def list_objectives(
    session: SessionDep,
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
    await lock_goals_exclusive(session)
    row = await goal_at(session, ObjectiveRow, key)
    check_version(row.version, if_match)
    current = (await _read(session, row)).model_dump(include=set(ObjectiveIn.model_fields))
    body = validated(ObjectiveIn, merged(current, patch))
    new_key = await key_for(session, ObjectiveRow, body.key, of=row)
    changed = set_changed_columns(row, await _columns(session, body, new_key, row))
    if changed & EVALUATION_FIELDS:
        goals = list(await session.scalars(invalidate.key_results_of_objectives([row.id])))
        put_runs(response, await reevaluate(session, invalidate.by_key_results(goals), runtime.clock()))
    put_version(response, row.version)
    return await _read(session, row)


@router.delete("/{key}", status_code=204, summary="Delete an objective", responses=error_responses(404, 409))
async def delete_objective(key: KeyInPath, session: SessionDep) -> None:
    """409 while it has key results or objectives under it; nothing else refers to it."""
    await lock_goals_exclusive(session)
    row = await goal_at(session, ObjectiveRow, key)
    below = select(ObjectiveRow.key).where(ObjectiveRow.parent_id == row.id).order_by(ObjectiveRow.id)
    measured = select(KeyResultRow.key).where(KeyResultRow.objective_id == row.id).order_by(KeyResultRow.id)
    users = [
        *await named_users(session, "objective", "objectives", below),
        *await named_users(session, "key result", "key results", measured),
    ]
    check_unused(row, users, "Set its state to `archived` instead.")
    await session.delete(row)


# --- parts ------------------------------------------------------------------------------------


async def _columns(
    session: AsyncSession, body: ObjectiveIn, key: str, row: ObjectiveRow | None = None
) -> dict[str, Any]:
    cycle = None if body.cycle is None else await goal_in(session, CycleRow, body.cycle, "cycle")
    parent = None if body.parent is None else await goal_in(session, ObjectiveRow, body.parent, "parent")
    if row is not None and parent is not None and await _is_above(session, row.id, parent.id):
        raise invalid("parent", f"{parent.key} is {row.key} or is under it; choose one that is not")
    return {
        **body.model_dump(exclude={"cycle", "parent"}),
        "key": key,
        "cycle_id": None if cycle is None else cycle.id,
        "parent_id": None if parent is None else parent.id,
        "weight": 1.0 if body.weight is None else body.weight,
        "visibility": body.visibility or "internal",
        "state": body.state or "active",
    }


async def _is_above(session: AsyncSession, upper: int, lower: int) -> bool:
    """Whether `upper` is `lower` or an ancestor of it."""
    line = (
        select(ObjectiveRow.id, ObjectiveRow.parent_id)
        .where(ObjectiveRow.id == lower)
        .cte("line", recursive=True)
    )
    line = line.union(select(Parent.id, Parent.parent_id).join(line, Parent.id == line.c.parent_id))
    found = await session.scalars(select(line.c.id).where(line.c.id == upper))
    return found.one_or_none() is not None
