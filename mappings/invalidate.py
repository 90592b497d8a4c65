"""Which epics a change affects: these, and no others, are marked to be evaluated again.

The caller marks in the transaction of the change. An operation on goals, rules, links, policy or a source
holds the goals' exclusive lock (`locks.lock_goals_exclusive`) by then, one on a finding its epic's. What a
run finds out about projects, or which epics match a rule, is marked without an exclusive lock of the goals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, or_, select, text, union

from mappings.tables import EpicRow, KeyResultRow, LinkRow, NoticeRow, ObjectiveRow, SourceProjectRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_MARK = text(
    "UPDATE epics SET evaluate_at = :now FROM"
    " (SELECT id FROM epics WHERE id = ANY(:ids) ORDER BY id FOR UPDATE) AS touched"
    " WHERE epics.id = touched.id RETURNING epics.source_id"
)


def by_key_results(ids: Collection[int], keys: Iterable[str] = ()) -> Select[Any]:
    """Epics with a link to these key results, a reference to one of `keys`, or one named in our comment."""
    references = [f"{how}:{key}" for key in keys for how in ("line", "label")]
    linked = select(LinkRow.epic_id.label("id")).where(LinkRow.key_result_id.in_(ids))
    shown = select(NoticeRow.epic_id).where(NoticeRow.mentioned_key_result_ids.overlap(list(ids)))
    referred = select(EpicRow.id).where(
        text(
            "EXISTS (SELECT FROM unnest(epics.ticket_references) AS d WHERE lower(d) = ANY(:references))"
        ).bindparams(references=[name.lower() for name in references])
    )
    parts = union(linked, shown, referred) if references else union(linked, shown)
    return select(parts.subquery().c.id)


def key_results_of_objectives(ids: Collection[int]) -> Select[Any]:
    """The ids of the key results of these objectives."""
    return select(KeyResultRow.id).where(KeyResultRow.objective_id.in_(ids))


def objectives_of_cycle(cycle_id: int) -> Select[Any]:
    """The ids of the objectives of this cycle."""
    return select(ObjectiveRow.id).where(ObjectiveRow.cycle_id == cycle_id)


def by_rule(rule_id: int) -> Select[Any]:
    """Epics with a link that this rule made."""
    return select(LinkRow.epic_id).where(LinkRow.rule_id == rule_id)


def by_projects(projects: Collection[tuple[int, str]]) -> Select[Any]:
    """Epics of these projects, each a source's id and a project's key. Removed epics are left out."""
    pairs = [
        (EpicRow.source_id == source_id) & (EpicRow.project == project) for source_id, project in projects
    ]
    return select(EpicRow.id).where(or_(*pairs), EpicRow.removed_at.is_(None))


def by_source(source_id: int) -> Select[Any]:
    """Every epic of a source, removed ones too."""
    return select(EpicRow.id).where(EpicRow.source_id == source_id)


def by_gap_or_notice(source_id: int) -> Select[Any]:
    """Epics that may get, lose or change a notice when the source's mode changes."""
    noticed = select(NoticeRow.epic_id)
    return select(EpicRow.id).where(
        EpicRow.source_id == source_id,
        or_(EpicRow.alignment.in_(("unaligned", "waived")), EpicRow.id.in_(noticed)),
    )


async def all_projects(session: AsyncSession) -> list[tuple[int, str]]:
    rows = await session.execute(select(SourceProjectRow.source_id, SourceProjectRow.key))
    return [(source_id, key) for source_id, key in rows]


async def mark_for_evaluation(session: AsyncSession, which: Select[Any], now: datetime) -> set[int]:
    """Mark the epics whose ids `which` selects; gives the ids of their sources."""
    ids = list(await session.scalars(which))
    if not ids:
        return set()
    return set(await session.scalars(_MARK, {"ids": ids, "now": now}))
