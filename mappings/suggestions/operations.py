"""What a person may do to a suggestion: reject it for an epic, and take that back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from mappings.audit import Change, record_changes
from mappings.lookups import epic_at, goal_at, source_at
from mappings.tables import EpicRow, KeyResultRow, SuggestionRejectionRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


async def reject_suggestion(
    session: AsyncSession, source: str, epic: str, key_result: str, now: datetime
) -> None:
    """Never suggest this key result for this epic again, on the ticket neither; nothing where a person did
    that before. A link by hand stays possible. Raises `NotFound` on each of the three."""
    row, goal, values = await _named(session, source, epic, key_result)
    made = insert(SuggestionRejectionRow).values(epic_id=row.id, key_result_id=goal.id, rejected_at=now)
    first = await session.scalar(
        made.on_conflict_do_nothing().returning(SuggestionRejectionRow.key_result_id)
    )
    if first is not None:
        change = Change(values, None, values)
        await record_changes(session, "created", SuggestionRejectionRow, [change])


async def accept_suggestion_again(session: AsyncSession, source: str, epic: str, key_result: str) -> None:
    """Take a rejection back; nothing where there is none. Raises `NotFound` on each of the three."""
    row, goal, values = await _named(session, source, epic, key_result)
    gone = await session.scalar(
        delete(SuggestionRejectionRow)
        .where(SuggestionRejectionRow.epic_id == row.id, SuggestionRejectionRow.key_result_id == goal.id)
        .returning(SuggestionRejectionRow.key_result_id)
    )
    if gone is not None:
        change = Change(values, values, None)
        await record_changes(session, "deleted", SuggestionRejectionRow, [change])


async def _named(
    session: AsyncSession, source: str, epic: str, key_result: str
) -> tuple[EpicRow, KeyResultRow, dict[str, Any]]:
    """The two, and the public values of a rejection."""
    named = await source_at(session, source)
    row = await epic_at(session, named, epic)
    goal = await goal_at(session, KeyResultRow, key_result)
    return row, goal, {"epic": f"{named.name}/{row.key}", "key_result": goal.key}
