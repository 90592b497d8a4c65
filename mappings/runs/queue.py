"""Runs as a queue of work: which worker may execute which run, and until when. A job only wakes a worker.

A claim is taken by compare-and-set and expires by itself: a worker that dies with one delays the run by at
most one lease.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import and_, exists, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.leases import ALWAYS_DUE, RUN_LEASE, ClaimLost
from mappings.tables import READING_MODES, UNFINISHED_STATES, RunRow, SourceRow
from mappings.wakeups import wake_run


async def open_run(
    session: AsyncSession,
    source_id: int,
    mode: str,
    now: datetime,
    *,
    afresh: bool = False,
    due_at: datetime = ALWAYS_DUE,
) -> RunRow:
    """Open a queued run, or return the queued or unfinished run that already covers it.

    An unfinished full run does not cover a new one if a person changed the source after it began, or with
    `afresh`.
    """
    if mode in READING_MODES:
        # The source's row is locked first: otherwise two callers at the same time could both find no run.
        locked = select(SourceRow.version, SourceRow.updated_at).where(SourceRow.id == source_id)
        version, changed_at = (await session.execute(locked.with_for_update(key_share=True))).one()
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
            if run.state == "queued" and mode == "full":
                run.mode = "full"
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
    session: AsyncSession, source_id: int, mode: str, now: datetime, *, afresh: bool = False
) -> RunRow:
    """Open a run as `open_run` does, and ask for the job that executes it."""
    run = await open_run(session, source_id, mode, now, afresh=afresh)
    wake_run(session, run.id, run.mode)
    return run


def _claimable(now: datetime) -> Any:
    return and_(
        RunRow.state.in_(("queued", *UNFINISHED_STATES)),
        RunRow.due_at <= now,
        or_(RunRow.claimed_until.is_(None), RunRow.claimed_until <= now),
    )


async def claim_run(session: AsyncSession, run_id: int, worker: str, now: datetime) -> RunRow | None:
    """Claim a due and unclaimed run, else None. A reading run waits for the unfinished one of its source."""
    other = (
        select(RunRow.id)
        .where(RunRow.source_id == select(RunRow.source_id).where(RunRow.id == run_id).scalar_subquery())
        .where(RunRow.id != run_id, RunRow.mode.in_(READING_MODES), RunRow.state.in_(UNFINISHED_STATES))
    )
    taken = await session.scalars(
        update(RunRow)
        .where(RunRow.id == run_id, _claimable(now))
        .where(or_(RunRow.mode.not_in(READING_MODES), ~exists(other)))
        .values(
            state="running",
            claimed_by=worker,
            claimed_until=now + RUN_LEASE,
            waiting_until=None,
            error=None,
            started_at=func.coalesce(RunRow.started_at, now),
        )
        .returning(RunRow)
    )
    return taken.one_or_none()


_NO_COUNTS = dict.fromkeys(("seen", "created", "updated", "deleted", "skipped", "requests", "held"), 0)
_RENEW_LEASE = text(
    "UPDATE runs SET claimed_until = :until, seen = seen + :seen, created = created + :created,"
    " updated = updated + :updated, deleted = deleted + :deleted, skipped = skipped + :skipped,"
    " requests = requests + :requests, held = held + :held"
    " WHERE id = :run AND claimed_by = :worker RETURNING id"
)


async def renew_lease(session: AsyncSession, run: RunRow, worker: str, now: datetime, **counts: int) -> None:
    """Renew the lease and add to the run's counts, in the transaction of the work. Raises `ClaimLost`."""
    parameters = {"run": run.id, "worker": worker, "until": now + RUN_LEASE}
    renewed = await session.execute(_RENEW_LEASE, {**_NO_COUNTS, **counts, **parameters})
    if renewed.one_or_none() is None:
        raise ClaimLost(f"run {run.id} was taken over")


async def close_run(
    session: AsyncSession, run: RunRow, worker: str, state: str, now: datetime, error: dict[str, Any] | None
) -> None:
    """End a run, after its reading and evaluation, in its final `state`. Raises `ClaimLost`."""
    ended: dict[str, Any] = {}
    if run.mode in READING_MODES:
        mode, tracker = await _lock_source(session, run)
        # If the source's address changed during the run, the run keeps the tracker that it began with.
        ended = {"notices_mode": mode, "tracker": func.coalesce(RunRow.tracker, tracker)}
    closed = await session.execute(
        update(RunRow)
        .where(RunRow.id == run.id, RunRow.claimed_by == worker)
        .values(state=state, finished_at=now, error=error, claimed_by=None, claimed_until=None, **ended)
        .returning(RunRow.id)
    )
    if closed.one_or_none() is None:
        raise ClaimLost(f"run {run.id} was taken over")


async def _lock_source(session: AsyncSession, run: RunRow) -> tuple[str | None, str | None]:
    """Lock a run's source and return its notices mode and tracker. The source is locked before the run, as in
    `open_run`, because the same transaction then updates the source's health."""
    locked = select(SourceRow.notices["mode"].astext, SourceRow.tracker).where(SourceRow.id == run.source_id)
    row = (await session.execute(locked.with_for_update(key_share=True))).one_or_none()
    return (None, None) if row is None else (row[0], row[1])


async def postpone_run(
    session: AsyncSession, run: RunRow, worker: str, until: datetime, error: dict[str, Any]
) -> None:
    """Release a run so that it continues at `until`, on any worker, with `error` as the reason. Raises
    `ClaimLost`."""
    await _lock_source(session, run)
    postponed = await session.execute(
        update(RunRow)
        .where(RunRow.id == run.id, RunRow.claimed_by == worker)
        .values(
            state="waiting",
            waiting_until=until,
            due_at=until,
            claimed_by=None,
            claimed_until=None,
            error=error,
        )
        .returning(RunRow.id)
    )
    if postponed.one_or_none() is None:
        raise ClaimLost(f"run {run.id} was taken over")


async def mark_stalled(session: AsyncSession, now: datetime) -> None:
    """Mark running runs with an expired lease as stalled. The next worker continues where they stopped."""
    await session.execute(
        update(RunRow).where(RunRow.state == "running", RunRow.claimed_until <= now).values(state="stalled")
    )


async def next_reading_run(session: AsyncSession, source_id: int) -> int | None:
    """The id of the queued reading run of a source, which waits until an unfinished one ends."""
    queued = RunRow.mode.in_(READING_MODES), RunRow.state == "queued"
    return (
        await session.scalars(select(RunRow.id).where(RunRow.source_id == source_id, *queued))
    ).one_or_none()


async def resume_waiting_runs(session: AsyncSession, source_id: int, now: datetime) -> None:
    """Make a source's waiting runs due at `now`: new credentials have rate limits of their own."""
    waiting = update(RunRow).where(
        RunRow.source_id == source_id, RunRow.state == "waiting", RunRow.due_at > now
    )
    await session.execute(waiting.values(due_at=now))


async def due_runs(session: AsyncSession, now: datetime) -> list[tuple[int, str]]:
    """The ids of the due and unclaimed runs, each with its mode."""
    rows = await session.execute(select(RunRow.id, RunRow.mode).where(_claimable(now)).order_by(RunRow.id))
    return [(run_id, mode) for run_id, mode in rows]
