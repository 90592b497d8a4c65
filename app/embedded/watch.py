"""Keeps the embedded server up: if it is killed, perhaps for lack of memory, nothing else starts it again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from app.embedded.account import EmbeddedDatabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.embedded.server import Server

log = structlog.get_logger()

WATCH_SECONDS = 2


@asynccontextmanager
async def restarting_if_down(server: Server) -> AsyncIterator[None]:
    """Start it again whenever it is down, until the block ends; the log says so, or why it cannot start."""
    watching = asyncio.create_task(_watch(server), name="watch on the embedded database")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _watch(server: Server) -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            if await asyncio.to_thread(server.revive):
                log.warning("the embedded database was down and is started again")
        except EmbeddedDatabaseError as error:
            log.error("the embedded database is down", reason=str(error))
