"""Jobs: wake-up calls on the database's own queue. What is to be done stands in our rows, not in them."""

from __future__ import annotations

import asyncio

import procrastinate
from procrastinate import JobContext, PsycopgConnector
from procrastinate.jobs import Status
from sqlalchemy import text

from app import pipeline
from app.database import libpq_url
from app.inbox import take_deliveries
from app.runtime import Runtime
from app.timetable import announce
from mappings import claims, inbox, ledger, moments, tidy, undo

QUEUES = ("webhooks", "judging", "writing", "reading")
WORKERS = 4  # of each queue
PATIENCE = 5.0  # seconds for a connection; then the database counts as away
WORKER_DEAD_SECONDS = 60.0
# How late a job may be that nobody was told of: behind a pooler, or once procrastinate has lost its LISTEN
# connection for good, which it does where it cannot make it anew at once.
POLL_SECONDS = 1.0
SWEEP_SECONDS = 15
STOP_SECONDS = 4  # for jobs to end by themselves


def queue_on(url: str) -> procrastinate.App:
    """The queue on the database at `url`, which must allow LISTEN. No job retries or locks by itself."""
    connector = PsycopgConnector(
        conninfo=libpq_url(url),
        min_size=1,
        max_size=WORKERS + len(QUEUES),
        timeout=PATIENCE,
        kwargs={"connect_timeout": 10, "prepare_threshold": None, "application_name": "northing jobs"},
    )
    queue = procrastinate.App(connector=connector)
    queue.task(name="read", pass_context=True, queue="reading")(_carry_out)
    queue.task(name="carry_out", pass_context=True, queue="judging")(_carry_out)
    queue.task(name="write_tickets", pass_context=True, queue="writing")(_write_tickets)
    queue.task(name="take_deliveries", pass_context=True, queue="webhooks")(_take_deliveries)
    return queue


def _runtime(context: JobContext) -> Runtime:
    runtime: Runtime = context.additional_context["runtime"]
    return runtime


async def _carry_out(context: JobContext, run_id: int) -> None:
    await pipeline.carry_out(_runtime(context), run_id)


async def _write_tickets(context: JobContext, source_id: int) -> None:
    await pipeline.write_tickets(_runtime(context), source_id)


async def _take_deliveries(context: JobContext, source_id: int) -> None:
    await take_deliveries(_runtime(context), source_id)


async def work(runtime: Runtime) -> None:
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


# While nobody works the door goes on calling. Of calls for the same work the newest is enough: who hears that
# one sees all that the others were to tell of. One for later stands for none that is due.
_REPEATED_JOBS = text("""
    DELETE FROM procrastinate_jobs WHERE id = ANY(ARRAY(
        SELECT id FROM procrastinate_jobs repeated
        WHERE status = 'todo' AND coalesce(scheduled_at <= now(), true) AND EXISTS (
            SELECT FROM (SELECT max(id) AS newest, task_name, args FROM procrastinate_jobs
                WHERE status = 'todo' AND coalesce(scheduled_at <= now(), true)
                GROUP BY task_name, args) AS calls
            WHERE calls.task_name = repeated.task_name AND calls.args = repeated.args
                AND calls.newest > repeated.id)
        LIMIT 10000 FOR UPDATE SKIP LOCKED))
""")


async def sweep(runtime: Runtime) -> None:
    """Wake what is due and nobody's, so that a lost wake-up costs seconds and a dead worker one lease."""
    now = runtime.clock()
    async with runtime.sessions.begin() as session:
        await ledger.mark_stalled(session, now)
        await moments.open_runs(session, now)
        for run_id, mode in await ledger.due_runs(session, now):
            await runtime.wake_run(session, run_id, mode)
        for source_id in await claims.sources_with_due_notices(session, now):
            await runtime.wake(session, "write_tickets", source_id=source_id)
        for source_id in await inbox.sources_with_due(session, now):
            await runtime.wake(session, "take_deliveries", source_id=source_id)
    async with runtime.sessions.begin() as session:
        if await undo.let_go(session):
            await announce(session)
    async with runtime.sessions.begin() as session:
        await inbox.clean_up(session, now)
    async with runtime.sessions.begin() as session:
        await tidy.clean_up(session, now)
        await session.execute(_REPEATED_JOBS)
    await _bury_dead_jobs(runtime)


async def _bury_dead_jobs(runtime: Runtime) -> None:
    """Jobs whose worker died stay `doing` for ever; what they were to do stands in our rows."""
    jobs = runtime.queue.job_manager
    for job in await jobs.get_stalled_jobs(seconds_since_heartbeat=WORKER_DEAD_SECONDS):
        await jobs.finish_job(job, Status.FAILED, delete_job=True)
