"""A sign of life while work goes on: many short calls may together outlast a lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

log = structlog.get_logger()


@asynccontextmanager
async def beating(beat: Callable[[], Awaitable[None]], every: timedelta) -> AsyncIterator[None]:
    """Call `beat` every so often while the block works."""

    async def go_on() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await beat()
            except Exception as error:  # a beat that is missed must not be the last
                log.warning("no sign of life given", reason=type(error).__name__)

    heart = asyncio.create_task(go_on(), name="sign of life")
    try:
        yield
    finally:
        heart.cancel()
        await asyncio.gather(heart, return_exceptions=True)
