"""Deliveries as a ledger of work: who may work on which, until when, and what became of each.

Those of one source are worked on by one worker at a time, batch by batch, so that what arrives
meanwhile gathers, and ten webhooks about one epic cost one look at it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from mappings.ledger import AT_ONCE
from mappings.tables import Delivery, Epic, Notice, Source

# Longer than any one call to a tracker; renewed while a batch is worked on.
LEASE = timedelta(minutes=3)
BATCH, BATCH_BYTES = 100, 32 * 1024 * 1024
SUSPECT = 2  # attempts that were begun and never ended
BODY_DAYS, ROW_DAYS = timedelta(days=14), timedelta(days=90)
CLEANED_AT_ONCE = 1000


def _free(now: datetime) -> Any:
    return and_(Delivery.due_at <= now, or_(Delivery.claimed_until.is_(None), Delivery.claimed_until <= now))


async def claim(session: AsyncSession, source_id: int, owner: str, now: datetime) -> list[Delivery]:
    """The oldest due deliveries of a source, `owner`'s until the lease ends, as many as fit into memory.

    None while another has some, and none while the tracker has asked for a pause.
    """
    await session.execute(select(Source.id).where(Source.id == source_id).with_for_update(key_share=True))
    waiting = Delivery.source_id == source_id, Delivery.due_at.is_not(None)
    paused = and_(Delivery.due_at > now, Delivery.error.is_not(None))
    stop = select(Delivery.id).where(*waiting, or_(Delivery.claimed_until > now, paused)).limit(1)
    if (await session.scalars(stop)).one_or_none() is not None:
        return []
    oldest = (
        select(Delivery.id, func.octet_length(Delivery.body), Delivery.attempts)
        .where(Delivery.source_id == source_id, _free(now))
        .order_by(Delivery.id)
        .limit(BATCH)
    )
    ids: list[int] = []
    size = 0
    for id, length, attempts in (await session.execute(oldest)).all():
        size += length or 0
        # What was begun before and not ended may take its worker down, and is not to take others with it.
        alone = attempts >= SUSPECT
        if ids and (alone or size > BATCH_BYTES):
            break
        ids.append(id)
        if alone:
            break
    claimed = await session.scalars(
        update(Delivery)
        .where(Delivery.id.in_(ids))
        .values(claimed_by=owner, claimed_until=now + LEASE, attempts=Delivery.attempts + 1)
        .returning(Delivery)
        .options(undefer(Delivery.body))
    )
    return sorted(claimed, key=lambda delivery: delivery.id)


async def keep(session: AsyncSession, owner: str, now: datetime) -> None:
    """A sign of life for what `owner` has claimed. What is just being ended is left alone: to wait for it
    while holding others would be a deadlock."""
    mine = (
        select(Delivery.id)
        .where(Delivery.claimed_by == owner, Delivery.due_at.is_not(None))
        .with_for_update(skip_locked=True)
    )
    await session.execute(
        update(Delivery).where(Delivery.id.in_(mine.scalar_subquery())).values(claimed_until=now + LEASE)
    )


# Nobody's any more, and an attempt that could not be made counts for nothing.
_RETURNED: dict[str, Any] = {
    "attempts": Delivery.attempts - 1,
    "claimed_by": None,
    "claimed_until": None,
}


async def give_back(session: AsyncSession, worker: str) -> None:
    """What a worker that stops had claimed is anybody's at once."""
    mine = Delivery.claimed_by.startswith(worker, autoescape=True), Delivery.due_at.is_not(None)
    await session.execute(update(Delivery).where(*mine).values(_RETURNED))


async def end(
    session: AsyncSession,
    owner: str,
    ids: Collection[int],
    state: str,
    *,
    reason: str | None = None,
    error: dict[str, Any] | None = None,
    run_id: int | None = None,
) -> list[int]:
    """What became of those of `ids` that are still `owner`'s, which are returned."""
    ended = await session.scalars(
        _mine(owner, ids)
        .values(
            state=state,
            reason=reason,
            error=error,
            run_id=run_id,
            due_at=None,
            claimed_by=None,
            claimed_until=None,
        )
        .returning(Delivery.id)
    )
    return list(ended)


