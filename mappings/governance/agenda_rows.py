"""What the agenda of a review is made from, read from the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mappings.governance.agenda import Line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.tables import CycleRow, ReviewRow


async def load_agenda(
    session: AsyncSession,
    review: ReviewRow,
    cycle: CycleRow,
    key_results: Sequence[Mapping[str, Any]],
    now: datetime,
) -> list[Line]:
    return [Line(kind="coverage", title="Coverage", detail="", facts={})]
