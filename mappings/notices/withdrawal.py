"""Withdrawing single notices, and what a run wrote: every comment in which it made the last warning stand,
and all writes that it has not made yet.

A run makes a warning stand where it makes the comment, and where it turns one line back into the full text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, union, update
from sqlalchemy.dialects.postgresql import distinct_on

from mappings.locks import lock_notices_of_source, share_paused_projects, share_source
from mappings.notices import pauses
from mappings.notices.state import (
    RUN_WITHDRAWN,
    WithdrawAction,
    cancel_writes,
    queue_withdrawal,
    withdraw_unsent,
)
from mappings.tables import (
    MAYBE_SENT,
    NEW_COMMENT,
    NOT_RELEASED,
    ON_TICKET,
    UNSENT,
    EpicRow,
    NoticeRow,
    NoticeWriteRow,
    RunRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

BY_A_PERSON = "A person took it back before it was written."
# A comment of ours with a text that is not withdrawn is on the ticket, or may be. A deleted ticket has none.
_POSSIBLY_SHOWN = and_(
    or_(ON_TICKET, MAYBE_SENT),
    or_(NoticeRow.state != "withdrawn", NoticeRow.withdraw_action.is_not(None)),
    EpicRow.removal_reason.is_distinct_from("deleted"),
)


async def request_withdrawal(
    session: AsyncSession, run: RunRow, action: WithdrawAction, now: datetime
) -> RunRow:
    """Queue the edit to one line, or the deletion, of every comment in which `run` made the last warning
    stand. Returns the run of mode `withdraw` that does it, an existing one if the withdrawal was requested
    before. The caller holds the source's notice lock (`locks.lock_notices_of_source`)."""
    withdrawal = (await session.scalars(select(RunRow).where(RunRow.withdraws == run.id))).one_or_none()
    if withdrawal is None:
        withdrawal = _withdraw_run(run.source_id, now)
        withdrawal.withdraws = run.id
        session.add(withdrawal)
        await session.flush()
        await session.refresh(withdrawal)
    which = or_(NoticeRow.epic_id.in_(_warned_by(run.id)), _sent_by(run.id))
    await share_paused_projects(session, run.source_id)
    # All epics are locked at once: locking some and later others could deadlock with an evaluator, which
    # locks them in the order of their ids.
    await _lock_notices(session, or_(NoticeRow.run_id == run.id, NoticeRow.epic_id.in_(_warned_by(run.id))))
    await _request_withdrawal(session, which, withdrawal, action, now)
    await cancel_unwritten(session, run.id, now)
    await pauses.resume_writes(session, run.source_id, now)
    return withdrawal


def _sent_by(run_id: int) -> ColumnElement[bool]:
    # While such a request is in progress, the claim is its only trace.
    returning = and_(NoticeRow.state.in_(("resolved", "withdrawn")), NoticeRow.target == "posted")
    return and_(NoticeRow.run_id == run_id, MAYBE_SENT, or_(~ON_TICKET, returning))


async def count_withdrawal(session: AsyncSession, run_id: int) -> int:
    """How many notices withdrawing this run would take back: comments, and what is to be written."""
    unmade = select(func.count()).select_from(NoticeRow).where(_unmade_by(run_id))
    return (await session.scalar(unmade) or 0) + await count_withdrawable(session, run_id)


async def count_withdrawable(session: AsyncSession, run_id: int) -> int:
    """How many comments on tickets withdrawing this run would take back."""
    # Each part by its own index: together they would read every notice.
    warned = select(NoticeRow.id).where(NoticeRow.epic_id.in_(_warned_by(run_id)))
    ids = union(warned, select(NoticeRow.id).where(_sent_by(run_id))).subquery()
    shown = select(func.count()).select_from(NoticeRow).join(EpicRow, EpicRow.id == NoticeRow.epic_id)
    counted = shown.where(NoticeRow.id.in_(select(ids.c.id)), _POSSIBLY_SHOWN)
    return await session.scalar(counted) or 0


