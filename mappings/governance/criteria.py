"""The criteria that priorities are scored by: one list, in the order that the committee agreed on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select

from mappings.audit import record_action
from mappings.errors import Conflict, check_values, check_version
from mappings.locks import lock_criteria_exclusive
from mappings.tables import CriterionRow, ScoreRow, among
from mappings.values import key_error, line_error, number_error

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.values import FieldErrors

CRITERIA_AT_MOST = 20
# So that no product of a weight and a score is too small or too large for a number of the database.
LEAST_WEIGHT, GREATEST_WEIGHT = 0.001, 1_000_000


@dataclass(frozen=True, slots=True)
class CriterionValues:
    """`weight`: its share of the whole, relative to the others; 0 does not count in the ranking."""

    key: str
    title: str
    weight: float


EXAMPLE = (
    CriterionValues("VALUE", "What it is worth to customers or the business", 3),
    CriterionValues("URGENCY", "What is lost while it waits", 2),
    CriterionValues("RISK", "Which risk it takes away", 1),
    CriterionValues("EASE", "How little work it is: 5 is days, 0 is a year", 2),
)


def criteria_errors(field: str, criteria: Sequence[CriterionValues]) -> FieldErrors:
    """Of the list in this field of what was sent, empty for the whole body."""
    inside = f"{field}." if field else ""
    found: FieldErrors = []
    if len(criteria) > CRITERIA_AT_MOST:
        found.append((field, f"has {len(criteria)} criteria; at most {CRITERIA_AT_MOST} are taken"))
    met: set[str] = set()
    for number, one in enumerate(criteria):
        repeated = (
            f"{one.key} is there twice; a key is the same in any case" if one.key.lower() in met else None
        )
        met.add(one.key.lower())
        found += [
            (f"{inside}{number}.key", key_error(one.key) or repeated),
            (f"{inside}{number}.title", line_error(one.title)),
            (f"{inside}{number}.weight", weight_error(one.weight)),
        ]
    if criteria and not any(one.weight for one in criteria):
        found.append((f"{inside}0.weight", "one weight at least must be more than 0"))
    return found


def weight_error(weight: float) -> str | None:
    wrong = number_error(weight, {"ge": 0, "le": GREATEST_WEIGHT})
    if wrong is None and 0 < weight < LEAST_WEIGHT:
        return f"must be 0, or at least {LEAST_WEIGHT}"
    return wrong


async def load_criteria(session: AsyncSession) -> list[CriterionRow]:
    """In their order, as they are now."""
    query = select(CriterionRow).order_by(CriterionRow.position, CriterionRow.id)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


def criteria_version(rows: Sequence[CriterionRow]) -> int:
    """The same for the same list, and else, by all likelihood, another."""
    return version_of([(row.id, row.key, row.title, row.weight) for row in rows])


def version_of(values: Sequence[Sequence[Any]]) -> int:
    """The same for the same values, and else, by all likelihood, another."""
    return int.from_bytes(hashlib.sha256(orjson.dumps(values)).digest()[:7]) + 1


async def replace_criteria(
    session: AsyncSession,
    criteria: Sequence[CriterionValues],
    now: datetime,
    *,
    drop_scores: bool = False,
    versions: Collection[int] | None = None,
) -> list[CriterionRow]:
    """Make `criteria` the whole list. One with the key of a stored one, in any case, changes it and keeps its
    scores; a stored one that is not named is deleted, with `drop_scores` with its scores.

    Raises `StaleVersion`, `Conflict` where one that is not named has scores, and `Invalid`.
    """
    check_values(criteria_errors("", criteria))
    await lock_criteria_exclusive(session)
    rows = await load_criteria(session)
    check_version(criteria_version(rows), versions)
    stored = {row.key.lower(): row for row in rows}
    named = {one.key.lower() for one in criteria}
    await _delete(session, [row for key, row in stored.items() if key not in named], drop_scores)
    for position, one in enumerate(criteria):
        row = stored.get(one.key.lower())
        if row is None:
            row = CriterionRow(created_at=now)
            session.add(row)
        row.key, row.title, row.weight, row.position = one.key, one.title.strip(), one.weight, position
    await session.flush()
    return await load_criteria(session)


async def _delete(session: AsyncSession, rows: Sequence[CriterionRow], drop_scores: bool) -> None:
    scores = await scores_of_criteria(session, [row.id for row in rows])
    if scores and not drop_scores:
        names = " and ".join(
            f"{row.key} has {_epics(scores[row.id], 'the scores of')}" for row in rows if row.id in scores
        )
        raise Conflict(
            f"{names}, which would be deleted with it. Leave it in the list with the weight 0 to keep them,"
            " or send ?scores=drop."
        )
    for row in rows:
        if row.id in scores:
            after = {"criterion": row.key, "epics": scores[row.id]}
            record_action(session, "deleted", "score", row.key, after)
        await session.delete(row)
    await session.flush()


def _epics(number: int, before: str) -> str:
    return f"{before} {number:,} epic{'' if number == 1 else 's'}"


async def scores_of_criteria(session: AsyncSession, ids: Collection[int]) -> dict[int, int]:
    """How many epics are scored by each of these that any is scored by, by its id."""
    if not ids:
        return {}
    counted = select(ScoreRow.criterion_id, func.count()).where(among(ScoreRow.criterion_id, ids))
    return {id: number for id, number in await session.execute(counted.group_by(ScoreRow.criterion_id))}
