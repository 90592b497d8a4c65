"""From the page behind "Why?" to the page of the same epic, for those who sign in.

The signed page may be read by anybody who reads the ticket, and must not tell them the name of the epic's
source: its link leads here, behind the login, with the signature alone.
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from app.api.deps import RuntimeDep, SessionDep
from app.web.router import needs, redirect
from app.why_signature import signed_epic_id
from mappings.errors import NotFound
from mappings.tables import EpicRow, SourceRow

router = APIRouter()


@router.get("/signed/{signature}", dependencies=[needs("GET /epics/{source}/{key}")])
async def show_signed_epic(
    signature: str, request: Request, runtime: RuntimeDep, session: SessionDep
) -> RedirectResponse:
    """Raises `NotFound` for a signature that is not ours, and for an epic that left every list."""
    found = (
        await session.execute(
            select(SourceRow.name, EpicRow.key)
            .join(EpicRow, EpicRow.source_id == SourceRow.id)
            .where(EpicRow.id == signed_epic_id(runtime.signing.key("why"), signature))
            .where(EpicRow.removed_at.is_(None))
        )
    ).first()
    if found is None:
        raise NotFound("There is no epic at this address; it may have left its tracker.")
    source, key = found
    return redirect(request, f"/epics/{quote(source, safe='')}/{quote(key, safe='')}")
