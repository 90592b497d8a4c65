"""The sweep: finds due work that no job was deferred for, and deletes what is no longer needed."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from procrastinate.jobs import Status
from sqlalchemy import text

from connectors.clock import utc_now
from mappings import retention
from mappings.audit import NORTHING
from mappings.clock import QUEUE_CLOCK
from mappings.evaluation.goals_and_sources import evaluate_goals_and_sources
from mappings.evaluation.timed import open_evaluate_runs
from mappings.notices import claims
from mappings.reports.allocation_months import freeze_month
from mappings.reports.coverage_days import freeze_day
from mappings.rules.reports import stamp_matches
from mappings.runs.causes import retry_causes
from mappings.runs.queue import due_runs, mark_stalled
from mappings.sources.machine_clocks import record_machine_clock
from mappings.sources.operations import delete_disconnected_sources
from mappings.webhooks.queue import delete_old_deliveries, sources_with_due_deliveries

if TYPE_CHECKING:
    from app.runtime import Runtime

WORKER_DEAD_SECONDS = 60.0
SWEEP_SECONDS = 15


# While no worker runs, the webhook intake goes on deferring jobs. Of due jobs for the same work the newest is
# enough: the worker that runs it sees the rows of all of them. A job for later replaces none that is due.
_REPEATED_JOBS = text("""
    DELETE FROM procrastinate_jobs WHERE id = ANY(ARRAY(
        SELECT id FROM procrastinate_jobs repeated
        WHERE status = 'todo' AND coalesce(scheduled_at <= :now, true) AND EXISTS (
            SELECT FROM (SELECT max(id) AS newest, task_name, args FROM procrastinate_jobs
                WHERE status = 'todo' AND coalesce(scheduled_at <= :now, true)
                GROUP BY task_name, args) AS calls
            WHERE calls.task_name = repeated.task_name AND calls.args = repeated.args
                AND calls.newest > repeated.id)
        LIMIT 10000 FOR UPDATE SKIP LOCKED))
""")


async def sweep(runtime: Runtime) -> None:
    """Defer jobs for due work that has no claim: a lost wake-up costs seconds, a dead worker one lease."""
    async with runtime.sessions.begin() as session:
        now = await runtime.now(session)
        await mark_stalled(session, now)
        await open_evaluate_runs(session, now)
        await retry_causes(session, now)
        for run_id, job in await due_runs(session, now):
            await runtime.wake(session, job, run_id=run_id)
        for source_id in await claims.sources_with_due_notices(session, now):
            await runtime.wake(session, "write_tickets", source_id=source_id)
        for source_id in await sources_with_due_deliveries(session, now):
            await runtime.wake(session, "process_deliveries", source_id=source_id)
    async with runtime.transaction(NORTHING) as session:
        await delete_disconnected_sources(session, now)
    async with runtime.sessions.begin() as session:
        await delete_old_deliveries(session, now)
    async with runtime.sessions.begin() as session:
        await retention.delete_expired(session, now)
        queue_now = await QUEUE_CLOCK.read(session)
        await session.execute(_REPEATED_JOBS, {"now": queue_now})
        await record_machine_clock(session, platform.node(), utc_now(), queue_now)
    async with runtime.sessions.begin() as session:
        await stamp_matches(session, now)
    await _delete_dead_jobs(runtime)
    async with runtime.sessions.begin() as session:
        await freeze_day(session, now)
    async with runtime.sessions.begin() as session:
        await freeze_month(session, now)
    # The last, since a check that raises ends the sweep.
    async with runtime.sessions.begin() as session:
        await evaluate_goals_and_sources(session, now, runtime.checks)


async def _delete_dead_jobs(runtime: Runtime) -> None:
    """Delete jobs whose worker died: they would stay `doing` for ever, and their work is recorded in rows."""
    jobs = runtime.queue.job_manager
    for job in await jobs.get_stalled_jobs(seconds_since_heartbeat=WORKER_DEAD_SECONDS):
        await jobs.finish_job(job, Status.FAILED, delete_job=True)
