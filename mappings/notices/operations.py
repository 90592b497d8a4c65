"""What a person may do about comments: approve those that are held, take back single ones or a run's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from mappings.audit import record_action
from mappings.errors import Conflict, Invalid
from mappings.locks import lock_notices_of_source
from mappings.lookups import run_at
from mappings.notices.burst_guard import approve
from mappings.notices.withdrawal import WithdrawnNotices, request_withdrawal, withdraw_by_id
from mappings.tables import EpicRow, NoticeRow, RunRow, among
from mappings.wakeups import wake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.notices.state import WithdrawAction


@dataclass(frozen=True, slots=True)
class Approval:
    """The ids of the approved notices, and by id why each of the others was not approved."""

    approved: list[int]
    skipped: dict[int, str]


async def approve_notices(
    session: AsyncSession, now: datetime, *, run_id: int | None = None, ids: Sequence[int] | None = None
) -> Approval:
    """Release what the burst guard or the daily cap holds: of one run, or the notices with these ids.

    The writer fetches and evaluates each ticket again before it writes. Raises `Invalid` for an unknown run;
    `ValueError` unless exactly one of `run_id` and `ids` is given.
    """
    if (run_id is None) == (ids is None):
        raise ValueError("give either run_id or ids")
    if run_id is not None:
        if await session.get(RunRow, run_id) is None:
            raise Invalid("run", f"there is no run {run_id}")
        held = or_(NoticeRow.guard == "held", and_(NoticeRow.state == "held", NoticeRow.reason == "cap"))
        which, asked = and_(NoticeRow.run_id == run_id, held), f"run {run_id}"
    else:
        which, asked = among(NoticeRow.id, ids or ()), "by id"
    approved, skipped = await approve(session, which, now)
    for missing in {*(ids or ())} - {*approved, *skipped}:
        skipped[missing] = "There is no such notice."
    sources = select(EpicRow.source_id).join(NoticeRow, NoticeRow.epic_id == EpicRow.id)
    for source_id in await session.scalars(sources.where(among(NoticeRow.id, approved)).distinct()):
        wake(session, "write_tickets", source_id=source_id)
    if approved:
        record_action(session, "approved", "notices", asked, {"ids": approved})
    return Approval(approved, skipped)


async def withdraw_notices(session: AsyncSession, ids: Sequence[int], now: datetime) -> WithdrawnNotices:
    """Take back the notices with these ids: what is not written yet never is, until its finding is opened
    again; a comment becomes one line, by a run of mode `withdraw` for each source, whatever its mode."""
    done = await withdraw_by_id(session, ids, now)
    for missing in {*ids} - {*done.unsent, *done.queued, *done.skipped}:
        done.skipped[missing] = "There is no such notice."
    for source_id in done.runs:
        wake(session, "write_tickets", source_id=source_id)
    taken_back = sorted((*done.unsent, *done.queued))
    if taken_back:
        record_action(session, "withdrawn", "notices", "by id", {"ids": taken_back})
    return done


async def withdraw_run(
    session: AsyncSession, run_id: int, action: WithdrawAction, now: datetime
) -> tuple[RunRow, str]:
    """Edit every comment that a run made to one line, or delete it, and cancel the run's pending writes.

    Returns the run of mode `withdraw` that does it, whatever the source's mode, and the source's name; called
    again, the same run. Raises `NotFound`, and `Conflict` for a run that is itself a withdrawal.
    """
    run, source = await run_at(session, run_id)
    if run.mode == "withdraw":
        raise Conflict("A withdrawal makes no comments, so there is nothing to withdraw.")
    await lock_notices_of_source(session, run.source_id)
    run, source = await run_at(session, run_id)  # its source may have been deleted before the lock
    withdrawal = await request_withdrawal(session, run, action, now)
    wake(session, "write_tickets", source_id=run.source_id)
    return withdrawal, source
