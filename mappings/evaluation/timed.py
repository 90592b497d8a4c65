"""Evaluations that are due by time alone: opens `evaluate` runs for epics whose `evaluate_at` has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, exists, or_, select

from mappings.leases import is_held
from mappings.notices import pauses
from mappings.runs.causes import RETRY_AFTER_FAILURE, Cause, join_run
from mappings.tables import (
    NOT_RELEASED,
    READING_MODES,
    UNFINISHED_STATES,
    EpicRow,
    NoticeRow,
    RunRow,
    SourceRow,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


async def open_evaluate_runs(session: AsyncSession, now: datetime) -> None:
    """Open an `evaluate` run for each source with an epic due by `now`, unless a run already covers it.

    However many callers there are at once, one run is made: a caller that finds a source's row locked skips
    it until the next sweep. Reading runs do not count as cover, because one may wait for hours.
    """
    reading_sources = select(RunRow.source_id).where(
        RunRow.mode.in_(READING_MODES), RunRow.state.in_(UNFINISHED_STATES)
    )
    due = sources_due((await session.scalars(reading_sources)).all(), now)
    # Runs are queried after the lock: before it, a run that another caller just opened could be missed.
    for source_id in (await session.scalars(due.with_for_update(skip_locked=True, key_share=True))).all():
        if not await _is_covered(session, source_id, now):
            await join_run(session, [source_id], "due", [Cause("time")], now)


def sources_due(reading_sources: Collection[int], now: datetime) -> Select[int]:
    """The sources with an epic due for evaluation by `now`, or with unreleased writes of an ended run: one
    index probe for each source, whatever its size.

    In the sources of `reading_sources` an epic that was never evaluated does not count: the run that has just
    read it evaluates it with the others.
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
    """Whether a source has unreleased writes that no run will release: their run has ended. New comments in a
    paused project do not count."""
    return (
        exists()
        .where(
            EpicRow.source_id == SourceRow.id, NoticeRow.epic_id == EpicRow.id, RunRow.id == NoticeRow.run_id
        )
        .where(NOT_RELEASED, RunRow.finished_at.is_not(None), pauses.may_be_released(now))
    )


async def _is_covered(session: AsyncSession, source_id: int, now: datetime) -> bool:
    """Whether an `evaluate` run will evaluate what is due, or one failed within `RETRY_AFTER_FAILURE`.

    A run that evaluates what its causes affect does not count: it evaluates nothing else. Nor does one whose
    claim has ended: its worker may be dead.
    """
    evaluates_due = RunRow.evaluates.is_distinct_from("affected")
    evaluate_runs = RunRow.source_id == source_id, RunRow.mode == "evaluate", evaluates_due
    alive = or_(RunRow.state == "queued", is_held(RunRow, now))
    under_way = select(RunRow.id).where(
        *evaluate_runs,
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
        and last.finished_at > now - RETRY_AFTER_FAILURE
    )
