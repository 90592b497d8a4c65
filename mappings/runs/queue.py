"""Runs as a queue of work: which worker may execute which run, and until when. A job only wakes a worker.

`mappings.leases` says how a claim is taken, renewed and released.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, ColumnElement, and_, bindparam, case, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from mappings import leases
from mappings.leases import ALWAYS_DUE, LONGEST_LEASE
from mappings.locks import locked_source, share_source
from mappings.tables import READING_MODES, UNFINISHED_STATES, RunRow, SourceRow
from mappings.wakeups import job_of, wake_run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

STALLED_AFTER = timedelta(minutes=1)


async def open_run(
    session: AsyncSession,
    source_id: int,
    mode: str,
    now: datetime,
    *,
    afresh: bool = False,
    due_at: datetime = ALWAYS_DUE,
) -> RunRow:
    """Open a queued run, or return the queued or unfinished run that already covers it. A queued one is then
    due no later than `due_at`.

    An unfinished full run does not cover a new one if a person changed the source after it began, or with
    `afresh`.
    """
    if mode in READING_MODES:
        # The source's row is locked first: otherwise two callers at the same time could both find no run.
        locked = locked_source(source_id, SourceRow.version, SourceRow.updated_at)
        version, changed_at = (await session.execute(locked)).one()
        reading_runs = await session.scalars(
            select(RunRow)
            .where(
                RunRow.source_id == source_id,
                RunRow.mode.in_(READING_MODES),
                RunRow.state.in_(("queued", *UNFINISHED_STATES)),
            )
            .order_by(RunRow.id)
            # Waits for a worker that is claiming one now: the mode of a run that already reads cannot change.
            .with_for_update()
        )
        for run in reading_runs:
            if run.state == "queued":
                run.mode = "full" if mode == "full" else run.mode
                run.due_at = min(run.due_at, due_at)
            begun = run.started_at
            outdated = begun is not None and (afresh or (version > 1 and begun <= changed_at))
            if mode == "incremental" or (run.mode == "full" and not outdated):
                return run
    run = RunRow(source_id=source_id, mode=mode, due_at=due_at, created_at=now)
    session.add(run)
    await session.flush()
    await session.refresh(run)
    return run


async def start_run(
    session: AsyncSession,
    source_id: int,
    mode: str,
    now: datetime,
    *,
    afresh: bool = False,
    due_at: datetime = ALWAYS_DUE,
) -> RunRow:
    """Open a run as `open_run` does, and ask for the job that executes it."""
    run = await open_run(session, source_id, mode, now, afresh=afresh, due_at=due_at)
    wake_run(session, run.id, run.mode)
    return run


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(RunRow.state.in_(("queued", *UNFINISHED_STATES)), RunRow.due_at <= now)


@cache
def _waits_for_another() -> ColumnElement[bool]:
    """Whether a run waits for an unfinished one of its source: a reading run for a reading run, and a run
    that evaluates what its causes affect for the one that does so now, so that more causes may join it.
    No other run waits for these. Built once: a second `RunRow` costs more than the claim itself."""
    other = aliased(RunRow)
    alike = or_(
        and_(RunRow.mode.in_(READING_MODES), other.mode.in_(READING_MODES)),
        and_(RunRow.evaluates == "affected", other.evaluates == "affected"),
    )
    unfinished = (
        other.source_id == RunRow.source_id,
        other.id != RunRow.id,
        other.state.in_(UNFINISHED_STATES),
    )
    return exists().where(*unfinished, alike).correlate(RunRow)


async def claim_run(session: AsyncSession, run_id: int, worker: str, now: datetime) -> RunRow | None:
    """Claim a due and unclaimed run that waits for no other one, else None."""
    claim = leases.taking(
        RunRow,
        worker,
        now,
        RunRow.id == run_id,
        _is_due(now),
        ~_waits_for_another(),
        state="running",
        waiting_until=None,
        error=None,
        started_at=func.coalesce(RunRow.started_at, now),
        attempts=RunRow.attempts + 1,
    )
    return (await session.scalars(claim)).one_or_none()


_COUNTS = ("seen", "created", "updated", "deleted", "skipped", "requests", "uncounted_requests", "held")
_NO_COUNTS = dict.fromkeys(_COUNTS, 0)
_RENEW = leases.renewing(
    RunRow,
    RunRow.id == bindparam("run"),
    attempts=case((bindparam("ahead", type_=Boolean), 1), else_=RunRow.attempts),
    **{name: getattr(RunRow, name) + bindparam(name) for name in _NO_COUNTS},
)
# An attempt that a worker gave back does not count.
_NOT_ATTEMPTED: dict[str, Any] = {"attempts": func.greatest(RunRow.attempts - 1, 0)}


async def renew_lease(
    session: AsyncSession, run: RunRow, worker: str, now: datetime, *, ahead: bool = False, **counts: int
) -> None:
    """Renew the lease and add to the run's counts, in the transaction of the work. Raises `ClaimLost`.

    `ahead`: a worker that takes the run up later does not do this work again, so its attempts count anew.
    """
    await leases.renew(session, _RENEW, worker, now, run=run.id, ahead=ahead, **{**_NO_COUNTS, **counts})


async def close_run(
    session: AsyncSession, run: RunRow, worker: str, state: str, now: datetime, error: dict[str, Any] | None
) -> None:
    """End a run, after its reading and evaluation, in its final `state`. Raises `ClaimLost`."""
    ended: dict[str, Any] = {"state": state, "finished_at": now, "error": error}
    if run.mode in READING_MODES or state == "failed":  # which the caller stores in the source's health
        mode, tracker = await _lock_source(session, run)
        if run.mode in READING_MODES:
            # If the source's address changed during the run, the run keeps the tracker that it began with.
            ended |= {"notices_mode": mode, "tracker": func.coalesce(RunRow.tracker, tracker)}
    else:
        await share_source(session, run.source_id)  # which the count of this run refers to
    await leases.release(session, RunRow, worker, RunRow.id == run.id, **ended)


async def _lock_source(session: AsyncSession, run: RunRow) -> tuple[str | None, str | None]:
    """Lock a run's source and return its notices mode and tracker. The source is locked before the run, as in
    `open_run`, because the same transaction then updates the source's health."""
    locked = locked_source(run.source_id, SourceRow.notices["mode"].astext, SourceRow.tracker)
    row = (await session.execute(locked)).one_or_none()
    return (None, None) if row is None else (row[0], row[1])


