"""Reviews: which are due, open and closed; and a new one, opened in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter, Cursors
from app.api.reviews import list_reviews, open_now
from app.runtime import Runtime
from app.web.goal_forms import Filled
from app.web.page import done, page
from app.web.review_forms import names_by_side, refused, typed_day, typed_people
from app.web.router import FormDep, needs
from mappings.errors import Conflict, Invalid
from mappings.governance.reviews import last_review
from mappings.tables import CycleRow, ReviewRow

router = APIRouter()

REVIEWS_A_PAGE = 50
CYCLES_AT_MOST = 200
DAYS_END = date.max  # before it is every day

OpenParameter = Annotated[str | None, Query(max_length=64)]


@router.get("/reviews", dependencies=[needs("GET /reviews")])
async def show_reviews(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    open: OpenParameter = None,
    cursor: CursorParameter = None,
) -> HTMLResponse:
    """The list; with `open` the form of a new review of that cycle."""
    form = None
    if open is not None:
        today = (await runtime.now(session)).date()
        form = Filled({"cycle": open, "held_on": today.isoformat()})
    return await _show(request, runtime, session, cursor, form)


@router.post("/reviews", dependencies=[needs("POST /reviews")])
async def post_review(
    request: Request,
    runtime: RuntimeDep,
    caller: CallerDep,
    form: FormDep,
    cursor: CursorParameter = None,
) -> Response:
    """Opens it, in a transaction of its own that sees one moment, and leads to it."""
    people, lists = typed_people(form)
    values = {"cycle": form.get("cycle"), "held_on": form.get("held_on"), **lists}
    try:
        held_on = typed_day(form, "held_on")
        assert held_on is not None
        async with runtime.transaction(caller.who) as session:
            row = await open_now(runtime, session, form.get("cycle"), held_on, people)
            made, epics = row.id, row.epics
    except (Conflict, Invalid) as error:
        filled = refused(error, values, people)
        async with runtime.transaction() as session:
            return await _show(request, runtime, session, cursor, filled)
    async with runtime.transaction() as session:
        words = f"Opened: {epics:,} open {'epic' if epics == 1 else 'epics'} and the goals are frozen."
        return await done(request, session, words, to=f"/reviews/{made}")


async def _show(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    cursor: Cursors | None,
    form: Filled | None,
) -> HTMLResponse:
    listed = await list_reviews(runtime, session, limit=REVIEWS_A_PAGE, cursor=cursor)
    copied: ReviewRow | None = None
    if form is not None and "business" not in form.values:
        copied = await _latest(session)
        people = names_by_side([] if copied is None else copied.attendees)
        form = Filled({**form.values, **people}, form.errors, status=form.status)
    cycles = await _cycles(session)
    reviewed = {one.cycle.lower() for one in listed.items if one.state == "open"}
    values: dict[str, Any] = {
        "open": [one for one in listed.items if one.state == "open"],
        "closed": [one for one in listed.items if one.state == "closed"],
        "next": listed.next,
        "due": listed.due,
        "cycles": cycles,
        "free": [cycle for cycle in cycles if cycle.key.lower() not in reviewed],
        "opening": form is not None,
        "copied": None if copied is None or not copied.attendees else copied.held_on,
        "form": form or Filled(),
    }
    return await page(request, session, "reviews.html", values, 200 if form is None else form.status)


async def _latest(session: AsyncSession) -> ReviewRow | None:
    """The review held last, of whatever cycle, also one planned ahead."""
    return await last_review(session, DAYS_END)


async def _cycles(session: AsyncSession) -> Sequence[CycleRow]:
    """The latest first."""
    query = select(CycleRow).order_by(CycleRow.starts.desc(), CycleRow.id.desc()).limit(CYCLES_AT_MOST)
    return list(await session.scalars(query))
