"""Jobs: wake-up calls on the database's own queue. What is to be done stands in our rows, not in them."""

from __future__ import annotations

import procrastinate
from procrastinate import JobContext, PsycopgConnector

from app import pipeline
from app.database import libpq_url
from app.runtime import Runtime
from mappings import ledger

WORKERS = 4
SWEEP_SECONDS = 15


def queue_on(url: str) -> procrastinate.App:
    """The queue on the database at `url`, which must allow LISTEN. No job retries or locks by itself."""
    connector = PsycopgConnector(
        conninfo=libpq_url(url),
        min_size=1,
        max_size=WORKERS + 2,
        kwargs={"connect_timeout": 10, "prepare_threshold": None, "application_name": "northing jobs"},
    )
    queue = procrastinate.App(connector=connector)
    queue.task(name="carry_out", pass_context=True)(_carry_out)
    queue.task(name="write_tickets", pass_context=True)(_write_tickets)
    return queue


def _runtime(context: JobContext) -> Runtime:
    runtime: Runtime = context.additional_context["runtime"]
    return runtime


async def _carry_out(context: JobContext, run_id: int) -> None:
    await pipeline.carry_out(_runtime(context), run_id)


async def _write_tickets(context: JobContext, source_id: int) -> None:
    await pipeline.write_tickets(_runtime(context), source_id)


async def work(runtime: Runtime) -> None:
    """Work until cancelled. Finished jobs are deleted; a failed one too, for its row tells the story."""
    await runtime.queue.run_worker_async(
        name=runtime.worker,
        concurrency=WORKERS,
        delete_jobs="always",
        install_signal_handlers=False,
        shutdown_graceful_timeout=8,
        additional_context={"runtime": runtime},
    )


async def work_until_idle(runtime: Runtime) -> None:
    """Do what is queued, and what that queues, then return."""
    await runtime.queue.run_worker_async(
        concurrency=1,
        wait=False,
        delete_jobs="always",
        install_signal_handlers=False,
        listen_notify=False,
        additional_context={"runtime": runtime},
    )


async def sweep(runtime: Runtime) -> None:
    """Wake what is due and nobody's, so that a lost wake-up costs seconds and a dead worker one lease."""
    now = runtime.clock()
    async with runtime.sessions.begin() as session:
        await ledger.mark_stalled(session, now)
        for run_id in await ledger.due_runs(session, now):
            await runtime.wake(session, "carry_out", run_id=run_id)
        for source_id in await ledger.sources_with_due_notices(session, now):
            await runtime.wake(session, "write_tickets", source_id=source_id)