async def postpone_run(
    session: AsyncSession, run: RunRow, worker: str, until: datetime, error: dict[str, Any]
) -> None:
    """Release a run so that it continues at `until`, on any worker, with `error` as the reason. Raises
    `ClaimLost`."""
    await _lock_source(session, run)
    waits = {"state": "waiting", "waiting_until": until, "due_at": until, "error": error}
    await leases.release(session, RunRow, worker, RunRow.id == run.id, **waits, **_NOT_ATTEMPTED)


async def give_run_back(session: AsyncSession, run: RunRow, worker: str) -> None:
    """Release a run that this worker cannot go on with now; another attempt may. Raises `ClaimLost`."""
    await leases.release(session, RunRow, worker, RunRow.id == run.id, **_NOT_ATTEMPTED)


async def release_runs(session: AsyncSession, worker: str) -> None:
    """Release the runs that a worker has claimed, because it stops; another worker goes on."""
    await leases.release_all(session, RunRow, worker, RunRow.finished_at.is_(None), **_NOT_ATTEMPTED)


async def mark_stalled(session: AsyncSession, now: datetime) -> None:
    """Mark as stalled the running runs that gave no sign of life for `STALLED_AFTER`. The next worker
    continues where they stopped, as soon as the lease has ended."""
    silent = select(RunRow.id).where(
        RunRow.state == "running",
        or_(leases.renewed_at(RunRow) <= now - STALLED_AFTER, RunRow.claimed_until > now + LONGEST_LEASE),
    )
    # Several processes do this at once; a run that is locked is being renewed or claimed.
    silent = silent.with_for_update(skip_locked=True)
    await session.execute(
        update(RunRow).where(RunRow.id.in_(silent.scalar_subquery())).values(state="stalled")
    )


async def run_waiting_for(session: AsyncSession, run: RunRow) -> tuple[int, str] | None:
    """The id of the queued run that waits until `run` ends, and the job that executes it."""
    alike: ColumnElement[bool] = RunRow.evaluates == "affected"
    if run.mode in READING_MODES:
        alike = RunRow.mode.in_(READING_MODES)
    elif run.evaluates != "affected":
        return None
    queued = select(RunRow.id, RunRow.mode, RunRow.evaluates).where(
        RunRow.source_id == run.source_id, RunRow.state == "queued", alike
    )
    waiting = (await session.execute(queued)).one_or_none()
    return None if waiting is None else (waiting.id, job_of(waiting.mode, waiting.evaluates))


async def resume_waiting_runs(session: AsyncSession, source_id: int, now: datetime) -> None:
    """Make a source's waiting runs due at `now`: new credentials have rate limits of their own."""
    waiting = update(RunRow).where(
        RunRow.source_id == source_id, RunRow.state == "waiting", RunRow.due_at > now
    )
    await session.execute(waiting.values(due_at=now))


async def due_runs(session: AsyncSession, now: datetime) -> list[tuple[int, str]]:
    """The ids of the due and unclaimed runs, each with the job that executes it."""
    due = select(RunRow.id, RunRow.mode, RunRow.evaluates).where(_is_due(now), leases.is_free(RunRow, now))
    runs = await session.execute(due.order_by(RunRow.id))
    return [(run_id, job_of(mode, evaluates)) for run_id, mode, evaluates in runs]
