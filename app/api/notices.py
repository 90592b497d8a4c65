"""Notices: what Northing says, or would say, on each ticket."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import select

from app.api.deps import SessionDep
from app.api.lookups import source_in
from app.api.paging import CursorParameter, Limit, Page, page_of, walk
from app.api.verdict_models import EpicName, NoticeOut, NoticeState, show_notice
from mappings.tables import Epic, Notice, Source

router = APIRouter(prefix="/notices", tags=["notices"])


@router.get("", summary="List notices")
async def list_notices(
    session: SessionDep,
    state: Annotated[NoticeState | None, Query(description="In this state.")] = None,
    source: Annotated[str | None, Query(description="On epics of this source.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[NoticeOut]:
    step = walk(cursor, limit, state=state, source=source)
    query: Any = (
        select(Notice, Epic.key, Source.name)
        .join(Epic, Epic.id == Notice.epic_id)
        .join(Source, Source.id == Epic.source_id)
    )
    if step.filters["state"] is not None:
        query = query.where(Notice.state == step.filters["state"])
    if step.filters["source"] is not None:
        held = await source_in(session, step.filters["source"], "source")
        query = query.where(Epic.source_id == held.id)
    rows, following = await page_of(session, query, Notice.id, step)
    items = [show_notice(EpicName(source=name, key=key), row) for row, key, name in rows]
    return Page(items=items, next=following)