def _warned_by(run_id: int) -> Select[int]:
    """The epics in whose comment this run made the last warning stand, or made the comment as an answer."""
    candidates = select(NoticeWriteRow.epic_id).where(
        NoticeWriteRow.run_id == run_id, NoticeWriteRow.kind.in_(("posted", "edited"))
    )
    comment, order = (NoticeWriteRow.epic_id, NoticeWriteRow.remote_id), NoticeWriteRow.id
    writes = (
        select(
            NoticeWriteRow.id,
            NoticeWriteRow.epic_id,
            NoticeWriteRow.run_id,
            NoticeWriteRow.kind,
            func.lag(NoticeWriteRow.kind).over(partition_by=comment, order_by=order).label("before"),
            func.lag(NoticeWriteRow.answers).over(partition_by=comment, order_by=order).label("answered"),
        )
        .where(NoticeWriteRow.epic_id.in_(candidates), NoticeWriteRow.kind != "failed")
        .subquery()
    )
    # The comment that an answer made had no warning before its first edit.
    was_line = or_(
        writes.c.before.in_(("resolved", "withdrawn")),
        and_(writes.c.before == "posted", writes.c.answered),
    )
    last = (
        select(writes.c.epic_id, writes.c.run_id)
        .where(or_(writes.c.kind == "posted", and_(writes.c.kind == "edited", was_line)))
        .ext(distinct_on(writes.c.epic_id))
        .order_by(writes.c.epic_id, writes.c.id.desc())
        .subquery()
    )
    return select(last.c.epic_id).where(last.c.run_id == run_id)


async def request_withdrawal_of_all(session: AsyncSession, source_id: int, now: datetime) -> RunRow:
    """Queue the edit to one line of all our comments on a source's tickets. Returns the run that does it."""
    withdrawal = _withdraw_run(source_id, now)
    session.add(withdrawal)
    await session.flush()
    of_source = NoticeRow.epic_id.in_(select(EpicRow.id).where(EpicRow.source_id == source_id))
    await _request_withdrawal(session, of_source, withdrawal, "edit", now)
    await pauses.resume_writes(session, source_id, now)
    return withdrawal


@dataclass(slots=True)
class WithdrawnNotices:
    """The ids of the notices: `unsent` were never written and never will be, the comments of `queued` are
    edited to one line by the withdrawals `runs` (ids, by source), and of each of `skipped` why not."""

    unsent: list[int] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    runs: dict[int, int] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)


async def withdraw_by_id(session: AsyncSession, ids: Sequence[int], now: datetime) -> WithdrawnNotices:
    """Take these notices back, whatever run they are of: until their finding is opened again."""
    of_source = select(EpicRow.source_id).join(NoticeRow, NoticeRow.epic_id == EpicRow.id).distinct()
    source_ids = sorted(await session.scalars(of_source.where(among(NoticeRow.id, ids))))
    await lock_notices_of_source(session, *source_ids)
    await share_source(session, *source_ids)
    for source_id in source_ids:
        await share_paused_projects(session, source_id)
    locked = await _lock_notices(session, among(NoticeRow.id, ids))
    rows = await session.execute(
        select(NoticeRow, MAYBE_SENT, EpicRow.source_id)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(among(NoticeRow.id, locked))
        .order_by(NoticeRow.id)
        .execution_options(populate_existing=True)
    )
    done, queued = WithdrawnNotices(), dict[int, list[int]]()
    for notice, maybe_sent, source_id in rows.all():
        why = _why_not_withdrawn(notice, maybe_sent=maybe_sent)
        if why is not None:
            done.skipped[notice.id] = why
        elif maybe_sent or notice.remote_id is not None:
            queued.setdefault(source_id, []).append(notice.id)
        else:
            done.unsent.append(notice.id)
    await withdraw_unsent(session, done.unsent, now, "withdrawn", BY_A_PERSON)
    for source_id, of_it in queued.items():
        withdrawal = _withdraw_run(source_id, now)
        session.add(withdrawal)
        await session.flush()
        await queue_withdrawal(session, of_it, "edit", withdrawal.id, now)
        await pauses.resume_writes(session, source_id, now)
        done.queued += of_it
        done.runs[source_id] = withdrawal.id
    return done


def _why_not_withdrawn(notice: NoticeRow, *, maybe_sent: bool) -> str | None:
    if notice.withdraw_action is not None:
        return "It is being withdrawn already."
    if maybe_sent:
        return None
    if notice.state == "withdrawn":
        return "It is withdrawn already."
    if notice.state == "resolved" and notice.target != "posted":
        return "It is resolved; its comment is one line already."
    return None


