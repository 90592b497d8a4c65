"""Tickets to be written: who may write which now, and what became of it.

A claim is taken by compare-and-set and ends by itself, so whoever dies holding one costs one lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, case, false, func, literal, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings import pauses
from mappings.ledger import ClaimLost
from mappings.tables import Epic, Notice, NoticeWrite, Run, Source

HOUR = timedelta(hours=1)
# Longer than every time limit inside it: a ticket is written within 60 s after two look-ups of as much.
NOTICE_LEASE = timedelta(minutes=3)
UNANSWERED_REST = timedelta(seconds=60)
EDITS_AN_HOUR = 60  # of one source, whatever they edit for
LOCK_TURN = 701728  # the first half of a key whose second half is a source's id


async def take_turn(session: AsyncSession, source_id: int) -> None:
    """One at a time counts a source's comments and says which may go, until its transaction ends."""
    # Not the source's row: some take it before the epics, others after the notices.
    await session.execute(select(func.pg_advisory_xact_lock(LOCK_TURN, source_id)))


@dataclass(frozen=True, slots=True)
class Claim:
    """A ticket to be written, ours until the lease ends."""

    notice_id: int
    epic_id: int
    run_id: int
    owner: str


async def claim_notice(
    session: AsyncSession, source_id: int, owner: str, now: datetime, *, one_at_a_time: bool
) -> Claim | None:
    """The next ticket of a source that is due and nobody's: what takes a warning away goes first. `owner` is
    new for each claim. What may not be written yet is put off.

    Where the claim before ended without an answer its request may have arrived, so the notice is
    marked for a rest before the look at the ticket.
    """
    await session.execute(select(Source.id).where(Source.id == source_id).with_for_update())
    mine = select(Epic.id).where(Epic.source_id == source_id)
    if one_at_a_time:
        busy = select(Notice.id).where(Notice.epic_id.in_(mine), Notice.claimed_until > now).limit(1)
        if (await session.scalars(busy)).one_or_none() is not None:
            return None
    tried_again = await pauses.put_off_refused(session, source_id, now)
    # Ids alone: thousands of texts would be sorted on disk.
    due = (
        select(Notice.id)
        .where(Notice.epic_id.in_(mine), Notice.due_at <= now, Notice.target.is_not(None))
        .where(Notice.run_id.is_not(None))  # else its run went with another source: who judges takes it over
        .where(or_(Notice.claimed_until.is_(None), Notice.claimed_until <= now))
        .order_by(_FIRST, Notice.due_at, Notice.updated_at, Notice.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    notice = await _notice(session, due)
    if notice is not None and notice.remote_id is not None and notice.taking_back != "delete":
        full_until = await _edits_full_until(session, source_id, now)
        if full_until is not None:
            why = (
                f"{EDITS_AN_HOUR} comments were edited within the hour; it goes on at {full_until:%H:%M} UTC."
            )
            await pauses.put_off(session, source_id, full_until, why, _EDIT)
            notice = await _notice(session, due.where(~_EDIT))
    if notice is None or notice.run_id is None:
        return None
    await pauses.others_wait(session, source_id, tried_again, notice, now + NOTICE_LEASE)
    if notice.claimed_by is not None and notice.claimed_until is not None and notice.unanswered_at is None:
        notice.unanswered_at = notice.claimed_until - NOTICE_LEASE
    notice.claimed_by, notice.claimed_until = owner, now + NOTICE_LEASE
    return Claim(notice.id, notice.epic_id, notice.run_id, owner)


async def _notice(session: AsyncSession, which: Select[int]) -> Notice | None:
    found = await session.scalar(which)
    return None if found is None else await session.get(Notice, found, populate_existing=True)


# A deletion is a person's wish, and tells nobody anything.
_EDIT = and_(Notice.remote_id.is_not(None), Notice.taking_back.is_distinct_from("delete"))
_FIRST = case((Notice.target == "withdrawn", 0), (Notice.target == "resolved", 1), else_=2)


async def _edits_full_until(session: AsyncSession, source_id: int, now: datetime) -> datetime | None:
    """The moment until which the hour's edits are spent, those under way counted; None where they are not."""
    made = (
        select(NoticeWrite.at)
        .join(Run, Run.id == NoticeWrite.run_id)
        .where(Run.source_id == source_id, NoticeWrite.kind.in_(("edited", "resolved", "withdrawn")))
        .where(NoticeWrite.at > now - HOUR)
    )
    under_way = (
        select(literal(now))
        .join_from(Notice, Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, Notice.remote_id.is_not(None), Notice.claimed_until > now)
    )
    spent = sorted(await session.scalars(union_all(made, under_way)))
    return spent[-EDITS_AN_HOUR] + HOUR if len(spent) >= EDITS_AN_HOUR else None


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
        if notice.state in ("posted", "resolved"):
            notice.detail = None  # why it had to wait
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
    notice.remote_id = notice.url = notice.target = notice.due_at = notice.unanswered_at = None
    notice.guard = notice.guard_why = notice.taking_back = None
    notice.updated_at = now
    nothing_posted(notice)


def taken_back(notice: Notice) -> None:
    """A person withdrew the run that made the comment, and it is done."""
    notice.taking_back = None
    notice.reason, notice.detail = "run_withdrawn", "The run that made it was withdrawn."


async def give_back_all(session: AsyncSession, worker: str, now: datetime) -> None:
    """What a worker that stops was writing is anybody's, after a rest: its request may still arrive, so where
    it would make a comment the ticket is looked at first."""
    mine = Notice.claimed_by.startswith(worker, autoescape=True)
    rested = now + UNANSWERED_REST
    await session.execute(
        update(Notice)
        .where(mine)
        .values(
            unanswered_at=case(
                (Notice.remote_id.is_(None), func.coalesce(Notice.unanswered_at, now)),
                else_=Notice.unanswered_at,
            ),
            due_at=case((Notice.due_at.is_not(None), func.greatest(Notice.due_at, rested)), else_=None),
            claimed_by=None,
            claimed_until=None,
        )
    )


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
