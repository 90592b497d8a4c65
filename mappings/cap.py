"""The day's cap: how many new comments a source makes in 24 hours.

Comments beyond `per_day` are held and come due by themselves, the oldest notice first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

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
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import MAYBE_SENT, ON_TICKET, Epic, Notice, NoticeWrite, Run, Source

DAY = timedelta(hours=24)
_HELD = and_(Notice.state == "held", Notice.reason == "cap")


def slots(spent: Iterable[datetime], allowed: int, now: datetime) -> Iterator[datetime]:
    """The moments at which one new comment after the other may be made, without end.

    `spent` are the moments of those made before. Each takes one of `allowed` slots for 24 hours, and so
    does each that is yielded: `now` while a slot is free, then the moment at which the next one frees.
    """
    while allowed == 0:
        yield now + DAY
    taken = deque(sorted(moment for moment in spent if moment > now - DAY)[-allowed:])
    while True:
        moment = now if len(taken) < allowed else taken.popleft() + DAY
        taken.append(moment)
        yield moment


@dataclass(frozen=True, slots=True)
class _Comment:
    """A comment not made yet: one that this run would make, or one held before, until `until`."""

    notice_id: int
    epic_id: int
    until: datetime | None = None


async def hold(session: AsyncSession, source_id: int, new: ColumnElement[bool], now: datetime) -> int:
    """Hold what is more than the day allows of the new comments that `new` selects; how many.

    The caller has the source's turn (`claims.take_turn`) and the locks of their epics.
    """
    notices = (await session.scalars(select(Source.notices).where(Source.id == source_id))).one()
    per_day: int = notices["per_day"]
    queue = await _queue(session, source_id, new, per_day)
    if not queue:
        return 0
    spent = await _spent(session, source_id, now)
    later: list[_Comment] = []
    sooner: list[_Comment] = []
    for comment, moment in zip(queue, slots(spent, per_day, now), strict=False):
        placed = replace(comment, until=moment)
        if comment.until is None and moment > now:
            later.append(placed)
        elif comment.until is not None and moment < comment.until:
            sooner.append(placed)
    await _hold(session, later, per_day, now)
    if notices["mode"] == "live":  # else judging leaves them held, and they would be woken again and again
        await _hold(session, await _still_held(session, sooner), per_day, now)
    return len(later)


async def _queue(
    session: AsyncSession, source_id: int, new: ColumnElement[bool], per_day: int
) -> list[_Comment]:
    """The oldest first. Who was held before keeps its place ahead of what is new."""
    coming = await session.execute(select(Notice.id, Notice.epic_id).where(new).with_for_update())
    queue = [_Comment(*row) for row in coming]
    waiting = (
        select(Notice.id, Notice.epic_id, Epic.look_again_at)
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, _HELD, Epic.look_again_at.is_not(None))
        .order_by(Notice.id)
    )
    if not queue:  # then all there is to see is whether those next in line may go sooner
        waiting = waiting.limit(per_day)
    queue += [_Comment(*row) for row in await session.execute(waiting)]
    return sorted(queue, key=lambda comment: comment.notice_id)


async def _spent(session: AsyncSession, source_id: int, now: datetime) -> Sequence[datetime]:
    """When the slots of the past 24 hours were taken: comments made, and those let go and still to be made.

    One statement, so that a comment made meanwhile is seen as the one or the other.
    """
    made = (
        select(NoticeWrite.at)
        .join(Run, Run.id == NoticeWrite.run_id)
        .where(Run.source_id == source_id, NoticeWrite.kind == "posted", NoticeWrite.at > now - DAY)
    )
    let_go = and_(Notice.due_at.is_not(None), Notice.target == "posted")
    reserved = (
        select(func.coalesce(Notice.unanswered_at, now))
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, ~ON_TICKET, or_(let_go, MAYBE_SENT))
    )
    return (await session.scalars(union_all(made, reserved))).all()


_HOLD = text(
    "UPDATE notices SET state = 'held', reason = 'cap', detail = held.detail, target = NULL, due_at = NULL,"
    " updated_at = :now FROM unnest(CAST(:ids AS bigint[]), CAST(:details AS text[])) AS held(id, detail)"
    " WHERE notices.id = held.id"
)
_LOOK_AGAIN = text(
    "UPDATE epics SET look_again_at = least(look_again_at, held.moment)"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:moments AS timestamptz[])) AS held(id, moment)"
    " WHERE epics.id = held.id"
)


async def _still_held(session: AsyncSession, comments: Sequence[_Comment]) -> list[_Comment]:
    """Those of `comments` that are held and nobody's now, locked."""
    if not comments:
        return []
    ids = literal([comment.notice_id for comment in comments], ARRAY(BigInteger))
    # Who is locked is being judged anyhow, and to wait for one out of turn might be to wait for each other.
    free = await session.scalars(
        select(Notice.id)
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Notice.id == any_(ids), _HELD)
        .with_for_update(of=[Epic, Notice], skip_locked=True)
    )
    locked = set(free)
    return [comment for comment in comments if comment.notice_id in locked]


async def _hold(session: AsyncSession, comments: Sequence[_Comment], per_day: int, now: datetime) -> None:
    """Each is judged again when its slot frees, or at once where something else bears on it before."""
    if not comments:
        return
    moments = [comment.until or now for comment in comments]
    ids = [comment.notice_id for comment in comments]
    details = [_in_words(per_day, moment) for moment in moments]
    await session.execute(_HOLD, {"ids": ids, "details": details, "now": now})
    epics = [comment.epic_id for comment in comments]
    await session.execute(_LOOK_AGAIN, {"ids": epics, "moments": moments})


def _in_words(per_day: int, moment: datetime) -> str:
    if per_day == 0:
        return "The source allows no new comments: its per_day is 0."
    allowed = "1 new comment in 24 hours is" if per_day == 1 else f"{per_day} new comments in 24 hours are"
    return f"{allowed} allowed; this one comes due at {moment:%Y-%m-%d %H:%M} UTC."
