"""The stage of an epic: idea, pilot, scale, done. No evaluation depends on it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.decision_models import StageIn, StageOut, show_stage
from app.api.deps import IfMatch, RuntimeDep, SessionDep, put_version, response_headers, versions_in
from app.api.epic_models import EpicName
from app.api.problems import error_responses
from app.api.suggestions import EpicInPath, SourceInPath
from mappings.governance.stages import load_stage, set_stage
from mappings.lookups import epic_at, source_at

router = APIRouter(prefix="/epics", tags=["epics"])


@router.get(
    "/{source}/{key:path}/stage",
    summary="Show the stage of an epic",
    responses={**response_headers(200, "ETag"), **error_responses(404)},
)
async def get_stage(
    source: SourceInPath, key: EpicInPath, response: Response, runtime: RuntimeDep, session: SessionDep
) -> StageOut:
    """Without an `ETag` where nobody set one."""
    return await _show(session, source, key, response, await runtime.now(session))


@router.put(
    "/{source}/{key:path}/stage",
    summary="Move an epic to a stage",
    responses={**response_headers(200, "ETag"), **error_responses(404, 409, 412)},
)
async def put_stage(
    source: SourceInPath,
    key: EpicInPath,
    body: StageIn,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> StageOut:
    """A pilot needs `measure` and `by`. 409 for `scale` before the measure was checked in since the pilot
    began, and for `done` of what was no pilot. Every move back is allowed."""
    now = await runtime.now(session)
    await set_stage(
        session, source, key, body.stage, body.measure, body.by, now, versions=versions_in(if_match)
    )
    return await _show(session, source, key, response, now)


async def _show(session: AsyncSession, source: str, key: str, response: Response, now: datetime) -> StageOut:
    held = await source_at(session, source)
    epic = await epic_at(session, held, key)
    row, measure = await load_stage(session, epic.id)
    if row is not None:
        put_version(response, row.version)
    return show_stage(EpicName(source=held.name, key=epic.key), row, measure, now)
