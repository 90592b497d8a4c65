"""A page: what stands around its content, and the line that says what was done last."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.sessions import WebSession
from app.base_path import own_path
from app.web.router import here, may, redirect
from app.web.templating import render
from mappings.reports.coverage import reading_of, readings_beside
from mappings.reports.waiting import held_by_guard
from mappings.tables import DemoCompanyRow, NoticeRow, WebSessionRow

OLD = timedelta(hours=25)  # data that is older is stale; a source may be read once a day
HELD_SHOWN = 999
RUNS_LINKED = 10


@dataclass(frozen=True, slots=True)
class StaleSource:
    """`read_at`: the moment of its data, None where it was never read. `failed`: its last reading failed."""

    name: str
    read_at: datetime | None
    failed: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """`held`: comments that the guard holds until a person lets them go, one more than `HELD_SHOWN` at most.
    `read_at`: the moment of the oldest data, None before anything was read. `stale`: the sources whose last
    reading failed, is old, or never was. `has_company`: the demo's company is loaded, or was to be."""

    held: int
    sources: Sequence[str]
    read_at: datetime | None
    stale: Sequence[StaleSource]
    has_company: bool

    @property
    def held_words(self) -> str:
        return f"{HELD_SHOWN}+" if self.held > HELD_SHOWN else str(self.held)


def _frame() -> Select[Any]:
    some = held_by_guard(NoticeRow.id).limit(HELD_SHOWN + 1).subquery()
    held = select(func.count()).select_from(some).scalar_subquery()
    company = exists(DemoCompanyRow.id).label("company")
    return readings_beside(select(held.label("held"), company).subquery("around"))


_FRAME = _frame()  # made once: to make it takes longer than to execute it


async def load_frame(session: AsyncSession, now: datetime) -> Frame:
    """One statement, within a bound, for every page has it."""
    rows = (await session.execute(_FRAME)).all()
    readings = [reading_of(row) for row in rows if row.id is not None]
    moments = [reading.read_at for reading in readings if reading.read_at is not None]
    return Frame(
        held=rows[0].held,
        sources=[reading.name for reading in readings],
        read_at=min(moments, default=None),
        stale=[
            StaleSource(reading.name, reading.read_at, reading.stale)
            for reading in readings
            if reading.stale or reading.read_at is None or now - reading.read_at > OLD
        ],
        has_company=rows[0].company,
    )


async def page(
    request: Request,
    session: AsyncSession,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
) -> HTMLResponse:
    """A page for the person who is signed in. Its templates get `me` (the session), `may("POST /links")`,
    `frame`, `here` (the page's own address, for forms), `demo` (the demo's company, None where it is not
    loaded), and `said`: what was done last on this page."""
    web_session: WebSession = request.state.web_session
    last = web_session.last_action
    frame = await load_frame(session, web_session.at)
    company = await request.app.state.demo_company.state(session) if frame.has_company else None
    around = {
        "me": web_session,
        "may": partial(may, web_session.caller),
        "frame": frame,
        "demo": company,
        "here": request.scope.get("root_path", "") + here(request),
        "path": own_path(request.scope),
        "said": last if last is not None and last["path"] == own_path(request.scope) else None,
    }
    return render(request, template, {**around, **values}, status)


async def done(
    request: Request,
    session: AsyncSession,
    text: str,
    *,
    to: str | None = None,
    undo: Sequence[Mapping[str, Any]] = (),
    runs: Sequence[int] = (),
) -> RedirectResponse:
    """After a change: to the page `to`, else back to this one, where `text` stands until the next change.
    `undo`: the steps that take the change back (`app.web.undo`), where it can be. `runs`: the ids of the runs
    that evaluate what it affects, the first of them linked after the text."""
    to = to or here(request)
    last = {
        "id": secrets.token_hex(8),
        "path": unquote(to.partition("?")[0]),
        "text": text,
        "to": to,
        "undo": [dict(step) for step in undo],
        "runs": list(runs)[:RUNS_LINKED],
    }
    web_session: WebSession = request.state.web_session
    await session.execute(
        update(WebSessionRow).where(WebSessionRow.id == web_session.id).values(last_action=last)
    )
    return redirect(request, to)
