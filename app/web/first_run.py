"""The first page of an installation where little is yet: three steps to a shadow report, and the demo's
company to look at, loaded and removed by one click."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, SessionDep
from app.api.problems import Problem
from app.demo_company.loader import DemoCompany, sizes
from app.web.page import done, page
from app.web.router import FormDep, needs, redirect
from mappings.demo_company import CompanyState, Kept
from mappings.errors import Conflict
from mappings.reports.set_up import SetUp

router = APIRouter()
REMOVED = "The demo company is removed; only the audit log still names it."


def demo_company_of(request: Request) -> DemoCompany:
    return cast(DemoCompany, request.app.state.demo_company)


async def first_run_page(request: Request, session: AsyncSession, set_up: SetUp) -> HTMLResponse | None:
    """The page that greets where nothing is here yet, or where the demo's company is being loaded; None where
    the overview has something to show."""
    state = await demo_company_of(request).state(session)
    if not set_up.is_empty and (state is None or state.is_loaded):
        return None
    return await _welcome(request, session, state)


async def _welcome(
    request: Request, session: AsyncSession, state: CompanyState | None, refused: str = "", status: int = 200
) -> HTMLResponse:
    values = {
        "company": state,
        "why_not": await demo_company_of(request).why_not(session),
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
        return await _welcome(request, session, None, error.detail, 409)
    if what == "remove" and removed:
        return await done(request, session, REMOVED, to="/")
    return redirect(request, "/")  # where the page says how far it is
