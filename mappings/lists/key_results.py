"""Which key results a list shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, exists, or_, select

from mappings.lookups import goal_in
from mappings.tables import CycleRow, EpicRow, KeyResultRow, LinkRow, ObjectiveRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.key_results import GoalState
    from mappings.goals.values import Category


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResultFilters:
    """None: not asked for. `objective` and `cycle` are keys of ones that exist; `q` is a part of the title or
    the key, any case; `unlinked`: whether no epic that is in a list is linked to it."""

    objective: str | None = None
    cycle: str | None = None
    state: GoalState | None = None
    category: Category | None = None
    q: str | None = None
    unlinked: bool | None = None


async def conditions(session: AsyncSession, filters: KeyResultFilters) -> list[ColumnElement[bool]]:
    """The conditions on `KeyResultRow`. Raises `Invalid` on the filter that names nothing."""
    found: list[ColumnElement[bool]] = []
    if filters.objective is not None:
        objective = await goal_in(session, ObjectiveRow, filters.objective, "objective")
        found.append(KeyResultRow.objective_id == objective.id)
    if filters.cycle is not None:
        cycle = await goal_in(session, CycleRow, filters.cycle, "cycle")
        of_cycle = select(ObjectiveRow.id).where(ObjectiveRow.cycle_id == cycle.id)
        found.append(KeyResultRow.objective_id.in_(of_cycle))
    if filters.state is not None:
        found.append(KeyResultRow.state == filters.state)
    if filters.category is not None:
        found.append(KeyResultRow.category == filters.category)
    if filters.q is not None:
        in_title = KeyResultRow.title.icontains(filters.q, autoescape=True)
        found.append(or_(in_title, KeyResultRow.key.icontains(filters.q, autoescape=True)))
    if filters.unlinked is not None:
        found.append(_UNLINKED if filters.unlinked else _LINKED)
    return found


# OFFSET 0 keeps this a look into an index, for the first link that is found: not a join with all.
_LISTED = select(EpicRow.id).where(EpicRow.id == LinkRow.epic_id, EpicRow.removed_at.is_(None)).offset(0)
_LINKED = exists().where(LinkRow.key_result_id == KeyResultRow.id, _LISTED.exists())
_UNLINKED = ~_LINKED
