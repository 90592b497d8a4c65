"""How far an installation is set up: the one place that decides what the first page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from mappings.tables import READING_MODES, KeyResultRow, RunRow, SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class SetUp:
    """`source`: a source is connected. `read`: one of them was read. `goals`: there is a key result."""

    source: bool
    read: bool
    goals: bool

    @property
    def is_empty(self) -> bool:
        """Neither a source nor a goal: the page of the first run stands in the overview's place."""
        return not self.source and not self.goals

    @property
    def is_whole(self) -> bool:
        """Nothing is left to set up: the overview stands alone."""
        return self.source and self.read and self.goals


async def load_set_up(session: AsyncSession) -> SetUp:
    read = exists().where(RunRow.mode.in_(READING_MODES), RunRow.state.in_(("succeeded", "partial")))
    row = (await session.execute(select(exists(SourceRow.id), read, exists(KeyResultRow.id)))).one()
    return SetUp(*row)
