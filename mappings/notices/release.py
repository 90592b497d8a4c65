"""The release after evaluation: no write is due before its whole run is evaluated and checked here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, not_, or_, select

from mappings.locks import lock_notices_of_source
from mappings.notices import burst_guard, daily_cap, pauses
from mappings.notices.gates import Facts, first_hold
from mappings.notices.state import make_due
from mappings.notices.withdrawal import cancel_unwritten, withdrawn_unreleased_runs
from mappings.tables import NEW_COMMENT, NOT_RELEASED, UNSENT, EpicRow, NoticeRow, RunRow, among

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


async def release_writes(session: AsyncSession, run: RunRow, now: datetime) -> int:
    """Make the writes of an evaluated run due. Returns how many of its new comments the burst guard or the
    daily cap holds instead.

    Writes of a run that ended without releasing them become due too.
    """
    await lock_notices_of_source(session, run.source_id)
    withdrawn = await withdrawn_unreleased_runs(session, run.source_id)
    ready = await _select_ready(session, run, withdrawn, now)
    for run_id in withdrawn:
        await cancel_unwritten(session, run_id, now)
    # A comment whose request may have arrived has passed the gates before, and is not held by them again.
    new = and_(ready, NEW_COMMENT, UNSENT)
    # One that answers a person is no burst.
    checked = and_(new, NoticeRow.guard.is_(None), ~NoticeRow.answers)
    held = await burst_guard.check_new_comments(session, run, checked, now)
    # A comment that a person approved is not held, and takes its slot of the daily cap first.
    await make_due(session, and_(ready, NoticeRow.guard == "approved"), now)
    held += await daily_cap.hold_over_cap(session, run.source_id, new, now)
    await make_due(session, ready, now)
    return held


async def _select_ready(
    session: AsyncSession, run: RunRow, withdrawn: Sequence[int], now: datetime
) -> ColumnElement[bool]:
    """The evaluated, unreleased notices, without new comments in paused projects. Their epics are locked, and
    with them those of the `withdrawn` runs: to lock some now and others later could deadlock."""
    left_behind = select(RunRow.id).where(RunRow.source_id == run.source_id, RunRow.finished_at.is_not(None))
    ready = and_(NOT_RELEASED, or_(NoticeRow.run_id == run.id, NoticeRow.run_id.in_(left_behind)))
    pauses_of_projects = await pauses.paused_projects(session, run.source_id)
    paused = [
        project
        for project, pause in pauses_of_projects.items()
        if first_hold("release", Facts(now=now, project_pause=pause)) is not None
    ]
    # Epics are locked before their notices, in the order of their ids, as the evaluator locks them.
    epics = await session.scalars(
        select(EpicRow.id)
        .join(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(
            or_(
                and_(ready, not_(and_(UNSENT, EpicRow.project.in_(paused)))),
                among(NoticeRow.run_id, withdrawn),
            )
        )
        .order_by(EpicRow.id)
        .with_for_update(of=EpicRow, key_share=not withdrawn)
    )
    return and_(ready, among(NoticeRow.epic_id, epics.all()))
