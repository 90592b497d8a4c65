"""Disconnecting a tracker: as a person decides, our comments stay there or are withdrawn first."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from app.api import runs
from app.api.deps import RuntimeDep, SessionDep, SourceName
from app.api.problems import Problem, error_responses
from app.api.runs import RunOut
from app.jobs.scheduler import announce_schedules
from mappings.locks import lock_goals_exclusive, lock_notices_of_source
from mappings.lookups import source_at
from mappings.notices.withdrawal import any_comment_on_tickets, request_withdrawal_of_all
from mappings.tables import SourceRow

router = APIRouter(prefix="/sources", tags=["sources"])

NO_TIMETABLE = {"every": None, "full": None}


@router.delete(
    "/{name}",
    status_code=204,
    summary="Disconnect a tracker",
    responses={
        **error_responses(404, 409),
        202: {
            "model": RunOut,
            "description": "The run that withdraws our comments; the source is deleted when that is done.",
        },
    },
)
async def delete_source(
    name: SourceName,
    runtime: RuntimeDep,
    session: SessionDep,
    comments: Annotated[
        Literal["leave", "withdraw"] | None,
        Query(
            description="`leave`: our comments stay; `withdraw`: each becomes one line before the deletion."
        ),
    ] = None,
) -> Response:
    """409 while our comments are on its tickets, unless `comments` says what to do with them."""
    await lock_goals_exclusive(session)
    # The lock on its notices before the source's row, the order in which a run is withdrawn too.
    await lock_notices_of_source(session, (await source_at(session, name)).id)
    session.expire_all()
    row = await source_at(session, name, lock=True)
    has_comments = comments != "leave" and await any_comment_on_tickets(session, row.id)
    if has_comments and comments is None:
        raise Problem(
            409,
            "Our comments are on its tickets; delete with ?comments=withdraw to withdraw them first, "
            "or with ?comments=leave to leave them.",
        )
    if not has_comments:
        await session.delete(row)
        await announce_schedules(session)
        return Response(status_code=204)
    run = await request_withdrawal_of_all(session, row.id, runtime.clock())
    row.disconnecting_at = row.disconnecting_at or runtime.clock()
    row.notices, row.schedule = {**row.notices, "mode": "off"}, NO_TIMETABLE
    row.version += 1
    await announce_schedules(session)
    await runtime.wake(session, "write_tickets", source_id=row.id)
    return JSONResponse(jsonable_encoder(await runs.present_one(session, run, row.name)), 202)


def check_not_disconnecting(row: SourceRow) -> None:
    """409 for a change of a source that is being disconnected."""
    if row.disconnecting_at is not None:
        raise Problem(
            409,
            f"{row.name} is being disconnected since {row.disconnecting_at:%Y-%m-%d %H:%M} UTC: it is "
            "deleted once our comments are withdrawn. To leave them there, DELETE it with ?comments=leave.",
        )
