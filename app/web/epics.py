"""The epic's page."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.api.deps import RuntimeDep, SessionDep
from app.api.epics import whole_epic
from app.web.page import page
from app.web.router import needs
from mappings.lookups import source_at

router = APIRouter()


@router.get("/epics/{source}/{key:path}", dependencies=[needs("GET /epics/{source}/{key}")])
async def show_epic(
    source: str, key: str, request: Request, runtime: RuntimeDep, session: SessionDep
) -> HTMLResponse:
    epic = await whole_epic(runtime, session, await source_at(session, source), key)
    return await page(request, session, "epic.html", {"epic": epic})
