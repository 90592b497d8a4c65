"""What a person may do to a suggestion: reject it for an epic, and take that back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from mappings.audit import record_action
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
    row, goal = await _named(session, source, epic, key_result)
    made = insert(SuggestionRejectionRow).values(epic_id=row.id, key_result_id=goal.id, rejected_at=now)
    first = await session.scalar(
        made.on_conflict_do_nothing().returning(SuggestionRejectionRow.key_result_id)
    )
    if first is not None:
        _record(session, "created", row, goal)


async def accept_suggestion_again(session: AsyncSession, source: str, epic: str, key_result: str) -> None:
    """Take a rejection back; nothing where there is none. Raises `NotFound` on each of the three."""
    row, goal = await _named(session, source, epic, key_result)
    gone = await session.scalar(
        delete(SuggestionRejectionRow)
        .where(SuggestionRejectionRow.epic_id == row.id, SuggestionRejectionRow.key_result_id == goal.id)
        .returning(SuggestionRejectionRow.key_result_id)
    )
    if gone is not None:
        _record(session, "deleted", row, goal)


async def _named(
    session: AsyncSession, source: str, epic: str, key_result: str
) -> tuple[EpicRow, KeyResultRow]:
    row = await epic_at(session, await source_at(session, source), epic)
    return row, await goal_at(session, KeyResultRow, key_result)


def _record(session: AsyncSession, action: str, epic: EpicRow, goal: KeyResultRow) -> None:
    key = f"{epic.key} -> {goal.key}"
    record_action(session, action, "rejection", key, {"epic": epic.key, "key_result": goal.key})
