"""Answers of a tracker that are known by their tags, so that asking for them again does not count.

An answer is stored in the transaction that stores what it shows, and never before: a crash must not hide a
change. A full run forgets all of a source first, which heals what a proxy answers wrongly, and so those of
projects that left it go. It removes epics at its end, and where it does not come to that, it forgets them
once more. A change of the source makes them unusable: another login is answered otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from connectors.answers import KnownAnswer
from mappings.tables import KnownAnswerRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.tables import SourceRow


async def load_answers(session: AsyncSession, source: SourceRow) -> list[KnownAnswer]:
    """Those that were stored since the last change of the source."""
    rows = await session.scalars(
        select(KnownAnswerRow).where(
            KnownAnswerRow.source_id == source.id, KnownAnswerRow.version == source.version
        )
    )
    return [KnownAnswer(row.name, row.address, row.tag, row.value) for row in rows]


async def forget_answers(session: AsyncSession, source_id: int) -> None:
    await session.execute(delete(KnownAnswerRow).where(KnownAnswerRow.source_id == source_id))


async def store_answers(session: AsyncSession, source: SourceRow, answers: Sequence[KnownAnswer]) -> None:
    """`source` is as it was when the tracker was asked."""
    if forgotten := [answer.name for answer in answers if not answer.tag]:
        here = KnownAnswerRow.source_id == source.id
        await session.execute(delete(KnownAnswerRow).where(here, KnownAnswerRow.name.in_(forgotten)))
    rows = [
        {
            "source_id": source.id,
            "name": answer.name,
            "address": answer.address,
            "tag": answer.tag,
            "value": answer.value,
            "version": source.version,
        }
        for answer in answers
        if answer.tag
    ]
    if rows:
        fresh = insert(KnownAnswerRow).values(rows)
        changed = {name: fresh.excluded[name] for name in ("address", "tag", "value", "version")}
        await session.execute(fresh.on_conflict_do_update(index_elements=["source_id", "name"], set_=changed))
