"""Counting what is done in the transaction that does it, for any number of processes.

A tally is the last row that its transaction locks, and the only one of its table, so that nobody waits in a
circle.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.facts import Budget, Told
from mappings.tables import Source, Tally, TrackerReading

# Upper bounds in seconds; what takes longer than the last falls into one bucket more.
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

What = Literal["run", "delivery", "write", "request", "door"]

_ADD = text("""
    INSERT INTO tallies (source_id, what, label, count, seconds, buckets)
    VALUES (:source, :what, :label, :count, :seconds, CAST(:buckets AS bigint[]))
    ON CONFLICT (source_id, what, label) DO UPDATE SET
        count = tallies.count + excluded.count,
        seconds = tallies.seconds + excluded.seconds,
        buckets = (
            SELECT coalesce(array_agg(coalesce(before, 0) + coalesce(more, 0) ORDER BY place), '{}')
            FROM unnest(tallies.buckets, excluded.buckets) WITH ORDINALITY AS both_of(before, more, place)
        )
""")


async def add(
    session: AsyncSession,
    source_id: int,
    what: What,
    label: str = "",
    *,
    count: int | None = None,
    took: Sequence[float] = (),
) -> None:
    """Count so many more of a source's; as many as `took` has seconds where `count` is not given."""
    count = len(took) if count is None else count
    if not count:
        return
    seconds = [max(one, 0.0) for one in took]  # the clocks of two machines are never quite together
    values = {"source": source_id, "what": what, "label": label, "count": count}
    await session.execute(_ADD, {**values, "seconds": sum(seconds), "buckets": _buckets(seconds)})


def _buckets(seconds: Sequence[float]) -> list[int]:
    found = [0] * (len(BOUNDS) + 1) if seconds else []
    for one in seconds:
        found[bisect_left(BOUNDS, one)] += 1
    return found


async def all_of(session: AsyncSession) -> Sequence[Tally]:
    return (await session.scalars(select(Tally))).all()


async def last_told(session: AsyncSession, source_id: int) -> tuple[Told, datetime] | None:
    """What is remembered of a limit, and when it was heard; nothing of before the source was changed, for its
    token may be another's now."""
    reading = await session.scalar(
        select(TrackerReading)
        .join(Source, Source.id == TrackerReading.source_id)
        .where(Source.id == source_id, TrackerReading.budget_at >= Source.updated_at)
    )
    if reading is None or reading.budget_remaining is None or reading.budget_at is None:
        return None
    budget = Budget(reading.budget_remaining, reading.budget_limit, reading.budget_resets_at)
    return Told(budget, reading.clock_ahead), reading.budget_at


async def keep_told(session: AsyncSession, source_id: int, told: Told, now: datetime) -> None:
    """Remember what a tracker said of its limit and clock; what it did not say stays as it is."""
    values: dict[str, object] = {}
    if (budget := told.budget) is not None:
        values |= {
            "budget_limit": budget.limit,
            "budget_remaining": budget.remaining,
            "budget_resets_at": budget.resets_at,
            "budget_at": now,
        }
    if told.clock_ahead is not None:
        values |= {"clock_ahead": told.clock_ahead, "clock_at": now}
    if values:
        made = insert(TrackerReading).values(source_id=source_id, **values)
        await session.execute(
            made.on_conflict_do_update(index_elements=[TrackerReading.source_id], set_=values)
        )
