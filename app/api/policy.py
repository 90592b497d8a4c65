"""The policy: which checks run, with what grace, on which epics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import (
    IfMatch,
    RuntimeDep,
    SessionDep,
    check_version,
    merged,
    put_runs,
    put_version,
    validated,
)
from app.api.problems import error_responses
from app.runtime import Runtime
from mappings import invalidate
from mappings.locks import lock_goals_exclusive
from mappings.policy.document import Policy, effective_policy
from mappings.runs.reevaluation import reevaluate
from mappings.tables import InstallationRow, SourceRow

router = APIRouter(prefix="/policy", tags=["policy"])


async def _row(session: AsyncSession) -> InstallationRow:
    return (await session.scalars(select(InstallationRow).with_for_update())).one()


@router.get("", summary="Show the policy")
async def get_policy(response: Response, session: SessionDep) -> Policy:
    row = (await session.scalars(select(InstallationRow))).one()
    put_version(response, row.policy_version)
    return Policy.model_validate(row.policy)


@router.put("", summary="Replace the policy", responses=error_responses(412))
async def replace_policy(
    body: Policy, response: Response, runtime: RuntimeDep, session: SessionDep, if_match: IfMatch = None
) -> Policy:
    """Answers at once; the header `Northing-Runs` names the runs that evaluate the affected projects."""
    await lock_goals_exclusive(session)
    row = await _row(session)
    check_version(row.policy_version, if_match)
    await _put(runtime, session, row, body, response)
    return body


@router.patch("", summary="Change the policy", responses=error_responses(412))
async def change_policy(
    body: Annotated[dict[str, Any], Body(examples=[{"grace": "P10D", "since": None}])],
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> Policy:
    """JSON merge patch: a member that is left out stays as it is, null restores its default."""
    await lock_goals_exclusive(session)
    row = await _row(session)
    check_version(row.policy_version, if_match)
    # `since` may be null on purpose, which a merge patch alone cannot express.
    new = validated(Policy, _merged(Policy.model_validate(row.policy).model_dump(mode="json"), body))
    await _put(runtime, session, row, new, response)
    return new


def _merged(current: dict[str, Any], patch: dict[str, Any]) -> Any:
    result = merged(current, patch)
    if "since" in patch and patch["since"] is None:
        result["since"] = None
    return result


async def _put(
    runtime: Runtime, session: AsyncSession, row: InstallationRow, new: Policy, response: Response
) -> None:
    old = Policy.model_validate(row.policy)
    row.policy, row.policy_version = new.model_dump(mode="json"), row.policy_version + 1
    await session.flush()
    names = {id: name for id, name in await session.execute(select(SourceRow.id, SourceRow.name))}
    changed = [
        (source_id, project)
        for source_id, project in await invalidate.all_projects(session)
        if effective_policy(old, names[source_id], project)
        != effective_policy(new, names[source_id], project)
    ]
    if changed:
        opened = await reevaluate(session, invalidate.by_projects(changed), runtime.clock())
        put_runs(response, opened)
    put_version(response, row.policy_version)
