"""Deliveries as a queue of work: which worker may process which, until when, and the result of each.

One worker at a time processes the deliveries of a source, batch by batch. Deliveries that arrive meanwhile
collect in the next batch, so that ten webhooks about one epic cost one fetch of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import undefer

from mappings import leases
from mappings.leases import ALWAYS_DUE, LEASE, RELEASED
from mappings.locks import SYNCHRONOUS_COMMIT_OFF, locked_source
from mappings.tables import READING_MODES, DeliveryRow, EpicRow, NoticeRow, RunRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.clock import Clock

BATCH_SIZE, BATCH_BYTES = 100, 32 * 1024 * 1024
SUSPECT_ATTEMPTS = 2  # attempts that began and never ended
BODY_DAYS, ROW_DAYS = timedelta(days=14), timedelta(days=90)
DELETED_AT_ONCE = 1000
# What a body names is read at most so often, however often the body comes under new ids.
REPEAT_PAUSE = timedelta(minutes=1)
# What arrives within this time of each other is processed together, so that a burst on one epic costs one
# fetch. A delivery that comes alone does not wait for others.
BURST_WINDOW = timedelta(milliseconds=100)


def _claimable(now: datetime) -> Any:
    return and_(DeliveryRow.due_at <= now, leases.is_free(DeliveryRow, now))


async def claim_deliveries(
    session: AsyncSession, source_id: int, owner: str, clock: Clock
) -> list[DeliveryRow]:
    """Claim the oldest due deliveries of a source, as many as `BATCH_SIZE` and `BATCH_BYTES` allow.

    An empty list while another owner has claimed some, and while the tracker has asked for a pause. The
    time is read once the source is locked: a lease begins when it is taken.
    """
    # A claim whose commit is lost was never taken, and what its owner did is not accepted.
    await session.execute(locked_source(source_id, SourceRow.id, SYNCHRONOUS_COMMIT_OFF))
    now = await clock.read(session)
    waiting = DeliveryRow.source_id == source_id, DeliveryRow.due_at.is_not(None)
    paused = and_(DeliveryRow.due_at > now, DeliveryRow.error.is_not(None))
    stop = select(DeliveryRow.id).where(*waiting, or_(leases.is_held(DeliveryRow, now), paused)).limit(1)
    if (await session.scalars(stop)).one_or_none() is not None:
        return []
    oldest = (
        select(DeliveryRow.id, func.octet_length(DeliveryRow.body), DeliveryRow.attempts)
        .where(DeliveryRow.source_id == source_id, _claimable(now))
        .order_by(DeliveryRow.id)
        .limit(BATCH_SIZE)
    )
    ids: list[int] = []
    size = 0
    for id, length, attempts in (await session.execute(oldest)).all():
        size += length or 0
        # A delivery whose attempts never ended may crash its worker, so it is claimed alone.
        alone = attempts >= SUSPECT_ATTEMPTS
        if ids and (alone or size > BATCH_BYTES):
            break
        ids.append(id)
        if alone:
            break
    attempted = {"attempts": DeliveryRow.attempts + 1}
    claim = leases.taking(DeliveryRow, owner, now, DeliveryRow.id.in_(ids), **attempted)
    claimed = await session.scalars(claim.options(undefer(DeliveryRow.body)))
    return sorted(claimed, key=lambda delivery: delivery.id)


def left_of_burst(claimed: Sequence[DeliveryRow], *, follows: bool) -> timedelta:
    """How long the claimed deliveries are to be left for others to join them: until the oldest has been here
    for `BURST_WINDOW`. Nothing for one that came alone. `follows`: others were processed just before."""
    if not follows and len(claimed) == 1:
        return timedelta()
    left = claimed[0].received_at + BURST_WINDOW - claimed_at(claimed)
    return min(max(left, timedelta()), BURST_WINDOW)  # the clock may have been put back


def claimed_at(claimed: Sequence[DeliveryRow]) -> datetime:
    """When these deliveries, of one claim, were claimed."""
    until = claimed[0].claimed_until
    assert until is not None
    return until - LEASE


async def renew_delivery_leases(session: AsyncSession, owner: str, now: datetime) -> None:
    """Renew the lease of all deliveries that `owner` has claimed and not ended."""
    await leases.renew_all(session, DeliveryRow, owner, now, DeliveryRow.due_at.is_not(None))


# An attempt that could not be made does not count.
_NOT_ATTEMPTED: dict[str, Any] = {"attempts": DeliveryRow.attempts - 1}


async def release_deliveries(session: AsyncSession, worker: str) -> None:
    """Release all deliveries that a worker has claimed, because it stops."""
    unfinished = DeliveryRow.due_at.is_not(None)
    await leases.release_all(session, DeliveryRow, worker, unfinished, **_NOT_ATTEMPTED)


async def end_deliveries(
    session: AsyncSession,
    owner: str,
    ids: Collection[int],
    state: str,
    now: datetime,
    *,
    reason: str | None = None,
    error: dict[str, Any] | None = None,
    run_id: int | None = None,
) -> list[int]:
    """Store the final state of those of `ids` that `owner` still has claimed. Returns their ids."""
    ended = await session.scalars(
        _update_claimed(owner, ids)
        .values(state=state, reason=reason, error=error, run_id=run_id, due_at=None, ended_at=now, **RELEASED)
        .returning(DeliveryRow.id)
    )
    return list(ended)


async def postpone_deliveries(
    session: AsyncSession, owner: str, ids: Collection[int], until: datetime
) -> None:
    """Release the deliveries; they are due again at `until`."""
    await session.execute(_update_claimed(owner, ids).values(due_at=until, **_NOT_ATTEMPTED, **RELEASED))


async def pause_deliveries(session: AsyncSession, owner: str, until: datetime, error: dict[str, Any]) -> None:
    """The tracker asks for a pause: release all unfinished deliveries of `owner` until then, with the error.
    While one of them waits so, `claim_deliveries` claims no other delivery of the source."""
    waiting = update(DeliveryRow).where(DeliveryRow.claimed_by == owner, DeliveryRow.due_at.is_not(None))
    await session.execute(waiting.values(due_at=until, error=error, **_NOT_ATTEMPTED, **RELEASED))


async def resume_deliveries(session: AsyncSession, source_id: int) -> None:
    """A person changed how Northing calls the source: make its waiting deliveries due at once."""
    waiting = update(DeliveryRow).where(
        DeliveryRow.source_id == source_id, DeliveryRow.due_at.is_not(None), DeliveryRow.claimed_by.is_(None)
    )
    await session.execute(waiting.values(due_at=ALWAYS_DUE, error=None))


def _update_claimed(owner: str, ids: Collection[int]) -> Any:
    return update(DeliveryRow).where(DeliveryRow.id.in_(ids), DeliveryRow.claimed_by == owner)


async def delivery_ids_of_run(session: AsyncSession, run_id: int, most: int) -> list[str]:
    """The tracker's ids of the deliveries that a run was opened for, oldest first, at most `most`."""
    opened_for = (
        select(DeliveryRow.remote_id).where(DeliveryRow.run_id == run_id).order_by(DeliveryRow.id).limit(most)
    )
    return list(await session.scalars(opened_for))


