"""The log of decisions: what was decided about an epic or a goal, or in a review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from mappings.errors import Invalid
from mappings.lookups import about_goal, find_epic, find_goal, find_source, goal_keys
from mappings.tables import (
    DecisionRow,
    EpicRow,
    KeyResultRow,
    ObjectiveRow,
    ReviewRow,
    SourceRow,
    among,
    among_ids,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncSession


_EVERY = select(DecisionRow)


async def decisions_of(
    session: AsyncSession,
    *,
    epic_source: str | None = None,
    epic_key: str | None = None,
    goal: str | None = None,
    review: int | None = None,
    undone: bool | None = None,
) -> Select[Any]:
    """Selects the decisions of the log, whatever became of what they are about. An epic is found by its
    present and former names, `goal` as what is decided about, linked to or measured by.

    Raises `Invalid` on `epic_source` where a key comes without it, and on `goal`.
    """
    query = _EVERY
    if epic_source is not None:
        query = query.where(await _of_epic(session, epic_source, epic_key))
    elif epic_key is not None:
        raise Invalid("epic_source", "is needed with epic_key")
    if goal is not None:
        query = query.where(await _of_goal(session, goal))
    if review is not None:
        query = query.where(DecisionRow.review_id == review)
    if undone is not None:
        query = query.where(DecisionRow.undone_at.is_not(None) if undone else DecisionRow.undone_at.is_(None))
    return query


async def _of_epic(session: AsyncSession, source: str, key: str | None) -> Any:
    row = await find_source(session, source)
    then = func.lower(DecisionRow.epic_source) == source.lower()
    if key is None:
        of_source = select(EpicRow.id).where(EpicRow.source_id == (0 if row is None else row.id))
        return or_(then, DecisionRow.epic_id.in_(of_source))
    epic = None if row is None else await find_epic(session, row, key)
    named = then & (func.lower(DecisionRow.epic_key) == key.lower())
    gone = named & DecisionRow.epic_id.is_(None)
    return gone if epic is None else or_(gone, DecisionRow.epic_id == epic.id)


async def _of_goal(session: AsyncSession, key: str) -> ColumnElement[bool]:
    rows = [await find_goal(session, KeyResultRow, key), await find_goal(session, ObjectiveRow, key)]
    found = [about_goal(row) for row in rows if row is not None]
    if not found:
        raise Invalid("goal", f"there is no objective or key result {key!r}")
    return or_(*found)


@dataclass(frozen=True, slots=True)
class Names:
    """What decisions refer to, by its present names. `epics`: source and key by the epic's id, of those that
    are in a list; `objectives` and `key_results`: keys by id; `reviews`: the day of each by id."""

    epics: dict[int, tuple[str, str]]
    objectives: dict[int, str]
    key_results: dict[int, str]
    reviews: dict[int, date]


_EPICS = (
    select(EpicRow.id, SourceRow.name, EpicRow.key)
    .join(SourceRow, SourceRow.id == EpicRow.source_id)
    .where(among_ids(EpicRow.id), EpicRow.removed_at.is_(None))
)


async def load_decision_names(session: AsyncSession, rows: Iterable[DecisionRow]) -> Names:
    """At most four statements, whatever the number of rows."""
    rows = list(rows)
    names = Names({}, {}, {}, {})
    if epics := _ids(row.epic_id for row in rows):
        listed = await session.execute(_EPICS, {"ids": list(epics)})
        names.epics.update({id: (source, key) for id, source, key in listed})
    names.objectives.update(
        await goal_keys(session, ObjectiveRow, _ids(row.about_objective_id for row in rows))
    )
    names.key_results.update(await goal_keys(session, KeyResultRow, key_results_named(rows)))
    if reviews := _ids(row.review_id for row in rows):
        held = select(ReviewRow.id, ReviewRow.held_on).where(among(ReviewRow.id, reviews))
        names.reviews.update({id: held_on for id, held_on in await session.execute(held)})
    return names


def key_results_named(rows: Iterable[DecisionRow]) -> set[int]:
    """The ids of the key results that decisions are about, map to or are measured by."""
    return _ids(id for row in rows for id in (row.about_key_result_id, row.key_result_id, row.measure_id))


def goal_decided(
    row: DecisionRow, key_results: Mapping[int, str], objectives: Mapping[int, str]
) -> str | None:
    """The key of the goal that it is about, by these keys; None for an epic."""
    return key_results.get(row.about_key_result_id or 0) or objectives.get(row.about_objective_id or 0)


def _ids(ids: Iterable[int | None]) -> set[int]:
    return {id for id in ids if id is not None}
