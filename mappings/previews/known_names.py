"""Names that the condition of a rule may ask for, to choose from while it is written."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, func, literal, select, union_all

from mappings.goals.key_results import CLOSED
from mappings.tables import EpicRow, KeyResultRow, SourceProjectRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

MOST_NAMES = 500  # of a kind; where there are more, none is offered
LONGEST = 100  # characters
NEWEST_EPICS = 300
KINDS = ("source", "project", "type", "milestone", "label", "component")


async def known_names(session: AsyncSession) -> Mapping[str, Sequence[str]]:
    """By the kind of a test, the names of sources and projects, and what the newest epics have of labels,
    types, components and milestones. Each is read by an index, whatever number of epics is stored."""
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for kind, name in await session.execute(_known()):
        found[kind].add(name)
    return {
        kind: sorted((name for name in names if len(name) <= LONGEST), key=str.casefold)
        for kind, names in found.items()
        if 0 < len(names) <= MOST_NAMES
    }


@cache
def _known() -> Any:
    """Made once: it is long."""
    newest = (
        select(EpicRow.type, EpicRow.milestone, EpicRow.labels, EpicRow.components)
        .where(EpicRow.removed_at.is_(None))
        .order_by(EpicRow.id.desc())
        .limit(NEWEST_EPICS)
        .cte("newest")
    )
    parts: dict[str, Any] = {
        "source": select(SourceRow.name.label("name")),
        "project": select(SourceProjectRow.key),
        "type": select(newest.c.type),
        "milestone": select(newest.c.milestone).where(newest.c.milestone.is_not(None)),
        "label": select(func.unnest(newest.c.labels)),
        "component": select(func.unnest(newest.c.components)),
    }
    limited = []
    for kind, part in parts.items():
        names = part.subquery()
        (name,) = names.c
        one = select(literal(kind, String).label("kind"), name.label("name")).distinct()
        limited.append(select(one.limit(MOST_NAMES + 1).subquery()))
    return union_all(*limited)


async def open_key_results(session: AsyncSession) -> list[tuple[str, str]]:
    """The keys and titles of key results that are not closed, none where there are more than `MOST_NAMES`."""
    rows = await session.execute(
        select(KeyResultRow.key, KeyResultRow.title)
        .where(KeyResultRow.state.not_in(CLOSED))
        .order_by(KeyResultRow.id)
        .limit(MOST_NAMES + 1)
    )
    found = [(key, title) for key, title in rows]
    return found if len(found) <= MOST_NAMES else []