async def any_comment_on_tickets(session: AsyncSession, source_id: int) -> bool:
    """Whether a comment of ours that is not withdrawn is on a ticket of the source, or may be."""
    of_source = (
        select(NoticeRow.id)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id)
    )
    shown = of_source.where(_POSSIBLY_SHOWN).limit(1)
    return (await session.scalars(shown)).first() is not None


async def count_comments_on_tickets(session: AsyncSession, source_id: int) -> int:
    """How many comments of ours that are not withdrawn are on the source's tickets, or may be."""
    shown = select(func.count()).select_from(NoticeRow).join(EpicRow, EpicRow.id == NoticeRow.epic_id)
    return await session.scalar(shown.where(EpicRow.source_id == source_id, _POSSIBLY_SHOWN)) or 0


def _withdraw_run(source_id: int, now: datetime) -> RunRow:
    """A run with nothing to read or evaluate, so it has already ended; its writes follow."""
    return RunRow(
        source_id=source_id,
        mode="withdraw",
        state="succeeded",
        due_at=now,
        created_at=now,
        started_at=now,
        finished_at=now,
    )


async def _request_withdrawal(
    session: AsyncSession,
    which: ColumnElement[bool],
    withdrawal: RunRow,
    action: WithdrawAction,
    now: datetime,
) -> None:
    unfinished = or_(NoticeRow.state != "withdrawn", MAYBE_SENT, ON_TICKET if action == "delete" else false())
    ids = await _lock_notices(session, and_(which, or_(ON_TICKET, MAYBE_SENT), unfinished))
    await queue_withdrawal(session, ids, action, withdrawal.id, now)


async def withdrawn_unreleased_runs(session: AsyncSession, source_id: int) -> list[int]:
    """The withdrawn runs with unreleased writes: a run may be withdrawn while it still evaluates."""
    withdrawn = select(RunRow.withdraws).where(RunRow.source_id == source_id, RunRow.withdraws.is_not(None))
    waiting = select(NoticeRow.run_id).where(NoticeRow.run_id.in_(withdrawn), NOT_RELEASED)
    return [run_id for run_id in await session.scalars(waiting.distinct()) if run_id is not None]


async def cancel_unwritten(session: AsyncSession, run_id: int, now: datetime) -> None:
    """Cancel all writes that a run has not made yet.

    A new comment that it was to make is withdrawn until the finding is opened again. A comment that is on the
    ticket keeps its text, and its epic is evaluated again, so that another run can correct it.
    """
    unsent = await _lock_notices(session, _unmade_by(run_id))
    await withdraw_unsent(session, unsent, now, "run_withdrawn", RUN_WITHDRAWN)
    change = and_(
        NoticeRow.run_id == run_id, ON_TICKET, NoticeRow.claimed_by.is_(None), NoticeRow.target.is_not(None)
    )
    edits = among(NoticeRow.id, await _lock_notices(session, change)), NoticeRow.withdraw_action.is_(None)
    stopped = await cancel_writes(session, and_(*edits))
    await session.execute(update(EpicRow).where(among(EpicRow.id, stopped)).values(evaluate_at=now))


def _unmade_by(run_id: int) -> ColumnElement[bool]:
    """The new comments that the run was to make."""
    # All notices that the burst guard checked: also those released and then refused or postponed.
    waiting = or_(
        NEW_COMMENT,
        NoticeRow.guard.is_not(None),
        and_(NoticeRow.state == "held", NoticeRow.reason == "cap"),
    )
    return and_(NoticeRow.run_id == run_id, UNSENT, waiting)


async def _lock_notices(session: AsyncSession, which: ColumnElement[bool]) -> Sequence[int]:
    """Lock the notices that `which` selects, after their epics and in the evaluator's lock order."""
    epics = (
        select(EpicRow.id).join(NoticeRow, NoticeRow.epic_id == EpicRow.id).where(which).order_by(EpicRow.id)
    )
    ids = (await session.scalars(epics.with_for_update(of=EpicRow))).all()
    notices = (
        select(NoticeRow.id)
        .where(among(NoticeRow.epic_id, ids), which)
        .order_by(NoticeRow.id)
        .with_for_update()
    )
    return (await session.scalars(notices)).all()
