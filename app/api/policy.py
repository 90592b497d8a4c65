"""The policy: which checks run, with what grace, on which epics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import MISSING, Field
from sqlalchemy import select

from app.api.deps import (
    IfMatch,
    RuntimeDep,
    SessionDep,
    merged,
    put_runs,
    put_version,
    response_headers,
    validated,
    versions_in,
)
from app.api.problems import error_responses
from app.api.rule_models import WarningOut
from mappings.policy import operations
from mappings.policy.document import Policy
from mappings.previews.unknown_names import warn_of_policy
from mappings.tables import InstallationRow
from mappings.values import FieldWarning

router = APIRouter(prefix="/policy", tags=["policy"])


class SavedPolicy(Policy):
    warnings: list[WarningOut] | MISSING = Field(
        default=MISSING,
        description="Names in exemptions and scopes that no source has; left out where there are none.",
    )


def _show(response: Response, row: InstallationRow) -> Policy:
    put_version(response, row.policy_version)
    return Policy.model_validate(row.policy)


@router.get("", summary="Show the policy", responses=response_headers(200, "ETag"))
async def get_policy(response: Response, session: SessionDep) -> Policy:
    row = (await session.scalars(select(InstallationRow))).one()
    return _show(response, row)


@router.put(
    "",
    summary="Replace the policy",
    responses={**response_headers(200, "ETag", "Northing-Runs"), **error_responses(412)},
)
async def replace_policy(
    body: Policy, response: Response, runtime: RuntimeDep, session: SessionDep, if_match: IfMatch = None
) -> SavedPolicy:
    """Answers at once; the header `Northing-Runs` names the runs that evaluate the affected projects."""
    warnings = await warn_of_policy(session, body)  # before the operation locks the goals
    row, runs = await operations.change_policy(
        session, lambda _: body, await runtime.now(session), versions=versions_in(if_match)
    )
    return _changed(response, row, runs, warnings)


@router.patch(
    "",
    summary="Change the policy",
    responses={**response_headers(200, "ETag", "Northing-Runs"), **error_responses(412)},
)
async def change_policy(
    body: Annotated[dict[str, Any], Body(examples=[{"grace": "P10D", "since": None}])],
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> SavedPolicy:
    """JSON merge patch: a member that is left out stays as it is, null restores its default."""

    def change(current: Policy) -> Policy:
        return validated(Policy, _merged(current.model_dump(mode="json"), body))

    warnings = await warn_of_policy(session, change(await operations.load_policy(session)))
    row, runs = await operations.change_policy(
        session, change, await runtime.now(session), versions=versions_in(if_match)
    )
    return _changed(response, row, runs, warnings)


def _merged(current: dict[str, Any], patch: dict[str, Any]) -> Any:
    # `since` may be null on purpose, which a merge patch alone cannot express.
    result = merged(current, patch)
    if "since" in patch and patch["since"] is None:
        result["since"] = None
    return result


def _changed(
    response: Response, row: InstallationRow, runs: list[int], warnings: Sequence[FieldWarning]
) -> SavedPolicy:
    put_runs(response, runs)
    shown = dict(_show(response, row))
    if warnings:
        shown["warnings"] = [WarningOut(**asdict(warning)) for warning in warnings]
    return SavedPolicy(**shown)