async def put_off(session: AsyncSession, owner: str, ids: Collection[int], until: datetime) -> None:
    """Give them back, to be worked on at `until`."""
    await session.execute(_mine(owner, ids).values({**_RETURNED, "due_at": until}))


async def pause(session: AsyncSession, owner: str, until: datetime, error: dict[str, Any]) -> None:
    """The tracker asks for a pause: whatever of `owner`'s is not done waits with its error until then, and
    so does, by that, whatever else arrives."""
    waiting = update(Delivery).where(Delivery.claimed_by == owner, Delivery.due_at.is_not(None))
    await session.execute(waiting.values({**_RETURNED, "due_at": until, "error": error}))


async def end_pause(session: AsyncSession, source_id: int) -> None:
    """A person changed how the source is called: what waited for that is tried at once."""
    waiting = update(Delivery).where(
        Delivery.source_id == source_id, Delivery.due_at.is_not(None), Delivery.claimed_by.is_(None)
    )
    await session.execute(waiting.values(due_at=AT_ONCE, error=None))


def _mine(owner: str, ids: Collection[int]) -> Any:
    return update(Delivery).where(Delivery.id.in_(ids), Delivery.claimed_by == owner)


def why_no_replay(delivery: Delivery, now: datetime) -> str | None:
    """What stands against working on a delivery once more, in words; None where nothing does."""
    if delivery.body is None:
        return "Its body was deleted after 14 days; sync the source instead."
    if delivery.claimed_until is not None and delivery.claimed_until > now:
        return "It is being worked on at this moment; look again in a few minutes."
    return None


def receive_again(delivery: Delivery) -> None:
    """A replay: worked on as if it had just arrived."""
    delivery.state, delivery.reason, delivery.error = "received", None, None
    delivery.attempts, delivery.due_at = 0, AT_ONCE
    delivery.claimed_by = delivery.claimed_until = None


async def remote_ids(session: AsyncSession, run_id: int, most: int) -> list[str]:
    """The tracker's ids of the deliveries that a run was opened for, the oldest first."""
    led_to = select(Delivery.remote_id).where(Delivery.run_id == run_id).order_by(Delivery.id).limit(most)
    return list(await session.scalars(led_to))


async def sources_with_due(session: AsyncSession, now: datetime) -> Sequence[int]:
    """Sources with deliveries that wait and nobody works on: one look into the index for each source."""
    waiting = select(Delivery.id).where(Delivery.source_id == Source.id, _free(now)).exists()
    return (await session.scalars(select(Source.id).where(waiting))).all()


async def clean_up(session: AsyncSession, now: datetime) -> None:
    """Take away bodies after 14 days and rows after 90, some at a time."""
    old = (
        select(Delivery.id)
        .where(Delivery.received_at < now - BODY_DAYS, Delivery.body.is_not(None))
        .where(Delivery.due_at.is_(None))
    )
    await session.execute(update(Delivery).where(Delivery.id.in_(_some(old))).values(body=None))
    oldest = select(Delivery.id).where(Delivery.received_at < now - ROW_DAYS, Delivery.due_at.is_(None))
    await session.execute(delete(Delivery).where(Delivery.id.in_(_some(oldest))))


def _some(which: Select[Any]) -> Any:
    return which.limit(CLEANED_AT_ONCE).with_for_update(skip_locked=True).scalar_subquery()


async def epics_by_id(session: AsyncSession, source: Source, remote_ids: Collection[str]) -> dict[str, Epic]:
    """The epics of a source with these ids in the tracker, those that left the lists among them."""
    held = Epic.tracker == source.tracker, Epic.source_id == source.id
    rows = await session.scalars(select(Epic).where(*held, Epic.remote_id.in_(remote_ids)))
    return {row.remote_id: row for row in rows}


async def is_ours(session: AsyncSession, source_id: int, comment_id: str) -> bool:
    """Whether a comment is a notice's of this source, by its stored id."""
    found = (
        select(Notice.id)
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, Notice.remote_id == comment_id)
    )
    return (await session.scalars(found.limit(1))).first() is not None


async def is_being_written(session: AsyncSession, epic_id: int, now: datetime) -> bool:
    """Whether we write on the ticket at this moment: a comment there may be ours, not stored yet."""
    found = select(Notice.id).where(Notice.epic_id == epic_id, Notice.claimed_until > now)
    return (await session.scalars(found.limit(1))).first() is not None
