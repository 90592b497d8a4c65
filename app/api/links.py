"""Manual links. A change is evaluated before the answer is sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.deps import Body, CallerDep, Key, ReadingDep, RuntimeDep, put_runs, response_headers
from app.api.epic_models import EpicName, LinkOut, load_origins, show_links
from app.api.goal_models import Number
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RowId, register_row_id
from app.runtime import Runtime
from mappings.errors import Invalid
from mappings.evaluation.known_goals import known_goals
from mappings.links.operations import EPIC_KEY_AT_MOST, LINK_WEIGHT, link_epic, unlink_epic
from mappings.lookups import find_epic, key_result_in, source_in
from mappings.plain_rows import LINK_COLUMNS, PlainLink
from mappings.tables import EpicRow, LinkRow, SourceRow, among_ids
from mappings.values import NO_NUL_PATTERN

router = APIRouter(prefix="/links", tags=["links"])


register_row_id("link_id", "bulk")


class EpicRefIn(Body):
    source: Key = Field(description="The source's name.", examples=["acme-jira"])
    key: str = Field(
        max_length=EPIC_KEY_AT_MOST,
        pattern=NO_NUL_PATTERN,
        description="The epic's key, or a former one.",
        examples=["SHOP-12"],
    )


class LinkIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"epic": {"source": "acme-jira", "key": "SHOP-12"}, "key_result": "KR-12"}]
        }
    )

    epic: EpicRefIn = Field(description="The epic.")
    key_result: Key = Field(description="The key of the key result.", examples=["KR-12"])
    weight: Number = Field(1, **LINK_WEIGHT, description="Relative to the epic's other links.")
    primary: bool = Field(False, strict=True, description="Make this the epic's primary link.")


async def _show(runtime: Runtime, session: AsyncSession, rows: Any) -> list[LinkOut]:
    """The links of `rows`. All links of their epics are read, because these decide which one is primary."""
    ids = [row.id for row in rows]
    all_of_epics = await session.execute(_OF_EPICS, {"ids": list({row.epic_id for row in rows})})
    by_epic: dict[int, tuple[EpicName, list[Any]]] = {}
    for *members, key, source in all_of_epics:
        link = PlainLink._make(members)
        if link.epic_id not in by_epic:
            by_epic[link.epic_id] = EpicName(source=source, key=key), []
        by_epic[link.epic_id][1].append(link)
    goals, now = (await known_goals(session)).goals.key_results, await runtime.now(session)
    origins = await load_origins(session, [link for _, links in by_epic.values() for link in links])
    shown = {
        out.id: out
        for name, links in by_epic.values()
        for out in show_links(name, links, goals, origins, now)
    }
    return [shown[id] for id in ids if id in shown]  # else it is gone since


_OF_EPICS = (
    select(*LINK_COLUMNS, EpicRow.key, SourceRow.name)
    .select_from(LinkRow)
    .join(EpicRow, EpicRow.id == LinkRow.epic_id)
    .join(SourceRow, SourceRow.id == EpicRow.source_id)
    .where(among_ids(LinkRow.epic_id))
    .order_by(LinkRow.id)
)


@router.post(
    "",
    status_code=201,
    summary="Link an epic to a key result",
    responses={
        200: {"model": LinkOut, "description": "The link existed already, and stays as it is."},
        **response_headers(201, "Northing-Runs"),
        **error_responses(),
    },
)
async def create_link(body: LinkIn, response: Response, runtime: RuntimeDep, caller: CallerDep) -> LinkOut:
    """The epic is evaluated before the answer; what is below it, in the runs that `Northing-Runs` names."""
    async with runtime.transaction(caller.who) as session:
        row, changed = await link_epic(
            session,
            body.epic.source,
            body.epic.key,
            body.key_result,
            "linked by hand through the API",
            await runtime.now(session),
            weight=body.weight,
            primary=body.primary,
        )
        if changed is None:
            response.status_code = 200
            return (await _show(runtime, session, [row]))[0]
    put_runs(response, changed.below)
    await pipeline.evaluate_now(runtime, changed.run_id, [changed.epic.id])
    async with runtime.sessions.begin() as session:
        return (await _show(runtime, session, [row]))[0]


_LISTED: Any = (
    select(LinkRow.id, LinkRow.epic_id)
    .join(EpicRow, EpicRow.id == LinkRow.epic_id)
    .where(EpicRow.removed_at.is_(None))
)


@router.get("", summary="List links")
async def list_links(
    runtime: RuntimeDep,
    session: ReadingDep,
    epic_source: Annotated[str | None, Query(description="Of epics of this source.")] = None,
    epic_key: Annotated[str | None, Query(description="Needs `epic_source`.")] = None,
    key_result: Annotated[str | None, Query(description="To this key result.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[LinkOut]:
    step = list_query(cursor, limit, epic_source=epic_source, epic_key=epic_key, key_result=key_result)
    query = _LISTED
    if step.filters["epic_source"] is not None or step.filters["epic_key"] is not None:
        if step.filters["epic_source"] is None:
            raise Invalid("epic_source", "is needed with epic_key")
        source = await source_in(session, step.filters["epic_source"], "epic_source")
        query = query.where(EpicRow.source_id == source.id)
        if step.filters["epic_key"] is not None:
            epic = await find_epic(session, source, step.filters["epic_key"])
            query = query.where(EpicRow.id == (epic.id if epic is not None else 0))
    if step.filters["key_result"] is not None:
        goal = await key_result_in(session, step.filters["key_result"], "key_result")
        query = query.where(LinkRow.key_result_id == goal.id)
    rows, following = await page_of(session, query, LinkRow.id, step)
    return Page(items=await _show(runtime, session, rows), next=following)


@router.delete(
    "/{id:link_id}",
    status_code=204,
    summary="Take a link by hand back",
    responses={**response_headers(204, "Northing-Runs"), **error_responses(404, 409)},
)
async def delete_link(id: RowId, runtime: RuntimeDep, caller: CallerDep) -> Response:
    """409 for a link that a rule, the ticket or a parent makes; the answer says where to change it. What is
    below the epic is evaluated in the runs that `Northing-Runs` names."""
    async with runtime.transaction(caller.who) as session:
        changed = await unlink_epic(session, id, await runtime.now(session))
    await pipeline.evaluate_now(runtime, changed.run_id, [changed.epic.id])
    response = Response(status_code=204)
    put_runs(response, changed.below)
    return response
