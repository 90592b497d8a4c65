"""The pipeline: read the trackers, evaluate the epics, write the comments on the tickets.

A run is one unit of work on one source. `execute_run` reads what changed in the tracker, evaluates the
epics that are due, and releases the writes. `write_tickets` then writes them, one ticket after the other;
several of these jobs may write the tickets of one source.
All work to be done is recorded in rows (`runs`, `epics`, `notices`); a job only wakes a worker. When a
worker dies, another worker continues from the rows, so every step may be repeated.

No transaction is open while a tracker is called.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from app.database import database_trouble
from app.evaluation import evaluate_affected, evaluate_due, evaluate_these
from app.heartbeat import keep_run_claimed
from app.logs import deliveries_of_run
from app.run_result import RunResult, count_run, error_of, record_health, record_waiting
from app.secrets import CannotDecrypt
from app.sync.lost_commands import execute_lost_commands
from app.sync.reader import mark_unread_incomplete, read_source
from app.unopened import left_to_another, run_left_to_another
from app.writing.side_by_side import TURN, gave_turn
from app.writing.writer import open_writer
from connectors.base import ConnectorError, Unavailable
from mappings import backoff
from mappings.leases import MOST_ATTEMPTS, ClaimLost
from mappings.locks import without_synchronous_commit
from mappings.notices.release import release_writes
from mappings.runs.causes import end_causes
from mappings.runs.queue import (
    claim_run,
    close_run,
    give_run_back,
    postpone_run,
    renew_lease,
    run_waiting_for,
)
from mappings.runs.reevaluation import epics_of_runs
from mappings.tables import READING_MODES, RunRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.runtime import Runtime

log = structlog.get_logger()

# A run that has waited so long and has read no epic makes the health of its source `failing`.
NOTHING_READ_FOR = timedelta(minutes=15)


async def execute_run(runtime: Runtime, run_id: int) -> None:
    """Execute a run that is due, or continue it after an interruption.

    Do nothing where the run has ended, is not due, or is claimed by another worker.
    """
    runtime = _with_claim_name(runtime)
    async with runtime.sessions.begin() as session:
        # A claim whose commit is lost was never taken, and what its owner did is not accepted.
        await without_synchronous_commit(session)
        now = await runtime.now(session)
        if await run_left_to_another(session, runtime, run_id, now):
            return
        run = await claim_run(session, run_id, runtime.worker, now)
        source = await session.get(SourceRow, run.source_id) if run is not None else None
        following = {} if run is None else await deliveries_of_run(session, run_id)
    if run is None or source is None:
        return
    with structlog.contextvars.bound_contextvars(run=run.id, source=source.name, mode=run.mode, **following):
        try:
            await _execute_claimed(runtime, run, source)
        except ClaimLost as lost:
            log.warning("claim lost", reason=str(lost))


async def _execute_claimed(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    try:
        async with keep_run_claimed(runtime, run):
            if run.attempts > MOST_ATTEMPTS:
                await _give_up(runtime, run, source)
            else:
                await _execute(runtime, run, source)
    except ClaimLost:
        raise
    except Exception as error:
        if database_trouble(error):
            # The sweep wakes a worker for this run, at the latest once its lease has ended.
            with suppress(Exception):  # while the database does not answer, the lease stays
                async with runtime.sessions.begin() as session:
                    await give_run_back(session, run, runtime.worker)
            raise
        # Wrong data or a bug of ours would raise again in every worker that continues the run, so it ends.
        log.exception("run failed unexpectedly")
        await _close(runtime, run, source, RunResult.broken(error), evaluated=False)


async def _give_up(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    if run.mode in READING_MODES:
        await mark_unread_incomplete(runtime, run, source)
    await _close(runtime, run, source, RunResult.given_up(MOST_ATTEMPTS), evaluated=False)


def _with_claim_name(runtime: Runtime) -> Runtime:
    """The runtime with a worker name for this claim alone."""
    return replace(runtime, worker=runtime.claim_name())


async def _execute(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    outcome = RunResult()
    if run.mode in READING_MODES:
        try:
            outcome = await read_source(runtime, run, source)
        except Unavailable as error:
            await _postpone(runtime, run, source, error)
            return
        except (ConnectorError, CannotDecrypt) as error:
            outcome = RunResult.failed(error)
    if run.evaluates == "affected":
        await evaluate_affected(runtime, run, source)
    else:
        await evaluate_due(runtime, run, source)
    # After the evaluation: a command may be about a finding of a ticket that is new.
    if run.mode in READING_MODES and outcome.state != "failed":
        whole = outcome.state == "succeeded"
        if await execute_lost_commands(runtime, run, source, whole=whole):
            await evaluate_due(runtime, run, source)
    await _close(runtime, run, source, outcome)


async def _close(
    runtime: Runtime, run: RunRow, source: SourceRow, outcome: RunResult, *, evaluated: bool = True
) -> None:
    """End a run. If all its epics are evaluated, release its writes: none of them is written before this."""
    if evaluated:
        # Its own transaction: it locks epics, the next one locks the source. All others lock a source first.
        async with runtime.sessions.begin() as session:
            await without_synchronous_commit(session)
            now = await runtime.now(session)
            held = await release_writes(session, run, now)
            await renew_lease(session, run, runtime.worker, now, held=held)
            # A writer may begin while the run is ended: it needs the released notices alone.
            await runtime.wake(session, "write_tickets", source_id=source.id)
    async with runtime.sessions.begin() as session:
        now = await runtime.now(session)
        await close_run(session, run, runtime.worker, outcome.state, now, outcome.error)
        if evaluated and run.evaluates == "affected":
            await end_causes(session, run.id)
        if run.mode in READING_MODES or outcome.state == "failed":
            await record_health(session, source.id, outcome, now, whole=run.mode == "full")
        waiting = await run_waiting_for(session, run)
        if waiting is not None:
            run_id, job = waiting
            await runtime.wake(session, job, run_id=run_id)
        if not evaluated:
            await runtime.wake(session, "write_tickets", source_id=source.id)
        await count_run(session, run, outcome, now)
    log.info(
        "run ended",
        run=run.id,
        source=source.name,
        mode=run.mode,
        state=outcome.state,
        error=outcome.error,
    )


async def _postpone(runtime: Runtime, run: RunRow, source: SourceRow, error: Unavailable) -> None:
    async with runtime.sessions.begin() as session:
        now = await runtime.now(session)
        pause = error.retry_delay(backoff.run_failing_for(run, now))
        until = now + pause
        error_shown = error_of(error.code, error.message, error.what_to_do)
        await postpone_run(session, run, runtime.worker, until, error_shown)
        started_at = run.started_at or now
        nothing_read = run.seen == 0 and now - started_at > NOTHING_READ_FOR
        await record_waiting(session, source.id, error, until, now, nothing_read=nothing_read)
        await runtime.wake_after_pause(session, "read_source", pause, run_id=run.id)
    log.warning("run waits", until=until.isoformat(), reason=error.message)


async def evaluate_now(runtime: Runtime, run_id: int, epic_ids: Sequence[int]) -> SourceRow:
    """Evaluate these epics before returning, because a person changed their links or findings; their source.

    The caller has committed the change, marked the epics and opened the run (`reevaluation.open_evaluation`).
    If this process dies here, the worker that continues the run finds the marked epics.
    """
    runtime = _with_claim_name(runtime)
    async with runtime.sessions.begin() as session:
        opened = await session.get_one(RunRow, run_id)
        source = await session.get_one(SourceRow, opened.source_id)
        run = await claim_run(session, run_id, runtime.worker, await runtime.now(session))
    claimed = nullcontext() if run is None else keep_run_claimed(runtime, run)
    with structlog.contextvars.bound_contextvars(run=run_id, source=source.name, mode=opened.mode):
        async with claimed:
            await evaluate_these(runtime, source, run_id, epic_ids, run)
            if run is not None:
                await _close(runtime, run, source, RunResult())
    return source


async def evaluate_at_once(runtime: Runtime, run_ids: Sequence[int]) -> list[int]:
    """Evaluate, as `evaluate_now`, the few epics that some of these runs were opened for
    (`reevaluation.open_evaluations`); the ids of the others, which workers execute."""
    async with runtime.sessions() as session:
        epics = await epics_of_runs(session, run_ids)
    for run_id, epic_ids in sorted(epics.items()):
        await evaluate_now(runtime, run_id, epic_ids)
    return [run_id for run_id in run_ids if run_id not in epics]


async def write_tickets(runtime: Runtime, source_id: int) -> None:
    """Write the due tickets of a source one by one, until none is left, the tracker asks for a pause, or
    another source waits for a writer. Where many are due, other writers do so beside this one."""
    goes_on = True
    while goes_on:
        with runtime.writers.place(source_id) as is_free:
            goes_on = is_free and await _write_tickets(runtime, source_id)
        goes_on = goes_on and runtime.writers.was_refused(source_id)


async def _write_tickets(runtime: Runtime, source_id: int) -> bool:
    """False where a job for the rest is queued, or none may be written by this process."""
    async with runtime.sessions.begin() as session:
        source = await session.get(SourceRow, source_id)
        now = await runtime.now(session)
        if source is None or await left_to_another(session, runtime, source, now):
            return False
    with structlog.contextvars.bound_contextvars(source=source.name):
        try:
            async with open_writer(runtime, source, now) as writer:
                while await writer.write_next():
                    if writer.written % TURN == 0 and await gave_turn(runtime, source_id):
                        return False
        except CannotDecrypt as error:
            log.error("tickets not written", reason=str(error))
            return False
    return True
