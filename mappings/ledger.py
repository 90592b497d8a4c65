"""Runs as a ledger of work: who may do what, and until when. A job only wakes us up.

A claim is taken by compare-and-set and ends by itself, so whoever dies holding one costs one lease.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import READING_MODES, UNFINISHED_STATES, Run, Source

# Longer than every time limit inside it: a page is fetched within 60 s.
RUN_LEASE = timedelta(minutes=5)
# Due whatever the clock of the worker says that looks; replicas' clocks are never quite together.
AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)
REPEATABLE = func.set_config("synchronous_commit", "off", True)
LOCK_GOALS = 7017280452178371


class ClaimLost(Exception):
    """Somebody else has taken the work over; whoever meets this stops at once and writes nothing."""


async def share_goals(session: AsyncSession) -> int:
    """Judging: goals, rules, links by hand and policy stay as they are until this transaction ends; their
    version."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK_GOALS})
    version: int = (await session.scalars(text("SELECT goals_version FROM installation"))).one()
    return version


async def change_goals(session: AsyncSession) -> None:
    """Changing them: waits for the judging under way, and lets the next see the change whole."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_GOALS})
    await session.execute(text("UPDATE installation SET goals_version = goals_version + 1"))


async def may_be_repeated(session: AsyncSession) -> None:
    """This transaction is answered before it is on disk: should the machine lose it, it is lost whole, its
    cursor or marks with it, and the work is simply done again."""
    await session.execute(select(REPEATABLE))


# --- runs -----------------------------------------------------------------------------------


async def open_run(
    session: AsyncSession,
    source_id: int,
    mode: str,
    now: datetime,
    *,
    afresh: bool = False,
    due_at: datetime = AT_ONCE,
) -> Run:
    """A queued run, or the one queued or under way that does as much.

    A full run under way does not where somebody has changed the source since it began, or with `afresh`.
    """
    if mode in READING_MODES:
        # The source's row is the gate: two callers at once must not both find nothing.
        gate = select(Source.version, Source.updated_at).where(Source.id == source_id)
        version, changed_at = (await session.execute(gate.with_for_update(key_share=True))).one()
        reading = await session.scalars(
            select(Run)
            .where(
                Run.source_id == source_id,
                Run.mode.in_(READING_MODES),
                Run.state.in_(("queued", *UNFINISHED_STATES)),
            )
            .order_by(Run.id)
            # Who is claiming one now is waited for: a run that reads already cannot become another.
            .with_for_update()
        )
        for run in reading:
            if run.state == "queued" and mode == "full":
                run.mode = "full"
            begun = run.started_at
            outdated = begun is not None and (afresh or (version > 1 and begun <= changed_at))
            if mode == "incremental" or (run.mode == "full" and not outdated):
                return run
    run = Run(source_id=source_id, mode=mode, due_at=due_at, created_at=now)
    session.add(run)
    await session.flush()
    await session.refresh(run)
    return run


def _claimable(now: datetime) -> Any:
    return and_(
        Run.state.in_(("queued", *UNFINISHED_STATES)),
        Run.due_at <= now,
        or_(Run.claimed_until.is_(None), Run.claimed_until <= now),
    )


async def claim_run(session: AsyncSession, run_id: int, worker: str, now: datetime) -> Run | None:
    """Take a run that is due and nobody's, else None. A reading run waits for the one before it."""
    other = (
        select(Run.id)
        .where(Run.source_id == select(Run.source_id).where(Run.id == run_id).scalar_subquery())
        .where(Run.id != run_id, Run.mode.in_(READING_MODES), Run.state.in_(UNFINISHED_STATES))
    )
    taken = await session.scalars(
        update(Run)
        .where(Run.id == run_id, _claimable(now))
        .where(or_(Run.mode.not_in(READING_MODES), ~exists(other)))
        .values(
            state="running",
            claimed_by=worker,
            claimed_until=now + RUN_LEASE,
            waiting_until=None,
            error=None,
            started_at=func.coalesce(Run.started_at, now),
        )
        .returning(Run)
    )
    return taken.one_or_none()


