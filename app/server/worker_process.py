"""`northing worker`: a process that only runs jobs, beside `northing serve`.

It runs the jobs and the sweep, without HTTP and timetable. It does not migrate the database: it waits until
a server has done so, so that the processes may start in any order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from app.database import DatabaseNotReady, engine_for, why_not_ready
from app.jobs.listen import notifications_checked
from app.jobs.worker import worker_running
from app.server.bootstrap import after_start, open_secrets
from app.server.server import database_url, open_runtime, run_until_exit

if TYPE_CHECKING:
    from app.settings import Settings

READY_SECONDS = 60
POLL_SECONDS = 0.5

Print = Callable[[str], None]


async def run_worker_process(settings: Settings, print_line: Print) -> int:
    """Run until cancelled. `print_line` prints for the person at the terminal.

    Raises `DatabaseNotReady` if no server has migrated the database within a minute, `WrongSetting` if any
    stored secret cannot be opened, `TaskEnded` if the worker ends by itself.
    """
    async with (
        database_url(settings) as url,
        open_runtime(settings, url, ready=partial(wait_until_ready, print_line=print_line)) as runtime,
    ):
        await open_secrets(runtime)
        async with notifications_checked(runtime), worker_running(runtime) as worker:
            print_line(f"Northing does jobs on database {runtime.engine.url.database} as {runtime.worker}")
            with after_start():
                await run_until_exit([worker], asyncio.Event().wait())
    return 0


async def wait_until_ready(url: str, print_line: Print, seconds: float = READY_SECONDS) -> None:
    """Wait for a schema of this version; print what is missing. Raises `DatabaseNotReady` after `seconds`."""
    engine = engine_for(url)
    deadline, printed = time.monotonic() + seconds, None
    try:
        while (reason := await why_not_ready(engine)) is not None:
            if time.monotonic() > deadline:
                raise DatabaseNotReady(
                    f"After {seconds:g} s still {reason}; start `northing serve`, which migrates the "
                    "database, or check NORTHING_DATABASE_URL"
                )
            if reason != printed:
                print_line(f"Waiting for the database: {reason}")
                printed = reason
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await engine.dispose()
