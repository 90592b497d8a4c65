"""A review as it is shown: what it froze, and beside that its agenda and the decisions taken in it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, func, or_, select

from mappings.governance.agenda import asks_mitigation
from mappings.governance.decision_log import goal_decided, key_results_named
from mappings.governance.pack import Pack, PackDecision, PackItem
from mappings.governance.reviews import load_review, review_items, sides_missing
from mappings.governance.since import ALIGNMENT_MOVED, BEFORE, DUE_MOVED
from mappings.lookups import goal_keys
from mappings.tables import (
    DecisionRow,
    KeyResultRow,
    ObjectiveRow,
    ReviewEpicRow,
    ReviewItemRow,
    ReviewKeyResultRow,
    ReviewRow,
    among,
    among_ids,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class ReviewNumbers:
    """How many lines its agenda has, how many of these are open, and how many decisions of it stand."""

    items: int = 0
    open_items: int = 0
    decided: int = 0


@dataclass(frozen=True, slots=True)
class ReviewInList:
    """`previous`: the review before it, None for none."""

    row: ReviewRow
    previous: ReviewRow | None
    numbers: ReviewNumbers


@dataclass(frozen=True, slots=True)
class ReviewInFull:
    """`keys`: of the key results and objectives that its decisions name, by id: as the review froze them,
    else as they are now. `elsewhere`: by epic, what was decided about it outside this review since."""

    shown: ReviewInList
    key_results: Sequence[ReviewKeyResultRow]
    items: Sequence[ReviewItemRow]
    decisions: Sequence[DecisionRow]
    key_result_keys: dict[int, str]
    objective_keys: dict[int, str]
    elsewhere: dict[int, list[DecisionRow]]

    @property
    def row(self) -> ReviewRow:
        return self.shown.row

    def objectives(self) -> list[tuple[dict[str, object], list[ReviewKeyResultRow]]]:
        """The frozen objectives with their key results, in order."""
        of: defaultdict[str, list[ReviewKeyResultRow]] = defaultdict(list)
        for one in self.key_results:
            of[one.objective].append(one)
        return [(one, of[one["key"]]) for one in self.row.objectives]


_REVIEWS = select(ReviewRow).where(among_ids(ReviewRow.id))
_LINES = (
    select(ReviewItemRow.review_id, func.count(), func.count().filter(ReviewItemRow.state == "open"))
    .where(among_ids(ReviewItemRow.review_id))
    .group_by(ReviewItemRow.review_id)
)
_TAKEN = (
    select(DecisionRow.review_id, func.count())
    .where(among_ids(DecisionRow.review_id), DecisionRow.undone_at.is_(None))
    .group_by(DecisionRow.review_id)
)


async def in_list(session: AsyncSession, rows: Sequence[ReviewRow]) -> list[ReviewInList]:
    """In at most three statements, whatever their number."""
    ids = {"ids": [row.id for row in rows]}
    before = {row.previous_id for row in rows if row.previous_id is not None}
    previous = (
        {row.id: row for row in await session.scalars(_REVIEWS, {"ids": list(before)})} if before else {}
    )
    counted = {id: (items, open_) for id, items, open_ in await session.execute(_LINES, ids)}
    decided = {id: count for id, count in await session.execute(_TAKEN, ids)}
    return [
        ReviewInList(
            row,
            previous.get(row.previous_id or 0),
            ReviewNumbers(*counted.get(row.id, (0, 0)), decided.get(row.id, 0)),
        )
        for row in rows
    ]


async def in_full(session: AsyncSession, review_id: int) -> ReviewInFull:
    """Raises `NotFound`."""
    row = await load_review(session, review_id)
    (shown,) = await in_list(session, [row])
    frozen = select(ReviewKeyResultRow).where(ReviewKeyResultRow.review_id == row.id)
    key_results = list(await session.scalars(frozen.order_by(ReviewKeyResultRow.id)))
    items = await review_items(session, row.id)
    query = select(DecisionRow).where(DecisionRow.review_id == row.id).order_by(DecisionRow.id)
    decisions = list(await session.scalars(query))
    keys = {one.key_result_id: one.key for one in key_results}
    keys |= await goal_keys(session, KeyResultRow, key_results_named(decisions) - keys.keys())
    objectives = {row.about_objective_id for row in decisions if row.about_objective_id is not None}
    return ReviewInFull(
        shown,
        key_results,
        items,
        decisions,
        keys,
        await goal_keys(session, ObjectiveRow, objectives),
        await _elsewhere(session, row, {item.epic_id for item in items if item.epic_id is not None}),
    )


async def _elsewhere(
    session: AsyncSession, review: ReviewRow, epics: Collection[int]
) -> dict[int, list[DecisionRow]]:
    """Those that stand; of a closed review those that stood when it was closed, so that its answer stays the
    same."""
    if not epics:
        return {}
    other = or_(DecisionRow.review_id.is_(None), DecisionRow.review_id != review.id)
    query = select(DecisionRow).where(
        among(DecisionRow.epic_id, epics), other, DecisionRow.decided_at >= review.frozen_at
    )
    if review.closed_at is not None:
        stood = or_(DecisionRow.undone_at.is_(None), DecisionRow.undone_at > review.closed_at)
        query = query.where(DecisionRow.decided_at <= review.closed_at, stood)
    else:
        query = query.where(DecisionRow.undone_at.is_(None))
    found: dict[int, list[DecisionRow]] = {}
    for row in await session.scalars(query.order_by(DecisionRow.id)):
        assert row.epic_id is not None
        found.setdefault(row.epic_id, []).append(row)
    return found


@lru_cache(maxsize=100)
def _frozen(review_id: int) -> Select[ReviewEpicRow]:
    """Made once for each review, so that a list finds again what SQLAlchemy has compiled for it."""
    return select(ReviewEpicRow).where(ReviewEpicRow.review_id == review_id)


def frozen_epics(
    review: ReviewRow,
    *,
    alignment: str | None = None,
    project: str | None = None,
    source: str | None = None,
    changed: str | None = None,
) -> Select[ReviewEpicRow]:
    """The epics of a review that the filters let through; text in any case. `changed`: whose `alignment` or
    `due` day is another than in the review before; `new`: those that were not in that one."""
    query = _frozen(review.id)
    if alignment is not None:
        query = query.where(ReviewEpicRow.alignment == alignment)
    if project is not None:
        query = query.where(func.lower(ReviewEpicRow.project) == project.lower())
    if source is not None:
        query = query.where(func.lower(ReviewEpicRow.source) == source.lower())
    if changed is not None:
        query = query.where(_changed(review, changed))
    return query


def _changed(review: ReviewRow, what: str) -> ColumnElement[bool]:
    of_before = select(BEFORE.epic_id).where(
        BEFORE.review_id == (review.previous_id or 0), BEFORE.epic_id == ReviewEpicRow.epic_id
    )
    if what == "new":
        return ~of_before.exists()
    return of_before.where(ALIGNMENT_MOVED if what == "alignment" else DUE_MOVED).exists()


# --- the pack ---------------------------------------------------------------------------------


def pack_of(review: ReviewInFull) -> Pack:
    """What the pack is made of."""
    row = review.row
    return Pack(
        id=row.id,
        cycle=row.cycle_facts,
        held_on=row.held_on,
        closed=row.state == "closed",
        frozen_at=row.frozen_at.astimezone(UTC),
        attendees=row.attendees,
        missing_sides=sides_missing(row),
        coverage=row.coverage,
        changes=row.changes,
        epics=row.epics,
        objectives=[
            (
                facts,
                [
                    {"key": one.key, "title": one.title, "objective": one.objective, "facts": one.facts}
                    for one in of
                ],
            )
            for facts, of in review.objectives()
        ],
        items=[
            PackItem(
                item.kind,
                item.title,
                item.detail,
                item.state,
                item.about,
                item.mitigation,
                asks_mitigation(item.kind, item.key_result_id),
            )
            for item in review.items
        ],
        decisions=[_pack_decision(one, review) for one in review.decisions],
    )


def _pack_decision(row: DecisionRow, review: ReviewInFull) -> PackDecision:
    """Undone after the review was closed, it still is what the review decided."""
    closed_at = review.row.closed_at
    undone = row.undone_at is not None and (closed_at is None or row.undone_at <= closed_at)
    keys = review.key_result_keys
    return PackDecision(
        row.decision,
        row.epic_key or goal_decided(row, keys, review.objective_keys) or "",
        row.epic_title or "",
        keys.get(row.key_result_id or 0) or keys.get(row.measure_id or 0),
        row.by_date,
        row.reason,
        row.decided_by,
        row.decided_at,
        undone,
    )
