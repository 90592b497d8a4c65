"""Time as a change like any other: judge runs for the epics whose moment has come."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from mappings import ledger, pauses
from mappings.ledger import RUN_LEASE
from mappings.tables import BEHIND_THE_BARRIER, READING_MODES, UNFINISHED_STATES, Epic, Notice, Run, Source

# A judge run shows itself at every slice; one that has not for so long is dead, or as good as.
SIGN_OF_LIFE = timedelta(seconds=30)
# One that broke down would break down again: not every sweep is to try.
AFTER_A_BREAKDOWN = timedelta(minutes=15)


async def open_runs(session: AsyncSession, now: datetime) -> None:
    """A queued judge run for each source with an epic to be judged by `now`, where none is to do it already.

    However many ask at once, one run is made: who finds a source's row locked leaves it to the next
    sweep. Reading runs are no matter here, for one may wait for hours.
    """
    reading = select(Run.source_id).where(Run.mode.in_(READING_MODES), Run.state.in_(UNFINISHED_STATES))
    due = sources_due((await session.scalars(reading)).all(), now)
    # What runs there are is asked after the lock, or another's that was just opened might be missed.
    for source_id in (await session.scalars(due.with_for_update(skip_locked=True, key_share=True))).all():
        if not await _is_seen_to(session, source_id, now):
            await ledger.open_run(session, source_id, "judge", now)


def sources_due(reading: Collection[int], now: datetime) -> Select[int]:
    """The sources with an epic to be judged by `now`, or with writes left behind: one probe of the index for
    each, whatever its size.

    An epic that was never judged has no moment of its own: of the sources in `reading` it is left to the
    run that has just read it, and will judge it with the others.
    """
    first = (
        select(Epic.look_again_at)
        .where(Epic.source_id == Source.id, Epic.look_again_at <= now)
        .where(or_(Epic.judged_at.is_not(None), Source.id.not_in(reading)))
        .order_by(Epic.look_again_at)
        .limit(1)
        .scalar_subquery()
    )
    return select(Source.id).where(or_(first.is_not(None), _left_behind(now))).order_by(Source.id)


def _left_behind(now: datetime) -> ColumnElement[bool]:
    """Whether a source has writes that no run will let go: their own has ended, or their project was stopped
    and may be tried again."""
    return (
        exists()
        .where(Epic.source_id == Source.id, Notice.epic_id == Epic.id, Run.id == Notice.run_id)
        .where(BEHIND_THE_BARRIER, Run.finished_at.is_not(None), pauses.may_go(now))
    )


async def _is_seen_to(session: AsyncSession, source_id: int, now: datetime) -> bool:
    """Whether a judge run will take up what is due, or broke down over it a moment ago.

    One with `touch` looks at every epic before it judges any, which is too long to wait for.
    """
    judging = Run.source_id == source_id, Run.mode == "judge"
    alive = or_(Run.state == "queued", Run.claimed_until > now + RUN_LEASE - SIGN_OF_LIFE)
    under_way = select(Run.id).where(
        *judging, Run.touch.is_(None), Run.state.in_(("queued", *UNFINISHED_STATES)), alive
    )
    if (await session.scalars(under_way.limit(1))).first() is not None:
        return True
    ended = select(Run).where(*judging, Run.finished_at.is_not(None)).order_by(Run.id.desc()).limit(1)
    last = (await session.scalars(ended)).first()
    return (
        last is not None
        and last.state == "failed"
        and last.finished_at is not None
        and last.finished_at > now - AFTER_A_BREAKDOWN
    )
