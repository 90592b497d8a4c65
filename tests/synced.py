"""What the tests of syncing look at: rows, and how often they were written."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from starlette.types import ASGIApp, Receive, Scope, Send

from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.sandbox.tracker import LoggedRequest, Tracker
from mappings.tables import EpicRow, NoticeWriteRow, RunRow
from tests.conftest import Clock
from tests.world import World

OFF = {"mode": "off"}
COUNTS = ("seen", "created", "updated", "deleted", "skipped")


class Pause:
    """A fault that holds an answer, as it was when the request came, until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        await app(scope, receive, keep)
        self.reached.set()
        await self.go_on.wait()
        for message in messages:
            await send(message)


def counts(run: Any) -> tuple[int, ...]:
    """Seen, created, updated, deleted, skipped."""
    return tuple(run[name] for name in COUNTS)


async def keys(world: World, source: str = "jira") -> list[str]:
    """The epics in the source's list."""
    page = await world.send("GET", f"/epics?source={source}&limit=500")
    return [item["key"] for item in page["items"]]


async def health(world: World, source: str = "jira") -> Any:
    return (await world.send("GET", f"/sources/{source}"))["health"]


async def versions(runtime: Runtime) -> dict[str, str]:
    """Each epic's key and the transaction that wrote its row last."""
    async with runtime.sessions() as session:
        return {key: xmin for key, xmin in await session.execute(text("SELECT key, xmin::text FROM epics"))}


async def gone(runtime: Runtime) -> dict[str, str]:
    """The epics in no list, each with the reason."""
    async with runtime.sessions() as session:
        rows = await session.execute(
            text("SELECT key, removal_reason FROM epics WHERE removed_at IS NOT NULL")
        )
        return {key: reason for key, reason in rows}


async def all_of(runtime: Runtime, query: str) -> list[tuple[Any, ...]]:
    async with runtime.sessions() as session:
        return [tuple(row) for row in await session.execute(text(query))]


async def later(world: World, runtime: Runtime, clock: Clock, **span: float) -> None:
    """Let time pass, and the sweep wake what is due by then."""
    clock.advance(**span)
    await sweep(runtime)
    await world.drain()


def searches(tracker: Tracker) -> list[LoggedRequest]:
    return tracker.log.matching("POST */search/jql")


def listings(tracker: Tracker) -> list[LoggedRequest]:
    return tracker.log.matching("GET */issues")


async def spent(runtime: Runtime, edits: int, now: datetime) -> None:
    """So many edits a moment ago, by the run before."""
    async with runtime.sessions.begin() as session:
        run, epic = (
            await session.scalar(select(func.min(RunRow.id))),
            await session.scalar(select(func.min(EpicRow.id))),
        )
        session.add_all(NoticeWriteRow(run_id=run, epic_id=epic, kind="edited", at=now) for _ in range(edits))
