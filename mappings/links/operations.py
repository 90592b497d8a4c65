"""What a person may do to a link, through the API or a command.

The caller holds the goals' exclusive lock (`mappings.locks.lock_goals_exclusive`) and the epic's row, and has
the epic evaluated again.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import MANUAL_ORIGINS, LinkRow


async def link_manually(
    session: AsyncSession,
    epic_id: int,
    key_result_id: int,
    origin: str,
    why: str,
    now: datetime,
    *,
    weight: float = 1,
    primary: bool = False,
) -> tuple[LinkRow, bool]:
    """The link, and whether it is new. A link that a person already made, either way, stays as it is."""
    existing = select(LinkRow).where(
        LinkRow.epic_id == epic_id, LinkRow.key_result_id == key_result_id, LinkRow.origin.in_(MANUAL_ORIGINS)
    )
    row = (await session.scalars(existing.order_by(LinkRow.id))).first()
    if row is not None:
        return row, False
    if primary:
        # Row by row, because the audit log does not see bulk updates.
        for other in await session.scalars(
            select(LinkRow).where(LinkRow.epic_id == epic_id, LinkRow.is_primary)
        ):
            other.is_primary = False
        await session.flush()  # before the new row is inserted: an epic has only one primary link
    row = LinkRow(
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
