"""Claims on notices: which writer may write which ticket now, and how a claim ends.

`mappings.leases` says how a claim is taken and renewed. A claim that its writer did not end is released by
another one, and its ticket waits: the last request under it may still arrive at the tracker.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)

from mappings import leases
from mappings.leases import MOST_ATTEMPTS, RELEASED, UNCONFIRMED_WAIT, ClaimLost
from mappings.locks import SYNCHRONOUS_COMMIT_OFF, locked_source
from mappings.notices import pauses
from mappings.notices.gates import Facts, Pause, first_hold
from mappings.notices.state import end_write, let_requests_arrive, mark_failed
from mappings.tables import EpicRow, NoticeRow, NoticeWriteRow, RunRow, SourceRow, among, among_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.clock import Clock

# Covers the time limits of one write: two look-ups and the write itself, each within 60 s.
LONGEST_WRITE = timedelta(minutes=3)
HOUR = timedelta(hours=1)
EDITS_PER_HOUR = 60  # of one source, for whatever reason
GIVEN_UP = (
    f"Given up: work on it began {MOST_ATTEMPTS} times and never ended. Check in the log what ended the"
    " writers; the next sync tries again."
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one writer (`owner`) to write one ticket until the lease ends. `answers`: the write
    answers a person. `comment_known`: the id of our comment was stored when the claim was taken."""

    notice_id: int
    epic_id: int
    run_id: int
    owner: str
    claimed_at: datetime
    answers: bool = False
    comment_known: bool = False


async def claim_notice(
    session: AsyncSession, source_id: int, owner: str, clock: Clock, *, one_at_a_time: bool
) -> Claim | None:
    """Claim the next due and unclaimed notice of a source. Writes that answer a person go first, then those
    that withdraw or resolve one.

    `owner` is new for each claim. Notices that may not be written yet are postponed, and claims whose lease
    has ended are released. The time is read once the source is locked: a lease begins when it is taken.
    """
    # No request is sent before a later commit of the same writer, which waits for the disk.
    await session.execute(locked_source(source_id, SourceRow.id, SYNCHRONOUS_COMMIT_OFF))
    now = await clock.read(session)
    of_source = select(EpicRow.id).where(EpicRow.source_id == source_id)
    if one_at_a_time:
        busy = (
            select(NoticeRow.id)
            .where(NoticeRow.epic_id.in_(of_source), leases.is_held(NoticeRow, now))
            .limit(1)
        )
        if (await session.scalars(busy)).one_or_none() is not None:
            return None
    await _release_expired_claims(session, of_source, now)
    # Ids alone: thousands of texts would be sorted on disk.
    due = (
        select(NoticeRow.id, EpicRow.project)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id, _is_due(now), NoticeRow.claimed_by.is_(None))
        .order_by(_URGENCY, NoticeRow.due_at, NoticeRow.updated_at, NoticeRow.id)
        .limit(1)
        .with_for_update(of=NoticeRow, skip_locked=True)
    )
    notice = await _first_not_held(session, source_id, due, now)
    if notice is None or notice.run_id is None:
        return None
    known = notice.remote_id is not None
    claim = Claim(notice.id, notice.epic_id, notice.run_id, owner, now, notice.answers, known)
    attempted = {"attempts": NoticeRow.attempts + 1}
    await session.execute(leases.taking(NoticeRow, owner, now, NoticeRow.id == notice.id, **attempted))
    return claim


def _is_due(now: datetime) -> ColumnElement[bool]:
    # Without a run: it was deleted with another source; the next evaluation gives the notice a run.
    return and_(NoticeRow.due_at <= now, NoticeRow.target.is_not(None), NoticeRow.run_id.is_not(None))


async def _first_not_held(
    session: AsyncSession, source_id: int, due: Select[int, str], now: datetime
) -> NoticeRow | None:
    """The first of the due notices that no gate of the write holds. Those that a gate holds are postponed,
    together with all others that it holds for the same reason."""
    paused = await pauses.paused_projects(session, source_id)
    while (found := (await session.execute(due)).one_or_none()) is not None:
        notice = await session.get_one(NoticeRow, found[0], populate_existing=True)
        project = found[1]
        is_edit = notice.remote_id is not None and notice.withdraw_action != "delete"
        edits = await _edits_pause(session, source_id, now) if is_edit else None
        facts = Facts(now=now, project_pause=paused.get(project), edits_pause=edits)
        hold = first_hold("write", facts, edit=is_edit, answer=notice.answers)
        if hold is None:
            if project in paused:
                await pauses.allow_one_attempt(session, source_id, project, now + LONGEST_WRITE)
            return notice
        alike = _EDIT if hold.reason == "edits" else EpicRow.project == project
        await pauses.hold_writes(session, source_id, hold, or_(alike, NoticeRow.id == notice.id))
    return None


