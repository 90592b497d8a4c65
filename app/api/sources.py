"""Sources: the trackers Northing reads. Creating or changing one calls no tracker unless `check` asks it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body as BodyParameter, Query, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import runs
from app.api.deps import (
    Body,
    IfMatch,
    ReadingDep,
    RuntimeDep,
    SessionDep,
    SourceName,
    merged,
    put_runs,
    put_version,
    response_headers,
    validated,
    versions_in,
)
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RunOut
from app.api.source_models import (
    BODIES,
    EXAMPLES,
    CheckedOut,
    CredentialsOut,
    Health,
    Notices,
    Refused,
    Schedule,
    SourceIn,
    SourceOut,
    SourcePatch,
    draft_of,
    facts_out,
)
from app.diagnostics.check import check_draft, check_source, refuse_wrong
from app.runtime import Runtime
from app.secrets import NAMES as SECRETS, Binding, CannotDecrypt, SecretName, binding_of
from app.source_drafts import SourceDraft, create_from_draft
from connectors.addresses import is_loopback
from mappings.errors import Invalid, check_version
from mappings.lookups import source_at
from mappings.sources import operations
from mappings.sources.health import Health as SourceHealth, HealthFacts
from mappings.sources.health_facts import health_of_sources
from mappings.sources.values import SourceValues, TrackerFacts
from mappings.tables import RunRow, SourceRow, among_ids

router = APIRouter(prefix="/sources", tags=["sources"])

_EVERY = select(SourceRow)
_LATEST = (
    select(RunRow)
    .ext(distinct_on(RunRow.source_id))
    .where(among_ids(RunRow.source_id))
    .order_by(RunRow.source_id, RunRow.id.desc())
)

Check = Annotated[
    bool,
    Query(
        description="Ask the tracker first, for half a minute at most: 422 names each member with which it "
        "does not work, and nothing is stored."
    ),
]


class SyncIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"mode": "full"}]})

    mode: Literal["incremental", "full"] = Field(
        "incremental",
        description="`full` reads every epic and removes those that are gone.",
        examples=["full"],
    )


# --- showing ----------------------------------------------------------------------------------


async def _present(runtime: Runtime, session: AsyncSession, rows: Sequence[SourceRow]) -> list[SourceOut]:
    names = {row.id: row.name for row in rows}
    found = [(run, names[run.source_id]) for run in await session.scalars(_LATEST, {"ids": list(names)})]
    shown = dict(zip((run.source_id for run, _ in found), await runs.present(session, found), strict=True))
    health = await health_of_sources(session, rows, await runtime.now(session))
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
            refused_signatures=Refused.model_validate(facts.refused, from_attributes=True),
        ),
        last_run=last_run,
        disconnecting_at=row.disconnecting_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


# --- operations -----------------------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    summary="Connect a tracker",
    responses={**response_headers(201, "ETag"), **error_responses(409)},
)
async def create_source(
    body: Annotated[SourceIn, BodyParameter(examples=EXAMPLES)],
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    check: Check = False,
) -> SourceOut:
    draft = draft_of(body)
    if check:
        async with runtime.sessions() as looking:
            await operations.check_free_name(looking, draft.name)
        refuse_wrong(await check_draft(runtime, draft))
    row = (await create_from_draft(runtime, session, draft, await runtime.now(session))).source
    put_version(response, row.version)
    return (await _present(runtime, session, [row]))[0]


@router.get("", summary="List sources")
async def list_sources(
    runtime: RuntimeDep, session: ReadingDep, limit: Limit = 50, cursor: CursorParameter = None
) -> Page[SourceOut]:
    step = list_query(cursor, limit)
    rows, following = await page_of(session, _EVERY, SourceRow.id, step)
    return Page(items=await _present(runtime, session, [row for (row,) in rows]), next=following)


@router.get(
    "/{name}", summary="Show a source", responses={**response_headers(200, "ETag"), **error_responses(404)}
)
async def get_source(
    name: SourceName, response: Response, runtime: RuntimeDep, session: SessionDep
) -> SourceOut:
    row = await source_at(session, name)
    put_version(response, row.version)
    return (await _present(runtime, session, [row]))[0]


@router.patch(
    "/{name}",
    summary="Change a source",
    responses={**response_headers(200, "ETag", "Northing-Runs"), **error_responses(404, 409, 412)},
)
async def change_source(
    name: SourceName,
    body: SourcePatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
    check: Check = False,
) -> SourceOut:
    """A wider scope or another selector starts a full run; what a narrower scope leaves out goes at once.

    `live` is 409 for a tracker beyond this machine until a full run of it has succeeded in shadow.
    """
    patch = body.model_dump(exclude_unset=True)
    versions = versions_in(if_match)
    if check:
        versions = frozenset({await _check_patch(runtime, name, patch, versions)})

    def change(row: SourceRow) -> tuple[SourceValues, TrackerFacts]:
        facts = TrackerFacts(row.tracker, is_loopback(row.base_url), runtime.scope_of(row))
        return _patched(runtime, row, patch), facts

    changed = await operations.change_source(
        session, name, change, await runtime.now(session), versions=versions
    )
    put_version(response, changed.source.version)
    put_runs(response, changed.run_ids)
    return (await _present(runtime, session, [changed.source]))[0]


@router.post("/{name}/sync", status_code=202, summary="Sync now", responses=error_responses(404, 409))
async def sync_source(
    name: SourceName, runtime: RuntimeDep, session: SessionDep, body: SyncIn | None = None
) -> RunOut:
    """Returns the run that syncs: a queued or running one if it does as much, else a new one."""
    syncing = await operations.sync_source(session, name, (body or SyncIn()).mode, await runtime.now(session))
    return await runs.present_one(session, *syncing)


@router.post("/{name}/check", summary="Check a source", responses=error_responses(404))
async def check_stored_source(name: SourceName, runtime: RuntimeDep) -> CheckedOut:
    """What the login may do, what it lacks and does not need, and whether webhooks arrive.

    Nothing is written, here or in the tracker. It takes about half a minute at most; what was not reached
    then is `not_shown`."""
    return facts_out(await check_source(runtime, name))


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
    withdrawal = await operations.disconnect_source(session, name, comments, await runtime.now(session))
    if withdrawal is None:
        return Response(status_code=204)
    return JSONResponse(jsonable_encoder(await runs.present_one(session, *withdrawal)), 202)


# --- parts ----------------------------------------------------------------------------------------


async def _check_patch(
    runtime: Runtime, name: str, patch: dict[str, Any], versions: Collection[int] | None
) -> int:
    """Ask the tracker about the source as the patch would make it; the version of the source that was
    patched, which is the only one to be changed. Raises as `operations.change_source` does."""
    async with runtime.sessions() as session:
        row = await source_at(session, name)
    check_version(row.version, versions)
    draft = _patched_draft(runtime, row, patch)
    operations.check_credentials_sent(row.base_url, draft.base_url, sent="credentials" in patch)
    refuse_wrong(await check_draft(runtime, draft))
    return row.version


def _patched_draft(runtime: Runtime, row: SourceRow, patch: dict[str, Any]) -> SourceDraft:
    current = _current(runtime, row, patch)
    if "credentials" in patch:
        del current["credentials"]  # replaced whole, never merged
    return draft_of(validated(BODIES[row.kind], merged(current, patch)), row.named_projects)


def _patched(runtime: Runtime, row: SourceRow, patch: dict[str, Any]) -> SourceValues:
    """The source's values with a merge patch in them."""
    new = _patched_draft(runtime, row, patch)
    # What is encrypted again looks changed, so the stored bytes stay where nothing was sent.
    sealed: dict[SecretName, Any] = {name: getattr(row, name) for name in SECRETS}
    for name in SECRETS:
        if name in patch:
            binding = Binding(name, row.uuid, row.kind, new.base_url)
            sealed[name] = new.sealed(runtime.cipher, name, binding)
    if new.base_url != row.base_url and "webhook_secret" not in patch and row.webhook_secret is not None:
        binding = Binding("webhook_secret", row.uuid, row.kind, new.base_url)
        sealed["webhook_secret"] = runtime.cipher.encrypt(_opened(runtime, row, "webhook_secret"), binding)
    return new.values(sealed["credentials"], sealed["webhook_secret"])


def _opened(runtime: Runtime, row: SourceRow, name: SecretName) -> Any:
    """The stored secret; 422 where it cannot be opened here: it is needed, so the patch must bring it."""
    try:
        return runtime.cipher.decrypt(getattr(row, name), binding_of(row, name))
    except CannotDecrypt as error:
        raise Invalid(
            name, f"is needed for this change, and the stored one cannot be opened; send it. {error.message}"
        ) from None


def _current(runtime: Runtime, row: SourceRow, patch: dict[str, Any]) -> dict[str, Any]:
    """The source as it was sent, for a merge patch, without its webhook secret. Credentials that cannot be
    opened must be in the patch."""
    credentials = None if "credentials" in patch else _opened(runtime, row, "credentials")
    return {
        "name": row.name,
        "kind": row.kind,
        "base_url": row.base_url,
        "credentials": credentials,
        "scope": row.scope,
        "epics": row.epics,
        "schedule": row.schedule,
        "notices": row.notices,
    }
