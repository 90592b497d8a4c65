"""What moved between two reviews, from what both froze: it is counted once, when the second is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import aliased

from mappings.governance.snapshot import plain
from mappings.tables import ReviewEpicRow, ReviewKeyResultRow, ReviewRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

NAMED_AT_MOST = 50
COMPARED_COUNTS = ("rate", "steered", "total", "aligned", "unaligned", "exempt", "waived")
COMPARED_FIGURES = ("current", "progress", "confidence", "target", "due", "state")

BEFORE = aliased(ReviewEpicRow, name="before")
ALIGNMENT_MOVED: ColumnElement[bool] = BEFORE.alignment.is_distinct_from(ReviewEpicRow.alignment)
DUE_MOVED: ColumnElement[bool] = BEFORE.due_on.is_distinct_from(ReviewEpicRow.due_on)


def of_both(previous_id: int, review_id: int, *columns: Any) -> Any:
    """These columns of `ReviewEpicRow` and `BEFORE`, for each epic that is in both reviews."""
    return (
        select(*columns)
        .select_from(ReviewEpicRow)
        .join(BEFORE, BEFORE.epic_id == ReviewEpicRow.epic_id)
        .where(ReviewEpicRow.review_id == review_id, BEFORE.review_id == previous_id)
    )


async def changes_since(
    session: AsyncSession, previous: ReviewRow, review: ReviewRow, key_results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """`key_results`: those that the later review has frozen, as their rows.

    `coverage`: each count before and after. `alignment` and `due`: how many epics moved, in which ways, and
    the first of them by name; of `alignment` those that lost it first. `new` and `left`: epics that are in
    one of the two alone. `key_results`: those in both whose figures differ; and the keys that are new or
    gone.
    """
    both = await session.scalar(of_both(previous.id, review.id, func.count())) or 0
    return {
        "previous": named_review(previous),
        "coverage": {name: _pair(previous.coverage[name], review.coverage[name]) for name in COMPARED_COUNTS},
        "alignment": await _alignment(session, previous.id, review.id),
        "due": await _due(session, previous.id, review.id),
        "new": review.epics - both,
        "left": previous.epics - both,
        **await _key_results(session, previous.id, key_results),
    }


def named_review(review: ReviewRow) -> dict[str, Any]:
    return {"id": review.id, "cycle": review.cycle_facts["key"], "held_on": review.held_on.isoformat()}


def _pair(before: Any, after: Any) -> dict[str, Any]:
    return {"before": before, "after": after}


async def _alignment(session: AsyncSession, previous_id: int, review_id: int) -> dict[str, Any]:
    ways = BEFORE.alignment, ReviewEpicRow.alignment
    counted = of_both(previous_id, review_id, *ways, func.count()).where(ALIGNMENT_MOVED).group_by(*ways)
    moves = [{**_pair(*way), "epics": number} for *way, number in await session.execute(counted)]
    moves.sort(key=lambda one: (-one["epics"], one["before"] or "", one["after"] or ""))
    lost_first = func.coalesce(ReviewEpicRow.alignment != "unaligned", True)
    named = of_both(
        previous_id, review_id, ReviewEpicRow.source, ReviewEpicRow.key, ReviewEpicRow.title, *ways
    )
    named = named.where(ALIGNMENT_MOVED).order_by(lost_first, ReviewEpicRow.epic_id).limit(NAMED_AT_MOST)
    return {
        "count": sum(one["epics"] for one in moves),
        "moves": moves,
        "epics": [_named_epic(*row) for row in await session.execute(named)],
    }


async def _due(session: AsyncSession, previous_id: int, review_id: int) -> dict[str, Any]:
    was, now = BEFORE.due_on, ReviewEpicRow.due_on
    counted = of_both(
        previous_id,
        review_id,
        func.count(),
        func.count().filter(now > was),
        func.count().filter(now < was),
        func.count().filter(was.is_(None)),
        func.count().filter(now.is_(None)),
    ).where(DUE_MOVED)
    count, later, earlier, gained, lost = (await session.execute(counted)).one()
    named = of_both(
        previous_id, review_id, ReviewEpicRow.source, ReviewEpicRow.key, ReviewEpicRow.title, was, now
    )
    named = named.where(DUE_MOVED).order_by((now - was).desc().nulls_last(), ReviewEpicRow.epic_id)
    rows = await session.execute(named.limit(NAMED_AT_MOST))
    return {
        "count": count,
        "later": later,
        "earlier": earlier,
        "gained": gained,
        "lost": lost,
        "epics": [_named_epic(*row) for row in rows],
    }


def _named_epic(source: str, key: str, title: str, before: Any, after: Any) -> dict[str, Any]:
    return {"source": source, "key": key, "title": title, **_pair(plain(before), plain(after))}


async def _key_results(
    session: AsyncSession, previous_id: int, key_results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    query = select(ReviewKeyResultRow).where(ReviewKeyResultRow.review_id == previous_id)
    earlier = {row.key_result_id: row for row in await session.scalars(query.order_by(ReviewKeyResultRow.id))}
    moved = []
    for one in key_results:
        was = earlier.get(one["key_result_id"])
        differ = () if was is None else _differing(was.facts, one["facts"])
        if was is not None and differ:
            figures = {name: _pair(was.facts[name], one["facts"][name]) for name in differ}
            moved.append({"key": one["key"], "title": one["title"], **figures})
    present = {one["key_result_id"] for one in key_results}
    return {
        "key_results": moved,
        "new_key_results": [one["key"] for one in key_results if one["key_result_id"] not in earlier],
        "gone_key_results": [row.key for id, row in earlier.items() if id not in present],
    }


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in COMPARED_FIGURES if before[name] != after[name]]
