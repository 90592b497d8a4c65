"""What a person may say of an epic, by the API or by a command: a link by hand, a word on a finding.

The caller holds the goals' exclusive lock (`ledger.change_goals`) and the epic's row, and has the epic
judged again.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import CommandComment, Finding, Link
from mappings.verdict import FindingState

BY_HAND = ("manual", "command")


async def link_by_hand(
    session: AsyncSession,
    epic_id: int,
    key_result_id: int,
    origin: str,
    why: str,
    now: datetime,
    *,
    weight: float = 1,
    primary: bool = False,
) -> tuple[Link, bool]:
    """The link, and whether it is new: one that a person made, however, stands as it is."""
    standing = select(Link).where(
        Link.epic_id == epic_id, Link.key_result_id == key_result_id, Link.origin.in_(BY_HAND)
    )
    row = (await session.scalars(standing.order_by(Link.id))).first()
    if row is not None:
        return row, False
    if primary:
        # Row by row, for that is what the audit log sees.
        for other in await session.scalars(select(Link).where(Link.epic_id == epic_id, Link.is_primary)):
            other.is_primary = False
        await session.flush()  # an epic has one: the new row must not be there before
    row = Link(
        epic_id=epic_id,
        key_result_id=key_result_id,
        origin=origin,
        weight=weight,
        is_primary=primary,
        why=why,
        created_at=now,
    )
    session.add(row)
    return row, True


async def set_finding(
    session: AsyncSession, row: Finding, state: FindingState, until: datetime | None, reason: str | None
) -> None:
    """A person's word on a finding that is not resolved; an answer to an earlier command has had its time."""
    row.state, row.until, row.reason = state, until, reason
    await end_answer(session, row.epic_id)


async def end_answer(session: AsyncSession, epic_id: int) -> None:
    """No answer to a command stands in the epic's notice any more."""
    await session.execute(
        update(CommandComment)
        .where(CommandComment.epic_id == epic_id, CommandComment.answer.is_not(None))
        .values(answer=None)
    )
