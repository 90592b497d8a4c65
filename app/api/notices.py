"""Notices: the comment that Northing has, or would have, on each ticket."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from app.api.bodies import unwritten_texts
from app.api.deps import Body, ReadingDep, RuntimeDep, SessionDep
from app.api.epic_models import EpicName, NoticeOut, NoticeState, show_notice
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from mappings.errors import Invalid
from mappings.evaluation.load import load_epics_to_show, load_records_to_show
from mappings.lookups import source_in
from mappings.notices import operations
from mappings.tables import EpicRow, NoticeRow

router = APIRouter(prefix="/notices", tags=["notices"])

_LISTED: Any = (
    select(NoticeRow.id, NoticeRow.epic_id)
    .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
    .where(EpicRow.removed_at.is_(None))
)


@router.get("", summary="List notices")
async def list_notices(
    runtime: RuntimeDep,
    session: ReadingDep,
    state: Annotated[NoticeState | None, Query(description="In this state.")] = None,
    source: Annotated[str | None, Query(description="On epics of this source.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[NoticeOut]:
    step = list_query(cursor, limit, state=state, source=source)
    query = _LISTED
    if step.filters["state"] is not None:
        query = query.where(NoticeRow.state == step.filters["state"])
    if step.filters["source"] is not None:
        source_row = await source_in(session, step.filters["source"], "source")
        query = query.where(EpicRow.source_id == source_row.id)
    rows, following = await page_of(session, query, NoticeRow.id, step)
    epics = await load_epics_to_show(session, [row.epic_id for row in rows])
    found = await load_records_to_show(session, epics)
    texts = await unwritten_texts(runtime, session, found, await runtime.now(session))
    items = [
        show_notice(EpicName(source=epic.source, key=epic.key), one.notice, texts.get(epic.id))
        for epic, one in zip(epics, found, strict=True)
        if one.notice is not None  # else it is gone since
    ]
    return Page(items=items, next=following)


class ApproveIn(Body):
    """Exactly one of `run` and `ids`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"run": 12}, {"ids": [3, 4]}]})

    run: int | None = Field(
        None, ge=1, lt=2**63, description="All that the burst guard or the daily cap holds of this run."
    )
    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] | None = Field(
        None, min_length=1, max_length=500, description="These notices."
    )


class Skipped(BaseModel):
    id: int = Field(description="The notice's id.")
    reason: str = Field(description="Why it stays as it is.")


class ApprovedOut(BaseModel):
    approved: int = Field(
        description="Notices released; each ticket is fetched and evaluated again before it is written."
    )
    skipped: list[Skipped] = Field(description="Notices that were not released, by id.")


@router.post("/approve", status_code=202, summary="Let held notices go")
async def approve_notices(body: ApproveIn, runtime: RuntimeDep, session: SessionDep) -> ApprovedOut:
    """Releases only what the burst guard or the daily cap holds. The tracker's own limits still apply."""
    if (body.run is None) == (body.ids is None):
        raise Invalid("body", "send either run or ids")
    done = await operations.approve_notices(
        session, await runtime.now(session), run_id=body.run, ids=body.ids
    )
    shown = [Skipped(id=id, reason=reason) for id, reason in sorted(done.skipped.items())]
    return ApprovedOut(approved=len(done.approved), skipped=shown)


class WithdrawNoticesIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [3, 4]}]})

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(
        min_length=1, max_length=500, description="These notices."
    )


class WithdrawnOut(BaseModel):
    withdrawn: int = Field(description="Notices taken back: never written, or edited to one line.")
    runs: list[int] = Field(description="The runs of mode `withdraw` that edit comments, one a source.")
    skipped: list[Skipped] = Field(description="Notices that were not taken back, by id.")


@router.post("/withdraw", status_code=202, summary="Take single notices back")
async def withdraw_notices(body: WithdrawNoticesIn, runtime: RuntimeDep, session: SessionDep) -> WithdrawnOut:
    """What is not written yet never is, until its finding is opened again. A comment on a ticket becomes one
    line, whatever the source's mode."""
    done = await operations.withdraw_notices(session, body.ids, await runtime.now(session))
    return WithdrawnOut(
        withdrawn=len(done.unsent) + len(done.queued),
        runs=sorted(done.runs.values()),
        skipped=[Skipped(id=id, reason=reason) for id, reason in sorted(done.skipped.items())],
    )
