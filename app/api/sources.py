"""Sources: the trackers Northing reads. Creating or changing one calls no tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi import Body as BodyParameter
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import runs
from app.api.deps import (
    Body,
    IfMatch,
    RuntimeDep,
    SessionDep,
    SourceName,
    check_version,
    merged,
    put_runs,
    put_version,
    validated,
)
from app.api.disconnecting import check_not_disconnecting
from app.api.going_live import check_notices
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses, invalid, taken
from app.api.runs import RunOut
from app.api.source_changes import FIELDS_WITH_FOLLOW_UP, follow_up, has_timetable, start_run
from app.api.source_models import (
    BODIES,
    EXAMPLES,
    CredentialsOut,
    Health,
    Notices,
    Schedule,
    SourceIn,
    SourceOut,
    SourcePatch,
    plain_secrets,
)
from app.jobs.scheduler import announce_schedules
from app.runtime import Runtime
from app.secrets import CannotDecrypt
from connectors.registry import tracker_id
from mappings.locks import lock_goals_exclusive
from mappings.lookups import find_source, source_at
from mappings.notices import pauses
from mappings.runs.queue import resume_waiting_runs
from mappings.sources.health import Health as SourceHealth
from mappings.sources.health import HealthFacts
from mappings.sources.health_facts import health_of_sources
from mappings.tables import RunRow, SourceRow
from mappings.webhooks.queue import resume_deliveries

router = APIRouter(prefix="/sources", tags=["sources"])


class SyncIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"mode": "full"}]})

    mode: Literal["incremental", "full"] = Field(
        "incremental",
        description="`full` reads every epic and removes those that are gone.",
        examples=["full"],
    )


# --- showing ----------------------------------------------------------------------------------


async def _present(runtime: Runtime, session: AsyncSession, rows: Sequence[SourceRow]) -> list[SourceOut]:
    latest = (
        select(RunRow)
        .ext(distinct_on(RunRow.source_id))
        .where(RunRow.source_id.in_([row.id for row in rows]))
        .order_by(RunRow.source_id, RunRow.id.desc())
    )
    names = {row.id: row.name for row in rows}
    found = [(run, names[run.source_id]) for run in await session.scalars(latest)]
    shown = dict(zip((run.source_id for run, _ in found), await runs.present(session, found), strict=True))
    health = await health_of_sources(session, rows, runtime.clock())
    return [_show(runtime, row, shown.get(row.id), *health[row.id]) for row in rows]


def _show(
    runtime: Runtime, row: SourceRow, last_run: RunOut | None, facts: HealthFacts, health: SourceHealth
) -> SourceOut:
    return SourceOut(
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        credentials=CredentialsOut(type=row.credentials_type),
        scope=row.scope,
        epics=row.epics,
        webhook_url=f"{runtime.settings.links_base}/webhooks/{row.name}",
        webhook_secret_set=row.webhook_secret is not None,
        schedule=Schedule.model_validate(row.schedule),
        notices=Notices.model_validate(row.notices),
        health=Health(
            state=health.state,
            message=health.message,
            what_to_do=health.what_to_do,
            checked_at=row.health_checked_at,
            unknown_deliveries=facts.unknown_deliveries,
        ),
        last_run=last_run,
        disconnecting_at=row.disconnecting_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


# --- operations -----------------------------------------------------------------------------------


@router.post("", status_code=201, summary="Connect a tracker", responses=error_responses(409))
async def create_source(
    body: Annotated[SourceIn, BodyParameter(examples=EXAMPLES)],
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
) -> SourceOut:
    if await find_source(session, body.name) is not None:
        raise taken("name", body.name)
    await check_notices(session, body, None)
    now = runtime.clock()
    row = SourceRow(name=body.name, kind=body.kind, created_at=now, updated_at=now)
    _fill(runtime, row, body)
    _encrypt_credentials(runtime, row, body)
    _encrypt_secret(runtime, row, body)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    if has_timetable(row.schedule):
        await start_run(runtime, session, row, "full")
    await announce_schedules(session)
    put_version(response, row.version)
    return (await _present(runtime, session, [row]))[0]


@router.get("", summary="List sources")
async def list_sources(
    runtime: RuntimeDep, session: SessionDep, limit: Limit = 50, cursor: CursorParameter = None
) -> Page[SourceOut]:
    step = list_query(cursor, limit)
    rows, following = await page_of(session, select(SourceRow), SourceRow.id, step)
    return Page(items=await _present(runtime, session, [row for (row,) in rows]), next=following)


@router.get("/{name}", summary="Show a source", responses=error_responses(404))
async def get_source(
    name: SourceName, response: Response, runtime: RuntimeDep, session: SessionDep
) -> SourceOut:
    row = await source_at(session, name)
    put_version(response, row.version)
    return (await _present(runtime, session, [row]))[0]


@router.patch("/{name}", summary="Change a source", responses=error_responses(404, 409, 412))
async def change_source(
    name: SourceName,
    body: SourcePatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> SourceOut:
    """A wider scope or another selector starts a full run; what a narrower scope leaves out goes at once.

    `live` is 409 for a tracker beyond this machine until a full run of it has succeeded in shadow.
    """
    await lock_goals_exclusive(session)
    row = await source_at(session, name, lock=True)
    check_version(row.version, if_match)
    check_not_disconnecting(row)
    patch = body.model_dump(exclude_unset=True)
    current = _current(runtime, row)
    if "credentials" in patch:
        del current["credentials"]  # replaced whole, never merged
    new = validated(BODIES[row.kind], merged(current, patch))
    if new.base_url != row.base_url and "credentials" not in patch:
        raise invalid(
            "credentials", "must be sent with a new base_url, so that no token goes to another host"
        )
    if new.name.lower() != row.name.lower() and await find_source(session, new.name) is not None:
        raise taken("name", new.name)
    await check_notices(session, new, row)
    before = {name: getattr(row, name) for name in FIELDS_WITH_FOLLOW_UP}
    row.name = new.name
    _fill(runtime, row, new)
    # A secret that is encrypted again looks changed, and the audit log would say so.
    if "credentials" in patch:
        _encrypt_credentials(runtime, row, new)
        await resume_deliveries(session, row.id)
        await resume_waiting_runs(session, row.id, runtime.clock())
        await runtime.wake(session, "process_deliveries", source_id=row.id)
    if "webhook_secret" in patch or current["webhook_secret"] is None:  # there is none, or no key decrypts it
        _encrypt_secret(runtime, row, new)
    row.version, row.updated_at = row.version + 1, runtime.clock()
    opened = await follow_up(runtime, session, row, before)
    await pauses.resume_writes(session, row.id, row.updated_at)
    await announce_schedules(session)
    put_version(response, row.version)
    put_runs(response, opened)
    return (await _present(runtime, session, [row]))[0]


@router.post("/{name}/sync", status_code=202, summary="Sync now", responses=error_responses(404, 409))
async def sync_source(
    name: SourceName, runtime: RuntimeDep, session: SessionDep, body: SyncIn | None = None
) -> RunOut:
    """Returns the run that syncs: a queued or running one if it does as much, else a new one."""
    row = await source_at(session, name)
    check_not_disconnecting(row)
    run = await start_run(runtime, session, row, (body or SyncIn()).mode)
    return await runs.present_one(session, run, row.name)


# --- parts ----------------------------------------------------------------------------------------


def _fill(runtime: Runtime, row: SourceRow, body: Any) -> None:
    row.base_url = body.base_url
    row.tracker = tracker_id(body.kind, body.base_url)
    row.scope = body.scope.model_dump(mode="json")
    row.epics = body.epics.model_dump(mode="json")
    row.schedule = body.schedule.model_dump(mode="json")
    row.notices = body.notices.model_dump(mode="json")


def _encrypt_credentials(runtime: Runtime, row: SourceRow, body: Any) -> None:
    row.credentials = runtime.cipher.encrypt(plain_secrets(body.credentials))
    row.credentials_type = body.credentials.type


def _encrypt_secret(runtime: Runtime, row: SourceRow, body: Any) -> None:
    secret = body.webhook_secret
    row.webhook_secret = None if secret is None else runtime.cipher.encrypt(secret.get_secret_value())


def _current(runtime: Runtime, row: SourceRow) -> dict[str, Any]:
    """The source as it was sent, for a merge patch. Credentials that no key decrypts must be in the patch."""
    try:
        credentials = runtime.cipher.decrypt(row.credentials)
        secret = None if row.webhook_secret is None else runtime.cipher.decrypt(row.webhook_secret)
    except CannotDecrypt:
        credentials, secret = None, None
    return {
        "name": row.name,
        "kind": row.kind,
        "base_url": row.base_url,
        "credentials": credentials,
        "scope": row.scope,
        "epics": row.epics,
        "webhook_secret": secret,
        "schedule": row.schedule,
        "notices": row.notices,
    }
