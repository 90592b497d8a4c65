"""A sign of life while work goes on: many short calls may together outlast a lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

log = structlog.get_logger()


@asynccontextmanager
async def heartbeat(renew: Callable[[], Awaitable[None]], every: timedelta) -> AsyncIterator[None]:
    """Call `beat` every so often while the block works."""

    async def keep_renewing() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await renew()
            except Exception as error:  # a beat that is missed must not be the last
                log.warning("no sign of life given", reason=type(error).__name__)

    renewing = asyncio.create_task(keep_renewing(), name="sign of life")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
