"""The daily cap: how many new comments a source makes in 24 hours.

Comments beyond `per_day` are held and become due by themselves, the oldest notice first. What answers a
person comes before them; beyond the cap it is dropped, for it would be stale by the time that it came due.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    any_,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from mappings.notices.gates import Facts, Hold, Pause, first_hold
from mappings.notices.state import hold_new_comments
from mappings.tables import (
    MAYBE_SENT,
    NEW_COMMENT,
    ON_TICKET,
    CommandCommentRow,
    EpicRow,
    NoticeRow,
    NoticeWriteRow,
    RunRow,
    SourceRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

DAY = timedelta(hours=24)
_HELD = and_(NoticeRow.state == "held", NoticeRow.reason == "cap")


def daily_slots(used: Iterable[datetime], allowed: int, now: datetime) -> Iterator[datetime]:
    """The moments at which the next new comments may be made, one after the other, without end.

    `used` are the moments of earlier comments. Each of them takes one of `allowed` slots for 24 hours, and so
    does each yielded moment: `now` while a slot is free, then the moment at which the next slot becomes free.
    """
    while allowed == 0:
        yield now + DAY
    used_slots = deque(sorted(moment for moment in used if moment > now - DAY)[-allowed:])
    while True:
        moment = now if len(used_slots) < allowed else used_slots.popleft() + DAY
        used_slots.append(moment)
        yield moment


@dataclass(frozen=True, slots=True)
class _Comment:
    """A comment not made yet: a new one of this run (`until` is None), or one already held until `until`.
    `answers`: it answers a person."""

    notice_id: int
    epic_id: int
    until: datetime | None = None
    answers: bool = False


async def hold_over_cap(
    session: AsyncSession, source_id: int, new: ColumnElement[bool], now: datetime
) -> int:
    """Hold those new comments of the ones that `new` selects that exceed the daily cap. Returns how many.

    The caller holds the source's notice lock (`locks.lock_notices_of_source`) and has locked their epics.
    """
    notices = (await session.scalars(select(SourceRow.notices).where(SourceRow.id == source_id))).one()
    per_day: int = notices["per_day"]
    queue = await _queue(session, source_id, new, per_day)
    if not queue:
        return 0
    used = await _used_slots(session, source_id, now)
    dropped: list[tuple[_Comment, Hold]] = []
    later: list[tuple[_Comment, Hold]] = []
    sooner: list[tuple[_Comment, Hold]] = []
    slots = daily_slots(used, per_day, now)
    moment = next(slots)
    for comment in queue:
        pause = Pause(until=moment, detail=_detail(per_day, moment))
        hold = first_hold("release", Facts(now=now, over_cap=pause), answer=comment.answers)
        if hold is not None and comment.answers:  # it takes no slot
            dropped.append((comment, replace(hold, until=now)))
            continue
        if hold is not None and comment.until is None:
            later.append((comment, hold))
        elif comment.until is not None and moment < comment.until:
            sooner.append((comment, Hold("cap", pause.detail, moment)))
        moment = next(slots)
    await _hold(session, later, now)
    await _drop_answers(session, dropped, now)
    # In any other mode an evaluation leaves them held, and an earlier moment would only repeat evaluations.
    if notices["mode"] == "live":
        await _hold(session, await _still_held(session, sooner), now)
    return len(later)


async def _queue(
    session: AsyncSession, source_id: int, new: ColumnElement[bool], per_day: int
) -> list[_Comment]:
    """The comments that need a slot, what answers a person and then oldest first: one that was held before
    stays ahead of newer ones."""
    coming = await session.execute(
        select(NoticeRow.id, NoticeRow.epic_id, NoticeRow.answers).where(new).with_for_update()
    )
    queue = [_Comment(id, epic_id, answers=answers) for id, epic_id, answers in coming]
    waiting = (
        select(NoticeRow.id, NoticeRow.epic_id, EpicRow.evaluate_at)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id, _HELD, EpicRow.evaluate_at.is_not(None))
        .order_by(NoticeRow.id)
    )
    if not queue:  # nothing is new: it only matters whether the next held ones may be made sooner
        waiting = waiting.limit(per_day)
    queue += [_Comment(*row) for row in await session.execute(waiting)]
    return sorted(queue, key=lambda comment: (not comment.answers, comment.notice_id))


async def _used_slots(session: AsyncSession, source_id: int, now: datetime) -> Sequence[datetime]:
    """When the slots of the past 24 hours were taken: comments made, and released ones not made yet.

    One statement, so that a comment that is made meanwhile is counted as one of the two.
    """
    made = (
        select(NoticeWriteRow.at)
        .join(RunRow, RunRow.id == NoticeWriteRow.run_id)
        .where(RunRow.source_id == source_id, NoticeWriteRow.kind == "posted", NoticeWriteRow.at > now - DAY)
    )
    released = and_(NoticeRow.due_at.is_not(None), NEW_COMMENT)
    reserved = (
        select(func.coalesce(NoticeRow.write_unconfirmed_at, now))
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id, ~ON_TICKET, or_(released, MAYBE_SENT))
    )
    return (await session.scalars(union_all(made, reserved))).all()


_EVALUATE_AT = text(
    "UPDATE epics SET evaluate_at = least(evaluate_at, held.moment)"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:moments AS timestamptz[])) AS held(id, moment)"
    " WHERE epics.id = held.id"
)


async def _still_held(
    session: AsyncSession, holds: Sequence[tuple[_Comment, Hold]]
) -> list[tuple[_Comment, Hold]]:
    """Those comments that are still held, locked; rows locked by another transaction are left out."""
    if not holds:
        return []
    ids = literal([comment.notice_id for comment, _ in holds], ARRAY(BigInteger))
    # A locked epic is being evaluated anyway. Waiting for a lock out of order here could cause a deadlock.
    free = await session.scalars(
        select(NoticeRow.id)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(NoticeRow.id == any_(ids), _HELD)
        .with_for_update(of=[EpicRow, NoticeRow], skip_locked=True)
    )
    locked = set(free)
    return [(comment, hold) for comment, hold in holds if comment.notice_id in locked]


async def _hold(session: AsyncSession, holds: Sequence[tuple[_Comment, Hold]], now: datetime) -> None:
    """Hold comments; each epic is evaluated again when its slot becomes free, or when it is due before."""
    if not holds:
        return
    await hold_new_comments(session, {comment.notice_id: hold for comment, hold in holds}, now)
    epics = [comment.epic_id for comment, _ in holds]
    await session.execute(_EVALUATE_AT, {"ids": epics, "moments": [hold.until for _, hold in holds]})


async def _drop_answers(
    session: AsyncSession, dropped: Sequence[tuple[_Comment, Hold]], now: datetime
) -> None:
    """Forget answers whose comment may not be made: the next evaluation, at once, plans without it."""
    await _hold(session, dropped, now)
    epics = [comment.epic_id for comment, _ in dropped]
    which = and_(among(CommandCommentRow.epic_id, epics), CommandCommentRow.answer.is_not(None))
    if epics:
        await session.execute(update(CommandCommentRow).where(which).values(answer=None))


def _detail(per_day: int, moment: datetime) -> str:
    if per_day == 0:
        return "The source allows no new comments: its per_day is 0."
    allowed = "1 new comment in 24 hours is" if per_day == 1 else f"{per_day} new comments in 24 hours are"
    return f"{allowed} allowed; this one comes due at {moment:%Y-%m-%d %H:%M} UTC."
