"""The worker, and beside it the sweep, which finds due work that has no job.

Both run wherever jobs run: in `northing serve`, `northing worker`, `northing sync` and `northing replay`, but
not in `northing serve --no-worker`. The timetable is separate: every `northing serve` keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from app.database import database_trouble
from app.jobs.queue import run_worker
from app.jobs.sweep import SWEEP_SECONDS, sweep

if TYPE_CHECKING:
    from app.runtime import Runtime

log = structlog.get_logger()

RESTART_SECONDS = 2
# The worker itself cancels its jobs after four seconds; a job that hangs in a thread is not waited for.
STOP_SECONDS = 5


@asynccontextmanager
async def worker_running(runtime: Runtime) -> AsyncIterator[asyncio.Task[None]]:
    """Run jobs and the sweep until the block ends. The yielded task ends earlier only if the worker fails."""
    worker = asyncio.create_task(_run_worker(runtime), name="worker")
    sweeper = _sweep_scheduler(runtime)
    sweeper.start()
    try:
        yield worker
    finally:
        sweeper.shutdown(wait=False)
        worker.cancel()
        await asyncio.wait({worker}, timeout=STOP_SECONDS)


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


def _sweep_scheduler(runtime: Runtime) -> AsyncIOScheduler:
    sweeper = AsyncIOScheduler(timezone=UTC)
    sweeper.add_job(
        _sweep,
        "interval",
        (runtime,),
        seconds=SWEEP_SECONDS,
        next_run_time=datetime.now(UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    return sweeper


async def _sweep(runtime: Runtime) -> None:
    # APScheduler cancels this job when it stops, and would report that as an error.
    with suppress(asyncio.CancelledError):
        try:
            await sweep(runtime)
        except Exception as error:
            if not database_trouble(error):
                raise
            log.warning("no sweep, the database is unreachable", reason=type(error).__name__)
