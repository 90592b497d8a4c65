"""What a person may do to a finding: snooze, waive, reopen.

The caller holds the goals' exclusive lock (`mappings.locks.lock_goals_exclusive`) and the epic's row, and has
the epic evaluated again.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.evaluation.model import FindingState
from mappings.tables import CommandCommentRow, FindingRow


async def set_finding(
    session: AsyncSession, row: FindingRow, state: FindingState, until: datetime | None, reason: str | None
) -> None:
    """Give an unresolved finding the state a person asks for; clear the answer to an earlier command."""
    row.state, row.until, row.reason = state, until, reason
    await clear_answer(session, row.epic_id)


async def clear_answer(session: AsyncSession, epic_id: int) -> None:
    """Remove the answer to a command from the epic's notice."""
    await session.execute(
        update(CommandCommentRow)
        .where(CommandCommentRow.epic_id == epic_id, CommandCommentRow.answer.is_not(None))
        .values(answer=None)
    )
