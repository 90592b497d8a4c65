"""Counters, raised in the transaction that does the counted work, by any number of processes.

A transaction locks its counter row last, and only one row of that table, so that counting cannot deadlock.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from connectors.rate_limits import Budget, ResponseMeta
from mappings.tables import CounterRow, RateLimitRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

# Upper bounds in seconds; one more bucket counts what takes longer than the last bound.
BUCKET_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

CounterName = Literal["run", "delivery", "write", "request", "uncounted", "door"]

_ADD = text("""
    INSERT INTO counters (source_id, what, label, count, seconds, buckets)
    VALUES (:source, :what, :label, :count, :seconds, CAST(:buckets AS bigint[]))
    ON CONFLICT (source_id, what, label) DO UPDATE SET
        count = counters.count + excluded.count,
        seconds = counters.seconds + excluded.seconds,
        buckets = (
            SELECT coalesce(array_agg(coalesce(before, 0) + coalesce(more, 0) ORDER BY place), '{}')
            FROM unnest(counters.buckets, excluded.buckets) WITH ORDINALITY AS both_of(before, more, place)
        )
""")


async def add_count(
    session: AsyncSession,
    source_id: int,
    what: CounterName,
    label: str = "",
    *,
    count: int | None = None,
    took: Sequence[float] = (),
) -> None:
    """Raise a source's counter by `count`, or by the number of durations in `took` (seconds) without it."""
    count = len(took) if count is None else count
    if not count:
        return
    seconds = [max(one, 0.0) for one in took]  # negative where the clocks of two machines differ
    values = {"source": source_id, "what": what, "label": label, "count": count}
    await session.execute(_ADD, {**values, "seconds": sum(seconds), "buckets": _buckets(seconds)})


def _buckets(seconds: Sequence[float]) -> list[int]:
    found = [0] * (len(BUCKET_BOUNDS) + 1) if seconds else []
    for one in seconds:
        found[bisect_left(BUCKET_BOUNDS, one)] += 1
    return found


async def all_counters(session: AsyncSession) -> Sequence[CounterRow]:
    return (await session.scalars(select(CounterRow))).all()


async def load_rate_limit(session: AsyncSession, source_id: int) -> tuple[ResponseMeta, datetime] | None:
    """The last stored rate limit and when it was received (UTC). None if it is from before the last change of
    the source, because the source may have another token now."""
    row = await session.scalar(
        select(RateLimitRow)
        .join(SourceRow, SourceRow.id == RateLimitRow.source_id)
        .where(SourceRow.id == source_id, RateLimitRow.budget_at >= SourceRow.updated_at)
    )
    if row is None or row.budget_remaining is None or row.budget_at is None:
        return None
    budget = Budget(row.budget_remaining, row.budget_limit, row.budget_resets_at)
    return ResponseMeta(budget, row.clock_ahead), row.budget_at


async def store_rate_limit(session: AsyncSession, source_id: int, meta: ResponseMeta, now: datetime) -> None:
    """Store what a response said about the tracker's rate limit and clock; other stored values stay."""
    values: dict[str, object] = {}
    if (budget := meta.budget) is not None:
        values |= {
            "budget_limit": budget.limit,
            "budget_remaining": budget.remaining,
            "budget_resets_at": budget.resets_at,
            "budget_at": now,
        }
    if meta.clock_ahead is not None:
        values |= {"clock_ahead": meta.clock_ahead, "clock_at": now}
    if values:
        made = insert(RateLimitRow).values(source_id=source_id, **values)
        await session.execute(
            made.on_conflict_do_update(index_elements=[RateLimitRow.source_id], set_=values)
        )
