"""`northing worker`: a process that does jobs and nothing else, beside `northing serve`.

Jobs and the sweep, without HTTP and timetable. It migrates nothing: the servers do, and it waits for
them, so that the order in which processes are started does not matter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import structlog

from app.database import DatabaseNotReady, engine_for, why_not_ready
from app.listening import checked
from app.runtime import Runtime
from app.server import attend, database, opened
from app.settings import Settings
from app.sweeper import working
from app.vault import renew_secrets

log = structlog.get_logger()

READY_SECONDS = 60
POLL_SECONDS = 0.5

Say = Callable[[str], None]


async def work_apart(settings: Settings, say: Say) -> int:
    """Until cancelled. `say` gets what is for the person at the terminal.

    Raises `DatabaseNotReady` where no server has migrated the database within a minute, `WrongSetting`
    where the keys open none of the stored secrets, `BrokeDown` where the worker ends by itself.
    """
    async with (
        database(settings) as url,
        opened(settings, url, ready=partial(until_ready, say=say)) as runtime,
    ):
        await _check_keys(runtime)
        async with checked(runtime), working(runtime) as worker:
            say(f"Northing does jobs on database {runtime.engine.url.database} as {runtime.worker}")
            await attend([worker], asyncio.Event().wait())
    return 0


async def until_ready(url: str, say: Say, seconds: float = READY_SECONDS) -> None:
    """Wait for a schema of this version; `say` what is missing. Raises `DatabaseNotReady`."""
    engine = engine_for(url)
    deadline, told = time.monotonic() + seconds, None
    try:
        while (reason := await why_not_ready(engine)) is not None:
            if time.monotonic() > deadline:
                raise DatabaseNotReady(
                    f"After {seconds:g} s still {reason}; start `northing serve`, which migrates the "
                    "database, or check NORTHING_DATABASE_URL"
                )
            if reason != told:
                say(f"Waiting for the database: {reason}")
                told = reason
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await engine.dispose()


async def _check_keys(runtime: Runtime) -> None:
    """With a key that opens nothing every run taken up here would fail."""
    async with runtime.sessions.begin() as session:
        for name in await renew_secrets(session, runtime.vault):
            log.error("no key opens the credentials of a source", source=name)
