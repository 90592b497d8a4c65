"""The barrier after judging: nothing of a run is written before all of it is judged and asked for here."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.locks import lock_notices_of_source
from mappings.notices import burst_guard, daily_cap, pauses
from mappings.notices.withdrawal import cancel_withdrawn_runs
from mappings.tables import NOT_RELEASED, UNSENT, EpicRow, NoticeRow, RunRow, among


async def release_writes(session: AsyncSession, run: RunRow, now: datetime) -> int:
    """Let the writes of a judged run go; how many of its new comments the guard or the cap holds instead.

    Writes left behind by a run that ended without releasing them go too.
    """
    await lock_notices_of_source(session, run.source_id)
    await cancel_withdrawn_runs(session, run.source_id, now)
    ready = await _select_ready(session, run, now)
    # A request that may have arrived has had its turn, and is not to wait for another.
    new = and_(ready, NoticeRow.target == "posted", UNSENT)
    held = await burst_guard.check_new_comments(session, run, and_(new, NoticeRow.guard.is_(None)), now)
    # What a person has approved waits for nobody, and takes its slot of the day first.
    await session.execute(update(NoticeRow).where(ready, NoticeRow.guard == "approved").values(due_at=now))
    held += await daily_cap.hold_over_cap(session, run.source_id, new, now)
    await session.execute(update(NoticeRow).where(ready).values(due_at=now))
    return held


async def _select_ready(session: AsyncSession, run: RunRow, now: datetime) -> ColumnElement[bool]:
    """What is judged and not let go yet, its epics locked; nothing new for a project that refuses."""
    left_behind = select(RunRow.id).where(RunRow.source_id == run.source_id, RunRow.finished_at.is_not(None))
    ready = and_(NOT_RELEASED, or_(NoticeRow.run_id == run.id, NoticeRow.run_id.in_(left_behind)))
    # Epics before their notices, in the order of their ids, as whoever judges takes them.
    epics = await session.scalars(
        select(EpicRow.id)
        .join(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(ready, pauses.may_be_released(now))
        .order_by(EpicRow.id)
        .with_for_update(of=EpicRow, key_share=True)
    )
    return and_(ready, among(NoticeRow.epic_id, epics.all()))
