"""Taking back what a run wrote: every comment it made, and all that it has not written yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, and_, case, delete, exists, false, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings import pauses
from mappings.tables import (
    BEHIND_THE_BARRIER,
    MAYBE_SENT,
    ON_TICKET,
    UNSENT,
    Epic,
    Notice,
    NoticeWrite,
    Run,
    Source,
    among,
)

How = Literal["edit", "delete"]
CALLED_OFF = "The run it belongs to was withdrawn before it was written."
# A comment that says anything, or may; a ticket that was deleted took ours with it.
_SAYS = and_(
    or_(ON_TICKET, MAYBE_SENT),
    or_(Notice.state != "withdrawn", Notice.taking_back.is_not(None)),
    Epic.gone_reason.is_distinct_from("deleted"),
)


async def withdraw(session: AsyncSession, run: Run, how: How, now: datetime) -> Run:
    """Have every comment that `run` made edited to one line or deleted, by a run of its own; the same run
    where that was asked for before. The caller has the source's turn (`claims.take_turn`)."""
    withdrawal = (await session.scalars(select(Run).where(Run.withdraws == run.id))).one_or_none()
    if withdrawal is None:
        withdrawal = _run_of(run.source_id, now)
        withdrawal.withdraws = run.id
        session.add(withdrawal)
        await session.flush()
        await session.refresh(withdrawal)
    made = select(NoticeWrite.epic_id).where(NoticeWrite.run_id == run.id, NoticeWrite.kind == "posted")
    maker = (
        select(NoticeWrite.run_id)
        .where(NoticeWrite.epic_id == Notice.epic_id, NoticeWrite.kind == "posted")
        .order_by(NoticeWrite.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    # All at once: who locks some epics and then others meets a judge that has them in the order of their ids.
    await _locked(session, or_(Notice.run_id == run.id, Notice.epic_id.in_(made)))
    # A first request on its way leaves no trace but its claim.
    sent = and_(Notice.run_id == run.id, ~ON_TICKET, MAYBE_SENT)
    await _take_back(
        session, or_(and_(Notice.epic_id.in_(made), maker == run.id), sent), withdrawal, how, now
    )
    await call_off(session, run.id, now)
    await pauses.accepts_writes(session, run.source_id, now)
    return withdrawal


async def withdraw_all(session: AsyncSession, source_id: int, now: datetime) -> Run:
    """Have every comment of ours on a source's tickets edited to one line, by a run of its own."""
    withdrawal = _run_of(source_id, now)
    session.add(withdrawal)
    await session.flush()
    of_source = Notice.epic_id.in_(select(Epic.id).where(Epic.source_id == source_id))
    await _take_back(session, of_source, withdrawal, "edit", now)
    await pauses.accepts_writes(session, source_id, now)
    return withdrawal


async def any_stands(session: AsyncSession, source_id: int) -> bool:
    """Whether a comment of ours that says anything stands on a ticket of the source, or may stand there."""
    of_source = select(Notice.id).join(Epic, Epic.id == Notice.epic_id).where(Epic.source_id == source_id)
    standing = of_source.where(_SAYS).limit(1)
    return (await session.scalars(standing)).first() is not None


async def let_go(session: AsyncSession) -> bool:
    """Remove the sources that are being disconnected and have no comment of ours left; whether any was."""
    standing = exists().where(Notice.epic_id == Epic.id, Epic.source_id == Source.id, _SAYS)
    gone = await session.execute(
        delete(Source).where(Source.leaving_at.is_not(None), ~standing).returning(Source.id)
    )
    return bool(gone.all())


def _run_of(source_id: int, now: datetime) -> Run:
    """Nothing is to be read or judged for it, so it has ended; its writes follow."""
    return Run(
        source_id=source_id,
        mode="withdraw",
        state="succeeded",
        due_at=now,
        created_at=now,
        started_at=now,
        finished_at=now,
    )


async def _take_back(
    session: AsyncSession, which: ColumnElement[bool], withdrawal: Run, how: How, now: datetime
) -> None:
    standing = or_(Notice.state != "withdrawn", MAYBE_SENT, ON_TICKET if how == "delete" else false())
    ids = await _locked(session, and_(which, or_(ON_TICKET, MAYBE_SENT), standing))
    # Who waits to see whether its request arrived waits on.
    due_at = case((MAYBE_SENT, func.greatest(Notice.due_at, now)), else_=now)
    await session.execute(
        update(Notice)
        .where(among(Notice.id, ids))
        .values(
            taking_back=how,
            target="withdrawn",
            run_id=withdrawal.id,
            due_at=due_at,
            updated_at=case((Notice.state == "withdrawn", Notice.updated_at), else_=now),
        )
    )


async def call_off_withdrawn(session: AsyncSession, source_id: int, now: datetime) -> None:
    """A run that was withdrawn while it was still judging writes nothing, and leaves nothing to others."""
    withdrawn = select(Run.withdraws).where(Run.source_id == source_id, Run.withdraws.is_not(None))
    waiting = select(Notice.run_id).where(Notice.run_id.in_(withdrawn), BEHIND_THE_BARRIER)
    for run_id in (await session.scalars(waiting.distinct())).all():
        assert run_id is not None
        await call_off(session, run_id, now)


async def call_off(session: AsyncSession, run_id: int, now: datetime) -> None:
    """What a run has not written yet it never writes.

    A new comment it was to make is withdrawn for this opening of the finding. A comment that stands and was
    to say something else is judged again, so that another run sets it right.
    """
    # Whatever the guard was asked for: also what was let go, and refused or made to wait since.
    waiting = or_(
        Notice.target == "posted",
        Notice.guard.is_not(None),
        and_(Notice.state == "held", Notice.reason == "cap"),
    )
    new = and_(Notice.run_id == run_id, UNSENT, waiting)
    await session.execute(
        update(Notice)
        .where(among(Notice.id, await _locked(session, new)))
        .values(
            state="withdrawn",
            reason="run_withdrawn",
            detail=CALLED_OFF,
            target=None,
            due_at=None,
            guard=None,
            guard_why=None,
            updated_at=now,
        )
    )
    change = and_(Notice.run_id == run_id, ON_TICKET, Notice.claimed_by.is_(None), Notice.target.is_not(None))
    stopped = await session.scalars(
        update(Notice)
        .where(among(Notice.id, await _locked(session, change)), Notice.taking_back.is_(None))
        .values(
            target=None,
            due_at=None,
            body=func.coalesce(Notice.posted_body, Notice.body),
            facts_hash=func.coalesce(Notice.posted_hash, Notice.facts_hash),
        )
        .returning(Notice.epic_id)
    )
    await session.execute(update(Epic).where(among(Epic.id, stopped.all())).values(look_again_at=now))


async def _locked(session: AsyncSession, which: ColumnElement[bool]) -> Sequence[int]:
    """The notices, their epics locked before them and in the order that whoever judges keeps."""
    epics = select(Epic.id).join(Notice, Notice.epic_id == Epic.id).where(which).order_by(Epic.id)
    ids = (await session.scalars(epics.with_for_update(of=Epic))).all()
    notices = select(Notice.id).where(among(Notice.epic_id, ids), which).order_by(Notice.id).with_for_update()
    return (await session.scalars(notices)).all()
