"""The first page of an installation where little is yet: three steps to a shadow report, and the demo's
company to look at, loaded and removed by one click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, SessionDep
from app.api.problems import Problem
from app.demo_company.loader import DemoCompany, sizes
from app.web.page import done, page
from app.web.router import FormDep, needs, redirect
from mappings.demo_company import Kept
from mappings.errors import Conflict
from mappings.tables import KeyResultRow, RunRow, SourceRow

router = APIRouter()
REMOVED = "The demo company is removed, and nothing of it is left here."


@dataclass(frozen=True, slots=True)
class Done:
    """Which of the three steps are done: a tracker is connected, there are key results, and a first full
    sync has ended, so that there is a report to read."""

    tracker: bool
    goals: bool
    report: bool

    @property
    def next(self) -> str:
        """The first step that is not done."""
        return "tracker" if not self.tracker else "goals" if not self.goals else "report"


def demo_company_of(request: Request) -> DemoCompany:
    return cast(DemoCompany, request.app.state.demo_company)


async def first_run_page(request: Request, session: AsyncSession) -> HTMLResponse | None:
    """The page that greets where a step is still to be done or the demo's company is being loaded; None where
    the overview has something to show."""
    ended = exists().where(RunRow.mode == "full", RunRow.finished_at.is_not(None))
    there = select(exists().select_from(SourceRow), exists().select_from(KeyResultRow), ended)
    steps = Done(*(await session.execute(there)).one())
    company = demo_company_of(request)
    state = await company.state(session)
    if (state is None or state.is_loaded) and all((steps.tracker, steps.goals, steps.report)):
        return None
    return await _welcome(request, session, steps, refused="")


async def _welcome(
    request: Request, session: AsyncSession, steps: Done, refused: str, status: int = 200
) -> HTMLResponse:
    company = demo_company_of(request)
    values = {
        "steps": steps,
        "company": await company.state(session),
        "why_not": await company.why_not(session),
        "sizes": sizes(),
        "refused": refused,
    }
    return await page(request, session, "first_run.html", values, status)


@router.post("/", dependencies=[needs("POST /sources")])
async def change_demo_company(
    request: Request, session: SessionDep, caller: CallerDep, form: FormDep
) -> Response:
    """Load the demo's company, remove it, or both, where its trackers ended with the server that ran them."""
    company, what = demo_company_of(request), form.get("do")
    if what not in ("load", "remove", "load-anew"):
        raise Problem(422, "This page does not know that button. Reload it, and press the button again.")
    try:
        removed = what == "load" or await company.remove(caller.who)
        if removed and what != "remove":
            await company.load(caller.who)
    except Kept as error:
        return await page(request, session, "demo_kept.html", {"kept": error.things}, 409)
    except Conflict as error:
        if await company.state(session) is not None:
            return redirect(request, "/")  # a second click, whose first one is under way
        return await _welcome(request, session, Done(False, False, False), error.detail, 409)
    if what == "remove" and removed:
        return await done(request, session, REMOVED, to="/")
    return redirect(request, "/")  # where the page says how far it is
