"""Which other rules match the epics that a stored rule matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mappings.previews.stored import in_turns, matched_epics
from mappings.rules.index import Overlap, Overlaps, RuleIndex
from mappings.rules.operations import rule_of
from mappings.tables import RuleRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


async def overlaps_of(session: AsyncSession, row: RuleRow) -> list[Overlap]:
    """The enabled rules that match epics which this rule matches, those with the most of them first."""
    rows = await session.scalars(select(RuleRow).where(RuleRow.enabled, RuleRow.id != row.id))
    others = [rule_of(other) for other in rows]
    rule = rule_of(row)
    index, overlaps = RuleIndex([*others, rule]), Overlaps()
    if others:
        async for page in matched_epics(session, [rule.condition]):
            async for one in in_turns(page):
                overlaps.add(rule, index.matching(one.source, one.epic))
    return overlaps.largest(others)
