"""Runs and notices as a ledger of work: who may do what, and until when. A job only wakes us up.

A claim is taken by compare-and-set and ends by itself, so whoever dies holding one costs one lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, false, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import READING_MODES, UNFINISHED_STATES, Epic, Notice, NoticeWrite, Run, Source

# Each lease is longer than every time limit inside it: a page is fetched within 60 s, a ticket is
# written within 60 s after two look-ups of as much.
RUN_LEASE = timedelta(minutes=5)
NOTICE_LEASE = timedelta(minutes=3)
UNANSWERED_REST = timedelta(seconds=60)
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
    closed = await session.execute(
        update(Run)
        .where(Run.id == run.id, Run.claimed_by == worker)
        .values(state=state, finished_at=now, error=error, claimed_by=None, claimed_until=None)
        .returning(Run.id)
    )
    if closed.one_or_none() is None:
        raise ClaimLost(f"run {run.id} was taken over")


async def let_run_wait(
    session: AsyncSession, run: Run, worker: str, until: datetime, error: dict[str, Any]
) -> None:
    """Not before `until`, by whoever is woken then. Raises `ClaimLost`."""
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


async def due_runs(session: AsyncSession, now: datetime) -> list[tuple[int, str]]:
    """Each with its mode."""
    rows = await session.execute(select(Run.id, Run.mode).where(_claimable(now)).order_by(Run.id))
    return [(run_id, mode) for run_id, mode in rows]


# --- notices --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """A ticket to be written, ours until the lease ends. `unanswered`: our comment may stand there, with an
    id we do not know."""

    notice_id: int
    epic_id: int
    run_id: int
    owner: str
    unanswered: bool


async def claim_notice(
    session: AsyncSession, source_id: int, owner: str, now: datetime, *, one_at_a_time: bool
) -> Claim | None:
    """The next ticket of a source that is due and nobody's. `owner` is new for each claim.

    Where the claim before ended without an answer its request may have arrived, so the notice is
    marked for a look at the ticket first.
    """
    await session.execute(select(Source.id).where(Source.id == source_id).with_for_update())
    mine = select(Epic.id).where(Epic.source_id == source_id)
    if one_at_a_time:
        busy = select(Notice.id).where(Notice.epic_id.in_(mine), Notice.claimed_until > now).limit(1)
        if (await session.scalars(busy)).one_or_none() is not None:
            return None
    notice = (
        await session.scalars(
            select(Notice)
            .where(Notice.epic_id.in_(mine), Notice.due_at <= now, Notice.target.is_not(None))
            .where(or_(Notice.claimed_until.is_(None), Notice.claimed_until <= now))
            .order_by(Notice.due_at, Notice.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
    ).one_or_none()
    if notice is None or notice.run_id is None:
        return None
    if notice.claimed_by is not None and notice.claimed_until is not None and notice.unanswered_at is None:
        notice.unanswered_at = notice.claimed_until - NOTICE_LEASE
    notice.claimed_by, notice.claimed_until = owner, now + NOTICE_LEASE
    unanswered = notice.unanswered_at is not None and notice.remote_id is None
    return Claim(notice.id, notice.epic_id, notice.run_id, owner, unanswered)


async def claimed(session: AsyncSession, claim: Claim) -> Notice:
    """The claimed notice's row, locked. Raises `ClaimLost`."""
    notice = (
        await session.scalars(
            select(Notice)
            .where(Notice.id == claim.notice_id, Notice.claimed_by == claim.owner)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    if notice is None:
        raise ClaimLost(f"notice {claim.notice_id} was taken over")
    return notice


def give_back(notice: Notice, claim: Claim, due_at: datetime | None = None) -> None:
    """End the claim; with `due_at` the write stays queued until then, without it is called off, and the
    body is again what stands on the ticket.

    Where a newer run has queued another text meanwhile, its release lets that one go, not we.
    """
    notice.claimed_by = notice.claimed_until = None
    if notice.run_id != claim.run_id:
        return
    if due_at is None:
        notice.target = None
        if notice.posted_body is not None and notice.posted_hash is not None:
            notice.body, notice.facts_hash = notice.posted_body, notice.posted_hash
    notice.due_at = due_at if notice.target is not None else None


def nothing_posted(notice: Notice) -> None:
    """Nothing of ours is on the ticket, unless an answer is still missing."""
    if notice.remote_id is None and notice.unanswered_at is None:
        notice.posted_hash, notice.posted_body, notice.named = None, None, []


def deleted_on_ticket(notice: Notice, now: datetime) -> None:
    """Somebody has deleted our comment."""
    notice.state, notice.reason = "withdrawn", "deleted_on_ticket"
    notice.detail = "Our comment was deleted on the ticket."
    notice.remote_id = notice.url = notice.target = notice.due_at = None
    notice.updated_at = now
    nothing_posted(notice)


async def put_off(session: AsyncSession, source_id: int, until: datetime) -> None:
    """The tracker asked for a pause: tickets that nobody is writing now wait for its end."""
    waiting = (
        select(Notice.id)
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, Notice.due_at < until, Notice.claimed_by.is_(None))
        .order_by(Notice.id)
        .with_for_update(of=Notice, skip_locked=True)
    )
    await session.execute(update(Notice).where(Notice.id.in_(waiting)).values(due_at=until))


def written(session: AsyncSession, claim: Claim, kind: str, remote_id: str | None, now: datetime) -> None:
    session.add(
        NoticeWrite(run_id=claim.run_id, epic_id=claim.epic_id, kind=kind, remote_id=remote_id, at=now)
    )


async def sources_with_due_notices(session: AsyncSession, now: datetime) -> Sequence[int]:
    """Sources with tickets to write, of which nobody writes any."""
    due = (
        select(Epic.source_id)
        .join(Notice, Notice.epic_id == Epic.id)
        .where(Notice.due_at <= now)
        .group_by(Epic.source_id)
        .having(~func.coalesce(func.bool_or(Notice.claimed_until > now), false()))
    )
    return (await session.scalars(due)).all()


async def writes_of(session: AsyncSession, run_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """What each run wrote, and what it still has to write, by kind."""
    counts: dict[int, dict[str, int]] = {run_id: {} for run_id in run_ids}
    # What is left first: one that is written between the two looks is then seen twice, never missed.
    pending = await session.execute(
        select(Notice.run_id, func.count())
        .where(Notice.run_id.in_(run_ids), Notice.target.is_not(None))
        .group_by(Notice.run_id)
    )
    for waiting_for, count in pending:
        if waiting_for is not None:
            counts[waiting_for]["pending"] = count
    done = await session.execute(
        select(NoticeWrite.run_id, NoticeWrite.kind, func.count())
        .where(NoticeWrite.run_id.in_(run_ids))
        .group_by(NoticeWrite.run_id, NoticeWrite.kind)
    )
    for run_id, kind, count in done:
        counts[run_id][kind] = count
    return counts
