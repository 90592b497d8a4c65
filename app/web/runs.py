"""A run: what it does, followed while it runs; what it wrote, and how to take that back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter, list_query, page_of
from app.api.problems import Problem
from app.api.runs import RowId, RunOut, WithdrawIn, accept_removals, present_one, withdraw_run
from app.run_words import state_in_words
from app.runtime import Runtime
from app.web.page import done, page
from app.web.router import FormDep, check_may, needs
from mappings.errors import Conflict
from mappings.lookups import run_at
from mappings.notices.withdrawal import count_withdrawable
from mappings.sources.removals import HeldRemovals, held_removals
from mappings.tables import EpicRow, NoticeRow, NoticeWriteRow, RunRow

router = APIRouter()

WRITES_SHOWN = 50
# Writes that wait for longer (a paused project, the edits of the hour) are not followed.
SOON = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at one moment. `known`: about how many epics it will see; None where nobody knows. `ended`:
    reading and evaluating are over. `followed`: it is about to change."""

    run: RunOut
    known: int | None
    words: str
    ended: bool
    followed: bool


async def load_progress(session: AsyncSession, run: RunRow, source: str) -> Progress:
    shown = await present_one(session, run, source)
    ended, known = run.finished_at is not None, None
    if not ended and run.mode == "full":
        stored = select(func.count()).where(EpicRow.source_id == run.source_id, EpicRow.removed_at.is_(None))
        known = (await session.scalar(stored) or 0) - run.created or None
    words = state_in_words(
        run.state,
        finished=ended,
        pending=shown.writes.pending,
        waiting_until=run.waiting_until,
        why="" if shown.error is None else shown.error.message,
    )
    return Progress(shown, known, words, ended, followed=not ended or await _writes_soon(session, run))


async def _writes_soon(session: AsyncSession, run: RunRow) -> bool:
    if run.finished_at is None:
        return True
    due = select(NoticeRow.id).where(NoticeRow.run_id == run.id, NoticeRow.target.is_not(None))
    return await session.scalar(due.where(NoticeRow.due_at <= run.finished_at + SOON).limit(1)) is not None


# --- the page -------------------------------------------------------------------------------------


@router.get("/runs/{id}", dependencies=[needs("GET /runs/{id}")])
async def show_run(
    id: RowId, request: Request, session: SessionDep, cursor: CursorParameter = None
) -> HTMLResponse:
    return await _show(request, session, id, cursor)


async def _show(
    request: Request,
    session: AsyncSession,
    id: int,
    cursor: CursorParameter,
    problem: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    run, source = await run_at(session, id)
    writes, following = await writes_of(session, id, cursor)
    withdrawn_by = select(RunRow.id).where(RunRow.withdraws == id).scalar_subquery()
    accepted_by = select(RunRow.id).where(RunRow.accepts_run_id == id).scalar_subquery()
    by = (await session.execute(select(withdrawn_by.label("withdrawn"), accepted_by.label("accepted")))).one()
    held: list[HeldRemovals] = await held_removals(session, run.source_id, run_id=id)
    values = {
        "progress": await load_progress(session, run, source),
        "withdraws": run.withdraws,
        "accepts": run.accepts_run_id,
        "withdrawn_by": by.withdrawn,
        "accepted_by": by.accepted,
        "writes": writes,
        "next": following,
        "withdrawable": 0 if run.mode == "withdraw" else await count_withdrawable(session, id),
        "held": held[0] if held else None,
        "errors": {} if problem is None else {"": problem},
    }
    return await page(request, session, "run.html", values, status)


async def writes_of(
    session: AsyncSession, id: int, cursor: CursorParameter
) -> tuple[list[tuple[NoticeWriteRow, EpicRow, NoticeRow | None]], str | None]:
    """What the run wrote, the newest first, each with its epic and the notice there now."""
    query: Any = (
        select(NoticeWriteRow, EpicRow, NoticeRow)
        .join(EpicRow, EpicRow.id == NoticeWriteRow.epic_id)
        .outerjoin(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(NoticeWriteRow.run_id == id)
    )
    step = list_query(cursor, WRITES_SHOWN, run=id)
    rows, following = await page_of(session, query, NoticeWriteRow.id, step, newest_first=True)
    return [(write, epic, notice) for write, epic, notice in rows], following


@router.post("/runs/{id}", dependencies=[needs("POST /runs/{id}/withdraw")])
async def act_on_run(
    id: RowId,
    request: Request,
    form: FormDep,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
    cursor: CursorParameter = None,
) -> Response:
    do = form.get("do")
    try:
        if do == "accept":
            check_may(caller, "POST /runs/{id}/accept-removals")
            return await accept_of(request, runtime, session, caller.who, id)
        if do in ("edit", "delete"):
            return await _withdraw(request, runtime, session, caller.who, id, delete=do == "delete")
    except Conflict as error:
        return await _show(request, session, id, cursor, error.detail, 409)
    raise Problem(422, "There is no such button on this page.")


async def _withdraw(
    request: Request, runtime: Runtime, session: AsyncSession, who: str, id: int, *, delete: bool
) -> Response:
    async with runtime.transaction(who) as changing:
        made = await withdraw_run(id, runtime, changing, WithdrawIn(delete=delete))
    how = "deleted, where the tracker allows it" if delete else "reduced to one line"
    text = f"The comments of run {id} are being {how}: run {made.id} does it."
    return await done(request, session, text, to=f"/runs/{made.id}")


async def accept_of(request: Request, runtime: Runtime, session: AsyncSession, who: str, id: int) -> Response:
    """Allow the removals that a run held. Raises `NotFound`, `Conflict`."""
    async with runtime.transaction(who) as changing:
        opened = await accept_removals(id, runtime, changing)
    text = f"Run {opened.id} asks for each of them once more, and removes those that are gone."
    return await done(request, session, text, to=f"/runs/{opened.id}")
