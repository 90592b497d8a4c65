"""Keeps what a worker has claimed while it works, and releases it when the worker stops."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from mappings.leases import RENEW_EVERY, ClaimLost
from mappings.notices.claims import release_claims_of_worker
from mappings.runs.queue import release_runs, renew_lease
from mappings.webhooks.queue import release_deliveries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from mappings.tables import RunRow

log = structlog.get_logger()


async def release_claims(runtime: Runtime, session: AsyncSession) -> None:
    """Release all that this worker has claimed, because it stops: no other worker waits for its leases."""
    await release_claims_of_worker(session, runtime.worker, await runtime.now(session))
    await release_runs(session, runtime.worker)
    await release_deliveries(session, runtime.worker)


@asynccontextmanager
async def heartbeat(renew: Callable[[], Awaitable[None]], every: timedelta) -> AsyncIterator[None]:
    """Call `renew` once in every interval `every` while the block works."""

    async def keep_renewing() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                # A call that hangs, on a connection that is dead, must not keep the next ones from trying.
                async with asyncio.timeout(RENEW_EVERY.total_seconds()):
                    await renew()
            except Exception as error:  # one failed call must not end the heartbeat
                log.warning("heartbeat failed", reason=type(error).__name__)

    renewing = asyncio.create_task(keep_renewing(), name="heartbeat")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


def keep_run_claimed(runtime: Runtime, run: RunRow) -> AbstractAsyncContextManager[None]:
    """Renew the claim of this worker on a run while the block works."""

    async def renew(session: AsyncSession, now: datetime) -> None:
        await renew_lease(session, run, runtime.worker, now)

    return keep_claim(runtime, renew)


def keep_claim(
    runtime: Runtime, renew: Callable[[AsyncSession, datetime], Awaitable[None]]
) -> AbstractAsyncContextManager[None]:
    """Renew a claim while the block works, each time in a transaction of its own; `renew` gets the time.

    It runs on the event loop: a process that hangs loses its claims, as one that is dead does.
    """

    async def renew_once() -> None:
        # A worker that has lost the claim finds out at the next step of its own work, and stops there.
        with suppress(ClaimLost):
            async with runtime.sessions.begin() as session:
                await renew(session, await runtime.now(session))

    return heartbeat(renew_once, runtime.renew_every)