async def last_start_for_deliveries(session: AsyncSession, source_id: int) -> datetime | None:
    """When the last run began that reads a source because of a delivery; None where there is none."""
    opened = select(DeliveryRow.id).where(DeliveryRow.run_id == RunRow.id).exists()
    began = RunRow.source_id == source_id, RunRow.mode.in_(READING_MODES), RunRow.started_at.is_not(None)
    last = select(RunRow.started_at).where(*began, opened).order_by(RunRow.id.desc()).limit(1)
    return (await session.scalars(last)).one_or_none()


async def sources_with_due_deliveries(session: AsyncSession, now: datetime) -> Sequence[int]:
    """Sources with due and unclaimed deliveries: one index probe for each source."""
    waiting = select(DeliveryRow.id).where(DeliveryRow.source_id == SourceRow.id, _claimable(now)).exists()
    return (await session.scalars(select(SourceRow.id).where(waiting))).all()


async def delete_old_deliveries(session: AsyncSession, now: datetime) -> None:
    """Delete bodies after 14 days and rows after 90, at most `DELETED_AT_ONCE` of each in one call."""
    old = (
        select(DeliveryRow.id)
        .where(DeliveryRow.received_at < now - BODY_DAYS, DeliveryRow.body.is_not(None))
        .where(DeliveryRow.due_at.is_(None))
    )
    await session.execute(update(DeliveryRow).where(DeliveryRow.id.in_(_some_of(old))).values(body=None))
    oldest = select(DeliveryRow.id).where(
        DeliveryRow.received_at < now - ROW_DAYS, DeliveryRow.due_at.is_(None)
    )
    await session.execute(delete(DeliveryRow).where(DeliveryRow.id.in_(_some_of(oldest))))


def _some_of(which: Select[Any]) -> Any:
    return which.limit(DELETED_AT_ONCE).with_for_update(skip_locked=True).scalar_subquery()


async def epics_by_remote_id(
    session: AsyncSession, source: SourceRow, remote_ids: Collection[str]
) -> dict[str, EpicRow]:
    """The epics of a source with these ids in the tracker, removed ones included."""
    of_source = EpicRow.tracker == source.tracker, EpicRow.source_id == source.id
    rows = await session.scalars(select(EpicRow).where(*of_source, EpicRow.remote_id.in_(remote_ids)))
    return {row.remote_id: row for row in rows}


async def is_our_comment(session: AsyncSession, source_id: int, comment_id: str) -> bool:
    """Whether a comment is the one of a notice of this source, by its stored id."""
    found = (
        select(NoticeRow.id)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id, NoticeRow.remote_id == comment_id)
    )
    return (await session.scalars(found.limit(1))).first() is not None


async def is_being_written(session: AsyncSession, epic_id: int, now: datetime) -> bool:
    """Whether a writer has claimed the epic's notice now: a comment there may be ours and not stored yet."""
    found = select(NoticeRow.id).where(NoticeRow.epic_id == epic_id, leases.is_held(NoticeRow, now))
    return (await session.scalars(found.limit(1))).first() is not None
