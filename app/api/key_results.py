"""Key results: how far an objective is reached, and what epics are linked to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from app.api.deps import (
    IfMatch,
    Key,
    RuntimeDep,
    SessionDep,
    carries,
    check_version,
    merged,
    patch_body,
    put_runs,
    put_version,
    validated,
)
from app.api.goal_models import Category, KeyResultIn, KeyResultOut, Metric, State
from app.api.goals import KeyInPath, apply, check_unused, goal_at, goal_in, key_for, named
from app.api.paging import CursorParameter, Limit, Page, page_of, walk
from app.api.problems import answers
from app.changes import rejudge
from app.runtime import Runtime
from mappings import ledger, touching
from mappings.goals import is_live, progress
from mappings.standard import goal_of
from mappings.tables import CheckIn, Cycle, Epic, KeyResult, Link, Objective, Rule

router = APIRouter(tags=["goals"])

# Verdicts and findings rest on these; a title or a metric changes neither.
JUDGED_BY = {"key", "state"}

KeyResultPatch = Annotated[
    dict[str, Any],
    Depends(patch_body(KeyResultIn, "KeyResultPatch", {"metric": {"target": 50}, "due": "2026-12-31"})),
]


# --- showing ----------------------------------------------------------------------------------


def _selected() -> Any:
    """Each key result with its objective, its cycle's last day, and its latest check-in."""
    latest = (
        select(CheckIn.value, CheckIn.confidence)
        .where(CheckIn.key_result_id == KeyResult.id)
        .order_by(CheckIn.at.desc(), CheckIn.id.desc())
        .limit(1)
        .correlate(KeyResult)
        .lateral("latest")
    )
    return (
        select(KeyResult, Objective, Cycle.ends, latest.c.value, latest.c.confidence)
        .join(Objective, Objective.id == KeyResult.objective_id)
        .outerjoin(Cycle, Cycle.id == Objective.cycle_id)
        .outerjoin(latest, true())
        .options(defer(Objective.description))
    )


async def _present(runtime: Runtime, session: AsyncSession, found: Sequence[Any]) -> list[KeyResultOut]:
    links = await _links(session, [row.id for row, *_ in found])
    shown: list[KeyResultOut] = []
    for row, objective, ends, value, confidence in found:
        current = row.baseline if value is None else value
        shown.append(
            KeyResultOut(
                key=row.key,
                objective=objective.key,
                title=row.title,
                category=row.category,
                metric=Metric(
                    unit=row.unit, baseline=row.baseline, target=row.target, direction=row.direction
                ),
                due=row.due,
                state=row.state,
                live=is_live(goal_of(row, objective, ends), runtime.clock()),
                current=current,
                progress=progress(row.baseline, row.target, current),
                confidence=confidence,
                links=links.get(row.id, 0),
                created_at=row.created_at,
            )
        )
    return shown


async def _links(session: AsyncSession, ids: Sequence[int]) -> dict[int, int]:
    """How many links of epics that are in the lists lead to each."""
    counts = await session.execute(
        select(Link.key_result_id, func.count())
        .join(Epic, Epic.id == Link.epic_id)
        .where(Link.key_result_id.in_(ids), Epic.gone_at.is_(None))
        .group_by(Link.key_result_id)
    )
    return {key_result_id: count for key_result_id, count in counts}


async def _read(runtime: Runtime, session: AsyncSession, row: KeyResult) -> KeyResultOut:
    found = (await session.execute(_selected().where(KeyResult.id == row.id))).all()
    return (await _present(runtime, session, found))[0]


# --- operations -------------------------------------------------------------------------------