# A deletion does not count as an edit: a person asked for it, and the tracker notifies no watcher of it. Nor
# does what answers a person, who waits for it.
_EDIT = and_(
    NoticeRow.remote_id.is_not(None),
    NoticeRow.withdraw_action.is_distinct_from("delete"),
    ~NoticeRow.answers,
)
_URGENCY = case(
    (NoticeRow.answers, 0), (NoticeRow.target == "withdrawn", 1), (NoticeRow.target == "resolved", 2), else_=3
)


async def _edits_pause(session: AsyncSession, source_id: int, now: datetime) -> Pause | None:
    """Until when no comment is edited; None if not all edits of the hour, those in progress too, are used."""
    made = (
        select(NoticeWriteRow.at)
        .join(RunRow, RunRow.id == NoticeWriteRow.run_id)
        .where(RunRow.source_id == source_id, NoticeWriteRow.kind.in_(("edited", "resolved", "withdrawn")))
        .where(NoticeWriteRow.at > now - HOUR, ~NoticeWriteRow.answers)
    )
    under_way = (
        select(literal(now))
        .join_from(NoticeRow, EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(
            EpicRow.source_id == source_id,
            NoticeRow.remote_id.is_not(None),
            ~NoticeRow.answers,
            leases.is_held(NoticeRow, now),
        )
    )
    used = sorted(await session.scalars(union_all(made, under_way)))
    if len(used) < EDITS_PER_HOUR:
        return None
    until = used[-EDITS_PER_HOUR] + HOUR
    detail = f"{EDITS_PER_HOUR} comments were edited within the hour; it goes on at {until:%H:%M} UTC."
    return Pause(until=until, detail=detail)


async def lock_claimed_notice(session: AsyncSession, claim: Claim) -> NoticeRow:
    """The row of the claimed notice, locked. Raises `ClaimLost`."""
    notice = (
        await session.scalars(
            select(NoticeRow)
            .where(NoticeRow.id == claim.notice_id, NoticeRow.claimed_by == claim.owner)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    if notice is None:
        raise ClaimLost(f"notice {claim.notice_id} was taken over")
    return notice


_RENEW = leases.renewing(NoticeRow, NoticeRow.id == bindparam("notice"))


async def renew_claim(session: AsyncSession, claim: Claim, now: datetime) -> None:
    """Renew the claim, before a request and while one lasts. Raises `ClaimLost`."""
    await leases.renew(session, _RENEW, claim.owner, now, notice=claim.notice_id)


def release_claim(notice: NoticeRow, claim: Claim, due_at: datetime | None = None) -> None:
    """End the claim. With `due_at` the write stays queued until then; without it the write is cancelled.

    If a newer run has queued another text meanwhile, only the claim ends: that run's release makes it due.
    """
    notice.claimed_by = notice.claimed_until = None
    notice.attempts = 0
    if notice.run_id == claim.run_id:
        end_write(notice, due_at)


async def release_claims_of_worker(session: AsyncSession, worker: str, now: datetime) -> None:
    """Release all claims of a worker that stops; their notices wait `UNCONFIRMED_WAIT`.

    A request of that worker may still arrive at the tracker. A notice without a known comment is marked
    unconfirmed, so that the next writer looks at the ticket before it creates one.
    """
    ours = NoticeRow.claimed_by.startswith(worker, autoescape=True)
    await let_requests_arrive(session, ours, now)
    not_attempted = {"attempts": func.greatest(NoticeRow.attempts - 1, 0)}
    await leases.release_all(session, NoticeRow, worker, **not_attempted)


async def _release_expired_claims(session: AsyncSession, of_source: Select[int], now: datetime) -> None:
    """Release the claims of dead writers, as `release_claims_of_worker` does: also those whose write was
    cancelled after the claim, which no writer would take over."""
    expired = (
        select(NoticeRow.id, NoticeRow.attempts)
        .where(NoticeRow.epic_id.in_(of_source), leases.has_ended(NoticeRow, now))
        .order_by(NoticeRow.id)
        .with_for_update(skip_locked=True)
    )
    found = (await session.execute(expired)).all()
    if not found:
        return
    which = among(NoticeRow.id, [id for id, _ in found])
    await let_requests_arrive(session, which, leases.renewed_at(NoticeRow))
    await session.execute(update(NoticeRow).where(which).values(RELEASED))
    hopeless = [id for id, attempts in found if attempts >= MOST_ATTEMPTS]
    if hopeless:
        await _give_up(session, hopeless, now)


async def _give_up(session: AsyncSession, ids: Sequence[int], now: datetime) -> None:
    """End the writes that probably end their writer each time. One whose epic is locked is left to the next
    time: the record of a write refers to the epic, which all others lock before its notice."""
    given_up = (
        select(NoticeRow)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(among(NoticeRow.id, ids), NoticeRow.target.is_not(None))
        .order_by(NoticeRow.id)
        .with_for_update(of=EpicRow, key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    for notice in await session.scalars(given_up):
        if notice.run_id is not None:
            session.add(
                NoticeWriteRow(
                    run_id=notice.run_id,
                    epic_id=notice.epic_id,
                    kind="failed",
                    remote_id=notice.remote_id,
                    at=now,
                )
            )
        mark_failed(notice, GIVEN_UP, now)
        end_write(notice, None)
        notice.attempts = 0


def release_if_unconfirmed(notice: NoticeRow, claim: Claim, now: datetime) -> bool:
    """Release the claim where an earlier request for the comment may still arrive; whether it may."""
    sent_at = notice.write_unconfirmed_at if notice.comment_id_unknown else None
    if sent_at is None:
        return False
    waits = Pause(until=sent_at + UNCONFIRMED_WAIT, detail="An earlier request may still arrive.")
    hold = first_hold("write", Facts(now=now, unconfirmed=waits))
    if hold is not None:
        release_claim(notice, claim, hold.until)
    return hold is not None


def record_write(
    session: AsyncSession, claim: Claim, kind: str, remote_id: str | None, now: datetime
) -> None:
    session.add(
        NoticeWriteRow(
            run_id=claim.run_id,
            epic_id=claim.epic_id,
            kind=kind,
            answers=claim.answers,
            remote_id=remote_id,
            at=now,
        )
    )


async def count_for_writers(session: AsyncSession, source_id: int, now: datetime) -> tuple[int, int]:
    """How many writers are at work on a source, and how many due notices wait for one."""
    of_source = NoticeRow.epic_id.in_(select(EpicRow.id).where(EpicRow.source_id == source_id))
    at_work = select(func.count()).where(of_source, leases.is_held(NoticeRow, now)).scalar_subquery()
    waiting = of_source, _is_due(now), NoticeRow.claimed_by.is_(None)
    due = select(func.count()).where(*waiting).scalar_subquery()
    writers, notices = (await session.execute(select(at_work, due))).one()
    return writers, notices


async def sources_with_due_notices(session: AsyncSession, now: datetime) -> Sequence[int]:
    """Sources with something for a writer to do, and no writer at work: due notices, or claims whose lease
    has ended."""
    due = (
        select(EpicRow.source_id)
        .join(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(or_(_is_due(now), NoticeRow.claimed_until.is_not(None)))
        .group_by(EpicRow.source_id)
        .having(~func.coalesce(func.bool_or(leases.is_held(NoticeRow, now)), false()))
    )
    return (await session.scalars(due)).all()


_PENDING = (
    select(NoticeRow.run_id, func.count())
    .where(among_ids(NoticeRow.run_id), NoticeRow.target.is_not(None))
    .group_by(NoticeRow.run_id)
)
_DONE = (
    select(NoticeWriteRow.run_id, NoticeWriteRow.kind, func.count())
    .where(among_ids(NoticeWriteRow.run_id))
    .group_by(NoticeWriteRow.run_id, NoticeWriteRow.kind)
)


async def count_writes(session: AsyncSession, run_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """What each run wrote, and what it still has to write, by kind."""
    counts: dict[int, dict[str, int]] = {run_id: {} for run_id in run_ids}
    # Pending writes are read first: one that is written between the two queries is counted twice, not missed.
    pending = await session.execute(_PENDING, {"ids": list(run_ids)})
    for waiting_for, count in pending:
        if waiting_for is not None:
            counts[waiting_for]["pending"] = count
    done = await session.execute(_DONE, {"ids": list(run_ids)})
    for run_id, kind, count in done:
        counts[run_id][kind] = count
    return counts
