"""`northing check`: the facts about Northing and its sources, shown on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from app.cli.ready import check_ready
from app.diagnostics.check import check_northing, check_sources
from app.diagnostics.render import show
from app.server.server import database_url, open_runtime
from connectors.diagnostics import WRONG

if TYPE_CHECKING:
    from app.settings import Settings


async def check(settings: Settings, name: str | None, *, as_json: bool) -> int:
    """0 if nothing is missing, else 1. Raises `NotFound` and what `open_runtime` raises."""
    async with database_url(settings) as url, open_runtime(settings, url, ready=check_ready) as runtime:
        async with runtime.sessions() as session:
            await session.execute(text("SET TRANSACTION READ ONLY"))
            now = await runtime.now(session)
            northing = await check_northing(session, runtime, now)
        found = [northing, *await check_sources(runtime, name, now)]
    show(found, as_json=as_json)
    return 1 if any(fact.level in WRONG for one in found for fact in one.facts) else 0
