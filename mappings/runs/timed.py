"""Time as a change like any other: judge runs for the epics whose moment has come."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.leases import RUN_LEASE
from mappings.notices import pauses
from mappings.runs.queue import open_run
from mappings.tables import (
    NOT_RELEASED,
    READING_MODES,
    UNFINISHED_STATES,
    EpicRow,
    NoticeRow,
    RunRow,
    SourceRow,
)

# A judge run shows itself at every slice; one that has not for so long is dead, or as good as.
SIGN_OF_LIFE = timedelta(seconds=30)
# One that broke down would break down again: not every sweep is to try.
AFTER_A_BREAKDOWN = timedelta(minutes=15)


async def open_runs(session: AsyncSession, now: datetime) -> None:
    """A queued judge run for each source with an epic to be judged by `now`, where none is to do it already.

    However many ask at once, one run is made: who finds a source's row locked leaves it to the next
    sweep. Reading runs are no matter here, for one may wait for hours.
    """
    reading_sources = select(RunRow.source_id).where(
        RunRow.mode.in_(READING_MODES), RunRow.state.in_(UNFINISHED_STATES)
    )
    due = sources_due((await session.scalars(reading_sources)).all(), now)
    # What runs there are is asked after the lock, or another's that was just opened might be missed.
    for source_id in (await session.scalars(due.with_for_update(skip_locked=True, key_share=True))).all():
        if not await _is_covered(session, source_id, now):
            await open_run(session, source_id, "evaluate", now)


def sources_due(reading_sources: Collection[int], now: datetime) -> Select[int]:
    """The sources with an epic to be judged by `now`, or with writes left behind: one probe of the index for
    each, whatever its size.

    An epic that was never judged has no moment of its own: of the sources in `reading` it is left to the
    run that has just read it, and will judge it with the others.
    """
    first = (
        select(EpicRow.evaluate_at)
        .where(EpicRow.source_id == SourceRow.id, EpicRow.evaluate_at <= now)
        .where(or_(EpicRow.evaluated_at.is_not(None), SourceRow.id.not_in(reading_sources)))
        .order_by(EpicRow.evaluate_at)
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(SourceRow.id)
        .where(or_(first.is_not(None), _has_unreleased_writes(now)))
        .order_by(SourceRow.id)
    )


def _has_unreleased_writes(now: datetime) -> ColumnElement[bool]:
    """Whether a source has writes that no run will let go: their own has ended, or their project was stopped
    and may be tried again."""
    return (
        exists()
        .where(
            EpicRow.source_id == SourceRow.id, NoticeRow.epic_id == EpicRow.id, RunRow.id == NoticeRow.run_id
        )
        .where(NOT_RELEASED, RunRow.finished_at.is_not(None), pauses.may_be_released(now))
    )


async def _is_covered(session: AsyncSession, source_id: int, now: datetime) -> bool:
    """Whether a judge run will take up what is due, or broke down over it a moment ago.

    One with `touch` looks at every epic before it judges any, which is too long to wait for.
    """
    evaluate_runs = RunRow.source_id == source_id, RunRow.mode == "evaluate"
    alive = or_(RunRow.state == "queued", RunRow.claimed_until > now + RUN_LEASE - SIGN_OF_LIFE)
    under_way = select(RunRow.id).where(
        *evaluate_runs,
        RunRow.rule_condition.is_(None),
        RunRow.state.in_(("queued", *UNFINISHED_STATES)),
        alive,
    )
    if (await session.scalars(under_way.limit(1))).first() is not None:
        return True
    ended = (
        select(RunRow)
        .where(*evaluate_runs, RunRow.finished_at.is_not(None))
        .order_by(RunRow.id.desc())
        .limit(1)
    )
    last = (await session.scalars(ended)).first()
    return (
        last is not None
        and last.state == "failed"
        and last.finished_at is not None
        and last.finished_at > now - AFTER_A_BREAKDOWN
    )
