"""Jobs: wake-up calls on the database's own queue. What is to be done stands in our rows, not in them."""

from __future__ import annotations

import asyncio

import procrastinate
from procrastinate import JobContext, PsycopgConnector

from app import pipeline
from app.database import libpq_url
from app.runtime import Runtime
from app.webhooks.processor import process_deliveries

QUEUES = ("webhooks", "judging", "writing", "reading")
WORKERS = 4  # of each queue
CONNECTION_SECONDS = 5.0  # seconds for a connection; then the database counts as away
# How late a job may be that nobody was told of: behind a pooler, or once procrastinate has lost its LISTEN
# connection for good, which it does where it cannot make it anew at once.
POLL_SECONDS = 1.0
STOP_SECONDS = 4  # for jobs to end by themselves


def queue_for(url: str) -> procrastinate.App:
    """The queue on the database at `url`, which must allow LISTEN. No job retries or locks by itself."""
    connector = PsycopgConnector(
        conninfo=libpq_url(url),
        min_size=1,
        max_size=WORKERS + len(QUEUES),
        timeout=CONNECTION_SECONDS,
        kwargs={"connect_timeout": 10, "prepare_threshold": None, "application_name": "northing jobs"},
    )
    queue = procrastinate.App(connector=connector)
    queue.task(name="read", pass_context=True, queue="reading")(_execute_run)
    queue.task(name="carry_out", pass_context=True, queue="judging")(_execute_run)
    queue.task(name="write_tickets", pass_context=True, queue="writing")(_write_tickets)
    queue.task(name="take_deliveries", pass_context=True, queue="webhooks")(_process_deliveries)
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
    """Work until cancelled. Finished jobs are deleted; a failed one too, for its row tells the story.

    Each kind of work has workers of its own, so that slow trackers hold up nobody but themselves.
    """
    async with asyncio.TaskGroup() as workers:
        for queue in QUEUES:
            workers.create_task(
                runtime.queue.run_worker_async(
                    name=f"{runtime.worker} {queue}",
                    queues=[queue],
                    concurrency=WORKERS,
                    fetch_job_polling_interval=POLL_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=STOP_SECONDS,
                    additional_context={"runtime": runtime},
                )
            )


async def run_worker_until_idle(runtime: Runtime) -> None:
    """Do what is queued, and what that queues, then return."""
    await runtime.queue.run_worker_async(
        concurrency=1,
        wait=False,
        delete_jobs="always",
        install_signal_handlers=False,
        listen_notify=False,
        additional_context={"runtime": runtime},
    )
