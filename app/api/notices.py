"""Notices: what Northing says, or would say, on each ticket."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import and_, or_, select

from app import audit
from app.api.bodies import texts_to_come
from app.api.deps import Body, RuntimeDep, SessionDep
from app.api.lookups import source_in
from app.api.paging import CursorParameter, Limit, Page, page_of, walk
from app.api.problems import invalid
from app.api.verdict_models import EpicName, NoticeOut, NoticeState, show_notice
from mappings import cases, guard
from mappings.tables import Epic, Notice, Run, Source, among

router = APIRouter(prefix="/notices", tags=["notices"])


@router.get("", summary="List notices")
async def list_notices(
    runtime: RuntimeDep,
    session: SessionDep,
    state: Annotated[NoticeState | None, Query(description="In this state.")] = None,
    source: Annotated[str | None, Query(description="On epics of this source.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[NoticeOut]:
    step = walk(cursor, limit, state=state, source=source)
    query: Any = (
        select(Notice, Epic, Source.name)
        .join(Epic, Epic.id == Notice.epic_id)
        .join(Source, Source.id == Epic.source_id)
        .where(Epic.gone_at.is_(None))
    )
    if step.filters["state"] is not None:
        query = query.where(Notice.state == step.filters["state"])
    if step.filters["source"] is not None:
        held = await source_in(session, step.filters["source"], "source")
        query = query.where(Epic.source_id == held.id)
    rows, following = await page_of(session, query, Notice.id, step)
    found = await cases.load_cases(session, [epic for _, epic, _ in rows])
    texts = await texts_to_come(runtime, session, found, runtime.clock())
    items = [
        show_notice(EpicName(source=name, key=epic.key), row, texts.get(epic.id)) for row, epic, name in rows
    ]
    return Page(items=items, next=following)


class ApproveIn(Body):
    """Exactly one of both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"run": 12}, {"ids": [3, 4]}]})

    run: int | None = Field(
        None, ge=1, lt=2**63, description="All that the guard or the cap holds of this run."
    )
    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] | None = Field(
        None, min_length=1, max_length=500, description="These notices."
    )

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.run is None) == (self.ids is None):
            raise ValueError("send either run or ids")
        return self


class Skipped(BaseModel):
    id: int = Field(description="The notice's.")
    reason: str = Field(description="Why it was not approved.")


class ApprovedOut(BaseModel):
    approved: int = Field(
        description="Notices let go; each is fetched and judged again before it is written."
    )
    skipped: list[Skipped] = Field(description="Notices that were not, by id.")


@router.post("/approve", status_code=202, summary="Let held notices go")
async def approve_notices(body: ApproveIn, runtime: RuntimeDep, session: SessionDep) -> ApprovedOut:
    """Past the guard and the day's cap, never past the tracker's limits; only what these two hold."""
    if body.run is not None:
        if await session.get(Run, body.run) is None:
            raise invalid("run", f"there is no run {body.run}")
        held = or_(Notice.guard == "held", and_(Notice.state == "held", Notice.reason == "cap"))
        which, asked = and_(Notice.run_id == body.run, held), f"run {body.run}"
    else:
        which, asked = among(Notice.id, body.ids or ()), "by id"
    approved, skipped = await guard.approve(session, which, runtime.clock())
    for missing in sorted({*(body.ids or ())} - {*approved, *skipped}):
        skipped[missing] = "There is no such notice."
    sources = select(Epic.source_id).join(Notice, Notice.epic_id == Epic.id)
    for source_id in await session.scalars(sources.where(among(Notice.id, approved)).distinct()):
        await runtime.wake(session, "write_tickets", source_id=source_id)
    if approved:
        audit.note(session, "approved", "notices", asked, {"ids": approved})
    shown = [Skipped(id=id, reason=reason) for id, reason in sorted(skipped.items())]
    return ApprovedOut(approved=len(approved), skipped=shown)
