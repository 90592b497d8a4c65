"""Deliveries: what webhooks came, what became of each, and processing one once more."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deliveries import (
    DeliveryState,
    get_delivery,
    list_deliveries,
    replay_delivery,
)
from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter
from app.api.problems import Problem
from app.api.runs import RowId
from app.runtime import Runtime
from app.web.page import done, page
from app.web.router import FormDep, needs
from connectors.markup import storable
from mappings.errors import Conflict

router = APIRouter()

SHOWN = 50
BODY_AT_MOST = 100_000  # characters that are shown
INDENTED_UP_TO = 1_000_000  # characters: to read more of them as JSON takes too much memory


@router.get("/deliveries", dependencies=[needs("GET /deliveries")])
async def show_deliveries(
    request: Request,
    session: SessionDep,
    source: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    cursor: CursorParameter = None,
) -> HTMLResponse:
    return await _list(request, session, source, state, cursor)


async def _list(
    request: Request,
    session: AsyncSession,
    source: str,
    state: str,
    cursor: CursorParameter,
    problem: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    if state and state not in get_args(DeliveryState):
        raise Problem(422, f"There is no state {state[:20]!r}; choose one of the list.")
    chosen: DeliveryState | None = state or None  # type: ignore[assignment]  # one of its values
    found = await list_deliveries(session, source or None, chosen, SHOWN, cursor)
    values = {
        "items": found.items,
        "next": found.next,
        "states": get_args(DeliveryState),
        "source": source,
        "state": state,
        "filtered": bool(source or state or (cursor is not None and cursor.sent is not None)),
        "errors": {} if problem is None else {"": problem},
    }
    return await page(request, session, "deliveries.html", values, status)


@router.post("/deliveries", dependencies=[needs("POST /deliveries/{id}/replay")])
async def replay_one(
    request: Request,
    form: FormDep,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
    source: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    cursor: CursorParameter = None,
) -> Response:
    try:
        if (id := form.id("replay")) is None:
            raise Problem(422, "Choose the delivery to process once more.")
        return await _replay(request, runtime, session, caller.who, id)
    except Conflict as error:
        return await _list(request, session, source, state, cursor, error.detail, 409)


@router.get("/deliveries/{id}", dependencies=[needs("GET /deliveries/{id}")])
async def show_delivery(id: RowId, request: Request, session: SessionDep) -> HTMLResponse:
    return await _show(request, session, id)


@router.post("/deliveries/{id}", dependencies=[needs("POST /deliveries/{id}/replay")])
async def replay_this(
    id: RowId, request: Request, runtime: RuntimeDep, session: SessionDep, caller: CallerDep
) -> Response:
    try:
        return await _replay(request, runtime, session, caller.who, id)
    except Conflict as error:
        return await _show(request, session, id, error.detail, 409)


async def _show(
    request: Request, session: AsyncSession, id: int, problem: str | None = None, status: int = 200
) -> HTMLResponse:
    delivery = await get_delivery(session, id)
    text, cut = readable(delivery.body)
    values = {
        "delivery": delivery,
        "text": text,
        "cut": cut,
        "errors": {} if problem is None else {"": problem},
    }
    return await page(request, session, "delivery.html", values, status)


async def _replay(request: Request, runtime: Runtime, session: AsyncSession, who: str, id: int) -> Response:
    async with runtime.transaction(who) as changing:
        shown = await replay_delivery(changing, runtime, id)
    return await done(request, session, f"Delivery {shown.id} of {shown.source} is processed once more.")


def readable(body: str | None) -> tuple[str, int]:
    """A body as it is shown, JSON with its members in lines, and how many characters of it are left out."""
    if body is None:
        return "", 0
    if len(body) <= INDENTED_UP_TO:
        with suppress(ValueError, RecursionError):  # what is no JSON is shown as it came
            body = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    return storable(body[:BODY_AT_MOST]), max(0, len(body) - BODY_AT_MOST)
