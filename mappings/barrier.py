"""The barrier after judging: nothing of a run is written before all of it is judged and asked for here."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings import cap, claims, guard, pauses, undo
from mappings.tables import BEHIND_THE_BARRIER, UNSENT, Epic, Notice, Run, among


async def release(session: AsyncSession, run: Run, now: datetime) -> int:
    """Let the writes of a judged run go; how many of its new comments the guard or the cap holds instead.

    Writes left behind by a run that ended without releasing them go too.
    """
    await claims.take_turn(session, run.source_id)
    await undo.call_off_withdrawn(session, run.source_id, now)
    ready = await _ready(session, run, now)
    # A request that may have arrived has had its turn, and is not to wait for another.
    new = and_(ready, Notice.target == "posted", UNSENT)
    held = await guard.ask(session, run, and_(new, Notice.guard.is_(None)), now)
    # What a person has approved waits for nobody, and takes its slot of the day first.
    await session.execute(update(Notice).where(ready, Notice.guard == "approved").values(due_at=now))
    held += await cap.hold(session, run.source_id, new, now)
    await session.execute(update(Notice).where(ready).values(due_at=now))
    return held


async def _ready(session: AsyncSession, run: Run, now: datetime) -> ColumnElement[bool]:
    """What is judged and not let go yet, its epics locked; nothing new for a project that refuses."""
    left_behind = select(Run.id).where(Run.source_id == run.source_id, Run.finished_at.is_not(None))
    ready = and_(BEHIND_THE_BARRIER, or_(Notice.run_id == run.id, Notice.run_id.in_(left_behind)))
    # Epics before their notices, in the order of their ids, as whoever judges takes them.
    epics = await session.scalars(
        select(Epic.id)
        .join(Notice, Notice.epic_id == Epic.id)
        .where(ready, pauses.may_go(now))
        .order_by(Epic.id)
        .with_for_update(of=Epic, key_share=True)
    )
    return and_(ready, among(Notice.epic_id, epics.all()))
