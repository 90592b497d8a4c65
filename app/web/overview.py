"""PAGES OF overview"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.api.deps import SessionDep
from app.web.first_run import first_run_page
from app.web.page import page
from app.web.router import needs

router = APIRouter()


@router.get("/", dependencies=[needs("GET /reports/coverage")])
async def show_overview(request: Request, session: SessionDep) -> HTMLResponse:
    welcome = await first_run_page(request, session)
    if welcome is not None:
        return welcome
    return await page(request, session, "overview.html", {})