@router.post(
    "/objectives/{key}/key-results",
    status_code=201,
    summary="Set a key result",
    responses={**carries(201, "ETag", "Northing-Runs"), **answers(404, 409)},
)
async def create_key_result(
    key: KeyInPath, body: KeyResultIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> KeyResultOut:
    """Where tickets name its key already, their epics are judged again."""
    await ledger.change_goals(session)
    objective = await goal_at(session, Objective, key)
    own_key = await key_for(session, KeyResult, body.key)
    row = KeyResult(**_columns(body, own_key), objective_id=objective.id, created_at=runtime.clock())
    session.add(row)
    await session.flush()
    put_runs(response, await rejudge(runtime, session, touching.by_key_results([], [own_key])))
    put_version(response, row.version)
    return await _read(runtime, session, row)


@router.get("/key-results", summary="List key results")
async def list_key_results(
    runtime: RuntimeDep,
    session: SessionDep,
    objective: Annotated[Key | None, Query(description="The key of an objective.")] = None,
    state: Annotated[State | None, Query(description="In this state.")] = None,
    category: Annotated[Category | None, Query(description="Of this kind.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[KeyResultOut]:
    step = walk(cursor, limit, objective=objective, state=state, category=category)
    query, filters = _selected(), step.filters
    if filters["objective"] is not None:
        held = await goal_in(session, Objective, filters["objective"], "objective")
        query = query.where(KeyResult.objective_id == held.id)
    for name in ("state", "category"):
        if filters[name] is not None:
            query = query.where(getattr(KeyResult, name) == filters[name])
    rows, following = await page_of(session, query, KeyResult.id, step)
    return Page(items=await _present(runtime, session, rows), next=following)


@router.get(
    "/key-results/{key}", summary="Show a key result", responses={**carries(200, "ETag"), **answers(404)}
)
async def get_key_result(
    key: KeyInPath, response: Response, runtime: RuntimeDep, session: SessionDep
) -> KeyResultOut:
    row = await goal_at(session, KeyResult, key)
    put_version(response, row.version)
    return await _read(runtime, session, row)


@router.patch(
    "/key-results/{key}",
    summary="Change a key result",
    responses={**carries(200, "ETag", "Northing-Runs"), **answers(404, 409, 412)},
)
async def change_key_result(
    key: KeyInPath,
    patch: KeyResultPatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> KeyResultOut:
    """A change of key or state has judged again the epics linked to it or naming the old key or the new,
    in the runs that `Northing-Runs` names; any other change judges nothing.
    """
    await ledger.change_goals(session)
    row = await goal_at(session, KeyResult, key)
    check_version(row.version, if_match)
    current = (await _read(runtime, session, row)).model_dump(include=set(KeyResultIn.model_fields))
    body = validated(KeyResultIn, merged(current, patch))
    before = row.key
    changed = apply(row, _columns(body, await key_for(session, KeyResult, body.key, of=row)))
    if changed & JUDGED_BY:
        touched = touching.by_key_results([row.id], {before, row.key})
        put_runs(response, await rejudge(runtime, session, touched))
    put_version(response, row.version)
    return await _read(runtime, session, row)


@router.delete(
    "/key-results/{key}",
    status_code=204,
    summary="Delete a key result",
    responses={**carries(204, "Northing-Runs"), **answers(404, 409)},
)
async def delete_key_result(
    key: KeyInPath, response: Response, runtime: RuntimeDep, session: SessionDep
) -> None:
    """Its check-ins go with it. 409 while links or rules lead to it."""
    await ledger.change_goals(session)
    row = await goal_at(session, KeyResult, key)
    mapping = select(Rule.name).where(Rule.key_result_id == row.id).order_by(Rule.id)
    users = [*await _linked(session, row), *await named(session, "rule", "rules", mapping)]
    check_unused(row, users, "Set its state to `archived` instead.")
    touched = touching.by_key_results([row.id], [row.key])
    put_runs(response, await rejudge(runtime, session, touched))
    await session.delete(row)


# --- parts ------------------------------------------------------------------------------------


async def _linked(session: AsyncSession, row: KeyResult) -> list[str]:
    count = await session.scalar(select(func.count()).where(Link.key_result_id == row.id))
    if not count:
        return []
    listed = (await _links(session, [row.id])).get(row.id, 0)
    hidden = f", {count - listed} of them in no list now" if count > listed else ""
    return [f"{count} link{'s' if count > 1 else ''} of epics{hidden}"]


def _columns(body: KeyResultIn, key: str) -> dict[str, Any]:
    metric = body.metric or Metric()
    return {
        **body.model_dump(exclude={"metric"}),
        **metric.model_dump(),
        "key": key,
        "state": body.state or "active",
    }
