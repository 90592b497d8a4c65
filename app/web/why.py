"""The page behind "Why?": opened by its address alone, which is signed for one epic. It changes nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select, text

from app.api.deps import RuntimeDep
from app.auth.rate_limit import Visits
from app.runtime import Runtime
from app.web.templating import render
from app.why_signature import signed_epic_id
from connectors.markup import storable
from mappings.tables import EpicRow, SourceRow
from mappings.why.choices import LONGEST_SEARCH
from mappings.why.page import WhyPage, why_page

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_ONLY = text("SET TRANSACTION READ ONLY")

router = APIRouter(include_in_schema=False)


@router.api_route("/why/{signature:path}", methods=["GET", "HEAD"])
async def show_why(signature: str, request: Request, runtime: RuntimeDep) -> HTMLResponse:
    """404 alike for a signature that is not ours, for an epic that left every list, and where such pages are
    switched off."""
    visits: Visits = request.app.state.visits
    host = request.client.host if request.client is not None else None
    wait = visits.visit(host)
    if wait:
        headers = {"Retry-After": str(wait)}
        return render(request, "busy.html", {"seconds": wait}, 429, headers)
    page = await _page(runtime, signature, request.query_params)
    if page is None:
        return render(request, "gone.html", {}, 404)
    return render(request, "why.html", {"page": page, "signature": signature})


async def _page(runtime: Runtime, signature: str, asked: Mapping[str, str]) -> WhyPage | None:
    epic_id = signed_epic_id(runtime.signing.key("why"), signature)
    if epic_id is None or runtime.settings.why_links != "signed":
        return None
    number = asked.get("page", "")
    words = storable(asked.get("q", "")[:LONGEST_SEARCH])
    async with runtime.sessions.begin() as session:
        await session.execute(_READ_ONLY)
        row = await session.scalar(select(EpicRow).where(EpicRow.id == epic_id, EpicRow.removed_at.is_(None)))
        if row is None:
            return None
        source = await session.get_one(SourceRow, row.source_id)
        context = await runtime.evaluation_context(session, source)
        now = await runtime.now(session)
        page = int(number) if re.fullmatch(r"[0-9]{1,4}", number, re.ASCII) else 1
        return await why_page(session, context, row, now, words=words, page=page)
