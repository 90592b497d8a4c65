"""Key results: they measure how far an objective is reached, and epics are linked to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import ColumnElement, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from app.api.agreements import present_agreement
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
from app.api.goal_models import KeyInPath, KeyResultIn, KeyResultOut, Metric
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.runtime import Runtime
from mappings.goals import operations
from mappings.goals.agreements import latest_agreements, metric_of, valid_sides
from mappings.goals.key_results import GoalState, is_live
from mappings.goals.lint import output_hint
from mappings.goals.progress import progress_of
from mappings.goals.rows import key_result_of
from mappings.goals.steering import why_not_agreed, why_not_steered
from mappings.goals.values import Category, KeyResultValues
from mappings.link_counts import count_links
from mappings.lists.key_results import KeyResultFilters, conditions
from mappings.lookups import goal_at
from mappings.tables import CheckInRow, CycleRow, KeyResultRow, LinkRow, ObjectiveRow

router = APIRouter(tags=["goals"])

KeyResultPatch = Annotated[
    dict[str, Any],
    Depends(patch_body(KeyResultIn, "KeyResultPatch", {"metric": {"target": 50}, "due": "2026-12-31"})),
]


# --- showing ----------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _selected(*which: ColumnElement[bool]) -> Any:
    """Made once for conditions that are made once."""
    """Each key result with its objective, its cycle's last day, and its latest check-in."""
    latest = (
        select(CheckInRow.value, CheckInRow.confidence)
        .where(CheckInRow.key_result_id == KeyResultRow.id)
        .order_by(CheckInRow.at.desc(), CheckInRow.id.desc())
        .limit(1)
        .correlate(KeyResultRow)
        .lateral("latest")
    )
    return (
        select(KeyResultRow, ObjectiveRow, CycleRow.ends, latest.c.value, latest.c.confidence)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .outerjoin(latest, true())
        .options(defer(ObjectiveRow.description))
        .where(*which)
    )


async def _present(runtime: Runtime, session: AsyncSession, found: Sequence[Any]) -> list[KeyResultOut]:
    links = await count_links(session, LinkRow.key_result_id, [row.id for row, *_ in found])
    now = await runtime.now(session)
    signed = await latest_agreements(session, [row.id for row, *_ in found])
    shown: list[KeyResultOut] = []
    for row, objective, ends, value, confidence in found:
        current = row.baseline if value is None else value
        agreements = signed.get(row.id, [])
        sides = valid_sides(agreements)
        not_steered = why_not_steered(metric_of(row), sides, value)
        shown.append(
            KeyResultOut(
                key=row.key,
                objective=objective.key,
                title=row.title,
                description=row.description,
                owner=row.owner,
                category=row.category,
                metric=Metric.model_validate(metric_of(row), from_attributes=True),
                due=row.due,
                state=row.state,
                live=is_live(key_result_of(row, objective, ends), now),
                current=current,
                progress=progress_of(row.baseline, row.target, current),
                confidence=confidence,
                agreed=why_not_agreed(sides) is None,
                agreements=[present_agreement(one, row) for one in agreements],
                steered=not not_steered,
                not_steered_because=not_steered,
                links=links.get(row.id, 0),
                hint=output_hint(row.title),
                created_at=row.created_at,
            )
        )
    return shown


async def _read(runtime: Runtime, session: AsyncSession, row: KeyResultRow) -> KeyResultOut:
    found = (await session.execute(_selected().where(KeyResultRow.id == row.id))).all()
    return (await _present(runtime, session, found))[0]


# --- requests ---------------------------------------------------------------------------------


@router.post(
    "/objectives/{key}/key-results",
    status_code=201,
    summary="Set a key result",
    responses={**response_headers(201, "ETag", "Northing-Runs"), **error_responses(404, 409)},
)
async def create_key_result(
    key: KeyInPath, body: KeyResultIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> KeyResultOut:
    """Epics whose tickets name its key already are evaluated again."""
    row, runs = await operations.create_key_result(session, key, body.values(), await runtime.now(session))
    put_runs(response, runs)
    put_version(response, row.version)
    return await _read(runtime, session, row)


@router.get("/key-results", summary="List key results")
async def list_key_results(
    runtime: RuntimeDep,
    session: ReadingDep,
    objective: Annotated[Key | None, Query(description="The key of an objective.")] = None,
    state: Annotated[GoalState | None, Query(description="In this state.")] = None,
    category: Annotated[Category | None, Query(description="Of this kind.")] = None,
    cycle: Annotated[Key | None, Query(description="The key of the objective's cycle.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the title or key, any case.")] = None,
    unlinked: Annotated[
        bool | None, Query(description="Whether it has no link from an epic, so that `links` is 0.")
    ] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[KeyResultOut]:
    given = KeyResultFilters(
        objective=objective, cycle=cycle, state=state, category=category, q=q, unlinked=unlinked
    )
    step = list_query(cursor, limit, **asdict(given))
    query = _selected(*await conditions(session, KeyResultFilters(**step.filters)))
    rows, following = await page_of(session, query, KeyResultRow.id, step)
    return Page(items=await _present(runtime, session, rows), next=following)


@router.get(
    "/key-results/{key}",
    summary="Show a key result",
    responses={**response_headers(200, "ETag"), **error_responses(404)},
)
async def get_key_result(
    key: KeyInPath, response: Response, runtime: RuntimeDep, session: SessionDep
) -> KeyResultOut:
    row = await goal_at(session, KeyResultRow, key)
    put_version(response, row.version)
    return await _read(runtime, session, row)


@router.patch(
    "/key-results/{key}",
    summary="Change a key result",
    responses={**response_headers(200, "ETag", "Northing-Runs"), **error_responses(404, 409, 412)},
)
async def change_key_result(
    key: KeyInPath,
    patch: KeyResultPatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> KeyResultOut:
    """A change of key or state has the epics evaluated again that are linked to it or name its old or new
    key, in the runs that `Northing-Runs` names; any other change has no effect on epics. A changed metric
    voids both agreements, which the answer shows as `"valid": false`; they are to be signed again.
    """

    def change(current: KeyResultValues) -> KeyResultValues:
        return validated(KeyResultIn, merged(asdict(current), patch)).values()

    row, runs = await operations.change_key_result(
        session, key, change, await runtime.now(session), versions=versions_in(if_match)
    )
    put_runs(response, runs)
    put_version(response, row.version)
    return await _read(runtime, session, row)


@router.delete(
    "/key-results/{key}",
    status_code=204,
    summary="Delete a key result",
    responses={**response_headers(204, "Northing-Runs"), **error_responses(404, 409)},
)
async def delete_key_result(
    key: KeyInPath, response: Response, runtime: RuntimeDep, session: SessionDep
) -> None:
    """Its check-ins and agreements are deleted too. 409 while links or rules refer to it."""
    put_runs(response, await operations.delete_key_result(session, key, await runtime.now(session)))
