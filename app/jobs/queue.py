"""Jobs: wake-ups for workers, queued in the database. What is to be done is recorded in rows, not in jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import procrastinate
from procrastinate import JobContext, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

from app import pipeline
from app.database import libpq_url
from app.webhooks.processor import process_deliveries

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.runtime import Runtime

WORKERS = 4  # of each queue but one
# Runs that evaluate what a change affects may take long, and none is behind them that a person waits for.
WORKERS_OF = {
    "webhooks": WORKERS,
    "evaluating": WORKERS,
    "affected": 2,
    "writing": WORKERS,
    "reading": WORKERS,
}
QUEUES = tuple(WORKERS_OF)
CONNECTION_SECONDS = 5.0  # seconds to wait for a connection; then the database counts as unreachable
# How late a job may start without a notification: behind a pooler, or after procrastinate has lost its LISTEN
# connection, which it gives up for good if it cannot connect again at once.
POLL_SECONDS = 1.0
STOP_SECONDS = 4  # how long jobs may take to end by themselves at a stop


def queue_for(
    url: str, pool_factory: Callable[..., AsyncConnectionPool[Any]] = AsyncConnectionPool
) -> procrastinate.App:
    """The queue on the database at `url`, which must allow LISTEN. No job retries or locks by itself."""
    connector = PsycopgConnector(
        pool_factory=pool_factory,
        conninfo=libpq_url(url),
        min_size=1,
        max_size=WORKERS + len(QUEUES),
        timeout=CONNECTION_SECONDS,
        kwargs={"connect_timeout": 10, "prepare_threshold": None, "application_name": "northing jobs"},
    )
    queue = procrastinate.App(connector=connector)
    queue.task(name="read_source", pass_context=True, queue="reading")(_execute_run)
    queue.task(name="execute_run", pass_context=True, queue="evaluating")(_execute_run)
    queue.task(name="evaluate_affected", pass_context=True, queue="affected")(_execute_run)
    queue.task(name="write_tickets", pass_context=True, queue="writing")(_write_tickets)
    queue.task(name="process_deliveries", pass_context=True, queue="webhooks")(_process_deliveries)
    return queue


def _runtime(context: JobContext) -> Runtime:
    runtime: Runtime = context.additional_context["runtime"]
    return runtime


async def _execute_run(context: JobContext, run_id: int) -> None:
    await pipeline.execute_run(_runtime(context), run_id)


async def _write_tickets(context: JobContext, source_id: int) -> None:
    await pipeline.write_tickets(_runtime(context), source_id)


async def _process_deliveries(context: JobContext, source_id: int) -> None:
    await process_deliveries(_runtime(context), source_id)


async def run_worker(runtime: Runtime) -> None:
    """Run jobs until cancelled. Ended jobs are deleted, failed ones too: the rows say what happened.

    Each kind of work has workers of its own, so that slow reading does not delay the other kinds.
    """
    async with asyncio.TaskGroup() as workers:
        for queue, concurrency in WORKERS_OF.items():
            workers.create_task(
                runtime.queue.run_worker_async(
                    name=f"{runtime.worker} {queue}",
                    queues=[queue],
                    concurrency=concurrency,
                    fetch_job_polling_interval=POLL_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=STOP_SECONDS,
                    additional_context={"runtime": runtime},
                )
            )


async def run_worker_until_idle(runtime: Runtime) -> None:
    """Run the queued jobs and the jobs that these queue, then return."""
    await runtime.queue.run_worker_async(
        concurrency=1,
        wait=False,
        delete_jobs="always",
        install_signal_handlers=False,
        listen_notify=False,
        additional_context={"runtime": runtime},
    )
