"""Runs: what each did, is doing, and still has to write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import SessionDep
from app.api.lookups import source_in
from app.api.paging import CursorParameter, Limit, Page, page_of, walk
from app.api.problems import answers, not_found
from mappings import ledger
from mappings.tables import Run, Source

router = APIRouter(prefix="/runs", tags=["runs"])

Mode = Literal["incremental", "full", "judge", "withdraw"]
State = Literal["queued", "running", "waiting", "stalled", "succeeded", "partial", "failed"]
RowId = Annotated[int, Path(ge=1, lt=2**63)]


class Writes(BaseModel):
    """Comments by what became of them; `pending` are still to be written."""

    pending: int = 0
    posted: int = 0
    edited: int = 0
    resolved: int = 0
    held: int = Field(0, description="Notices this run held back: grace, stale data, a dispute.")
    failed: int = 0


class RunError(BaseModel):
    code: str = Field(examples=["unauthorized"])
    message: str
    what_to_do: str


class RunOut(BaseModel):
    """One sync of one source, or one judging of what a change touched."""

    id: int
    source: str
    mode: Mode
    state: State
    seen: int = Field(description="Epics met in the tracker.")
    created: int
    updated: int = Field(description="Epics whose stored facts changed.")
    deleted: int = Field(description="Epics taken out of every list.")
    skipped: int = Field(description="Epics that an older source holds.")
    requests: int = Field(description="Calls made to the tracker.")
    writes: Writes
    waiting_until: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: RunError | None


async def present(session: AsyncSession, rows: Sequence[tuple[Run, str]]) -> list[RunOut]:
    """The runs with their writes counted: two statements for all."""
    writes = await ledger.writes_of(session, [run.id for run, _ in rows])
    return [
        RunOut.model_validate(
            {
                **{
                    name: getattr(run, name)
                    for name in RunOut.model_fields
                    if name not in ("source", "writes")
                },
                "source": source,
                "writes": {**writes[run.id], "held": run.held},
            }
        )
        for run, source in rows
    ]


async def present_one(session: AsyncSession, run: Run, source: str) -> RunOut:
    return (await present(session, [(run, source)]))[0]


@router.get("", summary="List runs, newest first")
async def list_runs(
    session: SessionDep,
    source: str | None = None,
    state: State | None = None,
    mode: Mode | None = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[RunOut]:
    step = walk(cursor, limit, source=source, state=state, mode=mode)
    query: Any = select(Run, Source.name).join(Source, Source.id == Run.source_id)
    if step.filters["source"] is not None:
        held = await source_in(session, step.filters["source"], "source")
        query = query.where(Run.source_id == held.id)
    for name in ("state", "mode"):
        if step.filters[name] is not None:
            query = query.where(getattr(Run, name) == step.filters[name])
    rows, following = await page_of(session, query, Run.id, step, newest_first=True)
    return Page(items=await present(session, [(run, name) for run, name in rows]), next=following)


@router.get("/{id}", summary="Show a run", responses=answers(404))
async def get_run(session: SessionDep, id: RowId) -> RunOut:
    found = (
        await session.execute(
            select(Run, Source.name).join(Source, Source.id == Run.source_id).where(Run.id == id)
        )
    ).one_or_none()
    if found is None:
        raise not_found("run", id)
    return await present_one(session, found[0], found[1])
