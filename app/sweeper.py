"""The worker, and beside it the sweep that wakes what nobody was woken for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from app.jobs import SWEEP_SECONDS, sweep, work
from app.runtime import Runtime

# The worker itself cuts its jobs short after eight seconds; one that hangs in a thread is left behind.
STOP_SECONDS = 8.5


@asynccontextmanager
async def working(runtime: Runtime) -> AsyncIterator[asyncio.Task[None]]:
    """Work until the block ends. The task yielded ends earlier only where the worker broke down."""
    worker = asyncio.create_task(work(runtime), name="worker")
    timetable = _timetable(runtime)
    timetable.start()
    try:
        yield worker
    finally:
        timetable.shutdown(wait=False)
        worker.cancel()
        await asyncio.wait({worker}, timeout=STOP_SECONDS)


def _timetable(runtime: Runtime) -> AsyncIOScheduler:
    timetable = AsyncIOScheduler(timezone=UTC)
    timetable.add_job(
        _sweep,
        "interval",
        (runtime,),
        seconds=SWEEP_SECONDS,
        next_run_time=datetime.now(UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    return timetable


async def _sweep(runtime: Runtime) -> None:
    # APScheduler cancels it when it stops, and would report that as an error.
    with suppress(asyncio.CancelledError):
        await sweep(runtime)