_NO_COUNTS = dict.fromkeys(("seen", "created", "updated", "deleted", "skipped", "requests", "held"), 0)
_KEEP_RUN = text(
    "UPDATE runs SET claimed_until = :until, seen = seen + :seen, created = created + :created,"
    " updated = updated + :updated, deleted = deleted + :deleted, skipped = skipped + :skipped,"
    " requests = requests + :requests, held = held + :held"
    " WHERE id = :run AND claimed_by = :worker RETURNING id"
)


async def keep_run(session: AsyncSession, run: Run, worker: str, now: datetime, **counts: int) -> None:
    """A sign of life with the counts to add, in the transaction of the work itself. Raises `ClaimLost`."""
    parameters = {"run": run.id, "worker": worker, "until": now + RUN_LEASE}
    kept = await session.execute(_KEEP_RUN, {**_NO_COUNTS, **counts, **parameters})
    if kept.one_or_none() is None:
        raise ClaimLost(f"run {run.id} was taken over")


async def close_run(
    session: AsyncSession, run: Run, worker: str, state: str, now: datetime, error: dict[str, Any] | None
) -> None:
    """The end of reading and judging. Raises `ClaimLost`."""
    ended: dict[str, Any] = {}
    if run.mode in READING_MODES:
        mode, tracker = await _source_as_it_is(session, run)
        # One that a change of address met on the way has the tracker it began with.
        ended = {"notices_mode": mode, "tracker": func.coalesce(Run.tracker, tracker)}
    closed = await session.execute(
        update(Run)
        .where(Run.id == run.id, Run.claimed_by == worker)
        .values(state=state, finished_at=now, error=error, claimed_by=None, claimed_until=None, **ended)
        .returning(Run.id)
    )
    if closed.one_or_none() is None:
        raise ClaimLost(f"run {run.id} was taken over")


async def _source_as_it_is(session: AsyncSession, run: Run) -> tuple[str | None, str | None]:
    """The mode and tracker of a run's source, which is locked before the run, as `open_run` locks them: what
    the end of a run says of its source's health follows in the same transaction."""
    gate = select(Source.notices["mode"].astext, Source.tracker).where(Source.id == run.source_id)
    row = (await session.execute(gate.with_for_update(key_share=True))).one_or_none()
    return (None, None) if row is None else (row[0], row[1])


async def let_run_wait(
    session: AsyncSession, run: Run, worker: str, until: datetime, error: dict[str, Any]
) -> None:
    """Not before `until`, by whoever is woken then. Raises `ClaimLost`."""
    await _source_as_it_is(session, run)
    waits = await session.execute(
        update(Run)
        .where(Run.id == run.id, Run.claimed_by == worker)
        .values(
            state="waiting",
            waiting_until=until,
            due_at=until,
            claimed_by=None,
            claimed_until=None,
            error=error,
        )
        .returning(Run.id)
    )
    if waits.one_or_none() is None:
        raise ClaimLost(f"run {run.id} was taken over")


async def mark_stalled(session: AsyncSession, now: datetime) -> None:
    """Runs with no sign of life: say so. Whoever is woken takes them up where they stopped."""
    await session.execute(
        update(Run).where(Run.state == "running", Run.claimed_until <= now).values(state="stalled")
    )


async def next_reading(session: AsyncSession, source_id: int) -> int | None:
    """The reading run that waits for another of its source to end."""
    queued = Run.mode.in_(READING_MODES), Run.state == "queued"
    return (await session.scalars(select(Run.id).where(Run.source_id == source_id, *queued))).one_or_none()


async def end_wait(session: AsyncSession, source_id: int, now: datetime) -> None:
    """Other credentials have limits of their own: what waits for the old ones' goes on at the next sweep."""
    waiting = update(Run).where(Run.source_id == source_id, Run.state == "waiting", Run.due_at > now)
    await session.execute(waiting.values(due_at=now))


async def due_runs(session: AsyncSession, now: datetime) -> list[tuple[int, str]]:
    """Each with its mode."""
    rows = await session.execute(select(Run.id, Run.mode).where(_claimable(now)).order_by(Run.id))
    return [(run_id, mode) for run_id, mode in rows]
