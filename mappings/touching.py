"""Which epics a change bears on: they, and only they, are marked to be judged again.

The caller holds the goals' exclusive lock (`ledger.change_goals`), and marks in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select, text, union
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import Epic, KeyResult, Link, Notice, Objective, SourceProject

MARK = text(
    "UPDATE epics SET look_again_at = :now FROM"
    " (SELECT id FROM epics WHERE id = ANY(:ids) ORDER BY id FOR UPDATE) AS touched"
    " WHERE epics.id = touched.id RETURNING epics.source_id"
)


def by_key_results(ids: Collection[int], keys: Iterable[str] = ()) -> Select[Any]:
    """Epics linked to these key results, naming one of `keys` on the ticket, or named by it in a comment."""
    declared = [f"{how}:{key}" for key in keys for how in ("line", "label")]
    linked = select(Link.epic_id.label("id")).where(Link.key_result_id.in_(ids))
    shown = select(Notice.epic_id).where(Notice.named.overlap(list(ids)))
    named = select(Epic.id).where(
        text("EXISTS (SELECT FROM unnest(epics.declared) AS d WHERE lower(d) = ANY(:declared))").bindparams(
            declared=[name.lower() for name in declared]
        )
    )
    parts = union(linked, shown, named) if declared else union(linked, shown)
    return select(parts.subquery().c.id)


def of_objectives(ids: Collection[int]) -> Select[Any]:
    """The ids of their key results."""
    return select(KeyResult.id).where(KeyResult.objective_id.in_(ids))


def of_cycle(cycle_id: int) -> Select[Any]:
    """The ids of its objectives."""
    return select(Objective.id).where(Objective.cycle_id == cycle_id)


def by_rule(rule_id: int) -> Select[Any]:
    """Epics the rule links now."""
    return select(Link.epic_id).where(Link.rule_id == rule_id)


def by_projects(projects: Collection[tuple[int, str]]) -> Select[Any]:
    """Epics of these projects, each a source's id and a project's key."""
    pairs = [(Epic.source_id == source_id) & (Epic.project == project) for source_id, project in projects]
    return select(Epic.id).where(or_(*pairs), Epic.gone_at.is_(None))


def of_source(source_id: int) -> Select[Any]:
    """Every epic of a source."""
    return select(Epic.id).where(Epic.source_id == source_id)


def with_gap_or_notice(source_id: int) -> Select[Any]:
    """Epics whose notice may come, go or change with the source's mode."""
    noticed = select(Notice.epic_id)
    return select(Epic.id).where(
        Epic.source_id == source_id,
        or_(Epic.alignment.in_(("unaligned", "waived")), Epic.id.in_(noticed)),
    )


async def projects_of(session: AsyncSession) -> list[tuple[int, str]]:
    rows = await session.execute(select(SourceProject.source_id, SourceProject.key))
    return [(source_id, key) for source_id, key in rows]


async def mark(session: AsyncSession, which: Select[Any], now: datetime) -> set[int]:
    """Mark the epics `which` selects by id; the ids of the sources they belong to."""
    ids = list(await session.scalars(which))
    if not ids:
        return set()
    return set(await session.scalars(MARK, {"ids": ids, "now": now}))
