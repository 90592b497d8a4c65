"""The worker, and beside it the sweep that wakes what nobody was woken for.

Both run wherever jobs are done: in `northing serve`, `northing worker` and `northing sync`, but not in
`northing serve --no-worker`. The timetable is another matter, and runs where `northing serve` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import psycopg
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from app.jobs.queue import run_worker
from app.jobs.sweep import SWEEP_SECONDS, sweep
from app.runtime import Runtime

log = structlog.get_logger()

RESTART_SECONDS = 2
# The worker itself cuts its jobs short after four seconds; one that hangs in a thread is left behind.
STOP_SECONDS = 5


@asynccontextmanager
async def worker_running(runtime: Runtime) -> AsyncIterator[asyncio.Task[None]]:
    """Work until the block ends. The task yielded ends earlier only where the worker broke down."""
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
    """Work, and again after a time without the database: it may be restarted without any of us."""
    while True:
        reason = "it stopped"  # as it does, told or not, when one of its side tasks fails
        try:
            await run_worker(runtime)
        except Exception as error:
            if not _database_was_away(error):
                raise
            reason = "no connection"
        log.warning("worker starts again, the database was away", reason=reason)
        await asyncio.sleep(RESTART_SECONDS)


def _database_was_away(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_database_was_away(one) for one in error.exceptions)
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return True
    return error is not None and _database_was_away(error.__cause__)


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
    # APScheduler cancels it when it stops, and would report that as an error.
    with suppress(asyncio.CancelledError):
        try:
            await sweep(runtime)
        except Exception as error:
            if not _database_was_away(error):
                raise
            log.warning("nothing swept, the database is away", reason=type(error).__name__)
