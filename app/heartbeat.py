"""Repeats a call while a block works: many short requests together may take longer than a lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

log = structlog.get_logger()


@asynccontextmanager
async def heartbeat(renew: Callable[[], Awaitable[None]], every: timedelta) -> AsyncIterator[None]:
    """Call `renew` once in every interval `every` while the block works."""

    async def keep_renewing() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await renew()
            except Exception as error:  # one failed call must not end the heartbeat
                log.warning("heartbeat failed", reason=type(error).__name__)

    renewing = asyncio.create_task(keep_renewing(), name="heartbeat")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
