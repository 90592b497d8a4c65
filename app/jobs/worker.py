"""The worker, and beside it the sweep, which finds due work that has no job.

Both run wherever jobs run: in `northing serve`, `northing worker`, `northing sync` and `northing replay`, but
not in `northing serve --no-worker`. The timetable is separate: every `northing serve` keeps it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from app.database import database_trouble
from app.jobs.queue import run_worker
from app.jobs.sweep import SWEEP_SECONDS, sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.runtime import Runtime

log = structlog.get_logger()

RESTART_SECONDS = 2
# The worker itself cancels its jobs after four seconds; a job that hangs in a thread is not waited for.
STOP_SECONDS = 5


@asynccontextmanager
async def worker_running(runtime: Runtime) -> AsyncIterator[asyncio.Task[None]]:
    """Run jobs and the sweep until the block ends. The yielded task ends earlier only if the worker fails."""
    worker = asyncio.create_task(_run_worker(runtime), name="worker")
    sweeper = asyncio.create_task(_keep_sweeping(runtime), name="sweep")
    try:
        yield worker
    finally:
        sweeper.cancel()
        worker.cancel()
        await asyncio.wait({sweeper, worker}, timeout=STOP_SECONDS)


async def _run_worker(runtime: Runtime) -> None:
    """Run the worker, and start it again after an outage: the database may restart while Northing runs."""
    while True:
        reason = "it stopped"  # procrastinate returns without an error when one of its side tasks fails
        try:
            await run_worker(runtime)
        except Exception as error:
            if not database_trouble(error):
                raise
            reason = "no connection"
        log.warning("worker starts again, the database was unreachable", reason=reason)
        await asyncio.sleep(RESTART_SECONDS)


async def _keep_sweeping(runtime: Runtime) -> None:
    """Sweep at once, and then every `SWEEP_SECONDS`, counted by no clock that may be set."""
    while True:
        try:
            await sweep(runtime)
        except Exception as error:  # whatever the error, the next sweep may do better
            if database_trouble(error):
                log.warning("no sweep, the database is unreachable", reason=type(error).__name__)
            else:
                log.exception("sweep failed")
        await asyncio.sleep(SWEEP_SECONDS)
