"""Which epics a change affects: these, and no others, are evaluated again.

A change of goals, rules, policy or a source only stores its causes (`mappings.runs.causes`); the run that has
them selects the epics, off the request. A change of one epic's links or findings marks this epic itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Select, column, func, literal, or_, select, true, union_all, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from mappings.tables import EpicRow, KeyResultRow, LinkRow, NoticeRow, ObjectiveRow, SourceProjectRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


LOOKED_UP_AT_MOST = 40  # references, each found in the index


def by_key_results(ids: Collection[int]) -> tuple[Select[Any], ...]:
    """The ids of epics with a link to these key results, and of those whose comment names one of them."""
    return (
        select(LinkRow.epic_id).where(among(LinkRow.key_result_id, ids)),
        select(NoticeRow.epic_id).where(NoticeRow.mentioned_key_result_ids.overlap(list(ids))),
    )


def by_references(keys: Iterable[str]) -> Select[Any]:
    """The ids of epics whose tickets name one of these keys, in any case; an index has them so.

    Of many keys, as a file of key results has them, the references of all epics are looked up among them,
    once: for an array of thousands PostgreSQL would compare each with each.
    """
    references = [f"{how}:{key.lower()}" for key in keys for how in ("line", "label")]
    if len(references) <= LOOKED_UP_AT_MOST:
        folded = func.northing_lower(EpicRow.ticket_references, type_=ARRAY(Text))
        return select(EpicRow.id.label("epic_id")).where(folded.overlap(references))
    named = (
        func.unnest(EpicRow.ticket_references)
        .table_valued(column("reference", Text), name="named")
        .render_derived()
        .lateral()
    )
    sought = (
        func.unnest(literal(references, ARRAY(Text)))
        .table_valued(column("reference", Text), name="sought")
        .render_derived()
    )
    return (
        select(EpicRow.id.label("epic_id"))
        .join(named, true())
        .join(sought, sought.c.reference == func.lower(named.c.reference))
    )


def by_rules(ids: Collection[int]) -> Select[Any]:
    """The ids of epics with a link that one of these rules made, deleted rules too."""
    return select(LinkRow.epic_id).where(among(LinkRow.rule_id, ids))


def by_links(ranges: Collection[tuple[int, int]]) -> Select[Any]:
    """The ids of the epics of links whose ids lie in one of these ranges, ends included."""
    bounds = (
        func.unnest(
            literal([first for first, _ in ranges], ARRAY(BigInteger)),
            literal([last for _, last in ranges], ARRAY(BigInteger)),
        )
        .table_valued(column("first", BigInteger), column("last", BigInteger), name="bounds")
        .render_derived()
    )
    return select(LinkRow.epic_id).join_from(
        bounds, LinkRow, LinkRow.id.between(bounds.c.first, bounds.c.last)
    )


def by_projects(source_id: int, projects: Collection[str]) -> Select[Any]:
    """The ids of epics of these projects of a source, without removed ones."""
    return select(EpicRow.id.label("epic_id")).where(
        EpicRow.source_id == source_id, EpicRow.project.in_(projects), EpicRow.removed_at.is_(None)
    )


def by_source(source_id: int) -> Select[Any]:
    """The ids of every epic of a source, removed ones too."""
    return select(EpicRow.id.label("epic_id")).where(EpicRow.source_id == source_id)


def by_having_parent(source_id: int) -> Select[Any]:
    """The ids of epics of a source whose tickets name a parent, without removed ones."""
    return select(EpicRow.id.label("epic_id")).where(
        EpicRow.source_id == source_id, EpicRow.parent_key.is_not(None), EpicRow.removed_at.is_(None)
    )


def by_gap_or_notice(source_id: int) -> Select[Any]:
    """The ids of epics that may get, lose or change a notice when the source's mode changes."""
    noticed = select(NoticeRow.epic_id)
    return select(EpicRow.id.label("epic_id")).where(
        EpicRow.source_id == source_id,
        or_(EpicRow.alignment.in_(("unaligned", "waived")), EpicRow.id.in_(noticed)),
    )


def at_most(number: int, parts: Iterable[Select[Any]]) -> Select[Any]:
    """Ids that the parts select, at most so many of each part: what it costs does not grow with the epics."""
    limited = [select(part.limit(number).subquery().c.epic_id) for part in parts]
    return select(union_all(*limited).subquery().c.epic_id)


def key_results_of(objectives: Collection[int], cycles: Collection[int]) -> Select[Any]:
    """The ids of the key results of these objectives, and of the objectives of these cycles."""
    return (
        select(KeyResultRow.id)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .where(or_(among(ObjectiveRow.id, objectives), among(ObjectiveRow.cycle_id, cycles)))
    )


async def all_projects(session: AsyncSession) -> list[tuple[int, str]]:
    rows = await session.execute(select(SourceProjectRow.source_id, SourceProjectRow.key))
    return [(source_id, key) for source_id, key in rows]


async def mark_for_evaluation(session: AsyncSession, epic_ids: Iterable[int], now: datetime) -> None:
    """Have epics evaluated again, which the caller has locked; one alone may be locked last."""
    await session.execute(update(EpicRow).where(among(EpicRow.id, epic_ids)).values(evaluate_at=now))
